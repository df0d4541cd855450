"""Turning levels, distances, classes and properties into features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from moldiff.nn.linear import Linear

_FINE_SPACING = 0.08  # angstrom: a C-C single and double bond differ by 0.2
_FINE_END = 2.6
_COARSE_END = 12.0
_COARSE_COUNT = 16
_NOTHING = -80.0  # the logarithm of a Gaussian that is zero for any purpose
_ORDINARY = 4.0  # standard deviations


class RadialBasis(nn.Module):
    """Gaussians of the distance: spacing 0.08 angstrom up to 2.6, then growing geometrically to 12 angstrom.

    Forward: (...,) distances in angstrom -> (..., size).
    """

    centers: Tensor
    inverse_widths: Tensor

    def __init__(self) -> None:
        super().__init__()
        # constants stay on the CPU when a network is built on the meta device to see its shapes
        fine = torch.arange(0.0, _FINE_END, _FINE_SPACING, dtype=torch.float64, device="cpu")
        ratio = (_COARSE_END / _FINE_END) ** (1 / _COARSE_COUNT)
        coarse = _FINE_END * ratio ** torch.arange(_COARSE_COUNT + 1, dtype=torch.float64, device="cpu")
        centers = torch.cat([fine, coarse])
        self.register_buffer("centers", centers.float(), persistent=False)
        self.register_buffer("inverse_widths", (1 / torch.gradient(centers)[0]).float(), persistent=False)
        self.size = len(centers)

    def forward(self, distance: Tensor) -> Tensor:
        z = distance[..., None] - self.centers.to(distance.dtype)
        # beyond, the numbers would be denormal, which cost a processor many times as much
        if torch.is_grad_enabled():
            z = z * self.inverse_widths.to(distance.dtype)
            return torch.exp((-0.5 * z * z).clamp(min=_NOTHING))
        z.mul_(self.inverse_widths.to(distance.dtype))
        return (-0.5 * z).mul_(z).clamp_(min=_NOTHING).exp_()


class FourierFeatures(nn.Module):
    """Sines and cosines of a few scalars at fixed geometric frequencies.

    Forward: (B, S) -> (B, S * 2 * count).
    """

    frequencies: Tensor

    def __init__(self, count: int, lowest: float, highest: float) -> None:
        super().__init__()
        exponents = torch.linspace(math.log(lowest), math.log(highest), count, dtype=torch.float32, device="cpu")
        self.register_buffer("frequencies", exponents.exp(), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        angles = (values[..., None] * self.frequencies.to(values.dtype)).flatten(-2)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


def tempered(standard: Tensor) -> Tensor:
    """Return a standardised value (any shape) unchanged within +-4, and growing as a logarithm beyond, smoothly.

    A property of a molecule unlike the training data (20 standard deviations are nothing unusual for a size) must not
    drown everything else.
    """
    beyond = (standard.abs() - _ORDINARY).clamp(min=0)
    return standard.clamp(-_ORDINARY, _ORDINARY) + standard.sign() * torch.log1p(beyond)


class GlobalEmbedding(nn.Module):
    """Features of a whole molecule: levels, size, wanted properties, whether a previous prediction is given.

    Args:
        width: size of the output.
        property_mean, property_std: (P,) used to standardise the condition, natural units.
        size_unit: atoms; sizes are seen in this unit.
    """

    property_mean: Tensor
    property_std: Tensor

    def __init__(self, width: int, property_mean: Tensor, property_std: Tensor, size_unit: float) -> None:
        super().__init__()
        self.size_unit = size_unit
        self.register_buffer("property_mean", property_mean.float())
        self.register_buffer("property_std", property_std.float())
        self.fourier = FourierFeatures(8, 0.1, 4.0)
        self.levels = Linear(4 * 17, width)
        self.size = Linear(2, width)
        self.properties = Linear(2 * len(property_mean), width, bias=False) if len(property_mean) else None
        self.output = nn.Sequential(nn.SiLU(), Linear(width, width), nn.SiLU())

    def forward(self, levels: Tensor, n_atoms: Tensor, condition: Tensor, self_conditioned: bool) -> Tensor:
        """Return (B, width) from levels (B, 4), n_atoms (B,), condition (B, P) with NaN = not given."""
        scaled = levels / 4
        dtype = levels.dtype
        size = torch.stack(
            [n_atoms.to(dtype) / self.size_unit, torch.full_like(scaled[:, 0], float(self_conditioned))], dim=-1
        )
        hidden = self.levels(torch.cat([scaled, self.fourier(scaled)], dim=-1)) + self.size(size)
        if self.properties is not None:
            given = torch.isfinite(condition)
            standard = (condition.to(dtype) - self.property_mean.to(dtype)) / self.property_std.to(dtype)
            # the condition is masked before it meets any weight, so NaN never spreads
            known = torch.where(given, tempered(standard), torch.zeros_like(standard))
            features = torch.cat([known, given.to(dtype)], dim=-1)
            hidden = hidden + self.properties(features)
        return self.output(hidden)
