"""Device names: what is there is found, what is not there is one clear line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from moldiff import devices
from moldiff.devices import (
    describe_devices,
    is_on,
    is_out_of_memory,
    name_of,
    resolve_device,
    resolve_precision,
    usable_cores,
    whatever_the_default,
)
from moldiff.errors import MoldiffError


def test_auto_takes_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for present, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda present=present: present)
        assert resolve_device("auto") == torch.device(expected)
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MoldiffError, match=f"device {name}: this PyTorch sees no CUDA device"):
        resolve_device(name)


def test_a_cuda_number_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(MoldiffError, match="only 2 CUDA devices"):
        resolve_device("cuda:2")


@pytest.mark.parametrize(
    ("abilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": False, "avx512_f": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_auto_precision_is_what_the_processor_has(
    monkeypatch: pytest.MonkeyPatch, abilities: dict[str, bool], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)
    assert resolve_precision("auto", torch.device("cpu")) == expected
    assert resolve_precision("float32", torch.device("cpu")) == torch.float32
    assert resolve_precision("bfloat16", torch.device("cpu")) == torch.bfloat16
    assert resolve_precision("auto", torch.device("xpu")) == torch.float32
    assert f"threads, {name_of(expected)}" in describe_devices()[0]


def test_auto_precision_is_float32_where_pytorch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)  # as in PyTorch 2.10
    assert resolve_precision("auto", torch.device("cpu")) == torch.float32


@pytest.mark.parametrize("native", [True, False])
def test_auto_precision_of_a_gpu_is_not_emulated(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation)
    expected = torch.bfloat16 if native else torch.float32
    assert resolve_precision("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize(("device", "card"), [("cuda:1", 1), ("cuda:0", 0), ("cuda", -1)])
def test_auto_precision_is_that_of_the_card_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, device: str, card: int
) -> None:
    """PyTorch tells of the current one; -1 leaves that as it is."""
    current: list[int] = []

    @contextmanager
    def on_card(index: int) -> Iterator[None]:
        current.append(index)
        yield
        current.append(99)

    monkeypatch.setattr(torch.cuda, "device", on_card)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: current == [card])
    assert resolve_precision("auto", torch.device(device)) == torch.bfloat16


@pytest.mark.parametrize(
    ("place", "asked", "expected"),
    [
        ("cuda:0", "cuda", True), ("cuda:3", "cuda", True), ("cuda:3", "cuda:3", True), ("cuda", "cuda:0", True),
        ("cuda:0", "cuda:1", False), ("cuda", "cuda:1", False), ("cpu", "cuda", False), ("cuda:0", "cpu", False),
        ("cpu", "cpu", True),
    ],
)  # fmt: skip
def test_a_card_is_any_unless_one_is_named(place: str, asked: str, expected: bool) -> None:
    assert is_on(torch.device(place), torch.device(asked)) == expected


def test_what_a_session_has_set_of_pytorch_does_not_reach_the_work() -> None:
    def settings() -> list[object]:
        weight = torch.zeros(2, requires_grad=True)
        kinds = [torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")]
        return [torch.is_inference_mode_enabled(), torch.get_default_device().type, weight.is_inference(), *kinds]

    own = [False, "cpu", False, False, False]
    assert whatever_the_default(settings)() == own
    with torch.inference_mode(), torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        before = settings()
        assert before == [True, "meta", True, True, False]
        assert whatever_the_default(settings)() == own
        with pytest.raises(ZeroDivisionError):
            whatever_the_default(lambda: 1 // 0)()
        assert settings() == before


def test_the_work_loads_no_pytorch_for_it() -> None:
    code = (
        "import sys; from moldiff.devices import whatever_the_default; "
        "whatever_the_default(print)('done'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(MoldiffError, match="unknown precision 'half'; known are auto, float32, bfloat16"):
        resolve_precision("half", torch.device("cpu"))


@pytest.mark.parametrize(
    "name", ["", "gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cpu:1", "mps:0", "xpu", "cuda:²", "auto:0"]
)
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(MoldiffError, match="unknown device"):
        resolve_device(name)


def test_a_device_without_float64_is_refused() -> None:
    with pytest.raises(MoldiffError, match="device mps: an Apple GPU has no float64, which moldiff needs; use cpu"):
        resolve_device(torch.device("mps"))


def test_usable_cores_are_those_this_process_may_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_PROCESS_GROUPS", tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 7}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    for count, expected in ((4, 4), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert usable_cores() == expected


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1),
        ("0::/", {"cpu.max": "350000 100000"}, 3),
        ("0::/", {"cpu.max": "30000 100000"}, 1),  # a third of a core is one all the same
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {}, 8),
        ("0::/pod/one", {"pod/cpu.max": "200000 100000", "pod/one/cpu.max": "max 100000"}, 2),
        ("0::/pod/one", {"pod/cpu.max": "400000 100000", "pod/one/cpu.max": "300000 100000"}, 3),
        ("0::/of/the/host", {"cpu.max": "200000 100000"}, 2),  # a container sees its own group as the root
        ("0::/", {"cpu.max": "no number"}, 8),
        ("0::/", {"cpu.max": "100000 0"}, 8),
        (
            "3:cpuset:/\n1:cpu,cpuacct:/a:b\n0::/",
            {"cpu/a:b/cpu.cfs_quota_us": "250000\n", "cpu/a:b/cpu.cfs_period_us": "50000\n"},
            5,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("2:cpuset:/a", {"cpu/a/cpu.cfs_quota_us": "100000", "cpu/a/cpu.cfs_period_us": "100000"}, 8),
        ("0::/", {"cpu.max": "9900000 100000"}, 8),
    ],
)
def test_cores_are_no_more_than_control_groups_let_a_process_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, files: dict[str, str], cores: int
) -> None:
    for name, text in files.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "own").write_text(groups + "\n")
    monkeypatch.setattr(devices, "_PROCESS_GROUPS", tmp_path / "own")
    monkeypatch.setattr(devices, "_CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert usable_cores() == cores


def test_memory_that_does_not_suffice_is_told_by_class_or_by_words() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    for error in (
        caught.value, MemoryError(), torch.OutOfMemoryError("x"), RuntimeError("CUDA error: out of memory\nCUDA"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ):  # fmt: skip
        assert is_out_of_memory(error)
    for other in (RuntimeError("CUDA error: an illegal memory access was encountered"), ValueError("out of memory")):
        assert not is_out_of_memory(other)


def test_the_cpu_is_described_first() -> None:
    assert describe_devices()[0].startswith("cpu: ")
