"""Numbered draws: which sizes, which micro-batches. A draw is a function of (model, seed, number, settings) alone.

Micro-batches have fixed shapes: the padded width follows from a molecule's own size, the number of rows is a constant
of the device. So the arithmetic that makes a molecule does not depend on how many are asked for or in which batch it
falls.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from moldiff.datasets.batching import bucket_width
from moldiff.errors import MoldiffError
from moldiff.model import MoleculeModel
from moldiff.molecules import MolArrays, MolBatch, MolPrediction, unbatch
from moldiff.randomness import NoiseSource
from moldiff.sampling.constraints import ConstrainedDenoiser, Constraint
from moldiff.sampling.grids import DEFAULT_GRID, GRIDS, Grid
from moldiff.sampling.guidance import Guidance
from moldiff.sampling.programme import LogProbabilities
from moldiff.sampling.sampler import Sample, evaluations_of, sample, steps_within
from moldiff.sampling.solvers import Solver
from moldiff.sampling.starts import FreeStarts, Starts
from moldiff.workers import INLINE, Workers

logger = logging.getLogger(__name__)

ROWS = {"cpu": 8, "cuda": 256, "mps": 64}  # rows of a micro-batch


@dataclass(frozen=True)
class Draw:
    """One draw: its number, its arrays, or the step at which its state stopped being finite; and on demand the
    log-probabilities behind the arrays."""

    number: int
    arrays: MolArrays | None
    failed_at: int
    log_probabilities: LogProbabilities | None = None


class Drawer:
    """Makes numbered draws from a model.

    Args:
        model: on the device that the work is done on.
        solver: update rule.
        evaluations: network evaluations for each draw, at most; see `evaluations`.
        seed: of the run.
        sizes: allowed numbers of atoms, inclusive; None = all of the training data's.
        keep_predictions: hand over the log-probabilities of the final prediction with every draw.
        grid: where the steps fall.
        starts: size and condition of each draw; None = the training data's sizes within ``sizes``, nothing wanted.
        guidance: how strongly the condition pulls; None = plain conditioning.
        constraints: what every molecule must obey.
        workers: run the micro-batches.

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
        grid: Grid = GRIDS[DEFAULT_GRID],
        starts: Starts | None = None,
        guidance: Guidance | None = None,
        constraints: tuple[Constraint, ...] = (),
        workers: Workers = INLINE,
    ) -> None:
        self.keep_predictions, self.workers = keep_predictions, workers
        self.model, self.solver, self.source = model, solver, NoiseSource(seed)
        guided = model.denoiser if guidance is None else guidance.wrap(model.denoiser)
        self.denoiser = ConstrainedDenoiser(guided, constraints) if constraints else guided
        self.constraints = constraints
        self.evaluations_per_call = 1 if guidance is None else guidance.evaluations
        steps = steps_within(solver, max(1, evaluations // self.evaluations_per_call))
        self.evaluations = self.evaluations_per_call * evaluations_of(solver, steps)
        self.grid = grid.times(model.curve, steps)
        self.device = next(model.denoiser.parameters()).device
        self.rows = ROWS[self.device.type]
        self._starts = starts or FreeStarts(model.statistics.size_counts, sizes, len(model.conditions))

    def size(self, numbers: Tensor) -> np.ndarray:
        """Return the number of atoms of draws ``numbers`` (M,)."""
        return self._starts.draw(numbers, self.source)[0]

    def condition(self, numbers: Tensor) -> np.ndarray:
        """Return what draws ``numbers`` (M,) are conditioned on, (M, P) float32, NaN = free."""
        return self._starts.draw(numbers, self.source)[1]

    def draw(self, first: int, count: int) -> Iterator[Draw]:
        """Return draws first .. first + count - 1, grouped by width, not in order; workers begin with them at once."""
        numbers = np.arange(first, first + count)
        sizes = self.size(torch.from_numpy(numbers))
        widths = np.array([bucket_width(int(n)) for n in sizes])
        parts = []
        for width in np.unique(widths).tolist():
            members = np.flatnonzero(widths == width)
            parts += [members[start : start + self.rows] for start in range(0, len(members), self.rows)]

        def run(part: np.ndarray) -> list[Draw]:
            return self._within_memory(numbers[part], sizes[part], int(widths[part[0]]))

        return chain.from_iterable(self.workers.map(run, parts))

    def _within_memory(self, numbers: np.ndarray, sizes: np.ndarray, width: int) -> list[Draw]:
        """Run draws of one width as one micro-batch, or as several smaller ones if memory does not suffice."""
        rows = self.rows
        try:
            return [
                draw
                for start in range(0, len(numbers), rows)
                for draw in self._micro_batch(numbers[start : start + rows], sizes[start : start + rows], width, rows)
            ]
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if rows == 1:
                raise MoldiffError(
                    f"memory does not suffice for one molecule of {sizes[0]} atoms on {self.device}"
                ) from error
            if self.rows == rows:  # or another micro-batch has halved them meanwhile
                self.rows = rows // 2
                logger.warning(
                    "out of memory: going on with %d molecules at a time (last digits may differ)", self.rows
                )
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._within_memory(numbers, sizes, width)

    def watch(self, number: int, after_step: Callable[[int, MolBatch, MolPrediction], None]) -> None:
        """Make draw ``number`` again; ``after_step`` is called as in `sample`, and its first row is that draw."""
        numbers = np.array([number])
        sizes = self.size(torch.from_numpy(numbers))
        self._micro_batch(numbers, sizes, bucket_width(int(sizes[0])), self.rows, after_step)

    def _micro_batch(
        self,
        numbers: np.ndarray,
        sizes: np.ndarray,
        width: int,
        rows: int,
        after_step: Callable[[int, MolBatch, MolPrediction], None] | None = None,
    ) -> list[Draw]:
        """Run one micro-batch of exactly ``rows`` rows; missing ones repeat the last draw and are thrown away."""
        fill = np.minimum(np.arange(rows), len(numbers) - 1)
        model, ids = self.model, torch.from_numpy(numbers[fill])
        template = empty_batch(torch.from_numpy(sizes[fill]), ids, width, len(model.conditions))
        template = template.replace(properties=torch.from_numpy(self.condition(ids)))
        result = sample(
            self.denoiser, model.diffusion, model.curve, template.to(self.device), self.grid, self.solver, self.source,
            after_step,
        )  # fmt: skip
        return draws_of(self.decided(result), numbers.tolist(), self.keep_predictions)

    def decided(self, result: Sample) -> Sample:
        """Return a sample whose molecules obey the constraints."""
        molecules, prediction = result.molecules, result.prediction
        for constraint in self.constraints:
            prediction = constraint.decide(molecules, prediction)
        if not self.constraints:
            return result
        return replace(result, molecules=self.model.diffusion.decode(molecules, prediction), prediction=prediction)


def draws_of(result: Sample, numbers: list[int], keep_predictions: bool) -> list[Draw]:
    """Return the first rows of a sample as draws of these numbers."""
    arrays, failed = unbatch(result.molecules), result.failed_at.tolist()
    beliefs = log_probabilities(result.prediction, result.molecules.n_atoms) if keep_predictions else None
    return [
        Draw(
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


def empty_batch(sizes: Tensor, ids: Tensor, width: int, properties: int) -> MolBatch:
    """Return a template of molecules of given sizes (B,), all fields zero, every property free."""
    count = len(sizes)
    mask = torch.arange(width)[None, :] < sizes[:, None]
    return MolBatch(
        pos=torch.zeros(count, width, 3),
        atom_type=torch.zeros(count, width, dtype=torch.int64),
        charge=torch.zeros(count, width, dtype=torch.int64),
        bond_type=torch.zeros(count, width, width, dtype=torch.int64),
        mask=mask,
        properties=torch.full((count, properties), torch.nan),
        ids=ids.to(torch.int64),
    )


def _is_out_of_memory(error: BaseException) -> bool:
    """The CPU allocator raises a plain RuntimeError; its text is all there is to go by."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
