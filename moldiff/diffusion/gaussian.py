"""Gaussian diffusion of coordinates, variance-exploding: x_t = x_0 + sigma_t n with n of zero centre of mass.

The variance-preserving (DDPM) view is the rescaled x / sqrt(1 + sigma^2 / sigma_data^2); posteriors given x_0 are the
same.
A molecule of N atoms has 3 (N - 1) degrees of freedom: every noise is projected on the zero-mean subspace.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moldiff.geometry import center


class GaussianProcess:
    """Noising, reverse step, loss and likelihood terms of the coordinates. All coordinates are (B, N, 3) angstrom."""

    def sample_prior(self, sigma: Tensor, noise: Tensor, mask: Tensor) -> Tensor:
        """Return a draw of N(0, sigma^2) on the zero-mean subspace; sigma (B,), noise (B, N, 3) standard normal."""
        return sigma[:, None, None] * center(noise, mask)

    def sample_marginal(self, x_0: Tensor, sigma: Tensor, noise: Tensor, mask: Tensor) -> Tensor:
        """Return x_t = x_0 + sigma n for sigma (B,) and standard normal noise (B, N, 3)."""
        return x_0 + sigma[:, None, None].to(x_0.dtype) * center(noise, mask).to(x_0.dtype)

    def reverse_step(
        self, x_t: Tensor, x_0: Tensor, sigma_t: Tensor, sigma_s: Tensor, noise: Tensor, mask: Tensor, eta: float = 1.0
    ) -> Tensor:
        """Return x_s for sigma_s < sigma_t, from the estimate x_0 of the clean coordinates.

        eta = 1 is the exact posterior q(x_s | x_t, x_0) (ancestral DDPM, Ho et al. 2020 eq. 7, in VE form): mean
        x_0 + (sigma_s^2 / sigma_t^2) (x_t - x_0), variance sigma_s^2 (sigma_t^2 - sigma_s^2) / sigma_t^2. eta = 0 is
        DDIM (Song et al. 2021, eq. 12); values between scale that standard deviation.

        Args:
            sigma_t, sigma_s: (B,) angstrom; sigma_s may be 0.
            noise: (B, N, 3) standard normal.
        """
        ratio = (sigma_s / sigma_t).double()
        std = eta * sigma_s.double() * torch.sqrt((1 - ratio**2).clamp(min=0))
        along = torch.sqrt((sigma_s.double() ** 2 - std**2).clamp(min=0)) / sigma_t.double()
        step = along[:, None, None].to(x_t.dtype) * (x_t - x_0) + std[:, None, None].to(x_t.dtype) * center(noise, mask)
        return x_0 + step

    def loss(self, prediction: Tensor, x_0: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
        """Return (B, N) weighted squared errors per atom, summed over x, y, z; weight (B,), zero on the padding."""
        return weight[:, None] * ((prediction - x_0) ** 2).sum(-1) * mask

    def kl_step(self, prediction: Tensor, x_0: Tensor, sigma_t: Tensor, sigma_s: Tensor, mask: Tensor) -> Tensor:
        """Return (B,) KL(q(x_s | x_t, x_0) || q(x_s | x_t, prediction)) in nats.

        Equal variances leave 1/2 (1 / sigma_s^2 - 1 / sigma_t^2) |x_0 - prediction|^2 (Kingma et al. 2021, eq. 13).
        """
        error = (((prediction - x_0) ** 2).sum(-1) * mask).sum(1).double()
        return 0.5 * (sigma_s.double() ** -2 - sigma_t.double() ** -2) * error

    def kl_prior(self, x_0: Tensor, sigma: Tensor, prior_sigma: Tensor, mask: Tensor) -> Tensor:
        """Return (B,) KL(N(x_0, sigma^2) || N(0, prior_sigma^2)) on 3 (N - 1) dimensions, in nats."""
        dimensions = 3 * (mask.sum(1).double() - 1)
        square = ((x_0**2).sum(-1) * mask).sum(1).double()
        ratio = (sigma.double() / prior_sigma.double()) ** 2
        return 0.5 * (dimensions * (ratio - 1 - torch.log(ratio)) + square / prior_sigma.double() ** 2)

    def reconstruction_nll(self, x_0: Tensor, prediction: Tensor, sigma: Tensor, mask: Tensor) -> Tensor:
        """Return (B,) -ln N(x_0; prediction, sigma^2) on 3 (N - 1) dimensions, in nats (x_0 in angstrom)."""
        dimensions = 3 * (mask.sum(1).double() - 1)
        square = (((prediction - x_0) ** 2).sum(-1) * mask).sum(1).double()
        return 0.5 * (dimensions * torch.log(2 * torch.pi * sigma.double() ** 2) + square / sigma.double() ** 2)
