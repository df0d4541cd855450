"""Categorical diffusion in continuous time towards a limit distribution pi (D3PM, Austin et al. 2021).

The kernel between two times is Q_{t|s} = r I + (1 - r) 1 pi^T with r = abar_t / abar_s, so posteriors are closed for
any stride. It is exact for one variable. Several variables that are sampled independently given x_t are exact only in
the limit of many steps: one factorised step errs by 1/K^2, so K steps err by 1/K in total variation (measured order
1.00; joint distributions of special symmetry, such as two equal binary variables, do better).
"""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor

_TINY = 1e-100


def sample_index(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Return class indices by inverting the cumulative distribution.

    Args:
        probabilities: (..., K), non-negative; need not be normalised.
        uniform: (...) in (0, 1).
    """
    # class by class, as there are few: a scan along so short a dimension keeps a card busy for 2 ms a step
    first, *others = probabilities.unbind(-1)
    sums = list(itertools.accumulate(others, initial=first))
    drawn, total = torch.zeros_like(uniform, dtype=torch.int64), uniform * sums[-1]
    for below in sums[:-1]:
        drawn += total >= below
    return drawn


class CategoricalProcess:
    """One categorical field of K classes; variables have shape (B, ...), levels abar are (B,) float64.

    Args:
        limit: (K,) the limit distribution pi, positive, summing to 1.
    """

    def __init__(self, limit: Tensor) -> None:
        if not bool((limit > 0).all()) or abs(float(limit.double().sum()) - 1) > 1e-6:
            raise ValueError(f"a limit distribution is positive and sums to 1, not {limit.tolist()}")
        self.limit = limit.double()

    def to(self, device: torch.device) -> CategoricalProcess:
        """Return the process with its limit on a device."""
        moved = copy.copy(self)
        moved.limit = self.limit.to(device)
        return moved

    def marginal(self, x_0: Tensor, abar: Tensor) -> Tensor:
        """Return q(x_t | x_0) as probabilities (B, ..., K), float64."""
        abar = _expand(abar, x_0.dim() + 1)
        one_hot = torch.nn.functional.one_hot(x_0, len(self.limit)).double()
        return abar * one_hot + (1 - abar) * self.limit.to(x_0.device)

    def sample_marginal(self, x_0: Tensor, abar: Tensor, uniform: Tensor) -> Tensor:
        """Draw x_t ~ q(x_t | x_0); uniform has x_0's shape."""
        return sample_index(self.marginal(x_0, abar), uniform)

    def sample_prior(self, uniform: Tensor) -> Tensor:
        """Draw from the limit distribution."""
        return sample_index(self.limit.to(uniform.device).expand(*uniform.shape, -1), uniform)

    def posterior(self, x_t: Tensor, probabilities: Tensor, abar_t: Tensor, abar_s: Tensor) -> Tensor:
        """Return p(x_s | x_t) = sum over x_0 of p(x_0) q(x_s | x_t, x_0), float64 (B, ..., K).

        q(x_s | x_t, x_0) = Q_{t|s}[x_s, x_t] q(x_s | x_0) / q(x_t | x_0) (Austin et al. 2021, eq. 3).

        Args:
            x_t: (B, ...) class indices.
            probabilities: (B, ..., K) the predicted p(x_0).
            abar_t, abar_s: (B,) with abar_t <= abar_s <= 1.
        """
        limit = self.limit.to(x_t.device)
        abar_t, abar_s = _expand(abar_t, x_t.dim() + 1), _expand(abar_s, x_t.dim() + 1)
        here = torch.nn.functional.one_hot(x_t, len(limit)).double()
        limit_here = limit[x_t][..., None]
        ratio = abar_t / abar_s
        step = ratio * here + (1 - ratio) * limit_here
        # clean at abar_t = 1: another class than x_t has evidence 0, the limit of small evidence leaves x_t as it is
        evidence = (abar_t * here + (1 - abar_t) * limit_here).clamp(min=_TINY)
        weight = probabilities.double() / evidence
        result = step * (abar_s * weight + (1 - abar_s) * limit * weight.sum(-1, keepdim=True))
        return result / result.sum(-1, keepdim=True)

    def redrawn(self, probabilities: Tensor, abar: Tensor) -> Tensor:
        """Return the sum over x_0 of p(x_0) q(x_s | x_0), float64 (B, ..., K): x_s without a memory of x_t."""
        abar = _expand(abar, probabilities.dim())
        weight = probabilities.double()
        return abar * weight + (1 - abar) * self.limit.to(weight.device) * weight.sum(-1, keepdim=True)

    def reverse_step(
        self,
        x_t: Tensor,
        probabilities: Tensor,
        abar_t: Tensor,
        abar_s: Tensor,
        uniform: Tensor,
        redraw: Tensor | None = None,
    ) -> Tensor:
        """Draw x_s ~ p(x_s | x_t), see `posterior`; uniform has x_t's shape.

        With probability ``redraw`` (B,), corrector noise: x_s comes from `redrawn` instead. With p(x_0 | x_t) exact,
        both keep the law of a single variable exact at any stride, as x_t and x_s need only share their x_0 (the
        categorical counterpart of Song et al. 2021, "Denoising diffusion implicit models", eq. 7).
        """
        chances = self.posterior(x_t, probabilities, abar_t, abar_s)
        if redraw is not None:
            chances = torch.lerp(chances, self.redrawn(probabilities, abar_s), _expand(redraw, chances.dim()))
        return sample_index(chances, uniform)

    def loss(self, logits: Tensor, x_0: Tensor) -> Tensor:
        """Return the cross-entropy -ln p(x_0) of each variable, x_0's shape, float32."""
        log_probabilities = torch.log_softmax(logits.float(), dim=-1)
        return -log_probabilities.gather(-1, x_0[..., None])[..., 0]

    def kl_step(self, x_t: Tensor, x_0: Tensor, probabilities: Tensor, abar_t: Tensor, abar_s: Tensor) -> Tensor:
        """Return KL(q(x_s | x_t, x_0) || p(x_s | x_t)) of each variable in nats, x_0's shape (0 ln 0 = 0)."""
        truth = self.posterior(x_t, torch.nn.functional.one_hot(x_0, len(self.limit)), abar_t, abar_s)
        model = self.posterior(x_t, probabilities, abar_t, abar_s)
        return (torch.special.xlogy(truth, truth) - torch.special.xlogy(truth, model)).sum(-1)

    def kl_prior(self, x_0: Tensor, abar: Tensor) -> Tensor:
        """Return KL(q(x_T | x_0) || pi) of each variable in nats, x_0's shape."""
        marginal = self.marginal(x_0, abar)
        return (torch.special.xlogy(marginal, marginal) - torch.special.xlogy(marginal, self.limit.to(x_0.device))).sum(
            -1
        )


def _expand(level: Tensor, dimensions: int) -> Tensor:
    """Give a (B,) tensor trailing singleton axes, float64."""
    return level.double().reshape(-1, *[1] * (dimensions - 1))
