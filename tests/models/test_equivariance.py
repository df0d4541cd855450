"""The equivariance self-check passes an equivariant network and catches each way of breaking one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from moldiff.diffusion.levels import Levels
from moldiff.models.equivariance import TOLERANCE, equivariance_errors
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import MolBatch, MolPrediction

MOTIONS = {"rotation", "reflection", "translation", "permutation"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_network_is_equivariant(tiny_model: MoleculeModel, dtype: torch.dtype) -> None:
    errors = equivariance_errors(tiny_model, dtype)
    assert set(errors) == MOTIONS
    assert all(0 <= error < TOLERANCE[dtype] for error in errors.values())
    assert errors["rotation"] > 0


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
    """Add the signed volume of the first four atoms: turns and shifts leave it alone, a mirror does not."""
    a, b, c = (batch.pos[:, atom] - batch.pos[:, 0] for atom in (1, 2, 3))
    volume = (torch.linalg.cross(a, b) * c).sum(-1)[:, None, None]
    return out.replace(atom_type=out.atom_type + 0.01 * volume)


def anchored(batch: MolBatch, out: MolPrediction) -> MolPrediction:
    return out.replace(charge=out.charge + 0.01 * batch.pos.mean((1, 2))[:, None, None])


def numbered(batch: MolBatch, out: MolPrediction) -> MolPrediction:
    return out.replace(charge=out.charge + 0.01 * torch.arange(out.charge.shape[1])[None, :, None])


def ordered(batch: MolBatch, out: MolPrediction) -> MolPrediction:
    n = out.bond_type.shape[1]
    return out.replace(bond_type=out.bond_type + 0.01 * torch.arange(n)[None, :, None, None])


def poisoned(batch: MolBatch, out: MolPrediction) -> MolPrediction:
    return out.replace(charge=out.charge * torch.nan)


@pytest.mark.parametrize(
    ("change", "caught"),
    [
        (stretched, {"rotation", "reflection"}),
        (handed, {"reflection", "permutation"}),
        (anchored, {"translation"}),
        (numbered, {"permutation"}),
        (ordered, {"permutation"}),
        (poisoned, MOTIONS),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_broken_network_is_caught(tiny_model: MoleculeModel, change: Change, caught: set[str]) -> None:
    broken = MoleculeModel(**{**vars(tiny_model), "denoiser": Broken(tiny_model.denoiser, change)})
    errors = equivariance_errors(broken, torch.float32)
    assert {motion for motion, error in errors.items() if error > 3 * TOLERANCE[torch.float32]} == caught
