"""Every solver on a Gaussian toy whose denoiser is known exactly: the whole sampling loop as a linear map of its noise,
against the literature's formulas; convergence orders; right variances; identities; mutants that must fail.

Data are N(0, SPREAD^2) on the zero-mean subspace, so D = x SPREAD^2 / (SPREAD^2 + sigma^2). The loop is linear: with
one molecule for each number that is drawn, whose other noise is zero, one run gives the coefficient of every number.
No Monte Carlo anywhere.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from probe import DIRECTION, Probe
from torch import Tensor

from moldiff.config import CurveConfig
from moldiff.diffusion.joint import JointDiffusion
from moldiff.diffusion.levels import Levels
from moldiff.models.molecule_model import schedule_from_config
from moldiff.molecules import MolBatch, MolPrediction
from moldiff.randomness import NoiseSource
from moldiff.sampling import solvers
from moldiff.sampling.context import SamplerContext, SolverState
from moldiff.sampling.sampler import evaluations_of, sample
from moldiff.sampling.solvers import SOLVERS, Ancestral, Corrected, EulerMaruyama, Heun, Solver
from moldiff.sampling.time_grids import GRIDS, KarrasGrid, LogSnrGrid

SPREAD = 1.3  # angstrom
CURVE = schedule_from_config(CurveConfig())
PARTS = 4  # of a step's noise that are probed: predictor, churn, two moves
HALF = torch.full((2,), 0.5, dtype=torch.float64)
DIFFUSION = JointDiffusion(
    {"atom_type": HALF, "charge": HALF, "bond_type": HALF}, torch.tensor([0, 0, SPREAD], dtype=torch.float64)
)


def exact_denoiser(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
    c = SPREAD**2 / (SPREAD**2 + levels.sigma**2)
    atoms = torch.zeros(len(batch), 2, 2)
    return MolPrediction(c[:, None, None] * batch.pos, atoms, atoms, torch.zeros(len(batch), 2, 2, 2))


def template(ids: Tensor) -> MolBatch:
    count = len(ids)
    atoms = torch.zeros(count, 2, dtype=torch.int64)
    return MolBatch(
        pos=torch.zeros(count, 2, 3),
        atom_type=atoms,
        charge=atoms,
        bond_type=torch.zeros(count, 2, 2, dtype=torch.int64),
        mask=torch.ones(count, 2, dtype=torch.bool),
        properties=torch.zeros(count, 0),
        ids=ids,
    )


def draw_numbers(steps: int, parts: int = PARTS) -> list[int]:
    """Return the numbers of the prior's draw and of every part of every step."""
    return [0] + [step + (part << 20) for step in range(1, steps) for part in range(parts)]


def coefficients(solver: Solver, times: Tensor, parts: int = PARTS) -> np.ndarray:
    """Return what every draw contributes to the state before the last evaluation, in `draw_numbers`' order."""
    states: list[Tensor] = []
    sample(
        exact_denoiser,
        DIFFUSION,
        CURVE,
        template(torch.tensor(draw_numbers(len(times) - 1, parts))),
        times,
        solver,
        Probe(0),
        lambda number, molecules, prediction: states.append(molecules.pos),
    )
    return (states[-2] * DIRECTION).sum((1, 2)).numpy()


# The same by the formulas of the papers, on coefficient vectors: D is c(sigma) x, noise k of a step a unit vector.


@dataclass
class Chain:
    """A scalar chain x, as coefficients of the numbers drawn."""

    steps: int

    def __post_init__(self) -> None:
        self.numbers = {number: place for place, number in enumerate(draw_numbers(self.steps))}

    def unit(self, step: int, part: int = 0) -> np.ndarray:
        return np.eye(len(self.numbers))[self.numbers[step + (part << 20)]]


def wiener(sigma: float) -> float:
    return SPREAD**2 / (SPREAD**2 + sigma**2)


def walk_levels(times: Tensor) -> list[float]:
    """Return sigma at every time but the last."""
    return CURVE.levels(times[:-1]).sigma.tolist()


def prior(chain: Chain, sigma: float) -> np.ndarray:
    return math.sqrt(sigma**2 + SPREAD**2) * chain.unit(0)


