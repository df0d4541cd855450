"""Noise levels of the four fields, and the interface of every denoiser."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from moldiff.molecules import MolBatch, MolPrediction


@dataclass(frozen=True)
class Levels:
    """One noise level per field and molecule; all (B,) float.

    Attributes:
        pos: ln sigma, sigma in angstrom (x_t = x_0 + sigma n).
        atom_type, charge, bond_type: logit abar = ln(abar / (1 - abar)), where abar is the probability that a variable
            still holds its clean class through the noising itself.
    """

    pos: Tensor
    atom_type: Tensor
    charge: Tensor
    bond_type: Tensor

    @property
    def sigma(self) -> Tensor:
        """(B,) standard deviation of the coordinate noise, angstrom."""
        return self.pos.exp()

    def abar(self, field: str) -> Tensor:
        """(B,) float64 probability that a variable of a categorical field is untouched by noise."""
        return torch.sigmoid(getattr(self, field).double())

    def replace(self, **levels: Tensor) -> Levels:
        """Return a copy with some fields' levels exchanged."""
        return dataclasses.replace(self, **levels)

    def stacked(self) -> Tensor:
        """(B, 4) the levels in the order pos, atom_type, charge, bond_type: what the network sees."""
        return torch.stack([self.pos, self.atom_type, self.charge, self.bond_type], dim=-1)


class Denoiser(Protocol):
    """Estimate of the clean molecule from a noisy one: everything that samples, guides or scores calls just this.

    Args:
        batch: noisy molecules; ``batch.properties`` is not read.
        levels: the noise level of each field.
        condition: (B, P) wanted properties in natural units, NaN = not given.
        previous: the last prediction for these molecules (self-conditioning), or None.
    """

    def __call__(
        self, batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None
    ) -> MolPrediction: ...
