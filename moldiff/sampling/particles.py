"""Molecules that walk one by one as far as anybody can tell, and in micro-batches as far as the hardware can."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from moldiff.diffusion.joint import JointDiffusion
from moldiff.diffusion.levels import Denoiser
from moldiff.diffusion.schedule import NoiseSchedule
from moldiff.molecules import MolBatch, Table, map_tensors
from moldiff.randomness import NoiseSource
from moldiff.sampling.context import SamplerContext
from moldiff.sampling.microbatches import MicroBatches
from moldiff.sampling.sampler import Sample, SamplerState, finish, run_steps, start, times_of
from moldiff.sampling.solvers import Solver

Before = TypeVar("Before")
After = TypeVar("After")


@dataclass
class ParticleSampler:
    """Takes single molecules down a grid. They go in micro-batches of one shape, so that the arithmetic of a molecule
    does not depend on its company.

    Attributes:
        denoiser, diffusion, schedule, solver, source: as for `moldiff.sampling.sampler.sample`.
        grid: decreasing times, the last 0.
        micro_batches: how they meet the network.
    """

    denoiser: Denoiser
    diffusion: JointDiffusion
    schedule: NoiseSchedule
    solver: Solver
    source: NoiseSource
    grid: Tensor
    micro_batches: MicroBatches

    @property
    def steps(self) -> int:
        """The last step's number; it decodes."""
        return len(self.grid) - 1

    def start(self, templates: Sequence[MolBatch]) -> list[SamplerState]:
        """Return one molecule of pure noise for each template of one row."""
        return self._by_width(
            templates,
            [row.mask.shape[1] for row in templates],
            lambda rows: start(self._context(rows), rows, self._at(rows)),
        )

    def run_steps(self, particles: Sequence[SamplerState], steps: range) -> list[SamplerState]:
        """Take steps, all before the last one, with each particle of one row; its ids key the noise."""

        def work(rows: SamplerState) -> SamplerState:
            molecules = rows.state.molecules
            return run_steps(self._context(molecules), rows, self._at(molecules), self.solver, steps)

        return self._by_width(particles, [width(one) for one in particles], work)

    def finish(self, particles: Sequence[SamplerState]) -> list[Sample]:
        """Take the last step with each particle of one row."""

        def work(rows: SamplerState) -> Sample:
            molecules = rows.state.molecules
            return finish(self._context(molecules), rows, self._at(molecules))

        return self._by_width(particles, [width(one) for one in particles], work)

    def _context(self, molecules: MolBatch) -> SamplerContext:
        return SamplerContext(self.denoiser, self.diffusion, self.schedule, molecules.properties, self.source)

    def _at(self, molecules: MolBatch) -> list[Tensor]:
        return times_of(self.grid, molecules)

    def _by_width(
        self, singles: Sequence[Before], widths: Sequence[int], work: Callable[[Before], After]
    ) -> list[After]:
        """Return what comes of each of the singles, worked on in micro-batches."""
        found = dict(self.micro_batches.run(singles, widths, lambda some: rows_of(work(stacked(some)))))
        return [found[place] for place in range(len(singles))]


def width(particle: SamplerState) -> int:
    """Return the padded number of atoms."""
    return particle.state.molecules.mask.shape[1]


def rows_of(table: Table) -> list[Table]:
    """Return the rows of a dataclass of tensors as tables of one row."""
    columns: dict[str, Sequence[object]] = {}
    for field in dataclasses.fields(table):  # type: ignore[arg-type]
        value = getattr(table, field.name)
        if isinstance(value, Tensor):
            columns[field.name] = value.split(1)
        elif value is not None:
            columns[field.name] = rows_of(value)
    names, kind = list(columns), type(table)
    return [kind(**dict(zip(names, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def stacked(tables: Sequence[Table]) -> Table:
    """Return the rows of several tables of one width as one table."""
    return map_tensors(lambda *columns: torch.cat(columns), *tables)
