"""Measurements of drawing molecules: the same ones again, how many a second, and where the time goes.

All molecules of a model have its most frequent size, but where their number is given: a micro-batch on a card always
has all its rows, so that a few molecules of every size would cost as much as many.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from moldiff.arrays import RawSample
from moldiff.datasets.batching import bucket_width
from moldiff.devices import chemistry_workers
from moldiff.diffusion.joint import draw_noise
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolPrediction, empty_batch
from moldiff.randomness import NoiseSource
from moldiff.sampling.captured_solver import STEPS_BEFORE, CapturedSolver
from moldiff.sampling.microbatches import MicroBatches
from moldiff.sampling.molecule_sampler import MoleculeSampler, draws_of
from moldiff.sampling.sampler import sample
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS
from scripts.device.cost import cost_of, noisy_batch
from scripts.device.setting import Figure, Setting, common_size

SEED = 0
ROWS_OF_AN_EVALUATION = 8
FEWEST_REPEATED = 8  # molecules that are drawn again
FEW, MOST = 256, 50_000  # molecules of a generation


def sampler_of(model: MoleculeModel, setting: Setting, graphs: bool | None = None) -> MoleculeSampler:
    """Return what draws molecules of a model's most frequent size, in the way that is the model's own.

    Args:
        model: on the device.
        setting: of the check.
        graphs: steps are captured and replayed; None = as the package does by itself.
    """
    method, size = model.sampling, common_size(model.statistics)
    return MoleculeSampler(
        model,
        SOLVERS[method.sampler],
        setting.evaluations or method.evaluations,
        SEED,
        sizes=(size, size),
        grid=GRIDS[method.grid],
        graphs=graphs,
    )


def agreement(setting: Setting, seconds: float) -> Iterator[Figure]:
    """Compare one evaluation in float32 with the CPU's."""
    name, found = setting.models[0], list[MolPrediction]()
    for device in (torch.device("cpu"), setting.device):
        model = setting.model(name, device=device, exact=True)
        batch, levels = noisy_batch(model, common_size(model.statistics), ROWS_OF_AN_EVALUATION, device)
        with torch.no_grad():
            found.append(model.denoiser(batch, levels, batch.properties, None))
    for field in FIELDS:
        ours, theirs = (getattr(prediction, field).double().cpu() for prediction in found)
        deviation = float((ours - theirs).abs().max() / ours.abs().max())
        yield Figure(f"{field} on the device and on the CPU", deviation, "relative", f"{name}, float32")


def same_draw(one: RawSample, other: RawSample) -> bool:
    """Return whether two draws are the same, bit by bit."""
    if one.arrays is None or other.arrays is None:
        return one.arrays is other.arrays
    return all(
        np.array_equal(getattr(one.arrays, name), getattr(other.arrays, name))
        for name in ("pos", "atom_type", "charge", "bonds")
    )


