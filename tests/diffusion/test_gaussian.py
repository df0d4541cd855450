"""Gaussian diffusion of coordinates against closed forms. Reverse steps are linear, so covariances replace sampling.

The data are normal, of variance SPREAD^2 on the zero-mean subspace; their exact denoiser is D(x) = c x. The matrices
of a step are read off the process by feeding it the unit vectors.
"""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from moldiff.config import CurveConfig
from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.diffusion.schedule import uniform_grid
from moldiff.models.molecule_model import schedule_from_config

ATOMS, WIDTH = 4, 6  # real atoms, padded width
SPREAD = 1.3  # angstrom
DIMENSIONS = 3 * WIDTH
MASK = (torch.arange(WIDTH) < ATOMS)[None]
FREEDOM = 3 * (ATOMS - 1)


def projector() -> Tensor:
    """Return the projection on coordinates of real atoms with zero mean, (DIMENSIONS, DIMENSIONS)."""
    real = MASK[0].double()
    return torch.kron(torch.diag(real) - torch.outer(real, real) / ATOMS, torch.eye(3, dtype=torch.float64))


def matrix_of(function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the matrix of a linear function of coordinates (B, WIDTH, 3); ValueError if it is not linear."""
    unit = torch.eye(DIMENSIONS, dtype=torch.float64).reshape(DIMENSIONS, WIDTH, 3)
    image = function(unit).flatten(1)
    weights = torch.linspace(-1, 2, DIMENSIONS, dtype=torch.float64)
    combined = function((weights[:, None, None] * unit).sum(0, keepdim=True)).flatten()
    if not torch.allclose(combined, weights @ image, atol=1e-9):
        raise ValueError("the function is not linear")
    return image.T


def sigmas(steps: int) -> Tensor:
    """Return the package's own noise levels from t = 1 to 0, angstrom."""
    return schedule_from_config(CurveConfig()).levels(uniform_grid(steps)).sigma


def step_matrices(process: GaussianProcess, at: Tensor, to: Tensor, eta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return how x_s depends on x_t, on the estimate of x_0, and on the noise: three matrices."""

    def step(x_t: Tensor, x_0: Tensor, noise: Tensor) -> Tensor:
        rows = len(x_t)
        mask = MASK.expand(rows, -1)
        return process.reverse_step(x_t, x_0, at.expand(rows), to.expand(rows), noise, mask, eta)

    return (
        matrix_of(lambda x: step(x, 0 * x, 0 * x)),
        matrix_of(lambda x: step(0 * x, x, 0 * x)),
        matrix_of(lambda x: step(0 * x, 0 * x, x)),
    )


def wiener(sigma: Tensor) -> float:
    """Return c of the exact denoiser D(x) = c x."""
    return float(SPREAD**2 / (SPREAD**2 + sigma**2))


def marginal_error(process: GaussianProcess) -> float:
    """Return the largest error of the covariance of x_t = x_0 + sigma n, over every level."""
    error = 0.0
    for sigma in sigmas(100):
        noise = matrix_of(
            lambda n, s=sigma: process.sample_marginal(0 * n, s.expand(len(n)), n, MASK.expand(len(n), -1))
        )
        clean = matrix_of(
            lambda x, s=sigma: process.sample_marginal(x, s.expand(len(x)), 0 * x, MASK.expand(len(x), -1))
        )
        data = SPREAD**2 * projector()
        found = clean @ data @ clean.T + noise @ noise.T
        error = max(error, float((found / (SPREAD**2 + sigma**2) - projector()).abs().max()))
    return error


def posterior_error(process: GaussianProcess) -> float:
    """Return the largest error of mean and covariance of x_s given (x_t, x_0), from conditioning a joint normal law.

    Given x_0, (x_s, x_t) is normal with covariances sigma_s^2, sigma_s^2, sigma_t^2 in each direction.
    """
    error, levels = 0.0, sigmas(20)
    for stride in (1, 10):
        for at, to in zip(levels[:-stride], levels[stride:], strict=True):
            on_t, on_0, on_noise = step_matrices(process, at, to, eta=1.0)
            slope, variance = to**2 / at**2, to**2 - to**4 / at**2
            eye = torch.eye(DIMENSIONS, dtype=torch.float64)
            wrong = [
                on_t - slope * eye,
                on_0 - (1 - slope) * eye,
                (on_noise @ on_noise.T - variance * projector()) / variance,
            ]
            error = max(error, *(float(matrix.abs().max()) for matrix in wrong))
    return error


def exact_chain_error(process: GaussianProcess, stride: int) -> float:
    """Return the relative error of the final covariance if x_0 is drawn from its exact posterior before each step."""
    levels = sigmas(100)[::stride]
    covariance = (SPREAD**2 + levels[0] ** 2) * projector()
    for at, to in itertools.pairwise(levels):
        on_t, on_0, on_noise = step_matrices(process, at, to, eta=1.0)
        c = wiener(at)
        move = on_t + c * on_0
        spread = float(SPREAD**2 * (1 - c)) * projector()  # of x_0 given x_t
        covariance = move @ covariance @ move.T + on_0 @ spread @ on_0.T + on_noise @ on_noise.T
    return float((covariance / (SPREAD**2 + levels[-1] ** 2) - projector()).abs().max())


def chain_covariance(process: GaussianProcess, steps: int, eta: float) -> Tensor:
    """Return the final covariance if the exact denoiser's mean stands for x_0, as in the package's samplers."""
    levels = sigmas(steps)
    covariance = (SPREAD**2 + levels[0] ** 2) * projector()
    for at, to in itertools.pairwise(levels):
        on_t, on_0, on_noise = step_matrices(process, at, to, eta)
        move = on_t + wiener(at) * on_0
        covariance = move @ covariance @ move.T + on_noise @ on_noise.T
    return covariance


def chain_variance(steps: int, eta: float) -> float:
    """Return the same per degree of freedom, by the scalar recursion v_s = a^2 v_t + b^2 (Song et al. 2021, eq. 12)."""
    levels = sigmas(steps).tolist()
    variance = SPREAD**2 + levels[0] ** 2
    for at, to in itertools.pairwise(levels):
        c = SPREAD**2 / (SPREAD**2 + at**2)
        b2 = eta**2 * to**2 * (at**2 - to**2) / at**2
        a = c + (1 - c) * (to**2 - b2) ** 0.5 / at
        variance = a**2 * variance + b2
    return variance


def recursion_error(process: GaussianProcess, steps: int, eta: float) -> float:
    found = chain_covariance(process, steps, eta)
    return float((found / chain_variance(steps, eta) - projector()).abs().max())


def freedom_error(process: GaussianProcess) -> float:
    """Return how far the noise of the prior and of a step is from 3 (N - 1) degrees of freedom."""
    rows = MASK.expand(DIMENSIONS, -1)
    prior = matrix_of(lambda n: process.sample_prior(torch.ones(len(n), dtype=torch.float64), n, rows[: len(n)]))
    _, _, noise = step_matrices(process, torch.tensor(2.0).double(), torch.tensor(1.0).double(), eta=1.0)
    return max(abs(float((prior @ prior.T).trace()) - FREEDOM), abs(float((noise @ noise.T).trace()) / 0.75 - FREEDOM))


class WiderStep(GaussianProcess):
    """The variance sigma_t^2 - sigma_s^2 in place of the posterior's."""

    def reverse_step(
        self, x_t: Tensor, x_0: Tensor, sigma_t: Tensor, sigma_s: Tensor, noise: Tensor, mask: Tensor, eta: float = 1.0
    ) -> Tensor:
        wider = noise * (sigma_t / sigma_s)[:, None, None]
        return super().reverse_step(x_t, x_0, sigma_t, sigma_s, wider, mask, eta)


class OneLevelLate(GaussianProcess):
    """sigma_t off by one: the level of the step before."""

    def sample_marginal(self, x_0: Tensor, sigma: Tensor, noise: Tensor, mask: Tensor) -> Tensor:
        return super().sample_marginal(x_0, self._before(sigma), noise, mask)

    def reverse_step(
        self, x_t: Tensor, x_0: Tensor, sigma_t: Tensor, sigma_s: Tensor, noise: Tensor, mask: Tensor, eta: float = 1.0
    ) -> Tensor:
        return super().reverse_step(x_t, x_0, self._before(sigma_t), sigma_s, noise, mask, eta)

    @staticmethod
    def _before(sigma: Tensor) -> Tensor:
        curve = schedule_from_config(CurveConfig())
        return curve.levels((curve.time_of_sigma(sigma) + 0.01).clamp(max=1)).sigma


class OnePercentWide(GaussianProcess):
    """Noise that is one hundredth too large."""

    def reverse_step(
        self, x_t: Tensor, x_0: Tensor, sigma_t: Tensor, sigma_s: Tensor, noise: Tensor, mask: Tensor, eta: float = 1.0
    ) -> Tensor:
        return super().reverse_step(x_t, x_0, sigma_t, sigma_s, 1.01 * noise, mask, eta)

    def sample_marginal(self, x_0: Tensor, sigma: Tensor, noise: Tensor, mask: Tensor) -> Tensor:
        return super().sample_marginal(x_0, sigma, 1.01 * noise, mask)


class Uncentred(GaussianProcess):
    """Noise with a centre of mass: 3 N degrees of freedom."""

    def sample_prior(self, sigma: Tensor, noise: Tensor, mask: Tensor) -> Tensor:
        return sigma[:, None, None] * noise * mask[..., None]

    def sample_marginal(self, x_0: Tensor, sigma: Tensor, noise: Tensor, mask: Tensor) -> Tensor:
        return x_0 + sigma[:, None, None] * noise * mask[..., None]

    def reverse_step(
        self, x_t: Tensor, x_0: Tensor, sigma_t: Tensor, sigma_s: Tensor, noise: Tensor, mask: Tensor, eta: float = 1.0
    ) -> Tensor:
        mean = super().reverse_step(x_t, x_0, sigma_t, sigma_s, 0 * noise, mask, eta)
        std = eta * sigma_s * torch.sqrt(1 - (sigma_s / sigma_t) ** 2)
        return mean + std[:, None, None] * noise * mask[..., None]


MUTANTS = [WiderStep, OneLevelLate, OnePercentWide, Uncentred]
every_mutant = pytest.mark.parametrize("mutant", MUTANTS)


def test_marginals_have_the_closed_form_covariance(record_property: Callable[[str, object], None]) -> None:
    error = marginal_error(GaussianProcess())
    record_property("forward kernels", error)
    assert error < 1e-12


@pytest.mark.parametrize("mutant", [OneLevelLate, OnePercentWide, Uncentred])
def test_wrong_marginals_are_rejected(mutant: type[GaussianProcess]) -> None:
    assert marginal_error(mutant()) > 1e-3


def test_reverse_step_is_the_posterior_at_any_stride() -> None:
    assert posterior_error(GaussianProcess()) < 1e-10


@every_mutant
def test_wrong_posteriors_are_rejected(mutant: type[GaussianProcess]) -> None:
    assert posterior_error(mutant()) > 1e-3


@pytest.mark.parametrize("stride", [1, 10, 50])
def test_with_x_0_drawn_from_its_posterior_the_chain_is_exact(stride: int) -> None:
    assert exact_chain_error(GaussianProcess(), stride) < 1e-10


@every_mutant
def test_wrong_exact_chains_are_rejected(mutant: type[GaussianProcess]) -> None:
    assert exact_chain_error(mutant(), stride=1) > 1e-3


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [10, 50])
def test_chains_with_the_mean_follow_the_moment_recursion(
    steps: int, eta: float, record_property: Callable[[str, object], None]
) -> None:
    error = recursion_error(GaussianProcess(), steps, eta)
    record_property("moment recursion", error)
    assert error < 1e-10


@every_mutant
def test_wrong_chains_are_rejected(mutant: type[GaussianProcess]) -> None:
    assert recursion_error(mutant(), 50, eta=1.0) > 1e-3


def test_the_bias_of_the_mean_for_x_0_is_known_and_falls_as_one_over_the_steps() -> None:
    spread = (SPREAD**2 + float(sigmas(1)[-1]) ** 2) ** 0.5
    bias = {steps: chain_variance(steps, eta=1.0) ** 0.5 / spread - 1 for steps in (10, 50, 100, 200)}
    assert bias == pytest.approx({10: -0.1862, 50: -0.0433, 100: -0.0221, 200: -0.0112}, abs=1e-4)
    assert bias[100] / bias[200] == pytest.approx(2, abs=0.05)


def test_noise_has_three_degrees_of_freedom_less() -> None:
    assert freedom_error(GaussianProcess()) < 1e-10


def test_noise_with_a_centre_of_mass_is_rejected() -> None:
    assert freedom_error(Uncentred()) == pytest.approx(3)


def test_every_draw_has_zero_mean_and_an_empty_padding() -> None:
    process, generator = GaussianProcess(), torch.Generator().manual_seed(0)
    noise = torch.randn(3, WIDTH, 3, generator=generator, dtype=torch.float64)
    mask = torch.arange(WIDTH)[None] < torch.tensor([2, 4, 6])[:, None]
    one, two = torch.ones(3, dtype=torch.float64), torch.full((3,), 2.0, dtype=torch.float64)
    prior = process.sample_prior(two, noise, mask)
    for pos in (
        prior,
        process.sample_marginal(prior, one, noise, mask),
        process.reverse_step(prior, 0 * prior, two, one, noise, mask),
    ):
        assert float(pos.sum(1).abs().max()) < 1e-12
        assert not pos[~mask].any()


def variance_preserving_step(
    x_t: Tensor, x_0: Tensor, abar_t: Tensor, abar_s: Tensor, noise: Tensor, eta: float
) -> Tensor:
    """Return DDIM with parameter eta in its own variables (Song et al. 2021, eqs. 12 and 16)."""
    std = eta * torch.sqrt((1 - abar_s) / (1 - abar_t)) * torch.sqrt(1 - abar_t / abar_s)
    epsilon = (x_t - abar_t.sqrt() * x_0) / (1 - abar_t).sqrt()
    return abar_s.sqrt() * x_0 + (1 - abar_s - std**2).sqrt() * epsilon + std * noise


def ancestral_step(x_t: Tensor, x_0: Tensor, abar_t: Tensor, abar_s: Tensor, noise: Tensor) -> Tensor:
    """Return DDPM's ancestral step in its own variables (Ho et al. 2020, eq. 7)."""
    alpha = abar_t / abar_s
    mean = abar_s.sqrt() * (1 - alpha) / (1 - abar_t) * x_0 + alpha.sqrt() * (1 - abar_s) / (1 - abar_t) * x_t
    return mean + ((1 - abar_s) / (1 - abar_t) * (1 - alpha)).sqrt() * noise


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_steps_agree_with_the_literature_in_other_variables(eta: float) -> None:
    x_t, x_0, noise = three_draws()
    for at, to in itertools.pairwise(sigmas(10)):
        abar_t, abar_s = 1 / (1 + at**2), 1 / (1 + to**2)
        found = one_step(x_t, x_0, at, to, noise, eta) * abar_s.sqrt()
        expected = variance_preserving_step(x_t * abar_t.sqrt(), x_0, abar_t, abar_s, noise, eta)
        assert torch.allclose(found, expected, rtol=0, atol=1e-10)
        if eta == 1:
            assert torch.allclose(
                found, ancestral_step(x_t * abar_t.sqrt(), x_0, abar_t, abar_s, noise), rtol=0, atol=1e-10
            )


def test_ddim_is_an_euler_step_of_the_probability_flow_and_first_order_dpm_solver() -> None:
    x_t, x_0, noise = three_draws()
    for at, to in itertools.pairwise(sigmas(10)):
        found = one_step(x_t, x_0, at, to, noise, eta=0.0)
        euler = x_t + (to - at) * (x_t - x_0) / at  # dx/dsigma = (x - D) / sigma, Karras et al. 2022, eq. 3
        log_ratio = at.log() - to.log()  # h of Lu et al. 2022, DPM-Solver++ eq. 9 with alpha = 1
        dpm = (to / at) * x_t - (torch.exp(-log_ratio) - 1) * x_0
        assert torch.allclose(found, euler, rtol=0, atol=1e-10)
        assert torch.allclose(found, dpm, rtol=0, atol=1e-10)


def test_the_last_step_to_zero_noise_returns_the_estimate() -> None:
    x_t, x_0, noise = three_draws()
    zero = torch.zeros((), dtype=torch.float64)
    for eta in (0.0, 1.0):
        assert torch.equal(one_step(x_t, x_0, sigmas(10)[3], zero, noise, eta), x_0)


def three_draws() -> tuple[Tensor, Tensor, Tensor]:
    """Return x_t, x_0 and noise, zero-mean and padded, (1, WIDTH, 3) each."""
    draws = torch.randn(3, DIMENSIONS, generator=torch.Generator().manual_seed(1), dtype=torch.float64) @ projector()
    x_t, x_0, noise = draws.reshape(3, 1, WIDTH, 3)
    return 5 * x_t, x_0, noise


def one_step(x_t: Tensor, x_0: Tensor, at: Tensor, to: Tensor, noise: Tensor, eta: float) -> Tensor:
    return GaussianProcess().reverse_step(x_t, x_0, at[None], to[None], noise, MASK, eta)
