"""Normal densities and masses of intervals against integrals: values and gradients, far into the tails."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from moldiff.diffusion.property_likelihood import log_density, log_mass
from moldiff.molecules import PropertyPrediction


def test_densities_are_those_of_the_normal_law() -> None:
    mean = torch.tensor([[0.3, -2.0], [1.0, 4.0]], dtype=torch.float64)
    log_variance = torch.tensor([[0.0, -3.0], [1.5, 0.2]], dtype=torch.float64)
    values = torch.tensor([[0.1, -2.5], [5.0, math.nan]], dtype=torch.float64)
    found = log_density(PropertyPrediction(mean, log_variance), values).numpy()
    expected = stats.norm.logpdf(values.numpy(), mean.numpy(), np.exp(0.5 * log_variance.numpy()))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(("low", "high"), [(-math.inf, 0.4), (0.4, math.inf), (-0.5, 1.0), (0.2, 0.201)])
@pytest.mark.parametrize("mean", [-3.0, -0.2, 0.4, 0.7, 6.0])
@pytest.mark.parametrize("log_variance", [-3.0, 0.0, 1.0])
def test_masses_are_integrals(low: float, high: float, mean: float, log_variance: float) -> None:
    std = math.exp(0.5 * log_variance)
    ends = np.clip([low, high], mean - 40 * std, mean + 40 * std)
    middle = [float(np.clip(mean, *ends))]
    density = stats.norm(mean, std).pdf
    expected, _ = integrate.quad(density, *ends, points=middle, epsabs=0, epsrel=1e-11, limit=400)
    found = float(log_mass(low, high, torch.tensor(mean), torch.tensor(log_variance).double()))
    assert found == pytest.approx(math.log(expected), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("low", "high"), [(-math.inf, 0.4), (0.4, math.inf), (-0.5, 1.0), (0.2, 0.2001)])
@pytest.mark.parametrize("mean", [-200.0, -30.0, 0.3, 30.0, 200.0])
def test_tails_have_finite_values_and_the_right_gradients(low: float, high: float, mean: float) -> None:
    """Far out, ln P falls as the square of the distance to the nearest end."""
    at = torch.tensor([mean], dtype=torch.float64, requires_grad=True)
    log_variance = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    value = log_mass(low, high, at, log_variance)
    slope, widening = torch.autograd.grad(value, [at, log_variance])
    assert bool(torch.isfinite(torch.stack([value.detach(), slope, widening])).all())
    if abs(mean) >= 30 and not low <= mean <= high:
        nearest = low if mean < low else high
        assert float(slope) == pytest.approx(nearest - mean, rel=5e-3), "Mills' ratio"
        assert float(value) == pytest.approx(-0.5 * (nearest - mean) ** 2, rel=0.05)
        assert float(widening) == pytest.approx(0.5 * (nearest - mean) ** 2, rel=0.05)


def test_gradients_are_those_of_finite_differences() -> None:
    mean = torch.tensor([-1.0, 0.2, 3.0], dtype=torch.float64, requires_grad=True)
    log_variance = torch.tensor([-1.0, 0.5, 0.0], dtype=torch.float64, requires_grad=True)
    for low, high in ((-math.inf, 0.5), (0.5, math.inf), (-0.4, 0.8)):
        assert torch.autograd.gradcheck(lambda m, v, a=low, b=high: log_mass(a, b, m, v), (mean, log_variance))


def test_an_interval_lost_in_rounding_stays_finite() -> None:
    mean = torch.tensor([1.0, 1e8], dtype=torch.float64, requires_grad=True)
    value = log_mass(0.0, 1e-15, mean, torch.zeros(2, dtype=torch.float64))
    (slope,) = torch.autograd.grad(value.sum(), mean)
    assert bool(torch.isfinite(value).all())
    assert bool(torch.isfinite(slope).all())