def repeated(setting: Setting, seconds: float) -> Iterator[Figure]:
    """Draw the same molecules again, and half of them in other company."""
    name = setting.models[-1]
    sampler = sampler_of(setting.model(name), setting)
    n, note = max(sampler.rows, FEWEST_REPEATED), f"{name}, {setting.precision_name}, bit by bit"

    def drawn(first: int) -> dict[int, RawSample]:
        return {draw.number: draw for draw in sampler.draw(first, n)}

    once = drawn(0)
    for what, first in (("when drawn again", 0), ("in other company", n // 2)):
        both = {number: draw for number, draw in drawn(first).items() if number in once}
        same = sum(same_draw(once[number], draw) for number, draw in both.items())
        yield Figure(f"molecules that are the same {what}", f"{same} of {len(both)}", note=note)
    eagerly, by_graph = (sampler_of(setting.model(name), setting, graphs) for graphs in (False, True))
    _warm(by_graph, n)
    drawn_by_graph = {draw.number: draw for draw in by_graph.draw(0, n)}
    same = sum(same_draw(drawn_by_graph[draw.number], draw) for draw in eagerly.draw(0, n))
    yield Figure("molecules by graph as eagerly", f"{same} of {n}", note=note)


def by_rows(setting: Setting, seconds: float) -> Iterator[Figure]:
    """Measure how many molecules are drawn a second, by the rows of a micro-batch."""
    name = setting.models[0]
    model = setting.model(name)
    size, warm = common_size(model.statistics), False
    for rows in setting.rows:
        sampler = sampler_of(model, setting)
        sampler.micro_batches = MicroBatches(sampler.device, rows=rows)
        if not warm:
            warm = bool(_piece(sampler, rows, 0))
        setting.forget_peak()
        rate = setting.rate(partial(_piece, sampler, rows), seconds / (len(setting.rows) + 1))
        note = (
            f"{name}, {size} atoms, {sampler.evaluations} evaluations, {setting.precision_name}, "
            f"{setting.peak():.2f} GiB"
        )
        cut = "" if sampler.rows == rows else f", cut to {sampler.rows} by memory"
        yield Figure(f"{rows} rows{cut}", rate, "molecules/s", note)


def _piece(sampler: MoleculeSampler, count: int, number: int) -> int:
    """Draw so many molecules anew, with the numbers of a piece."""
    return len(list(sampler.draw(number * count, count)))


def _warm(sampler: MoleculeSampler, rows: int) -> None:
    """Draw until all steps of a shape are captured, if any are."""
    captures = isinstance(sampler.solver, CapturedSolver) and sampler.device.type == "cuda"
    for number in range(STEPS_BEFORE + 1 if captures else 1):
        _piece(sampler, rows, number)


def by_model(setting: Setting, seconds: float) -> Iterator[Figure]:
    """Measure how many molecules are drawn a second from each model, without RDKit."""
    for name in setting.models:
        model = setting.model(name)
        size = common_size(model.statistics)
        for graphs in (False, True):
            sampler = sampler_of(model, setting, graphs)
            rows = sampler.micro_batches.rows_of(bucket_width(size))
            _warm(sampler, rows)
            rate = setting.rate(partial(_piece, sampler, rows), seconds / len(setting.models) / 4)
            note = f"{size} atoms, {sampler.evaluations} evaluations, {rows} rows, without RDKit"
            yield Figure(f"{name}, {'by graph' if graphs else 'eagerly'}", rate, "molecules/s", note)


def parts(setting: Setting, seconds: float) -> Iterator[Figure]:
    """Measure the parts of a micro-batch, each by itself, and put the network's floor beside them."""
    name = setting.models[0]
    model = setting.model(name)
    size, sampler = common_size(model.statistics), sampler_of(model, setting)
    rows, evaluations = sampler.micro_batches.rows_of(bucket_width(size)), sampler.evaluations
    batch, levels = noisy_batch(model, size, rows, setting.device)
    width = batch.mask.shape[1]
    with torch.no_grad():
        previous = model.denoiser(batch, levels, batch.properties, None)

    def evaluate() -> object:
        with torch.no_grad():
            return model.denoiser(batch, levels, batch.properties, previous)

    template = empty_batch(torch.full((rows,), size), torch.arange(rows), width, len(model.conditions))
    last = sample(
        model.denoiser, model.diffusion, model.schedule, template.to(setting.device), sampler.grid[-2:],
        sampler.solver, sampler.source,
    )  # fmt: skip
    whole = setting.median(lambda: list(sampler.draw(0, rows)), seconds / 3, least=1)
    works: dict[str, tuple[Callable[[], object], int]] = {
        "network": (evaluate, evaluations),
        "noise": (lambda: draw_noise(NoiseSource(SEED), batch.ids, 1, width), evaluations),
        "transfer and unpacking": (lambda: draws_of(last, list(range(rows)), False), 1),
    }
    note = f"{name}, {rows} rows of {size} atoms, {evaluations} evaluations: {whole:.3g} s"
    rest = whole
    for part, (work, times) in works.items():
        took = times * setting.median(work, seconds / 6)
        rest -= took
        yield Figure(f"share of {part}", took / whole, note=note)
    yield Figure("share of posteriors and the rest", rest / whole, note=note)
    yield from cost_of(model.denoiser, evaluate).floor(setting, rows, evaluations, "drawing")


def end_to_end(setting: Setting, seconds: float) -> Iterator[Figure]:
    """Measure whole generations as the command line makes them: drawn, decoded, checked and described by RDKit, written
    into SDF, table and record. The steady rate leaves out loading and, if there are more, the first batch with its
    captures. Where the numbers are given, molecules have all sizes."""
    share = seconds / len(setting.models)
    few = FEW if setting.evaluations is None else ROWS_OF_AN_EVALUATION
    for name, n in (setting.generated or dict.fromkeys(setting.models, few)).items():
        size = None if setting.generated else common_size(setting.model(name).statistics)
        watched = _generated(name, n, size, setting)
        if not setting.generated and setting.evaluations is None and watched.seconds < share / 3:
            n = int(min(MOST, n * 0.8 * (share - watched.seconds) / watched.seconds))
            watched = _generated(name, n, size, setting)
        atoms, evaluations = "all sizes" if size is None else f"{size} atoms", setting.evaluations or "default"
        note = f"{watched.valid} of {n} molecules valid, {atoms}, {evaluations} evaluations, files written"
        whole = f"{note}, loading included: {watched.seconds:.1f} s"
        yield Figure(f"{name}, with RDKit", watched.valid / watched.seconds, "valid molecules/s", whole)
        yield Figure(
            f"{name}, steady", watched.steady, "valid molecules/s", f"{note}; loading and first batch left out"
        )


@dataclass(frozen=True)
class _Watched:
    """What came of a generation: valid molecules, its seconds, and valid molecules/s at a steady pace."""

    valid: int
    seconds: float
    steady: float


def _generated(name: str, n: int, size: int | None, setting: Setting) -> _Watched:
    """Generate n molecules of a size, or of all, into files that are thrown away, and note when each is there."""
    from moldiff.generation.generate_run import GenerateRun
    from moldiff.generation.molecule_result import MoleculeResult
    from moldiff.generation.options.generation_options import GenerationOptions
    from moldiff.generation.options.output import OutputOptions
    from moldiff.generation.options.sampler_options import SamplerOptions
    from moldiff.generation.options.steering_options import SteeringOptions

    seen = list[tuple[float, int]]()

    class NotedRun(GenerateRun):
        def note(self, result: MoleculeResult) -> None:
            super().note(result)
            seen.append((time.perf_counter(), self.counts.valid))

    with tempfile.TemporaryDirectory() as folder:
        options = GenerationOptions(
            n=n,
            model=name,
            steering=SteeringOptions.of(n_atoms=size),
            sampler=SamplerOptions.of(evaluations=setting.evaluations, device=str(setting.device)),
            output=OutputOptions(path=Path(folder) / "molecules.sdf"),
            workers=chemistry_workers(setting.device),  # as the command does
        )
        start = time.perf_counter()
        run = NotedRun(options)
        seen.append((time.perf_counter(), 0))
        run.write()
        end = time.perf_counter()
    # results of a batch come all at once, when it is drawn: what counts begins behind one
    batch = run.sampler.batch_size
    began, before = seen[batch if batch < n else 0]
    return _Watched(run.counts.valid, end - start, (run.counts.valid - before) / (end - began))
