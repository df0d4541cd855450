"""Draws that move towards targets, each by a Markov chain of its own.

A move noises a molecule half-way back and walks it down anew. With the exact reverse process this is a reversible step
that leaves p, the law of plain draws, as it is; so by the rule of Metropolis (Metropolis et al. 1953; Hastings 1970)
the law p(x) exp(-W d(x)) is left as it is if a move is accepted with the probability min(1, exp(-W (d_new - d_old))).
d is the distance from all targets, measured on the molecule itself, in standard deviations of the training data; what
is not valid, or fails a check, is infinitely far away.

A chain begins with a plain draw and takes few moves, and it ends early once every target is met closely. So what comes
out lies between p and that law, and nearer to the targets than a draw from it: exact is the move, not the end. No draw
knows of another one, none is a copy, and p is conditioned on the targets as it is without moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from moldiff.generation.molecule_result import MoleculeResult
from moldiff.generation.renoise import Judge, SettledDraw, settled_by
from moldiff.randomness import Stream, Walk, move_key, walk_counter
from moldiff.sampling.microbatches import side_by_side
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.partial_walks import PartialWalks
from moldiff.status import Status

MOVE_TIME = 0.5  # up to which a molecule is noised: at 0.4 hardly any becomes another, at 0.6 little of it is left
MOVE_CALLS = 6  # of the denoiser in a move
WEIGHT = 16.0  # W: a molecule that is farther away by 0.06 standard deviations is accepted with a probability of 0.4
MOVED = "moves"
"""Column of the number of moves that a draw made."""

_MOVABLE = (Status.VALID, Status.INVALID, Status.FILTERED)

Distances = Callable[[MoleculeResult], tuple[float, ...] | None]
"""From a result to how far its molecule is from each target, in standard deviations; None = not known."""


@dataclass
class _Chain:
    """A draw on its way. ``distances`` are infinite as long as its molecule does not count."""

    settled: SettledDraw
    distances: tuple[float, ...]
    moves: int = 0

    @property
    def number(self) -> int:
        return self.settled.draw.number

    def result(self) -> SettledDraw:
        """Return where the chain has come to."""
        result = self.settled.result
        return SettledDraw(self.settled.draw, replace(result, facts={**result.facts, MOVED: self.moves}))


class TargetChains:
    """Moves draws towards targets.

    Args:
        sampler: made the draws.
        judge: says what became of draws.
        distances: of its molecule from the targets.
        close: standard deviations within which each target is met closely enough for a chain to end.
        most: moves of a draw, at most.

    Attributes:
        evaluations: network evaluations of a move.
        finished: chains that have ended and wait for one with a smaller number, by number.
    """

    def __init__(
        self, sampler: MoleculeSampler, judge: Judge, distances: Distances, close: Sequence[float], most: int
    ) -> None:
        self._walks = PartialWalks.evenly(sampler, MOVE_TIME, MOVE_CALLS)
        self._source, self._judge, self._distances = sampler.source, judge, distances
        self._close, self._most = tuple(close), most
        self._window = side_by_side(sampler.device, sampler.rows)
        self.evaluations = self._walks.evaluations
        self.finished: dict[int, SettledDraw] = {}

    def run(self, settled: Iterable[SettledDraw], tell: Callable[[int], None]) -> Iterator[SettledDraw]:
        """Yield where each draw has come to, in their order.

        Args:
            settled: the draws.
            tell: called after each round with the moves that were made or are not needed any more.
        """
        waiting, order, going, spared = iter(settled), [], dict[int, _Chain](), 0
        self.finished = {}
        while True:
            while len(going) < self._window and (one := next(waiting, None)) is not None:
                order.append(one.draw.number)
                chain = _Chain(one, self._far(one.result))
                if self._goes_on(chain):
                    going[chain.number] = chain
                else:
                    self.finished[chain.number] = chain.result()
                    spared += self._most
            while order and order[0] in self.finished:
                yield self.finished.pop(order.pop(0))
            if not going:
                return
            self._move(going)
            for chain in [chain for chain in going.values() if not self._goes_on(chain)]:
                self.finished[chain.number] = going.pop(chain.number).result()
                spared += self._most
            tell(spared + sum(chain.moves for chain in going.values()))

    def _move(self, going: dict[int, _Chain]) -> None:
        """Take one move of every chain; those of a round need not be the same."""
        chains = list(going.values())
        keys = [move_key(chain.number, chain.moves) for chain in chains]
        uniform = self._source.uniform(torch.tensor(keys), walk_counter(0, walk=Walk.MOVE), Stream.RESAMPLING, 1)[:, 0]
        coins = dict(zip(going, uniform.tolist(), strict=True))
        walked = self._walks.run([chain.settled.draw for chain in chains], Walk.MOVE, keys)
        for new in settled_by(self._judge, walked):
            chain = going[new.draw.number]
            chain.moves += 1
            distances = self._far(new.result)
            if accepts(sum(chain.distances), sum(distances), coins[new.draw.number]):
                result = replace(new.result, renoised=chain.settled.result.renoised)
                chain.settled, chain.distances = SettledDraw(new.draw, result), distances

    def _far(self, result: MoleculeResult) -> tuple[float, ...]:
        distances = self._distances(result) if result.status == Status.VALID else None
        return (math.inf,) * len(self._close) if distances is None else distances

    def _goes_on(self, chain: _Chain) -> bool:
        """A molecule that is withheld stays so, and what failed has nothing to start from."""
        movable = chain.settled.draw.arrays is not None and chain.settled.result.status in _MOVABLE
        is_far = any(own > close for own, close in zip(chain.distances, self._close, strict=True))
        return movable and chain.moves < self._most and is_far


def accepts(old: float, new: float, uniform: float, weight: float = WEIGHT) -> bool:
    """Return whether a chain goes on from a new molecule, by the rule of Metropolis.

    Args:
        old, new: distances of the molecule that is there and of the new one; infinite ones have weight zero.
        uniform: in (0, 1).
        weight: W.
    """
    if math.isinf(new):
        return False
    return math.isinf(old) or math.log(uniform) < -weight * (new - old)
