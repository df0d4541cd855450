"""The bound of the coordinates, term by term against normal laws on 3 (N - 1) dimensions, and as a whole.

Every term is quadratic in normal variables, so a few sigma points give its expectation exactly: nothing is drawn.
"""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from moldiff.config import CurveConfig
from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.diffusion.schedule import uniform_grid
from moldiff.models.molecule_model import schedule_from_config

ATOMS, WIDTH = 3, 5
FREEDOM = 3 * (ATOMS - 1)
SPREAD = 1.3  # angstrom, of the normal data
MASK = (torch.arange(WIDTH) < ATOMS)[None]


def basis() -> Tensor:
    """Return an orthonormal basis of zero-mean coordinates of the real atoms, (3 WIDTH, FREEDOM)."""
    rows = torch.zeros(WIDTH, ATOMS - 1, dtype=torch.float64)  # Helmert contrasts
    for k in range(1, ATOMS):
        rows[:k, k - 1], rows[k, k - 1] = 1, -k
        rows[:, k - 1] /= math.sqrt(k * (k + 1))
    return torch.kron(rows, torch.eye(3, dtype=torch.float64))


def place(coordinates: Tensor) -> Tensor:
    """Return positions (B, WIDTH, 3) from coordinates (B, FREEDOM) in the basis."""
    return (coordinates @ basis().T).reshape(-1, WIDTH, 3)


def normal(mean: Tensor, sigma: float) -> MultivariateNormal:
    return MultivariateNormal(mean, sigma**2 * torch.eye(FREEDOM, dtype=torch.float64))


def term_error(process: GaussianProcess) -> float:
    """Return the largest difference of the three terms to the same quantities of explicit normal laws."""
    x_0, estimate = torch.randn(2, 1, FREEDOM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at, to, end = (torch.tensor([value], dtype=torch.float64) for value in (2.0, 0.7, 25.0))
    prior_sigma = torch.sqrt(end**2 + SPREAD**2)
    slope = float(to**2 / at**2)
    deviation = float(to) * math.sqrt(1 - slope)
    expected = [
        kl_divergence(normal(x_0, float(end)), normal(0 * x_0, float(prior_sigma))),
        # the part of the mean that depends on x_t is the same on both sides
        kl_divergence(normal((1 - slope) * x_0, deviation), normal((1 - slope) * estimate, deviation)),
        -normal(estimate, float(to)).log_prob(x_0),
    ]
    found = [
        process.kl_prior(place(x_0), end, prior_sigma, MASK),
        process.kl_step(place(estimate), place(x_0), at, to, MASK),
        process.reconstruction_nll(place(x_0), place(estimate), to, MASK),
    ]
    return max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))


def sigma_points() -> Tensor:
    """Return points (4 FREEDOM, 2, FREEDOM) whose average of any quadratic is its mean over two standard normals."""
    scaled = math.sqrt(2 * FREEDOM) * torch.eye(2 * FREEDOM, dtype=torch.float64)
    return torch.cat([scaled, -scaled]).reshape(-1, 2, FREEDOM)


def levels(steps: int) -> Tensor:
    return schedule_from_config(CurveConfig()).levels(uniform_grid(steps)).sigma


def wiener(sigma: Tensor) -> float:
    """Return c of the exact denoiser D(x) = c x."""
    return float(SPREAD**2 / (SPREAD**2 + sigma**2))


def bound(process: GaussianProcess, slopes: list[float], sigma: Tensor) -> float:
    """Return the bound averaged over data and noise, nats; the denoiser at sigma[k] is D(x) = slopes[k] x."""
    clean, noise = sigma_points().unbind(1)
    x_0, n = place(SPREAD * clean), place(noise)
    rows, mask = len(x_0), MASK.expand(len(x_0), -1)
    total = process.kl_prior(x_0, sigma[:1].expand(rows), torch.sqrt(sigma[:1] ** 2 + SPREAD**2).expand(rows), mask)
    for slope, at, to in zip(slopes, sigma[:-1], sigma[1:], strict=False):
        total = total + process.kl_step(slope * (x_0 + at * n), x_0, at.expand(rows), to.expand(rows), mask)
    last = slopes[-1] * (x_0 + sigma[-1] * n)
    return float((total + process.reconstruction_nll(x_0, last, sigma[-1:].expand(rows), mask)).mean())


def bound_by_hand(sigma: Tensor) -> float:
    """Return the bound of the exact denoiser from its mean squared error per dimension, 1 / (1 / S^2 + 1 / sigma^2)."""
    error = SPREAD**2 * sigma**2 / (SPREAD**2 + sigma**2)
    steps = (sigma[1:] ** -2 - sigma[:-1] ** -2) * error[:-1]
    prior = torch.log(1 + SPREAD**2 / sigma[0] ** 2)
    reconstruction = torch.log(2 * torch.pi * sigma[-1] ** 2) + error[-1] / sigma[-1] ** 2
    return float(0.5 * FREEDOM * (prior + steps.sum() + reconstruction))


