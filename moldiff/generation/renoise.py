"""A second chance for failed draws: noised a little and walked down again, instead of drawn afresh from pure noise.

Most of a failed molecule is sound, and the late steps, where bonds and types are settled, are few: a new attempt costs
a fraction of a new draw. It is biased towards what was there before, so it is an option, counted apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from moldiff.arrays import RawSample
from moldiff.chem.filters.checks import Check
from moldiff.chem.filters.hazards import STANDARD_GATE
from moldiff.datasets.batching import bucket_width
from moldiff.generation.decoding.decoders import Decoder
from moldiff.generation.results import Gate, MoleculeResult, assess_all
from moldiff.geometry import center
from moldiff.molecules import collate
from moldiff.processes import THIS_PROCESS, Pool
from moldiff.sampling.molecule_sampler import MoleculeSampler, draws_of
from moldiff.sampling.sampler import evaluations_of, resample
from moldiff.status import Status

RENOISE_TIME = 0.5  # up to which a failed molecule is noised
MAX_ATTEMPTS = 32


class Renoiser:
    """Makes new attempts at draws, with the model, solver, seed and grid of a sampler.

    Args:
        sampler: made the draws.
        start: latest time at which an attempt starts; it starts at the sampler's last time before that.

    Attributes:
        evaluations: network evaluations of an attempt.
    """

    def __init__(self, sampler: MoleculeSampler, start: float = RENOISE_TIME) -> None:
        self.sampler = sampler
        late = sampler.grid[sampler.grid <= start]
        self.grid = late if len(late) > 1 else sampler.grid[-2:]
        self.evaluations = sampler.evaluations_per_call * evaluations_of(sampler.solver, len(self.grid) - 1)

    def settle(
        self,
        draws: list[RawSample],
        decoder: Decoder,
        attempts: int,
        gate: Gate = STANDARD_GATE,
        checks: Sequence[Check] = (),
        pool: Pool = THIS_PROCESS,
    ) -> Iterator[MoleculeResult]:
        """Yield the result of each draw in order, after up to so many attempts at those that are invalid.

        Every attempt starts from the draw itself. Where none is valid, the draw's own result stands. A draw that did
        not stay finite has nothing to start from, and a molecule that is withheld or left out by a check stays so.
        """
        if not attempts:
            yield from assess_all(draws, decoder, gate, checks, pool)
            return
        results = {result.number: result for result in assess_all(draws, decoder, gate, checks, pool)}
        for number in range(1, attempts + 1):
            invalid = [draw for draw in draws if results[draw.number].status == Status.INVALID]
            for new in assess_all(self.attempt(invalid, number).values(), decoder, gate, checks, pool):
                kept = new if new.status in (Status.VALID, Status.FILTERED) else results[new.number]
                results[new.number] = replace(kept, renoised=number)
        yield from (results[draw.number] for draw in draws)

    def attempt(self, draws: list[RawSample], number: int) -> dict[int, RawSample]:
        """Return a new draw for each draw that has arrays, by its number.

        An attempt is a function of the draw and the attempt's number, from 1 to `MAX_ATTEMPTS`, not of its batch.
        """
        sound = [draw for draw in draws if draw.arrays is not None]
        widths = [bucket_width(len(draw.arrays.atom_type)) for draw in sound if draw.arrays is not None]

        def run(some: list[RawSample]) -> list[RawSample]:
            return self._micro_batch(some, number)

        return {draw.number: draw for _, draw in self.sampler.micro_batches.run(sound, widths, run)}

    def _micro_batch(self, draws: list[RawSample], number: int) -> list[RawSample]:
        """Run one micro-batch."""
        sampler, model = self.sampler, self.sampler.model
        numbers = torch.tensor([draw.number for draw in draws])
        arrays = [draw.arrays for draw in draws if draw.arrays is not None]
        molecules = collate(
            arrays,
            numbers,
            bucket_width(len(arrays[0].atom_type)),
            torch.from_numpy(sampler.condition(numbers)),
        ).to(sampler.device)
        # a molecule around a fragment lies in the fragment's frame
        molecules = molecules.replace(pos=center(molecules.pos, molecules.mask))
        result = resample(
            sampler.denoiser,
            model.diffusion,
            model.schedule,
            molecules,
            self.grid,
            sampler.solver,
            sampler.source,
            number,
        )
        return draws_of(sampler.decided(result), numbers.tolist(), sampler.keep_predictions)
