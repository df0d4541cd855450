"""Schedule of the noise levels along t in [0, 1], and density of the training times. t = 0 is data, t = 1 is noise.
Everything is computed in float64 and in log space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moldiff.diffusion.levels import Levels


@dataclass(frozen=True)
class AngleSchedule:
    """ln tan of an angle that grows as t^exponent from ``start`` to ``end``: a cosine schedule between finite ends.

    With abar = cos^2(angle), logit abar = -2 ln tan(angle) (Nichol and Dhariwal 2021; the exponent follows Vignac et
    al.
    2023, "MiDi", eq. 5: a larger one keeps a field cleaner at the same t, so that it is resolved first in reverse).

    Attributes:
        start, end: ln tan of the angle at t = 0 and t = 1.
        exponent: the power nu of t.
    """

    start: float
    end: float
    exponent: float

    def log_tan(self, t: Tensor) -> Tensor:
        """Return ln tan(angle(t)), float64, of t's shape."""
        low, high = math.atan(math.exp(self.start)), math.atan(math.exp(self.end))
        return torch.log(torch.tan(low + (high - low) * t.double().clamp(0, 1) ** self.exponent))

    def inverse(self, log_tan: Tensor) -> Tensor:
        """Return the t in [0, 1] at which `log_tan` takes the given value (clamped to the ends)."""
        low, high = math.atan(math.exp(self.start)), math.atan(math.exp(self.end))
        fraction = (torch.atan(torch.exp(log_tan.double())) - low) / (high - low)
        return fraction.clamp(0, 1) ** (1 / self.exponent)


@dataclass(frozen=True)
class NoiseSchedule:
    """Ties the four fields' levels together along t.

    Attributes:
        sigma_min, sigma_max: coordinate noise at t = 0 and t = 1, angstrom.
        abar_end: abar of the categories at t = 1; 1 - abar_end at t = 0.
        exponents: power of t for "pos", "atom_type", "charge", "bond_type".
        sigma_reference: where the coordinates pass the middle of their angle range, angstrom: about as wide as
            molecules are.
    """

    sigma_min: float
    sigma_max: float
    abar_end: float
    exponents: dict[str, float]
    sigma_reference: float

    @property
    def _pos(self) -> AngleSchedule:
        log_reference = math.log(self.sigma_reference)
        return AngleSchedule(
            math.log(self.sigma_min) - log_reference, math.log(self.sigma_max) - log_reference, self.exponents["pos"]
        )

    def _category(self, field: str) -> AngleSchedule:
        half_logit = 0.5 * math.log((1 - self.abar_end) / self.abar_end)
        return AngleSchedule(-half_logit, half_logit, self.exponents[field])

    @property
    def origin(self) -> NoiseSchedule:
        """The whole schedule that this one is the end of; by default itself."""
        return self

    def time_in_origin(self, t: float) -> float:
        """Return the time at which `origin` has the coordinate noise that this schedule has at t."""
        return t

    def levels(self, t_pos: Tensor, t_graph: Tensor | None = None) -> Levels:
        """Return the levels at t.

        Args:
            t_pos: (B,) time of the coordinates.
            t_graph: (B,) time of types, charges and bonds; the same as ``t_pos`` if None.
        """
        t_graph = t_pos if t_graph is None else t_graph
        return Levels(
            pos=self._pos.log_tan(t_pos) + math.log(self.sigma_reference),
            **{field: -2 * self._category(field).log_tan(t_graph) for field in ("atom_type", "charge", "bond_type")},
        )

    def time_of_sigma(self, sigma: Tensor) -> Tensor:
        """Return the t at which the coordinates have noise ``sigma`` (angstrom), clamped to [0, 1]; float64."""
        return self._pos.inverse(torch.log(sigma.double() / self.sigma_reference))


@dataclass(frozen=True)
class TrainingDensity:
    """Density of training times: part log-normal in sigma, the rest uniform in t, a share with independent times.

    Attributes:
        lognormal_share: share of the rows whose sigma is drawn log-normally.
        sigma_median, sigma_spread: median (angstrom) and standard deviation of ln sigma of that part.
        independent_share: share of the rows that draw the times of coordinates and graph independently.
        clean_graph_share: share of those whose graph is clean (t = 0): coordinates alone are noisy.
    """

    lognormal_share: float
    sigma_median: float
    sigma_spread: float
    independent_share: float
    clean_graph_share: float

    def sample(self, uniforms: Tensor, schedule: NoiseSchedule) -> tuple[Tensor, Tensor]:
        """Return times (t_pos, t_graph), each (B,) float64, from (B, 5) uniform numbers."""
        choice, place, independent, other, clean = uniforms.double().unbind(-1)
        normal = torch.special.ndtri(place)
        log_normal = schedule.time_of_sigma(self.sigma_median * torch.exp(self.sigma_spread * normal))
        t_pos = torch.where(choice < self.lognormal_share, log_normal, place)
        t_other = torch.where(clean < self.clean_graph_share, torch.zeros_like(other), other)
        return t_pos, torch.where(independent < self.independent_share, t_other, t_pos)


def uniform_grid(steps: int) -> Tensor:
    """Return steps + 1 times from 1 to 0, evenly spaced in t; float64."""
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64)