def whole_error(process: GaussianProcess) -> float:
    sigma = levels(100)
    return abs(bound(process, [wiener(s) for s in sigma], sigma) - bound_by_hand(sigma))


def entropy() -> float:
    return 0.5 * FREEDOM * math.log(2 * math.pi * math.e * SPREAD**2)


def margin(process: GaussianProcess, slopes: list[float], sigma: Tensor) -> float:
    """Return bound - (cross-entropy of the data under the law that the chain really has), from its own recursion."""
    variance = float(sigma[0] ** 2) + SPREAD**2
    for slope, at, to in zip(slopes, sigma[:-1].tolist(), sigma[1:].tolist(), strict=False):
        keep = to**2 / at**2
        variance = (keep + (1 - keep) * slope) ** 2 * variance + to**2 * (1 - keep)
    variance = slopes[-1] ** 2 * variance + float(sigma[-1] ** 2)
    cross_entropy = 0.5 * FREEDOM * (math.log(2 * math.pi * variance) + SPREAD**2 / variance)
    return bound(process, slopes, sigma) - cross_entropy


class AllCoordinates(GaussianProcess):
    """3 N dimensions in place of 3 (N - 1)."""

    def kl_prior(self, x_0: Tensor, sigma: Tensor, prior_sigma: Tensor, mask: Tensor) -> Tensor:
        ratio = (sigma / prior_sigma) ** 2
        return super().kl_prior(x_0, sigma, prior_sigma, mask) + 1.5 * (ratio - 1 - torch.log(ratio))

    def reconstruction_nll(self, x_0: Tensor, prediction: Tensor, sigma: Tensor, mask: Tensor) -> Tensor:
        return super().reconstruction_nll(x_0, prediction, sigma, mask) + 1.5 * torch.log(2 * torch.pi * sigma**2)


class WrongLevels(GaussianProcess):
    """The weight of a step without its far end."""

    def kl_step(self, prediction: Tensor, x_0: Tensor, sigma_t: Tensor, sigma_s: Tensor, mask: Tensor) -> Tensor:
        return super().kl_step(prediction, x_0, torch.full_like(sigma_t, torch.inf), sigma_s, mask)


class OnePercentLess(GaussianProcess):
    """Steps that are counted one hundredth too small."""

    def kl_step(self, prediction: Tensor, x_0: Tensor, sigma_t: Tensor, sigma_s: Tensor, mask: Tensor) -> Tensor:
        return 0.99 * super().kl_step(prediction, x_0, sigma_t, sigma_s, mask)


every_mutant = pytest.mark.parametrize("mutant", [AllCoordinates, WrongLevels, OnePercentLess])


def test_terms_are_divergences_of_normal_laws() -> None:
    assert term_error(GaussianProcess()) < 1e-10


@every_mutant
def test_wrong_terms_are_rejected(mutant: type[GaussianProcess]) -> None:
    assert term_error(mutant()) > 1e-3


def test_the_whole_bound_has_its_closed_form() -> None:
    assert whole_error(GaussianProcess()) < 1e-10


@every_mutant
def test_a_wrong_bound_is_rejected(mutant: type[GaussianProcess]) -> None:
    assert whole_error(mutant()) > 1e-3


def test_the_bound_approaches_the_entropy_from_above() -> None:
    gaps = []
    for steps in (200, 400, 800):
        sigma = levels(steps)
        gaps.append(bound(GaussianProcess(), [wiener(s) for s in sigma], sigma) - entropy())
    assert gaps[-1] > 0
    assert [coarse / fine for coarse, fine in itertools.pairwise(gaps)] == pytest.approx([2, 2], abs=0.1)


def test_no_linear_denoiser_gets_below_the_truth() -> None:
    sigma, generator = levels(30), torch.Generator().manual_seed(0)
    margins = []
    for _ in range(100):
        factors = torch.exp(0.3 * torch.randn(len(sigma), generator=generator))
        margins.append(
            margin(GaussianProcess(), [wiener(s) * float(f) for s, f in zip(sigma, factors, strict=True)], sigma)
        )
    margins.append(margin(GaussianProcess(), [wiener(s) for s in sigma], sigma))
    assert min(margins) > 0


def test_a_bound_that_is_a_percent_too_small_gets_below_it() -> None:
    sigma = levels(1600)
    exact = [wiener(s) for s in sigma]
    assert margin(OnePercentLess(), exact, sigma) < 0 < margin(GaussianProcess(), exact, sigma)