def by_ddim(times: Tensor, eta: float) -> np.ndarray:
    """DDIM in its own, variance-preserving variables y = sqrt(abar) x (Song et al. 2021, eqs. 12 and 16)."""
    levels, chain = walk_levels(times), Chain(len(times) - 1)
    x = prior(chain, levels[0])
    for step, (at, to) in enumerate(itertools.pairwise(levels), start=1):
        abar_t, abar_s = 1 / (1 + at**2), 1 / (1 + to**2)
        y, estimate = math.sqrt(abar_t) * x, wiener(at) * x
        std = eta * math.sqrt((1 - abar_s) / (1 - abar_t)) * math.sqrt(1 - abar_t / abar_s)
        epsilon = (y - math.sqrt(abar_t) * estimate) / math.sqrt(1 - abar_t)
        y = math.sqrt(abar_s) * estimate + math.sqrt(1 - abar_s - std**2) * epsilon + std * chain.unit(step)
        x = y / math.sqrt(abar_s)
    return x


def by_dpm_solver(times: Tensor) -> np.ndarray:
    """DPM-Solver++(2M), Lu et al. 2022, algorithm 2, with alpha = 1 and lambda = -ln sigma."""
    levels, chain = walk_levels(times), Chain(len(times) - 1)
    x, estimates = prior(chain, levels[0]), []
    for step, (at, to) in enumerate(itertools.pairwise(levels)):
        estimates.append(wiener(at) * x)
        h = math.log(at / to)
        d = estimates[-1]
        if step:
            r = math.log(levels[step - 1] / at) / h
            d = (1 + 1 / (2 * r)) * estimates[-1] - 1 / (2 * r) * estimates[-2]
        x = to / at * x - math.expm1(-h) * d
    return x


def by_dpm_solver_sde(times: Tensor) -> np.ndarray:
    """SDE-DPM-Solver++(2M), Lu et al. 2022, section 6 (second order), in the same variables."""
    levels, chain = walk_levels(times), Chain(len(times) - 1)
    x, estimates = prior(chain, levels[0]), []
    for step, (at, to) in enumerate(itertools.pairwise(levels)):
        estimates.append(wiener(at) * x)
        h = math.log(at / to)
        x = to / at * math.exp(-h) * x - math.expm1(-2 * h) * estimates[-1]
        if step:
            r = math.log(levels[step - 1] / at) / h
            x = x - 0.5 * math.expm1(-2 * h) * (estimates[-1] - estimates[-2]) / r
        x = x + to * math.sqrt(-math.expm1(-2 * h)) * chain.unit(step + 1)
    return x


def by_sde(times: Tensor, moves: int = 0, share: float = 0.0, predictor_noise: float = 1.0) -> np.ndarray:
    """Langevin moves, then reverse diffusion (Song et al. 2021, algorithm 2) or, without its noise, an Euler step."""
    levels, chain = walk_levels(times), Chain(len(times) - 1)
    x = prior(chain, levels[0])
    for step, (at, to) in enumerate(itertools.pairwise(levels), start=1):
        for move in range(moves):
            score = (wiener(at) - 1) * x / at**2
            size = (1 - math.sqrt(1 - share)) * at**2
            x = x + size * score + math.sqrt(share) * at * chain.unit(step, 2 + move)
        score = (wiener(at) - 1) * x / at**2
        if predictor_noise:
            x = x + (at**2 - to**2) * score + math.sqrt(at**2 - to**2) * chain.unit(step)
        else:
            x = x + (to - at) * -at * score
    return x


def by_edm(times: Tensor, churn: float) -> np.ndarray:
    """Karras et al. 2022, algorithm 2, with S_noise = 1."""
    levels, chain = walk_levels(times), Chain(len(times) - 1)
    x = prior(chain, levels[0])
    for step, (at, to) in enumerate(itertools.pairwise(levels), start=1):
        gamma = min(churn * math.log(at / to), math.sqrt(2) - 1)
        hat = min((1 + gamma) * at, CURVE.sigma_max)
        x_hat = x + math.sqrt(hat**2 - at**2) * chain.unit(step, 1)
        d = (1 - wiener(hat)) * x_hat / hat
        x_euler = x_hat + (to - hat) * d
        d_next = (1 - wiener(to)) * x_euler / to
        x = x_hat + (to - hat) * 0.5 * (d + d_next)
    return x


FORMULAS: dict[str, tuple[Solver, Callable[[Tensor], np.ndarray]]] = {
    "ddpm": (SOLVERS["ddpm"], lambda times: by_ddim(times, 1.0)),
    "half": (Ancestral(eta=0.5), lambda times: by_ddim(times, 0.5)),
    "ddim": (SOLVERS["ddim"], lambda times: by_ddim(times, 0.0)),
    "langevin": (Corrected(Ancestral(0.0), 2, 0.3), lambda times: by_sde(times, 2, 0.3, predictor_noise=0)),
    "sde": (SOLVERS["sde"], by_sde),
    "corrected": (SOLVERS["sde_pc"], lambda times: by_sde(times, 1, 0.3)),
    "ode": (SOLVERS["ode"], lambda times: by_edm(times, 0.0)),
    "dpmpp": (SOLVERS["dpmpp"], by_dpm_solver),
    "dpmpp_sde": (SOLVERS["dpmpp_sde"], by_dpm_solver_sde),
    "edm": (Heun(churn=0.7), lambda times: by_edm(times, 0.7)),
}
TIMES = {name: grid.times(CURVE, 9, SPREAD) for name, grid in GRIDS.items()}


