"""Does a model obey its symmetries on this machine? Measured, not assumed: `moldiff doctor` prints the result."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from moldiff.diffusion.levels import Levels
from moldiff.geometry import center, rotations_from_normals
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch, MolPrediction

# Relative error that rounding alone explains, by precision.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
_SIGMAS = (0.05, 0.5, 3.0, 20.0)  # angstrom, one molecule each
_SHIFT = 3.0  # angstrom
_SMALLEST = 1e-30


@dataclass(frozen=True)
class _Motion:
    """Motion of each molecule: x -> turn x + shift, atoms taken in ``order``.

    Attributes:
        turn: (B, 3, 3) orthogonal, float64.
        shift: (B, 1, 3) angstrom, float64.
        order: (B, N) int64.
    """

    turn: Tensor
    shift: Tensor
    order: Tensor

    def move_batch(self, batch: MolBatch) -> MolBatch:
        """Return the molecules after the motion; the padding stays zero."""
        fields = {name: _take(getattr(batch, name), self.order, name == "bond_type") for name in FIELDS}
        moved = batch.replace(**fields)
        return moved.replace(pos=(_rotate(moved.pos, self.turn) + self.shift) * moved.mask[..., None])

    def move_prediction(self, prediction: MolPrediction) -> MolPrediction:
        """Return what the denoiser owes to the moved molecules: coordinates turn but do not shift, they are centred."""
        fields = {name: _take(getattr(prediction, name), self.order, name == "bond_type") for name in FIELDS}
        return MolPrediction(**fields).replace(pos=_rotate(fields["pos"].double(), self.turn).to(prediction.pos.dtype))


def equivariance_errors(model: MoleculeModel, dtype: torch.dtype, *, seed: int = 0) -> dict[str, float]:
    """Return the largest relative error of the denoiser under "rotation", "reflection", "translation", "permutation".

    Random molecules of different sizes at four noise levels are denoised as they are and moved, without and with
    self-conditioning, without and with a condition. The motions are made in float64, so that the error is the
    denoiser's own; it is relative to the largest absolute value of each output field.

    Args:
        model: the model; its weights are copied.
        dtype: the precision of the test.
        seed: of the molecules and the motions.
    """
    generator = torch.Generator().manual_seed(seed)
    denoiser = copy.deepcopy(model.denoiser).cpu().to(dtype).eval()
    batch, levels, condition = _random_input(model, generator)
    levels, condition = _cast_levels(levels, dtype), condition.to(dtype)
    with torch.no_grad():
        plain = denoiser(_cast(batch, dtype), levels, condition, None)
        plain_again = denoiser(_cast(batch, dtype), levels, condition, plain)
        errors = {}
        for name, motion in _motions(batch, generator).items():
            moved = motion.move_batch(batch)
            expected = motion.move_prediction(plain)
            found = denoiser(_cast(moved, dtype), levels, condition, None)
            found_again = denoiser(_cast(moved, dtype), levels, condition, expected)
            errors[name] = max(
                _relative_error(found, expected, moved),
                _relative_error(found_again, motion.move_prediction(plain_again), moved),
            )
    return errors


def _motions(batch: MolBatch, generator: torch.Generator) -> dict[str, _Motion]:
    """Return one random motion of each kind."""
    count, width = batch.mask.shape
    turn = rotations_from_normals(torch.randn(count, 4, generator=generator, dtype=torch.float64))
    stay = torch.eye(3, dtype=torch.float64).expand(count, 3, 3)
    shift = _SHIFT * torch.randn(count, 1, 3, generator=generator, dtype=torch.float64)
    nowhere = torch.zeros_like(shift)
    as_is = torch.arange(width).expand(count, -1)
    return {
        "rotation": _Motion(turn, nowhere, as_is),
        "reflection": _Motion(-turn, nowhere, as_is),
        "translation": _Motion(stay, shift, as_is),
        "permutation": _Motion(stay, nowhere, _permutations(batch.n_atoms.tolist(), width, generator)),
    }


def _relative_error(found: MolPrediction, expected: MolPrediction, batch: MolBatch) -> float:
    """Return the largest difference over real atoms and pairs, relative to a field's largest value; inf for NaN."""
    worst = 0.0
    for field in FIELDS:
        mask = batch.pair_mask if field == "bond_type" else batch.mask
        got, wanted = getattr(found, field).double()[mask], getattr(expected, field).double()[mask]
        error = (got - wanted).abs().max() / wanted.abs().max().clamp(min=_SMALLEST)
        worst = max(worst, float(error.nan_to_num(nan=torch.inf)))
    return worst


def _random_input(model: MoleculeModel, generator: torch.Generator) -> tuple[MolBatch, Levels, Tensor]:
    """Return molecules of four sizes that the model knows, their levels, and conditions of which half are given."""
    sizes = sorted(size for size in model.statistics.size_counts if size > 1)
    n_atoms = torch.tensor([sizes[len(sizes) * i // len(_SIGMAS)] for i in range(len(_SIGMAS))])
    count, width = len(n_atoms), int(n_atoms.max())
    mask = torch.arange(width)[None, :] < n_atoms[:, None]
    classes = {
        field: torch.randint(size, (count, width, width), generator=generator)
        for field, size in model.vocabulary.sizes.items()
    }
    pairs = classes["bond_type"].triu(1)
    both = mask[:, :, None] & mask[:, None, :]
    sigma = torch.tensor(_SIGMAS, dtype=torch.float64)
    noise = torch.randn(count, width, 3, generator=generator, dtype=torch.float64)
    batch = MolBatch(
        pos=center(noise * torch.sqrt(1 + sigma**2)[:, None, None], mask),
        atom_type=classes["atom_type"][:, 0] * mask,
        charge=classes["charge"][:, 0] * mask,
        bond_type=(pairs + pairs.transpose(1, 2)) * both,
        mask=mask,
        properties=torch.full((count, len(model.conditions)), torch.nan, dtype=torch.float32),
        ids=torch.arange(count),
    )
    logits = torch.linspace(3, -3, count, dtype=torch.float64)
    condition = torch.tensor([model.statistics.properties[name].mean for name in model.conditions]).repeat(count, 1)
    condition[::2] = torch.nan
    return batch, Levels(sigma.log(), logits, logits, logits), condition


def _permutations(sizes: list[int], width: int, generator: torch.Generator) -> Tensor:
    """Return (B, N) orders that mix the real atoms of each molecule and leave the padding where it is."""
    rows = [torch.cat([torch.randperm(n, generator=generator), torch.arange(n, width)]) for n in sizes]
    return torch.stack(rows)


def _take(value: Tensor, order: Tensor, pairs: bool) -> Tensor:
    rows = torch.arange(len(order))[:, None]
    if pairs:
        return value[rows[:, :, None], order[:, :, None], order[:, None, :]]
    return value[rows, order]


def _rotate(pos: Tensor, turn: Tensor) -> Tensor:
    """Apply (B, 3, 3) orthogonal matrices to (B, N, 3) positions."""
    return torch.einsum("bij,bnj->bni", turn, pos)


def _cast(batch: MolBatch, dtype: torch.dtype) -> MolBatch:
    return batch.replace(pos=batch.pos.to(dtype), properties=batch.properties.to(dtype))


def _cast_levels(levels: Levels, dtype: torch.dtype) -> Levels:
    return Levels(*(getattr(levels, name).to(dtype) for name in FIELDS))
