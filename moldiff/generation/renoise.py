"""A second chance for failed draws: noised a little and walked down again, instead of drawn afresh from pure noise.

Most of a failed molecule is sound, and the late steps, where bonds and types are settled, are few: a new attempt costs
a fraction of a new draw. It is biased towards what was there before, so it is an option, counted apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import tee

from moldiff.arrays import RawSample
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.randomness import Walk
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.partial_walks import PartialWalks
from moldiff.status import Status

RENOISE_TIME = 0.5  # up to which a failed molecule is noised
MAX_ATTEMPTS = Walk.MOVE - 1  # an attempt's number is that of its walk

Judge = Callable[[Iterable[RawSample]], Iterator[MoleculeResult]]
"""From draws to what became of each, in order, see `moldiff.generation.molecule_result.assess_all`."""


@dataclass(frozen=True)
class SettledDraw:
    """A draw and what became of it."""

    draw: RawSample
    result: MoleculeResult


def settled_by(judge: Judge, draws: Iterable[RawSample]) -> Iterator[SettledDraw]:
    """Yield draws with what became of them."""
    known, asked = tee(draws)
    return map(SettledDraw, known, judge(asked))


class Renoiser:
    """Makes new attempts at draws, with the model, solver, seed and grid of a sampler.

    Args:
        sampler: made the draws.
        judge: says what became of draws.
        start: latest time at which an attempt starts; it starts at the sampler's last time before that.

    Attributes:
        evaluations: network evaluations of an attempt.
    """

    def __init__(self, sampler: MoleculeSampler, judge: Judge, start: float = RENOISE_TIME) -> None:
        self._walks, self._judge = PartialWalks.late(sampler, start), judge
        self.evaluations = self._walks.evaluations

    def settle(self, judged: Iterable[SettledDraw], attempts: int) -> Iterator[SettledDraw]:
        """Yield what becomes of each draw in the order of numbers, after up to so many attempts at those that are
        invalid.

        Every attempt starts from the draw itself. Where none is valid, the draw's own result stands. A draw that did
        not stay finite has nothing to start from, and a molecule that is withheld or left out by a check stays so.
        """
        in_order = sorted(judged, key=lambda one: one.draw.number)
        draws, settled = [one.draw for one in in_order], {one.draw.number: one for one in in_order}
        for number in range(1, attempts + 1):
            invalid = [draw for draw in draws if settled[draw.number].result.status == Status.INVALID]
            for new in settled_by(self._judge, self._walks.run(invalid, number)):
                kept = new if new.result.status in (Status.VALID, Status.FILTERED) else settled[new.draw.number]
                settled[new.draw.number] = SettledDraw(kept.draw, replace(kept.result, renoised=number))
        yield from (settled[draw.number] for draw in draws)
