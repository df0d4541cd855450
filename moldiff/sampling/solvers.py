"""Update rules between two noise levels: three frameworks over one denoiser. A solver is an object; what users know it
by is its key in `SOLVERS`.

Coordinates are variance-exploding, x_t = x_0 + sigma n, and D is the denoiser's estimate of x_0; the score is
(D - x) / sigma^2, the probability flow dx/dsigma = (x - D) / sigma. Categories ride the same grid: in every solver they
are drawn from the posterior of each variable, exact at any stride.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from moldiff.choices import Sampler
from moldiff.diffusion.levels import Levels
from moldiff.geometry import center
from moldiff.molecules import MolPrediction
from moldiff.sampling.context import Number, SamplerContext, SolverState

_CHURN_LIMIT = math.sqrt(2) - 1  # Karras et al. 2022, algorithm 2: never double the variance of the noise
_CHURN, _CORRECTOR = 1, 2  # parts of a step's noise; a corrector's k-th move has part _CORRECTOR + k
_MOST_MOVES = 60  # a step's noise has 64 parts


class Solver(Protocol):
    """One step of a sampler."""

    @property
    def evaluations(self) -> int:
        """Network evaluations of one step."""
        ...

    @property
    def is_stochastic(self) -> bool:
        """Coordinates are drawn, so that two walks from one state part."""
        ...

    def step(self, context: SamplerContext, state: SolverState, number: Number, t: Tensor, s: Tensor) -> SolverState:
        """Return the state at the cleaner time s.

        Args:
            context: model, condition and noise.
            state: at time t.
            number: of the step, from 1; keys its noise.
            t, s: (B,) float64, s < t.
        """
        ...


@dataclass(frozen=True)
class Ancestral:
    """Exponential integrators of the reverse process: DDPM, DDIM and DPM-Solver++, one evaluation a step.

    Attributes:
        eta: share of the ancestral noise in the coordinates: 1 = DDPM (Ho et al. 2020, eq. 7), 0 = DDIM (Song et al.
            2021, "Denoising diffusion implicit models", eq. 12), which equals Euler steps of the probability flow in
            sigma and first-order DPM-Solver++.
        second_order: extrapolate D from the last two evaluations, linearly in ln sigma: DPM-Solver++(2M) (Lu et al.
            2022, algorithm 2) for eta = 0, SDE-DPM-Solver++(2M) for eta = 1. The first step is of first order.
        redraw: rate of the categories' corrector noise, see `redraw_share`.
    """

    eta: float
    second_order: bool = False
    redraw: float = 0.0
    evaluations: ClassVar[int] = 1

    @property
    def is_stochastic(self) -> bool:
        return self.eta > 0

    def step(self, context: SamplerContext, state: SolverState, number: Number, t: Tensor, s: Tensor) -> SolverState:
        at, to = context.schedule.levels(t), context.schedule.levels(s)
        prediction = context.denoise(state.molecules, state.prediction, at)
        estimate = prediction.replace(pos=_extrapolated(state, prediction, at, to)) if self.second_order else prediction
        noise = context.noise(state.molecules, number)
        share = redraw_share(self.redraw, t, s)
        molecules = context.diffusion.reverse_step(state.molecules, estimate, at, to, noise, self.eta, share)
        return SolverState(molecules, prediction, at)


@dataclass(frozen=True)
class EulerMaruyama:
    """Euler-Maruyama steps of the reverse-time SDE (Song et al. 2021, "Score-based generative modeling through
    stochastic differential equations", algorithm 2 for the variance-exploding SDE), one evaluation a step:
    x_s = x_t + (sigma_t^2 - sigma_s^2) score + sqrt(sigma_t^2 - sigma_s^2) n.

    Attributes:
        redraw: rate of the categories' corrector noise, see `redraw_share`.
    """

    redraw: float = 0.0
    evaluations: ClassVar[int] = 1
    is_stochastic: ClassVar[bool] = True

    def step(self, context: SamplerContext, state: SolverState, number: Number, t: Tensor, s: Tensor) -> SolverState:
        at, to = context.schedule.levels(t), context.schedule.levels(s)
        noisy, noise = state.molecules, context.noise(state.molecules, number)
        prediction = context.denoise(noisy, state.prediction, at)
        molecules = context.diffusion.reverse_categories(
            noisy, prediction, at, to, noise, redraw_share(self.redraw, t, s)
        )
        dtype = noisy.pos.dtype
        shrink = 1 - (to.sigma / at.sigma) ** 2
        std = torch.sqrt(at.sigma**2 - to.sigma**2)
        pos = noisy.pos + _rows(shrink, dtype) * (prediction.pos - noisy.pos)
        return SolverState(
            molecules.replace(pos=pos + _rows(std, dtype) * center(noise.pos, noisy.mask).to(dtype)), prediction, at
        )


@dataclass(frozen=True)
class Heun:
    """Heun steps of the probability-flow ODE, after raising the noise a little (Karras et al. 2022, algorithm 2); two
    evaluations a step.

    The categories at s are drawn before the second evaluation, because D jumps when they jump.

    Attributes:
        churn: how far the noise is raised before a step, as a share of the step: sigma grows by the factor 1 + gamma
            with gamma = min(churn ln(sigma_t / sigma_s), sqrt(2) - 1), and the categories are noised to the same t. On
            a geometric grid churn is S_churn / ln(sigma_max / sigma_min) of the paper. 0 = plain ODE.
        redraw: rate of the categories' corrector noise, see `redraw_share`.
    """

    churn: float = 0.0
    redraw: float = 0.0
    evaluations: ClassVar[int] = 2

    @property
    def is_stochastic(self) -> bool:
        return self.churn > 0

    def step(self, context: SamplerContext, state: SolverState, number: Number, t: Tensor, s: Tensor) -> SolverState:
        if self.churn:
            state, t = self._raised(context, state, number, t, s)
        at, to = context.schedule.levels(t), context.schedule.levels(s)
        noisy = state.molecules
        first = context.denoise(noisy, state.prediction, at)
        noise, share = context.noise(noisy, number), redraw_share(self.redraw, t, s)
        euler = context.diffusion.reverse_step(noisy, first, at, to, noise, 0.0, share)
        second = context.denoise(euler, first, to)
        dtype = noisy.pos.dtype
        slope = (noisy.pos - first.pos) / _rows(at.sigma, dtype) + (euler.pos - second.pos) / _rows(to.sigma, dtype)
        pos = noisy.pos + 0.5 * _rows(to.sigma - at.sigma, dtype) * slope
        return SolverState(euler.replace(pos=pos), second, to)

    def _raised(
        self, context: SamplerContext, state: SolverState, number: Number, t: Tensor, s: Tensor
    ) -> tuple[SolverState, Tensor]:
        """Return the state with more noise, and its time."""
        at, to = context.schedule.levels(t), context.schedule.levels(s)
        gamma = (self.churn * (at.pos - to.pos)).clamp(max=_CHURN_LIMIT)
        higher = context.schedule.time_of_sigma(at.sigma * (1 + gamma)).maximum(t)
        noise = context.noise(state.molecules, number, _CHURN)
        molecules = context.diffusion.noise_further(state.molecules, at, context.schedule.levels(higher), noise)
        return SolverState(molecules, state.prediction, state.at), higher


@dataclass(frozen=True)
class Corrected:
    """Langevin moves at each level before another solver's step: annealed Langevin dynamics (Song and Ermon 2019,
    algorithm 1), or predictor and corrector (Song et al. 2021, algorithm 1). One evaluation for each move.

    A move holds the level and the categories. It replaces a share f of the noise's variance,
    x' = D + sqrt(1 - f) (x - D) + sqrt(f) sigma n: a Langevin step of size (1 - sqrt(1 - f)) sigma^2 whose noise is
    matched so that the level does not drift where D is locally constant (consistent annealed sampling,
    Jolicoeur-Martineau et al. 2021, without a change of level). The papers' step size 2 (r |n| / |score|)^2 is
    2 r^2 sigma^2 in expectation over a molecule's 3 (N - 1) degrees of freedom. It is set so because norms of the
    drawn numbers would correlate it with the noise, and norms over a batch would tie a molecule to its mates.

    Attributes:
        predictor: moves from level to level.
        moves: at each level, at most 60.
        share: f, 0 <= f <= 1.
    """

    predictor: Solver
    moves: int
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.moves <= _MOST_MOVES or not 0 <= self.share <= 1:
            raise ValueError(f"not 0 .. {_MOST_MOVES} moves of a share in 0 .. 1: {self.moves} of {self.share}")

    @property
    def evaluations(self) -> int:
        return self.moves + self.predictor.evaluations

    @property
    def is_stochastic(self) -> bool:
        return self.predictor.is_stochastic or (self.moves > 0 and self.share > 0)

    def step(self, context: SamplerContext, state: SolverState, number: Number, t: Tensor, s: Tensor) -> SolverState:
        at = context.schedule.levels(t)
        for move in range(self.moves):
            state = self._move(context, state, at, context.pos_noise(state.molecules, number, _CORRECTOR + move))
        return self.predictor.step(context, state, number, t, s)

    def _move(self, context: SamplerContext, state: SolverState, at: Levels, noise: Tensor) -> SolverState:
        noisy = state.molecules
        prediction = context.denoise(noisy, state.prediction, at)
        dtype = noisy.pos.dtype
        fresh = _rows(at.sigma, dtype) * center(noise, noisy.mask).to(dtype)
        away = math.sqrt(1 - self.share) * (noisy.pos - prediction.pos) + math.sqrt(self.share) * fresh
        return SolverState(noisy.replace(pos=prediction.pos + away), prediction, at)


_AGAIN = 62  # part of a step's noise; the solvers use those below


@dataclass(frozen=True)
class RePaint:
    """Another solver's step, ``times`` times, with noise back to the noisier level in between.

    Where part of a molecule is given, the rest is drawn step by step from what the model sees of the given part through
    the noise of that level. Going back and forth between two levels lets the rest settle to it before both become
    clearer (Lugmayr et al. 2022, "RePaint", algorithm 1, with jumps of one step).

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

    def step(self, context: SamplerContext, state: SolverState, number: Number, t: Tensor, s: Tensor) -> SolverState:
        at, to = context.schedule.levels(t), context.schedule.levels(s)
        first = (number - 1) * self.times + 1  # every repetition has a number, and so noise, of its own
        state = self.solver.step(context, state, first, t, s)
        for repetition in (first + k for k in range(1, self.times)):
            noise = context.noise(state.molecules, repetition, _AGAIN)
            molecules = context.diffusion.noise_further(state.molecules, to, at, noise)
            state = self.solver.step(context, SolverState(molecules, state.prediction, at), repetition, t, s)
        return state


