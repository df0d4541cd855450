"""Steps from buffers, captured on a card: the same numbers as step by step; what is not finite is undone.

On a CPU nothing is captured, all else is the same code.
"""

import contextlib
import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from foreigners import Foreigners

from moldiff import device_graphs
from moldiff.config import OptimizerConfig, PaceConfig, load_training
from moldiff.datasets.prepared import DeviceArrays
from moldiff.errors import MoldiffError
from moldiff.training import step_graphs
from moldiff.training.acceleration import wants_graphs
from moldiff.training.checkpoint import list_states, load_state
from moldiff.training.denoiser_module import DenoisingTask
from moldiff.training.denoiser_run import TrainingRun
from moldiff.training.optimizers import build_optimizers
from moldiff.training.step_graphs import Kind, Snapshot, StepGraphs, StepInputs
from moldiff.training.train import train

Write = Callable[..., Path]
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def assert_equal_states(first: Path, second: Path) -> None:
    one, other = load_state(first), load_state(second)
    assert (one.step, one.average_count) == (other.step, other.average_count)
    for group, twin in zip(
        (one.weights, one.average, *one.optimizers), (other.weights, other.average, *other.optimizers), strict=True
    ):
        assert group.keys() == twin.keys()
        assert all(torch.equal(group[name], twin[name]) for name in group)


def losses_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    return [{name: row[name] for name in row if name not in ("seconds", "molecules_per_second")} for row in rows]


def test_twenty_steps_from_buffers_are_those_step_by_step_bit_by_bit(training_file: Write, tmp_path: Path) -> None:
    for name, graphs in (("plain", "false"), ("buffers", "true")):
        train(training_file(name), ["training.steps=20", f"training.graphs={graphs}", "training.checkpoint_every=20"])
    assert_equal_states(*(tmp_path / name / "checkpoints/step-00000020" for name in ("plain", "buffers")))
    assert losses_of(tmp_path / "plain") == losses_of(tmp_path / "buffers")
    assert len(losses_of(tmp_path / "plain")) == 10


def test_both_kinds_and_several_widths_occur_and_each_has_its_buffers(training_file: Write) -> None:
    run = TrainingRun(load_training(training_file(), ["training.graphs=true", "training.steps=20"]), None, None)
    run.fit()
    expected = [run.task.inputs(step) for step in range(1, 20)]  # the first one is taken without
    assert run.task._graphs is not None
    assert set(run.task._graphs._slots) == {(inputs.kind, inputs.width) for inputs in expected}
    assert {inputs.kind for inputs in expected} == {Kind.DATA, Kind.SELF_CONDITIONED}
    assert len({inputs.width for inputs in expected}) > 2


def test_a_run_from_buffers_goes_on_as_if_nothing_had_happened(training_file: Write, tmp_path: Path) -> None:
    train(training_file("whole"), ["training.graphs=true"])
    train(training_file("parts"), ["training.graphs=true", "training.steps=4"])
    train(tmp_path / "parts.yaml", ["training.graphs=true", "training.steps=8"], resume="auto")
    assert_equal_states(tmp_path / "whole/checkpoints/step-00000008", tmp_path / "parts/checkpoints/step-00000008")


