"""Walks that begin with draws: noised up to a time, and down again.

Noise up to time t and the exact reverse process from there on leave the law of what a sampler draws as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from moldiff.arrays import RawSample
from moldiff.datasets.batching import bucket_width
from moldiff.diffusion.schedule import NoiseSchedule
from moldiff.geometry import center
from moldiff.molecules import collate
from moldiff.sampling.molecule_sampler import MoleculeSampler, draws_of
from moldiff.sampling.sampler import evaluations_of, resample, steps_within


class PartialWalks:
    """Walks draws anew, with the model, solver, seed, conditions and constraints of a sampler.

    Args:
        sampler: made the draws.
        grid: decreasing times, the last 0: draws are noised to the first.
        schedule: of these times; None = the model's.

    Attributes:
        evaluations: network evaluations of a walk.
    """

    def __init__(self, sampler: MoleculeSampler, grid: Tensor, schedule: NoiseSchedule | None = None) -> None:
        self.sampler, self.grid = sampler, grid
        self.schedule = sampler.model.schedule if schedule is None else schedule
        self.evaluations = sampler.evaluations_per_call * evaluations_of(sampler.solver, len(grid) - 1)

    @classmethod
    def late(cls, sampler: MoleculeSampler, start: float) -> PartialWalks:
        """Return walks down the end of a sampler's own grid.

        Args:
            sampler: made the draws.
            start: latest time at which a walk starts, of the whole schedule where the sampler's own is an end of it; it
                starts at the sampler's last time before that.
        """
        times = [sampler.model.schedule.time_in_origin(t) for t in sampler.grid.tolist()]
        late = sampler.grid[torch.tensor(times, dtype=sampler.grid.dtype) <= start]
        return cls(sampler, late if len(late) > 1 else sampler.grid[-2:])

    @classmethod
    def evenly(cls, sampler: MoleculeSampler, start: float, evaluations: int) -> PartialWalks:
        """Return walks down a grid that is even in t, decoded at the sampler's own last level.

        Times are those of the whole schedule: walks around a fragment begin late in it, but to make another molecule
        of one that is there takes as much noise as anywhere.

        Args:
            sampler: made the draws.
            start: time at which a walk starts.
            evaluations: calls of the denoiser, at most; but one step is taken whatever it needs.
        """
        steps = steps_within(sampler.solver, evaluations)
        own = sampler.model.schedule
        last = min(own.time_in_origin(float(sampler.grid[-2])), start / steps)
        times = torch.linspace(start, last, steps, dtype=torch.float64)
        return cls(sampler, torch.cat([times, torch.zeros(1, dtype=torch.float64)]), own.origin)

    def run(self, draws: Sequence[RawSample], walk: int, keys: Sequence[int] | None = None) -> Iterator[RawSample]:
        """Yield a new draw for each draw that has arrays, not in order.

        It is a function of the draw, its key and the walk's number, not of its batch.

        Args:
            draws: to begin with.
            walk: its number, see `moldiff.randomness.Walk`; keys the noise.
            keys: of the noise of each draw; None = the draws' numbers.
        """
        pairs = zip(draws, [draw.number for draw in draws] if keys is None else keys, strict=True)
        sound = [(draw, key) for draw, key in pairs if draw.arrays is not None]
        widths = [bucket_width(len(draw.arrays.atom_type)) for draw, _ in sound if draw.arrays is not None]

        def work(some: list[tuple[RawSample, int]]) -> list[RawSample]:
            return self._micro_batch(some, walk)

        return (draw for _, draw in self.sampler.micro_batches.run(sound, widths, work))

    def _micro_batch(self, items: list[tuple[RawSample, int]], walk: int) -> list[RawSample]:
        """Run one micro-batch."""
        sampler, model = self.sampler, self.sampler.model
        numbers = torch.tensor([draw.number for draw, _ in items])
        arrays = [draw.arrays for draw, _ in items if draw.arrays is not None]
        molecules = collate(
            arrays,
            torch.tensor([key for _, key in items]),
            bucket_width(len(arrays[0].atom_type)),
            torch.from_numpy(sampler.condition(numbers)),
        ).to(sampler.device)
        # a molecule around a fragment lies in the fragment's frame
        molecules = molecules.replace(pos=center(molecules.pos, molecules.mask))
        result = resample(
            sampler.denoiser,
            model.diffusion,
            self.schedule,
            molecules,
            self.grid,
            sampler.solver,
            sampler.source,
            walk,
        )
        return draws_of(sampler.decided(result), numbers.tolist(), sampler.keep_predictions)