def redraw_share(rate: float, t: Tensor, s: Tensor) -> Tensor | None:
    """Return (B,) the probability that a variable is drawn anew from its predicted marginal in the step from t to s.

    It is 1 - exp(-rate (t - s)), so that a finer grid redraws equally often; None for rate 0.
    """
    return -torch.expm1(-rate * (t - s)) if rate else None


def _extrapolated(state: SolverState, prediction: MolPrediction, at: Levels, to: Levels) -> Tensor:
    """Return D at the middle of the step in ln sigma, on the line through the last two evaluations (Lu et al. 2022,
    algorithm 2: (1 + 1/2r) D_i - 1/2r D_{i-1}, r the ratio of the last step to this one); D itself where the last
    evaluation was not at a noisier level."""
    if state.prediction is None or state.at is None:
        return prediction.pos
    last, coming = state.at.pos - at.pos, at.pos - to.pos
    weight = torch.where(last > 0, 0.5 * coming / last, 0.0)
    return prediction.pos + _rows(weight, prediction.pos.dtype) * (prediction.pos - state.prediction.pos)


def _rows(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Shape (B,) for coordinates (B, N, 3)."""
    return value[:, None, None].to(dtype)


SOLVERS: Mapping[str, Solver] = {
    Sampler.DDPM: Ancestral(eta=1.0),
    Sampler.DDIM: Ancestral(eta=0.0),
    Sampler.LANGEVIN: Corrected(Ancestral(eta=0.0), moves=1, share=0.5),
    Sampler.SDE: EulerMaruyama(),
    Sampler.SDE_PC: Corrected(EulerMaruyama(), moves=1, share=0.3),
    Sampler.ODE: Heun(),
    Sampler.DPMPP: Ancestral(eta=0.0, second_order=True),
    Sampler.DPMPP_SDE: Ancestral(eta=1.0, second_order=True),
    Sampler.EDM: Heun(churn=1.0),
}
