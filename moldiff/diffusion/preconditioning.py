"""Wraps the raw network once, so that all other code sees only D(x, sigma), the estimate of the clean molecule.

Karras et al. 2022, "Elucidating the design space of diffusion-based generative models", table 1:
D = c_skip x + c_out F.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from moldiff.diffusion.levels import Levels
from moldiff.geometry import center
from moldiff.molecules import MolBatch, MolPrediction


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
    ) -> MolPrediction: ...


class PreconditionedDenoiser(nn.Module):
    """A `Denoiser` made of a raw network and Karras preconditioning of the coordinates.

    Args:
        network: the raw network.
        position_std: (n_max + 1,) sigma_data by number of atoms, angstrom; larger molecules use the last entry.

    Attributes:
        precision: number type of the network's matrix products; what goes in and comes out is of the batch's.
    """

    position_std: Tensor

    def __init__(self, network: nn.Module, position_std: Tensor) -> None:
        super().__init__()
        self.network, self.precision = network, torch.float32
        self.register_buffer("position_std", position_std.float())

    def forward(
        self, batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None
    ) -> MolPrediction:
        """Return the estimate of the clean molecules; coordinates have zero mean over real atoms."""
        dtype = batch.pos.dtype
        sigma = levels.sigma.double()
        sigma_data = self.position_std[batch.n_atoms.clamp(max=len(self.position_std) - 1)].double()
        total = torch.sqrt(sigma**2 + sigma_data**2)
        c_skip, c_out, c_in = sigma_data**2 / total**2, sigma * sigma_data / total, 1 / total
        pos = center(batch.pos, batch.mask)
        anchor = c_skip[:, None, None].to(dtype) * pos
        with _precision(pos.device.type, self.precision):
            raw = self.network(
                batch,
                anchor,
                c_out.to(dtype),
                c_in[:, None, None].to(dtype) * pos,
                levels.stacked().to(dtype),
                condition,
                previous,
            )
        return raw.replace(pos=anchor + c_out[:, None, None].to(dtype) * center(raw.pos, batch.mask))


def _precision(device: str, precision: torch.dtype) -> AbstractContextManager[None]:
    """Return the context of a number type; float32 leaves alone what the caller has chosen."""
    return nullcontext() if precision == torch.float32 else torch.autocast(device, precision)