def test_what_is_not_finite_is_undone_to_where_steps_were_looked_at_last(
    training_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = DenoisingTask.setup_batch

    def poisoned(self: DenoisingTask, inputs: StepInputs) -> object:
        clean, levels, noisy = original(self, inputs)
        return clean, levels, noisy.replace(pos=noisy.pos * float("nan")) if int(inputs.step) == 5 else noisy

    monkeypatch.setattr(DenoisingTask, "setup_batch", poisoned)
    changes = ["training.graphs=true", "training.log_every=8", "training.validate_every=8"]
    run = TrainingRun(load_training(training_file(), changes), None, None)
    with pytest.raises(MoldiffError, match="steps 4 to 7: the loss or its gradient is not finite; nothing was updated"):
        run.fit()
    state = load_state(list_states(tmp_path / "run" / "checkpoints")[-1])
    assert state.step == run.task.step == 4
    assert int(run.task.average.n_averaged) == state.average_count
    for module, kept in ((run.task.trained, state.weights), (run.task.averaged, state.average)):
        assert all(torch.equal(value, kept[name]) for name, value in module.state_dict().items())


def test_a_snapshot_puts_back_in_place() -> None:
    tensors = [torch.ones(3), torch.tensor(2)]
    snapshot = Snapshot(tensors)
    tensors[0].mul_(5)
    snapshot.restore()
    assert tensors[0].tolist() == [1, 1, 1]
    tensors[1].fill_(7)
    snapshot.take()
    tensors[1].fill_(9)
    snapshot.restore()
    assert int(tensors[1]) == 7


def inputs(step: int, width: int = 4, kind: Kind = Kind.DATA) -> StepInputs:
    return StepInputs(kind, width, torch.tensor([step, 1]), torch.tensor([0, 0]), torch.tensor(step))


def test_steps_of_one_kind_and_width_read_the_same_buffers() -> None:
    seen: list[StepInputs] = []
    values: list[tuple[list[int], int]] = []

    def work(given: StepInputs) -> None:
        seen.append(given)
        values.append((given.rows.tolist(), int(given.step)))

    graphs, first = StepGraphs(CPU, work, list), inputs(1)
    for given in (first, inputs(2), inputs(3, width=6), inputs(4, kind=Kind.OWN_DRAWS)):
        graphs.run(given)
    assert values == [([1, 1], 1), ([2, 1], 2), ([3, 1], 3), ([4, 1], 4)]
    assert seen[0].rows is seen[1].rows
    assert seen[0].step is seen[1].step
    assert len({given.rows.data_ptr() for given in seen}) == 3
    assert int(first.step) == 1  # the caller's own tensors stay as they are


def test_the_steps_before_a_capture_are_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for CUDA that runs what it captures, as a capture itself changes nothing."""

    class Stream:
        def wait_stream(self, other: object) -> None:
            assert other is not None

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "device", lambda index: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, pool, stream, capture_error_mode: contextlib.nullcontext())
    monkeypatch.setattr(device_graphs, "_capture_stream", lambda index: Stream())
    state, taken = torch.zeros(2), []

    def work(given: StepInputs) -> None:
        taken.append(int(given.step))
        state.add_(1)

    StepGraphs(torch.device("cuda", 0), work, lambda: [state])._captured(inputs(3))
    assert len(taken) > 1
    assert state.tolist() == [1, 1]


def test_where_a_capture_fails_steps_are_taken_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(step_graphs, "has_graphs", lambda device: True)
    state, failures = torch.zeros(2), []

    def fails(work: Callable[[], None], *_: Any, **__: Any) -> Any:
        work()  # a warm-up, which is undone
        failures.append(1)
        raise RuntimeError("operation not permitted\nand more")

    def work(given: StepInputs) -> None:
        state.add_(int(given.step))

    monkeypatch.setattr(step_graphs, "captured", fails)
    graphs = StepGraphs(CPU, work, lambda: [state])
    for given in (inputs(1), inputs(2), inputs(3, width=6)):
        graphs.run(given)
    assert state.tolist() == [6, 6] and len(failures) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "no graph of a training step: operation not permitted; others are taken without"
    ]

    def too_large(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(step_graphs, "captured", too_large)
    with pytest.raises(torch.OutOfMemoryError):
        StepGraphs(CPU, work, lambda: [state]).run(inputs(1))


def test_by_itself_it_captures_on_one_cuda_device_alone() -> None:
    assert wants_graphs(PaceConfig(graphs="auto"), CUDA)
    assert not wants_graphs(PaceConfig(graphs="auto"), CPU)
    assert not wants_graphs(PaceConfig(graphs="auto", devices=2), CUDA)
    assert wants_graphs(PaceConfig(), CUDA)
    assert wants_graphs(PaceConfig(graphs=True), CPU)
    assert not wants_graphs(PaceConfig(graphs=False), CUDA)
    with pytest.raises(MoldiffError, match=r"set training.devices=1 or training.graphs=false"):
        wants_graphs(PaceConfig(graphs=True, devices=2), CUDA)


@pytest.mark.parametrize("kind", [Kind.DATA, Kind.SELF_CONDITIONED])
def test_a_step_reads_nothing_back_and_brings_nothing_along(
    training_file: Write, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    """On tensors without values a look at one of them fails; a tensor of the CPU is seen where it comes in. A capture
    fails at both."""
    run = TrainingRun(load_training(training_file(), ["training.graphs=true"]), None, None)
    task, meta = run.task, torch.device("meta")
    task.trained.to(meta)
    task.averaged.to(meta)
    task.arrays = DeviceArrays(run.dataset, meta, properties=run.model.conditions, vocabulary=run.model.vocabulary)
    diffusion = task.model.diffusion
    diffusion.position_std = diffusion.position_std.to(meta)
    for process in diffusion.categories.values():
        process.limit = process.limit.to(meta)
    task._weights, task._sums = task._weights.to(meta), task._sums.to(meta)
    optimizers = [*build_optimizers(task, OptimizerConfig(muon_learning_rate=0.002, weight_decay=0.1))[1:]]
    optimizers[0].param_groups[0]["lr"] = torch.zeros((), device=meta)
    monkeypatch.setattr(DenoisingTask, "trainer", SimpleNamespace(optimizers=optimizers))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    given = next(inputs for inputs in map(task.inputs, range(40)) if inputs.kind is kind)
    moved = given.to(meta)
    with Foreigners() as seen:
        task.unguarded_step(moved)
    assert seen.operations == []
    assert all(parameter.grad is not None for parameter in optimizers[0].param_groups[0]["params"])
    with Foreigners() as seen:
        task.unguarded_step(given)
    assert seen.operations != []
