"""Logarithms of normal densities and of the normal mass of an interval, safe in the tails."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from moldiff.molecules import PropertyPrediction

_LOG_TWO_PI = math.log(2 * math.pi)
_LOG_HALF = math.log(0.5)
_NARROWEST = 1e-30  # of 1 - ratio of two tails: keeps the logarithm finite where an interval is lost in rounding


def log_density(prediction: PropertyPrediction, values: Tensor) -> Tensor:
    """Return ln p of values (B, P), standardised units, under the predicted normal laws; NaN stays NaN."""
    error = values - prediction.mean
    return -0.5 * (_LOG_TWO_PI + prediction.log_variance + error**2 * torch.exp(-prediction.log_variance))


def log_mass(low: float, high: float, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return ln P(low <= y <= high), float64 of the shape of ``mean``, for normal y; low < high, one may be infinite.

    With both ends in the lower tail (by symmetry, they can be put there), the mass is the difference of two numbers far
    from 1: ln Phi(b) + ln(1 - exp(ln Phi(a) - ln Phi(b))).
    """
    mean, std = mean.double(), torch.exp(0.5 * log_variance.double())
    if math.isinf(low):
        return torch.special.log_ndtr((high - mean) / std)
    if math.isinf(high):
        return torch.special.log_ndtr((mean - low) / std)
    a, b = (low - mean) / std, (high - mean) / std
    upper = a + b > 0
    a, b = torch.where(upper, -b, a), torch.where(upper, -a, b)
    larger = torch.special.log_ndtr(b)
    return larger + _log_one_minus_exp(torch.special.log_ndtr(a) - larger)


def _log_one_minus_exp(x: Tensor) -> Tensor:
    """Return ln(1 - e^x) for x <= 0, exact near 0 and far below (Maechler 2012, "Accurately computing
    log(1 - exp(-|a|))")."""
    near, far = x.clamp(min=_LOG_HALF), x.clamp(max=_LOG_HALF)
    return torch.where(
        x > _LOG_HALF, torch.log((-torch.expm1(near)).clamp(min=_NARROWEST)), torch.log1p(-torch.exp(far))
    )
