"""What the training of the built-in model on a card goes through, and the batches that it takes from the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: of its weights.
        kind: "train", "round", "evaluate" or "validate".
        seconds: of training; of a round, after judging.
        steps: at most; None = as many as fit.
        mix: source -> share of the batches.
        rates: of AdamW and Muon.
        factor: of the rates, at the beginning and at the end: held for ``hold`` of the stage, then falling as a root.
        warm: steps in which the rates rise.
        fine: weight of force-field coordinates where the noise is below COARSE_GEOMETRY.
        own_positions: weights of own draws' coordinates where the noise is above COARSE_GEOMETRY, and below. After two
            rounds with both, a third left 78 % of draws in 8 steps valid; without those below 88 %, of rows as many as
            before (90 %); without both, odd rings came back.
        draws, evaluations: of a round.
        repairs: how often walks to what is not usual are walked anew from a state of theirs; what comes of it counts
            if it is usual.
        known, strength: see `label_log_weights`.
        until: the stage is taken again while fewer seconds than this have passed since the start; 0 = once.
    """

    name: str
    kind: str
    seconds: float = 1e9
    steps: int | None = None
    mix: Mapping[str, float] = field(default_factory=dict)
    rates: tuple[float, float] = (6e-4, 2e-3)
    factor: tuple[float, float] = (1.0, 0.1)
    hold: float = 0.3
    warm: int = 30
    fine: float = 0.0
    own_positions: tuple[float, float] = (1.0, 1.0)
    draws: int = 16384
    evaluations: int = 20
    repairs: int = 0
    known: float = 0.8
    strength: float = 1.0
    until: float = 0.0


class Batches:
    """Endless batches of a data set: permutations of each padded width, cut into whole batches, in random order."""

    def __init__(self, sizes: np.ndarray, rows: np.ndarray, count: int, width_of: Callable[[int], int], seed: int):
        widths = np.array([width_of(n) for n in sizes.tolist()])
        self._members = {width: rows[widths == width] for width in sorted(set(widths.tolist()))}
        self._left = {width: np.zeros(0, dtype=np.int64) for width in self._members}
        self._count, self._generator = count, np.random.default_rng(seed)
        self._queue: list[tuple[int, np.ndarray]] = []

    def next(self) -> tuple[int, np.ndarray]:
        """Return (width, rows)."""
        while not self._queue:
            for width, members in self._members.items():
                line = np.concatenate([self._left[width], self._generator.permutation(members)])
                whole = len(line) // self._count
                self._queue += [(width, line[k * self._count : (k + 1) * self._count]) for k in range(whole)]
                self._left[width] = line[whole * self._count :]
            self._generator.shuffle(self._queue)
        return self._queue.pop()
