"""The equivariance self-check passes an equivariant network and catches each way of breaking one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from moldiff.diffusion.levels import Levels
from moldiff.model import MoleculeModel
from moldiff.molecules import MolBatch, MolPrediction
from moldiff.selfcheck import TOLERANCE, equivariance_error


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_network_is_equivariant(tiny_model: MoleculeModel, dtype: torch.dtype) -> None:
    assert 0 < equivariance_error(tiny_model, dtype) < TOLERANCE[dtype]


Change = Callable[[MolBatch, MolPrediction], MolPrediction]


class Broken(nn.Module):
    """The denoiser with a change of its output that breaks one symmetry."""

    def __init__(self, denoiser: nn.Module, change: Change) -> None:
        super().__init__()
        self.denoiser, self.change = denoiser, change

    def forward(
        self, batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None
    ) -> MolPrediction:
        return self.change(batch, self.denoiser(batch, levels, condition, previous))


def stretched(batch: MolBatch, out: MolPrediction) -> MolPrediction:
    return out.replace(pos=out.pos * torch.tensor([1.0, 1.0, 1.01], dtype=out.pos.dtype))


def handed(batch: MolBatch, out: MolPrediction) -> MolPrediction:
    """Add the signed volume of the first three neighbours: turns and shifts leave it alone, a mirror does not."""
    edges = (batch.pos.roll(-shift, 1) - batch.pos for shift in (1, 2, 3))
    a, b, c = edges
    volume = (torch.linalg.cross(a, b) * c).sum(-1).mean(1)[:, None, None]
    return out.replace(atom_type=out.atom_type + 0.01 * volume)


def anchored(batch: MolBatch, out: MolPrediction) -> MolPrediction:
    return out.replace(charge=out.charge + 0.01 * batch.pos.mean((1, 2))[:, None, None])


def numbered(batch: MolBatch, out: MolPrediction) -> MolPrediction:
    return out.replace(charge=out.charge + 0.01 * torch.arange(out.charge.shape[1])[None, :, None])


def ordered(batch: MolBatch, out: MolPrediction) -> MolPrediction:
    n = out.bond_type.shape[1]
    return out.replace(bond_type=out.bond_type + 0.01 * torch.arange(n)[None, :, None, None])


@pytest.mark.parametrize("change", [stretched, handed, anchored, numbered, ordered], ids=lambda change: change.__name__)
def test_a_broken_network_is_caught(tiny_model: MoleculeModel, change: Change) -> None:
    broken = MoleculeModel(**{**vars(tiny_model), "denoiser": Broken(tiny_model.denoiser, change)})
    assert equivariance_error(broken, torch.float32) > 3 * TOLERANCE[torch.float32]
