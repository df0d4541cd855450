"""Wraps the raw network once, so that all other code sees only D(x, sigma), the estimate of the clean molecule.

Karras et al. 2022, "Elucidating the design space of diffusion-based generative models", table 1:
D = c_skip x + c_out F.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from moldiff.diffusion.levels import Levels
from moldiff.geometry import center
from moldiff.molecules import FeatureShifts, MolBatch, MolPrediction, PropertyPrediction, SoftBatch


class RawNetwork(Protocol):
    """The raw network: returns F (B, N, 3) of unit scale and the three fields of logits.

    Args:
        batch: noisy molecules.
        anchor: (B, N, 3) c_skip x, angstrom. The geometry that distances are measured on is anchor + scale F.
        scale: (B,) c_out, angstrom.
        scaled: (B, N, 3) c_in x, of unit scale.
        levels: (B, 4) ln sigma and logit abar of types, charges, bonds.
        condition: (B, P) natural units, NaN = not given.
        previous: the last prediction, or None.
        shifts: what a feedback adds to the features.
    """

    def __call__(
        self,
        batch: MolBatch,
        anchor: Tensor,
        scale: Tensor,
        scaled: Tensor,
        levels: Tensor,
        condition: Tensor,
        previous: MolPrediction | None,
        shifts: FeatureShifts | None = None,
    ) -> MolPrediction: ...


class PreconditionedDenoiser(nn.Module):
    """A `Denoiser` made of a raw network and Karras preconditioning of the coordinates.

    Args:
        network: the raw network.
        position_std: (n_max + 1,) sigma_data by number of atoms, angstrom; larger molecules use the last entry.
        feedback: from noisy molecules, c_skip x and c_in x (B, N, 3), levels (B, 4) and the condition to
            `FeatureShifts`, which tell the network how far a molecule is from what is wanted; None: nothing does.

    Attributes:
        precision: number type of the network's matrix products; what goes in and comes out is of the batch's.
    """

    position_std: Tensor

    def __init__(self, network: nn.Module, position_std: Tensor, feedback: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.precision = network, torch.float32
        self.register_buffer("position_std", position_std.float())
        self.feedback = feedback

    def without_feedback(self) -> PreconditionedDenoiser:
        """Return the denoiser for draws of which nothing is wanted: the same weights, and the same predictions for
        less."""
        if self.feedback is None:
            return self
        plain = PreconditionedDenoiser(self.network, self.position_std)
        plain.precision = self.precision
        return plain.train(self.training)

    def forward(
        self, batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None
    ) -> MolPrediction:
        """Return the estimate of the clean molecules; coordinates have zero mean over real atoms."""
        dtype = batch.pos.dtype
        c_skip, c_out, c_in = coefficients(levels.sigma, self.position_std, batch.n_atoms)
        pos = center(batch.pos, batch.mask)
        anchor = c_skip[:, None, None].to(dtype) * pos
        scaled, stacked = c_in[:, None, None].to(dtype) * pos, levels.stacked().to(dtype)
        with _precision(pos.device.type, self.precision):
            shifts = None
            if self.feedback is not None:
                shifts = self.feedback(batch, anchor, scaled, stacked, condition)
            raw = self.network(batch, anchor, c_out.to(dtype), scaled, stacked, condition, previous, shifts)
        return raw.replace(pos=anchor + c_out[:, None, None].to(dtype) * center(raw.pos, batch.mask))


class PreconditionedPredictor(nn.Module):
    """Predicts properties of clean molecules from noisy ones: a raw network that sees preconditioned coordinates.

    Args:
        network: from noisy molecules, c_skip x (B, N, 3) in angstrom, on which it measures distances, c_in x (B, N, 3)
            of unit scale and levels (B, 4) to a `PropertyPrediction`.
        position_std: as for `PreconditionedDenoiser`.
        property_mean, property_std: (P,) statistics of the properties, natural units.
    """

    position_std: Tensor
    property_mean: Tensor
    property_std: Tensor

    def __init__(self, network: nn.Module, position_std: Tensor, property_mean: Tensor, property_std: Tensor) -> None:
        super().__init__()
        self.network = network
        # no weights: the statistics that a model is built from give them, in full precision
        self.register_buffer("position_std", position_std.float(), persistent=False)
        self.register_buffer("property_mean", property_mean.float(), persistent=False)
        self.register_buffer("property_std", property_std.float(), persistent=False)

    def standardised(self, properties: Tensor) -> Tensor:
        """Return properties (B, P), natural units, in standard deviations from their mean; NaN stays NaN."""
        return (properties - self.property_mean) / self.property_std

    def forward(self, batch: SoftBatch, levels: Levels) -> PropertyPrediction:
        """Return the law of the properties; where a molecule lies does not matter."""
        dtype = batch.pos.dtype
        c_skip, _, c_in = coefficients(levels.sigma, self.position_std, batch.n_atoms)
        pos = center(batch.pos, batch.mask)
        anchor, scaled = (c[:, None, None].to(dtype) * pos for c in (c_skip, c_in))
        prediction: PropertyPrediction = self.network(batch, anchor, scaled, levels.stacked().to(dtype))
        return prediction


class Coefficients(NamedTuple):
    """Karras et al. 2022, table 1, by molecule: (B,) float64 each."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor


def coefficients(sigma: Tensor, position_std: Tensor, n_atoms: Tensor) -> Coefficients:
    """Return what coordinates are scaled by.

    Args:
        sigma: (B,) noise, angstrom.
        position_std: (n_max + 1,) sigma_data by number of atoms, angstrom; larger molecules use the last entry.
        n_atoms: (B,).
    """
    sigma = sigma.double()
    sigma_data = position_std[n_atoms.clamp(max=len(position_std) - 1)].double()
    total = torch.sqrt(sigma**2 + sigma_data**2)
    return Coefficients(sigma_data**2 / total**2, sigma * sigma_data / total, 1 / total)


def _precision(device: str, precision: torch.dtype) -> AbstractContextManager[None]:
    """Return the context of a number type; float32 leaves alone what the caller has chosen."""
    return nullcontext() if precision == torch.float32 else torch.autocast(device, precision)
