"""Numbered draws, and walks that begin with given molecules, in micro-batches of fixed shapes.

A draw is a function of (model, seed, number, settings) alone, a walk of (model, seed, its key, its molecule, its start,
settings); see `moldiff.sampling.microbatches`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from moldiff.arrays import LogProbabilities, MolArrays, RawSample
from moldiff.choices import DEFAULTS
from moldiff.datasets.batching import bucket_width
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch, MolPrediction, collate, empty_batch, unbatch
from moldiff.randomness import ATTEMPT_BITS, DRAW_BITS, NoiseSource, Stream
from moldiff.sampling.captured_solver import CapturedSolver
from moldiff.sampling.conditions import ConditionSampler, UnconditionalSampler
from moldiff.sampling.constraints import ConstrainedDenoiser, Constraint
from moldiff.sampling.guidance import Guidance
from moldiff.sampling.microbatches import MicroBatches
from moldiff.sampling.property_guidance import PropertyGradient
from moldiff.sampling.sampler import Sample, evaluations_of, sample, steps_within
from moldiff.sampling.solvers import Solver
from moldiff.sampling.time_grids import GRIDS, Grid
from moldiff.threads import INLINE, Workers


@dataclass(frozen=True)
class TrajectoryState:
    """One state on a draw's way down, and the prediction that led there; one row each.

    Attributes:
        t: time of the state.
        state: the noisy molecule.
        previous: of the step before, which self-conditioning sees in this state.
    """

    t: float
    state: MolBatch
    previous: MolPrediction


class MoleculeSampler:
    """Makes numbered draws from a model.

    Args:
        model: on the device that the work is done on.
        solver: update rule.
        evaluations: network evaluations for each draw, at most; see `evaluations`.
        seed: of the run.
        sizes: allowed numbers of atoms, inclusive; None = all of the training data's.
        keep_predictions: hand over the log-probabilities of the final prediction with every draw.
        grid: where the steps fall.
        condition_sampler: of sizes and conditions; None = the training data's sizes within ``sizes``, nothing wanted.
        guidance: how strongly the condition pulls; None = plain conditioning.
        constraints: what every molecule must obey.
        workers: run the micro-batches.
        gradient: of a property network, on top of the guidance.
        graphs: steps go through the buffers of CUDA graphs, see `moldiff.sampling.captured_solver`; None = on a CUDA
            device. Never with constraints or a gradient, which do not compute on the device alone.

    Attributes:
        denoiser: guided and constrained. One call takes ``evaluations_per_call`` network evaluations.
        evaluations: real number of network evaluations for each draw: as many as whole steps of the solver allow.
    """

    def __init__(
        self,
        model: MoleculeModel,
        solver: Solver,
        evaluations: int,
        seed: int,
        sizes: tuple[int, int] | None = None,
        keep_predictions: bool = False,
        grid: Grid = GRIDS[DEFAULTS.grid],
        condition_sampler: ConditionSampler | None = None,
        guidance: Guidance | None = None,
        constraints: tuple[Constraint, ...] = (),
        workers: Workers = INLINE,
        gradient: PropertyGradient | None = None,
        graphs: bool | None = None,
    ) -> None:
        self.keep_predictions = keep_predictions
        self.model, self.source = model, NoiseSource(seed)
        free = condition_sampler is None or isinstance(condition_sampler, UnconditionalSampler)
        denoiser = model.denoiser.without_feedback() if free else model.denoiser
        guided = denoiser if guidance is None else guidance.wrap(denoiser)
        guided = guided if gradient is None else gradient.wrap(guided)
        self.denoiser = ConstrainedDenoiser(guided, constraints) if constraints else guided
        captures = model.device.type == "cuda" if graphs is None else graphs
        self.solver: Solver = solver
        if captures and not constraints and gradient is None:
            self.solver = CapturedSolver(solver, self.denoiser, model.diffusion)
        self.constraints = constraints
        self.evaluations_per_call = 1 if guidance is None else guidance.evaluations
        steps = steps_within(solver, max(1, evaluations // self.evaluations_per_call))
        self.evaluations = self.evaluations_per_call * evaluations_of(solver, steps)
        largest = max(model.statistics.size_counts) if sizes is None else sizes[1]
        spread = float(model.diffusion.position_std[min(largest, len(model.diffusion.position_std) - 1)])
        self.grid = grid.times(model.schedule, steps, model.sampling.window_start * spread)
        self.device = model.device
        self.micro_batches = MicroBatches(
            self.device, workers, precision=model.denoiser.precision, cpu_rows=model.sampling.rows
        )
        self._condition_sampler = condition_sampler or UnconditionalSampler(
            model.statistics.size_counts, sizes, len(model.conditions)
        )

    def size(self, numbers: Tensor) -> np.ndarray:
        """Return the number of atoms of draws ``numbers`` (M,)."""
        return self._condition_sampler.draw(numbers, self.source)[0]

    def condition(self, numbers: Tensor) -> np.ndarray:
        """Return what draws ``numbers`` (M,) are conditioned on, (M, P) float32, NaN = free."""
        return self._condition_sampler.draw(numbers, self.source)[1]

    @property
    def rows(self) -> int:
        """Rows of a micro-batch."""
        return self.micro_batches.rows

    def draw(self, first: int, count: int) -> Iterator[RawSample]:
        """Return draws first .. first + count - 1, not in order; workers begin with them at once."""
        items, widths = self._items(first, count)
        return (draw for _, draw in self.micro_batches.run(items, widths, self._micro_batch))

    def walks(self, first: int, count: int, states: int) -> Iterator[tuple[RawSample, list[TrajectoryState]]]:
        """Return draws as `draw` does, each with up to so many of the states that it passed, in order: those between
        two steps, chosen at random by the seed and the draw's number."""
        items, widths = self._items(first, count)
        work = partial(self._walked, states=states)
        return (walked for _, walked in self.micro_batches.run(items, widths, work))

    def _items(self, first: int, count: int) -> tuple[list[tuple[int, int]], list[int]]:
        """Return number and size of draws first .. first + count - 1, and their padded widths."""
        numbers = torch.arange(first, first + count)
        sizes = self.size(numbers).tolist()
        return list(zip(numbers.tolist(), sizes, strict=True)), [bucket_width(size) for size in sizes]

    def _walked(self, items: list[tuple[int, int]], states: int) -> list[tuple[RawSample, list[TrajectoryState]]]:
        """Run one micro-batch and keep some of the states."""
        path: list[tuple[MolBatch, MolPrediction]] = []
        draws = self._micro_batch(items, lambda _, state, prediction: path.append((state, prediction)))
        del path[-1]  # decoded: no state any more
        numbers = torch.tensor([number for number, _ in items])
        order = self.source.uniform(numbers, 0, Stream.TIME, len(path)).argsort(1)[:, :states].sort(1).values.tolist()
        return [
            (draw, [_passed(float(self.grid[step + 1]), path[step], row) for step in order[row]])
            for row, draw in enumerate(draws)
        ]

    def watch(self, number: int, after_step: Callable[[int, MolBatch, MolPrediction], None]) -> None:
        """Make draw ``number`` again; ``after_step`` is called as in `sample`, and its first row is that draw."""
        size = int(self.size(torch.tensor([number]))[0])
        self._micro_batch([(number, size)] * self.micro_batches.rows_of(bucket_width(size)), after_step)

    def _micro_batch(
        self,
        items: list[tuple[int, int]],
        after_step: Callable[[int, MolBatch, MolPrediction], None] | None = None,
    ) -> list[RawSample]:
        """Run one micro-batch of draws, each with its number and its size; all of one width."""
        model, (numbers, sizes) = self.model, torch.tensor(items).unbind(1)
        template = empty_batch(sizes, numbers, bucket_width(int(sizes[0])), len(model.conditions))
        template = template.replace(properties=torch.from_numpy(self.condition(numbers)))
        result = sample(
            self.denoiser, model.diffusion, model.schedule, template.to(self.device), self.grid, self.solver,
            self.source, after_step,
        )  # fmt: skip
        return draws_of(self.decided(result), numbers.tolist(), self.keep_predictions)

    def decided(self, result: Sample) -> Sample:
        """Return a sample whose molecules obey the constraints.

        Its prediction stays undecided: decoding anew must know how probable other molecules are that obey.
        """
        molecules, prediction = result.molecules, result.prediction
        for constraint in self.constraints:
            prediction = constraint.decide(molecules, prediction)
        if not self.constraints:
            return result
        return replace(result, molecules=self.model.diffusion.decode(molecules, prediction))