def difference(solver: Solver, formula: Callable[[Tensor], np.ndarray], times: Tensor) -> float:
    found, expected = coefficients(solver, times), formula(times)
    return float(np.abs(found - expected).max() / math.sqrt(float(expected @ expected)))


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES.keys())
@pytest.mark.parametrize(("solver", "formula"), FORMULAS.values(), ids=FORMULAS.keys())
def test_the_loop_is_the_papers_algorithm(
    solver: Solver, formula: Callable[[Tensor], np.ndarray], times: Tensor
) -> None:
    assert difference(solver, formula, times) < 1e-7  # the prior's standard deviation is a float32


class OneSlope(Heun):
    """Euler steps that claim to be Heun's."""

    def step(self, context: SamplerContext, state: SolverState, number: int, t: Tensor, s: Tensor) -> SolverState:
        return Ancestral(eta=0.0).step(context, state, number, t, s)


class SilentChurn(Heun):
    """The level is raised, the molecule is not."""

    def _raised(
        self, context: SamplerContext, state: SolverState, number: int, t: Tensor, s: Tensor
    ) -> tuple[SolverState, Tensor]:
        return state, super()._raised(context, state, number, t, s)[1]


class LoudChurn(Heun):
    """The molecule is raised, the level is not."""

    def _raised(
        self, context: SamplerContext, state: SolverState, number: int, t: Tensor, s: Tensor
    ) -> tuple[SolverState, Tensor]:
        return super()._raised(context, state, number, t, s)[0], t


class PlainLangevin(Corrected):
    """Noise of the unmatched Langevin step, sqrt(2 size) sigma."""

    def _move(self, context: SamplerContext, state: SolverState, at: Levels, noise: Tensor) -> SolverState:
        return super()._move(context, state, at, noise * math.sqrt(2 * (1 - math.sqrt(1 - self.share)) / self.share))


class OnePercentLoud(EulerMaruyama):
    """One hundredth too much noise."""

    def step(self, context: SamplerContext, state: SolverState, number: int, t: Tensor, s: Tensor) -> SolverState:
        quiet = Ancestral(eta=0.0).step(context, state, number, t, s)
        right = super().step(context, state, number, t, s)
        return SolverState(right.molecules.replace(pos=1.01 * right.molecules.pos - 0.01 * quiet.molecules.pos), *(
            right.prediction, right.at,
        ))  # fmt: skip


MUTANTS = {
    "one slope": (OneSlope(), FORMULAS["ode"][1]),
    "silent churn": (SilentChurn(0.7), FORMULAS["edm"][1]),
    "loud churn": (LoudChurn(0.7), FORMULAS["edm"][1]),
    "plain Langevin": (PlainLangevin(Ancestral(0.0), 2, 0.3), FORMULAS["langevin"][1]),
    "a move less": (Corrected(Ancestral(0.0), 1, 0.3), FORMULAS["langevin"][1]),
    "one percent": (OnePercentLoud(), FORMULAS["sde"][1]),
    "first order": (Ancestral(0.0), FORMULAS["dpmpp"][1]),
    "ancestral noise": (Ancestral(1.0), FORMULAS["sde"][1]),
}


@pytest.mark.parametrize(("solver", "formula"), MUTANTS.values(), ids=MUTANTS.keys())
def test_wrong_solvers_are_rejected(solver: Solver, formula: Callable[[Tensor], np.ndarray]) -> None:
    assert difference(solver, formula, TIMES["uniform"]) > 1e-3


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_weight_of_the_memory_is_rejected(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    right = solvers._extrapolated

    def wrong(state: SolverState, prediction: MolPrediction, at: Levels, to: Levels) -> Tensor:
        return prediction.pos + factor * (right(state, prediction, at, to) - prediction.pos)

    monkeypatch.setattr(solvers, "_extrapolated", wrong)
    assert difference(*FORMULAS["dpmpp"], TIMES["uniform"]) > 1e-3


def test_noise_shared_between_predictor_and_corrector_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "_CORRECTOR", 0)
    assert difference(*FORMULAS["corrected"], TIMES["uniform"]) > 1e-3


