"""Time grids: where sampling steps fall. A grid is a decreasing list of times, so categories ride along whatever it is
laid out in; what users know it by is its key in `GRIDS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from moldiff.choices import TimeGrid
from moldiff.diffusion.schedule import NoiseSchedule, uniform_grid

_SIGMA_LAST = 0.03  # angstrom; below it a molecule only settles by less than its bonds vibrate

_FEW, _FEW_EXPONENT = 10, 1.5


class Grid(Protocol):
    """Lays out the steps of a sampler."""

    def times(self, schedule: NoiseSchedule, steps: int, start: float) -> Tensor:
        """Return steps + 1 decreasing times, float64: the first is at most 1, the last 0; at the last but one the
        molecule is decoded.

        Args:
            schedule: ties the noise levels together.
            steps: how many.
            start: coordinate noise at which there is little left of the largest molecules to be drawn, angstrom; see
                `WindowGrid`.
        """
        ...


@dataclass(frozen=True)
class UniformGrid:
    """Evenly spaced in t."""

    def times(self, schedule: NoiseSchedule, steps: int, start: float) -> Tensor:
        return uniform_grid(steps)


@dataclass(frozen=True)
class KarrasGrid:
    """sigma^(1/rho) evenly spaced (Karras et al. 2022, eq. 5).

    Attributes:
        rho: larger = more steps at little noise; 7 is the paper's.
        sigma_last: coordinate noise at which the molecule is decoded, angstrom.
    """

    rho: float = 7.0
    sigma_last: float = _SIGMA_LAST

    def times(self, schedule: NoiseSchedule, steps: int, start: float) -> Tensor:
        high, low = schedule.sigma_max ** (1 / self.rho), self.sigma_last ** (1 / self.rho)
        return _times(schedule, (high + (low - high) * _places(steps)) ** self.rho)


@dataclass(frozen=True)
class LogSnrGrid:
    """ln sigma evenly spaced, and with it the log signal-to-noise ratio (Lu et al. 2022, "DPM-Solver", section 3.4).

    Attributes:
        sigma_last: coordinate noise at which the molecule is decoded, angstrom.
    """

    sigma_last: float = _SIGMA_LAST

    def times(self, schedule: NoiseSchedule, steps: int, start: float) -> Tensor:
        return _times(schedule, schedule.sigma_max * (self.sigma_last / schedule.sigma_max) ** _places(steps))


@dataclass(frozen=True)
class WindowGrid:
    """Between two noise levels: where a molecule takes shape, and nowhere else; even in t, or in a power of it.

    The walk begins at the noise ``start``, below t = 1. There coordinates are drawn from a Gaussian as wide as noisy
    data are, categories from their limit, which is their marginal: what is lost are the correlations that are left at
    that level. The lower the start, the more: molecules come out too compact.

    Attributes:
        sigma_last: coordinate noise at which the molecule is decoded, angstrom.
        exponent: of t; a larger one has more steps at little noise. None = 1, and `_FEW_EXPONENT` with less than `_FEW`
            steps, which would leap too far at the end, where bonds are settled.
    """

    sigma_last: float = _SIGMA_LAST
    exponent: float | None = None

    def times(self, schedule: NoiseSchedule, steps: int, start: float) -> Tensor:
        high, low = schedule.time_of_sigma(torch.tensor([start, self.sigma_last], dtype=torch.float32)).tolist()
        exponent = self.exponent or (_FEW_EXPONENT if steps < _FEW else 1.0)
        falling = low + (high - low) * (1 - _places(steps)) ** exponent
        return torch.cat([falling, torch.zeros(1, dtype=torch.float64)])


def _places(steps: int) -> Tensor:
    """Return steps numbers from 0 to 1, float64."""
    return torch.linspace(0, 1, steps, dtype=torch.float64)


def _times(schedule: NoiseSchedule, sigma: Tensor) -> Tensor:
    """Return the times of decreasing noise levels (M,), the first exactly 1, and 0 behind them."""
    ends = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    return torch.cat([ends[0], schedule.time_of_sigma(sigma)[1:], ends[1]])


GRIDS: Mapping[str, Grid] = {
    TimeGrid.UNIFORM: UniformGrid(),
    TimeGrid.KARRAS: KarrasGrid(),
    TimeGrid.LOGSNR: LogSnrGrid(),
    TimeGrid.WINDOW: WindowGrid(),
}