def _passed(t: float, after: tuple[MolBatch, MolPrediction], row: int) -> TrajectoryState:
    """Return one row on the CPU, by copies: a view would keep the whole micro-batch."""
    state, prediction = after
    here = torch.tensor([row], device=state.mask.device)
    return TrajectoryState(
        t, state[here].to("cpu"), MolPrediction(*(getattr(prediction, name)[here].cpu() for name in FIELDS))
    )


def draws_of(result: Sample, numbers: list[int], keep_predictions: bool) -> list[RawSample]:
    """Return the first rows of a sample as draws of these numbers."""
    arrays, failed = unbatch(result.molecules), result.failed_at.tolist()
    beliefs = log_probabilities(result.prediction, result.molecules.n_atoms) if keep_predictions else None
    return [
        RawSample(
            number,
            arrays[row] if failed[row] < 0 else None,
            failed[row],
            beliefs[row] if beliefs is not None and failed[row] < 0 else None,
        )
        for row, number in enumerate(numbers)
    ]


def log_probabilities(prediction: MolPrediction, n_atoms: Tensor) -> list[LogProbabilities]:
    """Return the normalised log-probabilities of each molecule of a prediction, without padding, on the CPU."""
    atom_type, charge, bond_type = (
        torch.log_softmax(logits.double(), dim=-1).float().cpu().numpy()
        for logits in (prediction.atom_type, prediction.charge, prediction.bond_type)
    )
    return [
        LogProbabilities(atom_type[row, :n].copy(), charge[row, :n].copy(), bond_type[row, :n, :n].copy())
        for row, n in enumerate(n_atoms.tolist())
    ]


