"""Guidance by the gradient of a property network (Dhariwal and Nichol 2021, "Diffusion models beat GANs on image
synthesis", algorithm 1): towards any property that a noise-aware network predicts, whatever the denoiser knows.

Coordinates. The score of p(x_t | y) is that of p(x_t) plus the gradient of ln p(y | x_t), so by Tweedie's formula
D' = D + s sigma^2 grad ln p(y | x_t). With s = 1 and the true p(y | x_t) this is exact at every noise level; s > 1 is
the score of p_t(x) p_t(y | x)^s, which sharpens.

Categories. By Bayes, p(x_0 | x_t, y) is p(x_0 | x_t) times p(y | x_0, x_t), which a network of noisy molecules does not
know. Its gradient with respect to the unit vectors of x_t is a first-order guess (as in Vignac et al. 2023, "DiGress",
section 5, which tilts the next noisy state with it): the change of ln p(y | x_t) if a variable were of another class.
For a variable whose clean law is the limit pi of its diffusion, independent of the others,
p(x_0 | x_t) = abar [x_0 = x_t] + (1 - abar) pi(x_0), so ln p(y | x_t) = abar ln p(y | x_0 = x_t) + a constant, to first
order in ln p(y | x_0). Hence logits' = logits + s / abar times the gradient. This is right for weak guidance of such
variables, for any variable where abar tends to 1, and a heuristic otherwise. Without the division, the pull is too weak
wherever there is noise (tests/sampling/test_property_guidance.py has figures).

Several properties count as independent given x_t. Steps are bounded: no network knows what lies far from its data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from moldiff.diffusion.joint import CATEGORIES
from moldiff.diffusion.levels import Denoiser, Levels
from moldiff.diffusion.preconditioning import coefficients
from moldiff.diffusion.property_likelihood import log_density, log_mass
from moldiff.geometry import center
from moldiff.molecules import MolBatch, MolPrediction, PropertyPrediction, SoftBatch

DEFAULT_PROPERTY_SCALE = 3.0  # networks understate what changing a class does, 2 to 4 times where it was measured
POSITION_LIMIT = 3.0  # largest shift of an atom, in units of c_out, which bounds the spread of p(x_0 | x_t)
LOGIT_LIMIT = 2.0  # largest change of a logit
LEAST_ABAR = 0.05  # below, the gradient says nothing of the clean class, and dividing by abar would only blow it up
_TINY = 1e-30


class Predictor(Protocol):
    """Laws of properties given noisy molecules."""

    def __call__(self, batch: SoftBatch, levels: Levels) -> PropertyPrediction: ...


@dataclass(frozen=True)
class Goal:
    """A wanted value (``low`` = ``high``) or interval (an end may be infinite), in standardised units.

    Attributes:
        column: of the predictor's output.
        low, high: ends.
        tolerance: standard deviation by which a value may be missed: late in a walk the network is so sure of a
            property that its gradient would break a molecule for a last digit. 0 = not at all.
    """

    column: int
    low: float
    high: float
    tolerance: float = 0.0

    def log_likelihood(self, prediction: PropertyPrediction) -> Tensor:
        """Return ln p(wanted | x_t), (B,): a density for a value, a probability for an interval."""
        mean, log_variance = prediction.mean[:, self.column], prediction.log_variance[:, self.column]
        if self.tolerance:
            log_variance = torch.log(log_variance.exp() + self.tolerance**2)
        own = PropertyPrediction(mean, log_variance)
        if self.low == self.high:
            return log_density(own, torch.full_like(own.mean, self.low))
        return log_mass(self.low, self.high, own.mean, own.log_variance)


@dataclass(frozen=True)
class PropertyGradient:
    """Pull towards the wanted properties.

    Attributes:
        predictor: the property network.
        goals: what is wanted.
        classes: number of classes of each categorical field.
        position_std: (n_max + 1,) sigma_data by number of atoms, angstrom.
        scale: s; 0 = no pull.
        position_limit, logit_limit: bounds of a step, see `POSITION_LIMIT` and `LOGIT_LIMIT`.
    """

    predictor: Predictor
    goals: Sequence[Goal]
    classes: Mapping[str, int]
    position_std: Tensor
    scale: float = DEFAULT_PROPERTY_SCALE
    position_limit: float = POSITION_LIMIT
    logit_limit: float = LOGIT_LIMIT

    def wrap(self, denoiser: Denoiser) -> Denoiser:
        """Return the guided denoiser; with scale 0, the denoiser itself."""
        return GradientGuidedDenoiser(denoiser, self) if self.scale else denoiser

    def gradient(self, batch: MolBatch, levels: Levels) -> dict[str, Tensor]:
        """Return the gradient of ln p(wanted | x_t) with respect to each field of x_t, zero in the padding.

        Coordinates: (B, N, 3) per angstrom, zero mean. Categories: (B, ..., K), the change that each class would make
        relative to the mean over classes; of a bond, which stands in two places, that of both.
        """
        soft = SoftBatch.of(batch, self.classes)
        inputs = {field: getattr(soft, field).detach() for field in ("pos", *CATEGORIES)}
        with torch.enable_grad():
            for value in inputs.values():
                value.requires_grad_()
            prediction = self.predictor(SoftBatch(**inputs, mask=batch.mask), levels)
            total = torch.stack([goal.log_likelihood(prediction).double() for goal in self.goals]).sum()
            found = dict(zip(inputs, torch.autograd.grad(total, list(inputs.values())), strict=True))
        found["pos"] = center(found["pos"] * batch.mask[..., None], batch.mask)
        found["bond_type"] = found["bond_type"] + found["bond_type"].transpose(1, 2)
        for field in CATEGORIES:
            mask = batch.pair_mask if field == "bond_type" else batch.mask
            found[field] = (found[field] - found[field].mean(-1, keepdim=True)) * mask[..., None]
        return found

    def steer(self, batch: MolBatch, levels: Levels, prediction: MolPrediction) -> MolPrediction:
        """Return a prediction for noisy molecules that is pulled towards what is wanted."""
        gradient, sigma = self.gradient(batch, levels), levels.sigma.double()
        shift = self.scale * _rows(sigma**2, gradient["pos"]) * gradient["pos"]
        longest = shift.norm(dim=-1).amax(1)  # (B,)
        limit = self.position_limit * coefficients(sigma, self.position_std, batch.n_atoms).c_out
        shift = shift * _rows((limit / longest.clamp(min=_TINY)).clamp(max=1), shift)
        fields = {"pos": prediction.pos + shift.to(prediction.pos.dtype)}
        for field in CATEGORIES:
            logits = getattr(prediction, field)
            pull = self.scale * gradient[field] / _rows(levels.abar(field).clamp(min=LEAST_ABAR), gradient[field])
            pull = pull * (self.logit_limit / pull.abs().amax(-1, keepdim=True).clamp(min=_TINY)).clamp(max=1)
            fields[field] = logits + pull.to(logits.dtype)
        return MolPrediction(**fields)


@dataclass(frozen=True)
class GradientGuidedDenoiser:
    """A `Denoiser` whose predictions are pulled towards wanted properties.

    Attributes:
        denoiser: evaluated once.
        gradient: evaluated once, forward and backward.
    """

    denoiser: Denoiser
    gradient: PropertyGradient

    def __call__(
        self, batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None
    ) -> MolPrediction:
        return self.gradient.steer(batch, levels, self.denoiser(batch, levels, condition, previous))


def _rows(value: Tensor, like: Tensor) -> Tensor:
    """Shape (B,) for fields (B, ...), in their precision."""
    return value.reshape(-1, *[1] * (like.dim() - 1)).to(like.dtype)