def test_noise_shared_between_steps_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        SamplerContext,
        "pos_noise",
        lambda context, molecules, step, part: context.source.normal(molecules.ids, part << 20, 0, 2),
    )
    assert difference(*FORMULAS["langevin"], TIMES["uniform"]) > 1e-3


def bias(solver: Solver, steps: int, sigma_last: float = 0.3) -> float:
    """Return the relative error of the standard deviation before the last evaluation."""
    times = LogSnrGrid(sigma_last).times(CURVE, steps, SPREAD)
    found = coefficients(solver, times, parts=2)
    return math.sqrt(float(found @ found)) / math.hypot(SPREAD, sigma_last) - 1


@pytest.mark.parametrize(
    ("solver", "order"),
    [
        (SOLVERS["ddpm"], 1),
        (SOLVERS["ddim"], 1),
        (SOLVERS["sde"], 1),
        (SOLVERS["ode"], 2),
        (SOLVERS["dpmpp"], 2),
        (SOLVERS["edm"], 2),
        (SOLVERS["dpmpp_sde"], 2),
    ],
)
def test_the_variance_converges_with_the_order_of_the_solver(solver: Solver, order: int) -> None:
    errors = [abs(bias(solver, steps)) for steps in (20, 40, 80)]
    assert errors[-1] < (0.06 if order == 1 else 6e-3)
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.25)


def test_langevin_moves_find_the_level_whatever_comes_before_them() -> None:
    # two levels far apart, so the predictor alone leaves the variance wrong by a fifth
    for share, tolerance in ((0.3, 0.1), (0.03, 0.01), (0.003, 0.001)):
        times = torch.tensor([1, float(CURVE.time_of_sigma(torch.tensor(2.0))), 0.3, 0], dtype=torch.float64)
        found = langevin_variance(times, share)
        sigma = float(CURVE.levels(times[1]).sigma)
        error = found / (SPREAD**2 + sigma**2) - 1
        a = wiener(sigma) + math.sqrt(1 - share) * (1 - wiener(sigma))
        assert found == pytest.approx(share * sigma**2 / (1 - a**2), rel=1e-4)  # the stationary law of the move
        assert abs(error) < tolerance


def langevin_variance(times: Tensor, share: float) -> float:
    """Return the variance after as many moves as it takes at the second level."""
    solver, context = (
        Corrected(Ancestral(0.0), 1, share),
        SamplerContext(exact_denoiser, DIFFUSION, CURVE, torch.zeros(1, 0), Probe(1)),
    )
    at = CURVE.levels(times[1:2])
    start = template(torch.tensor([1])).replace(pos=DIRECTION[None])
    quiet = solver._move(context, SolverState(start), at, torch.zeros(1, 2, 3)).molecules.pos
    loud = solver._move(context, SolverState(start), at, DIRECTION[None]).molecules.pos
    keep = float((quiet * DIRECTION).sum())
    add = float(((loud - quiet) * DIRECTION).sum())
    variance = SPREAD**2 + 25.0**2
    for _ in range(round(20 / share)):
        variance = keep**2 * variance + add**2
    return variance


def test_identities() -> None:
    times = TIMES["karras"]
    plain = coefficients(SOLVERS["sde"], times)
    assert np.array_equal(coefficients(Corrected(EulerMaruyama(), 0, 0.5), times), plain)
    assert np.allclose(coefficients(Corrected(EulerMaruyama(), 2, 0.0), times), plain, atol=1e-12)
    assert np.allclose(coefficients(Heun(churn=1e-13), times), coefficients(Heun(), times), atol=1e-5)
    # without a memory, that is in its first step, the multistep method is DDIM
    assert np.array_equal(
        coefficients(SOLVERS["dpmpp"], times[[0, 4, 8]]), coefficients(SOLVERS["ddim"], times[[0, 4, 8]])
    )
    # a corrector leaves the last evaluation at the same level: nothing to extrapolate from
    both = [coefficients(Corrected(Ancestral(0.0, second), 1, 0.2), times) for second in (False, True)]
    assert np.array_equal(*both)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_evaluations_are_counted(name: str, steps: int) -> None:
    calls = []

    def counting(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
        calls.append(previous)
        return exact_denoiser(batch, levels, condition, previous)

    grid = KarrasGrid().times(CURVE, steps, SPREAD)
    sample(counting, DIFFUSION, CURVE, template(torch.arange(2)), grid, SOLVERS[name], NoiseSource(0))
    assert len(calls) == evaluations_of(SOLVERS[name], steps)
    assert calls[0] is None
    assert all(previous is not None for previous in calls[1:])
