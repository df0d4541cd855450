"""A second chance for failed draws: noised a little and walked down again, instead of drawn afresh from pure noise.

Most of a failed molecule is sound, and the late steps, where bonds and types are settled, are few: a new attempt costs
a fraction of a new draw. It is biased towards what was there before, so it is an option, counted apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from moldiff.generation.results import MoleculeResult
from moldiff.sampling.molecule_sampler import MoleculeSampler, RawSample
from moldiff.sampling.partial_walks import PartialWalks
from moldiff.status import Status

RENOISE_TIME = 0.5  # up to which a failed molecule is noised
MAX_ATTEMPTS = 32

Judge = Callable[[RawSample], MoleculeResult]
"""From a draw to what became of it, see `moldiff.generation.results.assess`."""


@dataclass(frozen=True)
class SettledDraw:
    """A draw and what became of it."""

    draw: RawSample
    result: MoleculeResult


class Renoiser:
    """Makes new attempts at draws, with the model, solver, seed and grid of a sampler.

    Args:
        sampler: made the draws.
        judge: says what became of a draw.
        start: latest time at which an attempt starts; it starts at the sampler's last time before that.

    Attributes:
        evaluations: network evaluations of an attempt.
    """

    def __init__(self, sampler: MoleculeSampler, judge: Judge, start: float = RENOISE_TIME) -> None:
        self._walks, self._judge = PartialWalks.late(sampler, start), judge
        self.evaluations = self._walks.evaluations

    def settle(self, draws: list[RawSample], attempts: int) -> Iterator[SettledDraw]:
        """Yield what becomes of each draw in order, after up to so many attempts at those that are invalid.

        Every attempt starts from the draw itself. Where none is valid, the draw's own result stands. A draw that did
        not stay finite has nothing to start from, and a molecule that is withheld or left out by a check stays so.
        """
        if not attempts:
            yield from (SettledDraw(draw, self._judge(draw)) for draw in draws)
            return
        settled = {draw.number: SettledDraw(draw, self._judge(draw)) for draw in draws}
        for number in range(1, attempts + 1):
            invalid = [draw for draw in draws if settled[draw.number].result.status == Status.INVALID]
            for draw in self._walks.run(invalid, number):
                new = SettledDraw(draw, self._judge(draw))
                kept = new if new.result.status in (Status.VALID, Status.FILTERED) else settled[draw.number]
                settled[draw.number] = SettledDraw(kept.draw, replace(kept.result, renoised=number))
        yield from (settled[draw.number] for draw in draws)
