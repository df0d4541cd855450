"""Steps through the buffers of graphs are those of the solver itself, bit by bit, whatever comes in between.

On a CPU nothing is captured, all else is the same code; with a CUDA device the graphs are replayed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from foreigners import Foreigners

from moldiff import device_graphs
from moldiff.arrays import RawSample
from moldiff.choices import Sampler
from moldiff.models.folder import load_model_folder, save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch, empty_batch, map_tensors
from moldiff.randomness import NoiseSource, walk_counter
from moldiff.sampling import captured_solver
from moldiff.sampling.captured_solver import STEPS_BEFORE, CapturedSolver
from moldiff.sampling.constraints import ElementMask
from moldiff.sampling.context import SamplerContext, SolverState
from moldiff.sampling.guidance import Guidance, _flags
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.partial_walks import PartialWalks
from moldiff.sampling.solvers import SOLVERS

DEVICES = [torch.device("cpu"), *([torch.device("cuda", 0)] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES, ids=str)
def placed(request: pytest.FixtureRequest, tiny_model: MoleculeModel) -> MoleculeModel:
    denoiser = copy.deepcopy(tiny_model.denoiser).to(request.param)
    return replace(tiny_model, denoiser=denoiser, diffusion=tiny_model.diffusion.to(request.param))


class Graph:
    """In the place of a graph: replays by calling the work again and filling what it returned first."""

    made = 0

    def __init__(self, work: Any, result: Any) -> None:
        self.work, self.result = work, result
        Graph.made += 1

    def replay(self) -> None:
        map_tensors(torch.Tensor.copy_, self.result, self.work())


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The way through a capture, with a stand-in for the graph that a CPU has not."""

    def captured(work: Any, device: torch.device, beside: Any = None) -> tuple[Graph, Any]:
        result = map_tensors(torch.clone, work())
        return Graph(work, result), result

    monkeypatch.setattr(captured_solver, "captured", captured)
    monkeypatch.setattr(captured_solver, "has_graphs", lambda device: True)
    Graph.made = 0
    yield


def sampler_of(model: MoleculeModel, graphs: bool, solver: str = Sampler.DPMPP_SDE, **further: Any) -> MoleculeSampler:
    return MoleculeSampler(model, SOLVERS[solver], 6, seed=3, graphs=graphs, **further)


def assert_same(found: list[RawSample], expected: list[RawSample]) -> None:
    assert [draw.number for draw in found] == [draw.number for draw in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.failed_at == other.failed_at
        assert one.arrays is not None and other.arrays is not None
        for name in (*FIELDS[:3], "bonds"):
            assert np.array_equal(getattr(one.arrays, name), getattr(other.arrays, name)), name


@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_draws_are_those_step_by_step(placed: MoleculeModel, solver: str) -> None:
    plain, through = (sampler_of(placed, graphs, solver) for graphs in (False, True))
    assert isinstance(through.solver, CapturedSolver) and not isinstance(plain.solver, CapturedSolver)
    assert (through.evaluations, through.solver.is_stochastic) == (plain.evaluations, plain.solver.is_stochastic)
    for first in (0, 9):  # the buffers are used again
        assert_same(list(through.draw(first, 9)), list(plain.draw(first, 9)))


@dataclass(frozen=True)
class Numbered:
    """Draws of one size, which ask for as much as their number."""

    size: int = 9

    def draw(self, numbers: torch.Tensor, source: NoiseSource) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(numbers), self.size), numbers[:, None].numpy().astype(np.float32)


def test_so_are_guided_draws_and_walks_that_begin_with_draws(placed: MoleculeModel) -> None:
    further = {"condition_sampler": Numbered(), "guidance": Guidance.of([2.0])}
    plain, through = (sampler_of(placed, graphs, **further) for graphs in (False, True))
    assert_same(list(through.draw(40, 6)), list(plain.draw(40, 6)))
    drawn = list(plain.draw(0, 6))
    assert_same(list(through.draw(0, 6)), drawn)
    for walk in (1, 2):  # the number of a walk keys its noise
        moved = [list(PartialWalks.evenly(one, 0.6, 4).run(drawn, walk)) for one in (through, plain)]
        assert_same(*moved)
        assert not np.array_equal(moved[0][0].arrays.pos, drawn[0].arrays.pos)
    assert isinstance(through.solver, CapturedSolver)
    assert through.solver._slots


