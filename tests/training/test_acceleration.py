"""Whether layers are compiled, by the training file, the device and what is installed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from moldiff.cli.main import in_options
from moldiff.config import PaceConfig, load_training
from moldiff.errors import MoldiffError
from moldiff.nn.layers import EquivariantLayer
from moldiff.nn.products import MatrixProducts, SummedProducts
from moldiff.training import acceleration
from moldiff.training.acceleration import (
    check_processes,
    device_of,
    is_first_process,
    missing_compiler,
    rank_of,
    wants_compilation,
)
from moldiff.training.denoiser_run import TrainingRun

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the compilers away."""
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(acceleration.shutil, "which", lambda name: None)


def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a machine a C and a C++ compiler and Triton."""
    monkeypatch.setattr(acceleration.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(acceleration.importlib.util, "find_spec", lambda name: object())


def test_by_itself_it_compiles_on_cuda_alone_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as machine:
        full(machine)
        assert not wants_compilation(PaceConfig(), CUDA)
        assert wants_compilation(PaceConfig(compile="auto"), CUDA)
        assert not wants_compilation(PaceConfig(compile="auto"), CPU)
        assert wants_compilation(PaceConfig(compile=True), CPU)
        assert not wants_compilation(PaceConfig(compile=False), CUDA)
        machine.setattr(acceleration.importlib.util, "find_spec", lambda name: None)
        assert not wants_compilation(PaceConfig(compile="auto"), CUDA)
        assert missing_compiler(CUDA) == "the package triton"
    bare(monkeypatch)
    assert not wants_compilation(PaceConfig(compile="auto"), CUDA)


@pytest.mark.parametrize("device", ["meta", "cuda", "cuda:x", "mps", "device", "gpu"])
def test_a_device_that_is_not_here_is_told_by_the_key_of_the_file(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MoldiffError, match=r"^(unknown )?training\.device ") as told:
        device_of(PaceConfig(device=device))
    assert "--device" not in in_options(told.value)
    assert device in in_options(told.value)
    assert device_of(PaceConfig(device="cpu")) == CPU


@pytest.mark.parametrize("device", [CPU, torch.device("xpu")], ids=str)
def test_what_is_asked_for_and_cannot_be_is_one_line(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    bare(monkeypatch)
    with pytest.raises(MoldiffError, match=r"training.compile=true needs .*; install it or set training.compile=false"):
        wants_compilation(PaceConfig(compile=True), device)
    monkeypatch.setenv("CXX", "/opt/compiler")
    assert missing_compiler(CPU) is None


def test_each_process_needs_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration.torch.cuda, "device_count", lambda: 2)
    any_card = torch.device("cuda")
    check_processes(PaceConfig(devices=2), any_card)
    check_processes(PaceConfig(devices=1), torch.device("cuda", 7))
    check_processes(PaceConfig(devices=16), CPU)
    with pytest.raises(MoldiffError, match="devices=3: there are 2 cuda devices; set 2"):
        check_processes(PaceConfig(devices=3), any_card)
    with pytest.raises(MoldiffError, match="devices=2: there are 1 xpu devices; set 1"):
        check_processes(PaceConfig(devices=2), torch.device("xpu"))
    with pytest.raises(MoldiffError, match=r"training.device=cuda:1 names one: set training.device=cuda"):
        check_processes(PaceConfig(devices=2, device="cuda:1"), torch.device("cuda", 1))


def test_a_lone_process_is_the_first_whatever_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert (rank_of(PaceConfig()), rank_of(PaceConfig(devices=2))) == (0, 1)
    assert not is_first_process()
    monkeypatch.delenv("LOCAL_RANK")
    assert (rank_of(PaceConfig(devices=2)), is_first_process()) == (0, True)


@pytest.mark.parametrize("wanted", [True, False])
def test_a_run_compiles_what_it_trains_and_not_the_average(
    training_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    full(monkeypatch)
    config = load_training(training_file(), [f"training.compile={str(wanted).lower()}"])
    task = TrainingRun(config, None, None).task
    form = SummedProducts if wanted else MatrixProducts
    trained, averaged = (
        [layer for layer in module.modules() if isinstance(layer, EquivariantLayer)]
        for module in (task.trained, task.averaged)
    )
    assert [type(layer.products) for layer in trained] == [form, form]
    assert [layer._compiled_call_impl is not None for layer in trained] == [wanted, wanted]
    assert [type(layer.products) for layer in averaged] == [MatrixProducts, MatrixProducts]
    assert [layer._compiled_call_impl for layer in averaged] == [None, None]
