"""Steps that are taken, undone by fresh noise, and taken again.

Where part of a molecule is given, the rest is drawn step by step from what the model sees of the given part through the
noise of that level. Going back and forth between two levels lets the rest settle to it before both become clearer
(Lugmayr et al. 2022, "RePaint", algorithm 1, with jumps of one step).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from moldiff.sampling.context import State, Walk
from moldiff.sampling.solvers import Solver

_AGAIN = 62  # part of a step's noise; the solvers use those below


@dataclass(frozen=True)
class Resampled:
    """Another solver's step, ``times`` times, with noise back to the noisier level in between.

    Attributes:
        solver: steps between two levels.
        times: at least 1; 1 is the solver itself, bit for bit.
    """

    solver: Solver
    times: int

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"a step is taken at least once, not {self.times} times")

    @property
    def evaluations(self) -> int:
        return self.times * self.solver.evaluations

    @property
    def is_stochastic(self) -> bool:
        return self.times > 1 or self.solver.is_stochastic

    def step(self, walk: Walk, state: State, number: int, t: Tensor, s: Tensor) -> State:
        at, to = walk.curve.levels(t), walk.curve.levels(s)
        first = (number - 1) * self.times + 1  # every repetition has a number, and so noise, of its own
        state = self.solver.step(walk, state, first, t, s)
        for repetition in range(first + 1, first + self.times):
            noise = walk.noise(state.molecules, repetition, _AGAIN)
            molecules = walk.diffusion.noise_further(state.molecules, to, at, noise)
            state = self.solver.step(walk, State(molecules, state.prediction, at), repetition, t, s)
        return state