def test_what_came_out_stays_when_the_buffers_are_filled_again(pretended: None, placed: MoleculeModel) -> None:
    plain, through = (sampler_of(placed, graphs) for graphs in (False, True))
    for _ in range(STEPS_BEFORE):
        through.watch(0, lambda _, state, prediction: None)
    assert Graph.made
    found, expected = list[MolBatch](), list[MolBatch]()
    through.watch(0, lambda _, state, prediction: found.append(state))
    plain.watch(0, lambda _, state, prediction: expected.append(state))
    for one, other in zip(found, expected, strict=True):
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def test_walks_of_another_diffusion_and_constrained_ones_are_left_alone(tiny_model: MoleculeModel) -> None:
    through = sampler_of(tiny_model, True)
    solver = through.solver
    assert isinstance(solver, CapturedSolver)
    list(through.draw(0, 2))
    slots = len(solver._slots)
    assert slots
    other = copy.deepcopy(tiny_model.denoiser)
    for parameter in other.parameters():
        parameter.mul_(1.5)
    for changed in (
        replace(tiny_model, denoiser=other),
        replace(tiny_model, diffusion=copy.copy(tiny_model.diffusion)),
    ):
        stranger = MoleculeSampler(changed, solver, 6, seed=3)
        assert_same(list(stranger.draw(0, 2)), list(sampler_of(changed, False).draw(0, 2)))
    assert len(solver._slots) == slots
    elements = tiny_model.vocabulary.elements
    mask = ElementMask(elements, (True,) * len(elements))
    assert not isinstance(sampler_of(tiny_model, True, constraints=(mask,)).solver, CapturedSolver)


def test_counters_of_tensors_are_those_of_numbers() -> None:
    for step, part, walk in ((1, 0, 0), (999, 61, 63), (1 << 19, 3, 1)):
        found = walk_counter(torch.tensor(step), part, torch.tensor(walk))
        assert int(found) == walk_counter(step, part, walk)
        assert int(walk_counter(torch.tensor(step), part, walk)) == walk_counter(step, part, walk)


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_a_step_reads_nothing_back_and_brings_nothing_along(
    tiny_model: MoleculeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solver: str, guided: bool
) -> None:
    """On tensors without values a look at one of them fails; a tensor of the CPU is seen where it comes in. A capture
    fails at both."""
    meta = torch.device("meta")
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    weights = tiny_model.denoiser.state_dict()
    save_model_folder(
        tmp_path / "m", weights=weights, config=tiny_model.config_json(), references={}, card="", half=False
    )
    loaded = MoleculeModel.from_folder(load_model_folder(tmp_path / "m"), meta)
    denoiser, diffusion = loaded.denoiser, loaded.diffusion
    asked = Guidance.of([2.0]).wrap(denoiser) if guided else denoiser
    context = SamplerContext(asked, diffusion, tiny_model.schedule, torch.zeros(2, 1, device=meta), NoiseSource(0))
    molecules = empty_batch(torch.tensor([5, 9]), torch.arange(2), 10, 1).to(meta)
    times = [torch.full((2,), t, dtype=torch.float64, device=meta) for t in (0.9, 0.6, 0.5)]
    through = CapturedSolver(SOLVERS[solver], asked, diffusion)
    state = through.step(context, SolverState(molecules), 1, *times[:2])  # flags of the guidance are there now
    through.step(context, state, 2, *times[1:])
    slots = list(through._slots.values())
    assert len(slots) == 2
    with Foreigners() as seen:
        for slot in slots:
            through._taken(slot)
    assert seen.operations == []
    assert _flags((True,), meta) is _flags((True,), meta), "copied there once"
    with Foreigners() as seen:
        sampler_of(tiny_model, True, solver).draw(0, 1).__next__()
    assert seen.operations != []


def test_a_shape_is_captured_once_it_has_come_often_enough(pretended: None, tiny_model: MoleculeModel) -> None:
    plain, through = (sampler_of(tiny_model, graphs, sizes=(9, 9)) for graphs in (False, True))
    assert isinstance(through.solver, CapturedSolver)
    per_walk = through.evaluations - 2  # a first step without a prediction, a last one that decodes
    for walk in range(12):
        assert_same(list(through.draw(walk, 1)), list(plain.draw(walk, 1)))
        later = (walk + 1) * per_walk > STEPS_BEFORE
        first = walk + 1 > STEPS_BEFORE
        assert Graph.made == later + first