MOST_DRAWS, MOST_ATTEMPTS = 1 << DRAW_BITS, 1 << ATTEMPT_BITS  # for each record


@dataclass(frozen=True)
class Task:
    """One walk to make.

    Attributes:
        key: identity that its noise is keyed by, see `moldiff.randomness.record_key`.
        arrays: the molecule, zero mean.
        start: the time at which the walk begins, 0 < start <= 1.
    """

    key: int
    arrays: MolArrays
    start: float = 1.0


class TaskRunner:
    """Makes walks with the micro-batches, workers and predictions of a sampler.

    Args:
        sampler: gives rows, workers, device, and how a result is decided.
        walk: from a batch and the start times (B,) of its rows to a sample; guidance and constraints are its own.
    """

    def __init__(self, sampler: MoleculeSampler, walk: Callable[[MolBatch, Tensor], Sample]) -> None:
        self.sampler, self.walk = sampler, walk

    def run(self, tasks: Sequence[Task]) -> Iterator[RawSample]:
        """Return a draw for each task, its number the task's key; those of one width in order."""
        widths = [bucket_width(len(task.arrays.atom_type)) for task in tasks]
        return (draw for _, draw in self.sampler.micro_batches.run(tasks, widths, self._micro_batch))

    def _micro_batch(self, tasks: list[Task]) -> list[RawSample]:
        """Run one micro-batch."""
        arrays = [task.arrays for task in tasks]
        properties = torch.full((len(tasks), len(self.sampler.model.conditions)), torch.nan, dtype=torch.float32)
        keys = torch.tensor([task.key for task in tasks])
        batch = collate(arrays, keys, bucket_width(len(arrays[0].atom_type)), properties)
        times = torch.tensor([task.start for task in tasks], dtype=torch.float64)
        result = self.walk(batch.to(self.sampler.device), times.to(self.sampler.device))
        return draws_of(self.sampler.decided(result), keys.tolist(), self.sampler.keep_predictions)