def test_where_a_capture_fails_steps_are_taken_all_the_same(
    pretended: None, monkeypatch: pytest.MonkeyPatch, tiny_model: MoleculeModel, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(captured_solver, "captured", fails)
    plain, through = (sampler_of(tiny_model, graphs) for graphs in (False, True))
    for first in (0, 9, 18):
        assert_same(list(through.draw(first, 9)), list(plain.draw(first, 9)))
    assert [record.getMessage() for record in caplog.records] == [
        "no graph of a step: operation not permitted when stream is capturing; steps are taken one operation at a time"
    ]


def test_a_capture_that_memory_does_not_suffice_for_gives_back_what_others_hold(
    pretended: None, monkeypatch: pytest.MonkeyPatch, tiny_model: MoleculeModel
) -> None:
    through = sampler_of(tiny_model, True)
    solver = through.solver
    assert isinstance(solver, CapturedSolver)

    def fails(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(captured_solver, "captured", fails)
    slot = SimpleNamespace(inputs=SimpleNamespace(t=torch.zeros(1)))
    solver._slots["some"] = slot  # type: ignore[assignment]
    slot.graph = None
    with pytest.raises(torch.OutOfMemoryError):
        solver._capture(slot)  # type: ignore[arg-type]
    assert not solver._slots


@pytest.mark.parametrize("first", [torch.OutOfMemoryError("no memory"), RuntimeError("not permitted"), ValueError("x")])
def test_a_capture_that_fails_says_what_went_wrong_first_and_leaves_the_stream(
    monkeypatch: pytest.MonkeyPatch, first: Exception
) -> None:
    """PyTorch ends a spoiled capture with an error of its own, and stays on the stream of the capture."""
    streams = ["own"]

    @contextmanager
    def on_stream(stream: Any) -> Iterator[None]:
        before = streams[-1]
        streams.append(str(stream))
        try:
            yield
        finally:
            streams.append(before)

    @contextmanager
    def graph(*_: Any, stream: Any, **__: Any) -> Iterator[None]:
        streams.append("of captures")
        try:
            yield
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    pretended_streams(monkeypatch, [])
    monkeypatch.setattr(torch.cuda, "stream", on_stream)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    runs: list[int] = []

    def work() -> None:
        runs.append(1)
        if len(runs) > device_graphs._WARM_UPS:
            raise first

    with pytest.raises(type(first)) as caught:
        try:
            raise KeyError("which is handled meanwhile")
        except KeyError:
            device_graphs.captured(work, torch.device("cuda", 0))
    assert caught.value is first
    assert streams[-1] == "own" and "of captures" in streams
    assert not device_graphs._captures.locked()


def test_what_runs_before_a_capture_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of things, on a machine without streams."""
    told: list[str] = []
    pretended_streams(monkeypatch, told)
    beside = torch.cuda.CUDAGraph()
    graph, result = device_graphs.captured(
        lambda: told.append("work"), torch.device("cuda", 0), beside=beside, undo=lambda: told.append("undo")
    )
    assert told == ["wait", "work", "work", "wait", "undo", "on card 0, in pool: capture on a stream of 0", "work"]
    assert isinstance(graph, torch.cuda.CUDAGraph) and result is None


@pytest.mark.parametrize(("device", "card"), [("cuda:0", 0), ("cuda:1", 1), ("cuda:5", 5), ("cuda", 3)])
def test_steps_are_captured_on_their_own_card(monkeypatch: pytest.MonkeyPatch, device: str, card: int) -> None:
    """Whichever is current (here the fourth), always on one stream of it: graphs that share memory must share it."""
    told: list[str] = []
    pretended_streams(monkeypatch, told)
    used = [device_graphs.captured(lambda: device_graphs._capture_stream(card), torch.device(device)) for _ in "ab"]
    assert [line for line in told if "capture" in line] == [
        f"on card {card}, in None: capture on a stream of {card}"
    ] * 2
    assert used[0][1] is used[1][1]


def pretended_streams(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    """Stand in for PyTorch's streams and graphs on a machine with several cards; the fourth is current."""
    current = [3]

    class Made:
        def pool(self) -> str:
            return "pool"

    def stream_of(device: Any) -> Any:
        card = device if isinstance(device, int) else device.index
        return SimpleNamespace(card=card, wait_stream=lambda _: told.append("wait"))

    @contextmanager
    def on_card(index: int) -> Iterator[None]:
        current.append(index)
        yield
        current.pop()

    def graph(graph: object, pool: object, stream: Any, capture_error_mode: str) -> Any:
        told.append(f"on card {current[-1]}, in {pool}: capture on a stream of {stream.card}")
        return nullcontext()

    for name, value in {
        "Stream": stream_of,
        "current_stream": stream_of,
        "stream": lambda stream: nullcontext(),
        "device": on_card,
        "current_device": lambda: current[-1],
        "CUDAGraph": Made,
        "graph": graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(device_graphs, "_capture_stream", cache(device_graphs._capture_stream.__wrapped__))
