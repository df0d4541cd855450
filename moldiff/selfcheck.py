"""Does a model obey its symmetries on this machine? Measured, not assumed: `moldiff doctor` prints the result."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from moldiff.diffusion.levels import Levels
from moldiff.geometry import center, rotations_from_normals
from moldiff.model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch, MolPrediction

# Relative error that rounding alone explains, by precision.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
_SIGMAS = (0.05, 0.5, 3.0, 20.0)  # angstrom, one molecule each
_SHIFT = 3.0  # angstrom


def equivariance_error(model: MoleculeModel, dtype: torch.dtype, *, seed: int = 0) -> float:
    """Return the largest relative error of the denoiser under rotation, reflection, translation and permutation.

    Random molecules of different sizes at four noise levels are denoised as they are and transformed. The transforms
    are made in float64, so that the error is the denoiser's own; it is relative to the largest absolute value of each
    output field.

    Args:
        model: the model; its weights are copied.
        dtype: the precision of the test.
        seed: of the molecules and the transforms.
    """
    generator = torch.Generator().manual_seed(seed)
    denoiser = copy.deepcopy(model.denoiser).cpu().to(dtype).eval()
    batch, levels, condition = _random_input(model, generator)
    count, width = batch.mask.shape
    mirror = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)[:count, None, None]
    turn = mirror * rotations_from_normals(torch.randn(count, 4, generator=generator, dtype=torch.float64))
    order = _permutations(batch.n_atoms.tolist(), width, generator)
    shift = _SHIFT * torch.randn(count, 1, 3, generator=generator, dtype=torch.float64)
    moved = _permute_batch(batch, order)
    moved = moved.replace(pos=(_rotate(moved.pos, turn) + shift) * moved.mask[..., None])

    worst = 0.0
    previous: MolPrediction | None = None
    previous_moved: MolPrediction | None = None
    with torch.no_grad():
        for _ in range(2):  # the second time with self-conditioning
            plain = denoiser(_cast(batch, dtype), _cast_levels(levels, dtype), condition.to(dtype), previous)
            turned = denoiser(_cast(moved, dtype), _cast_levels(levels, dtype), condition.to(dtype), previous_moved)
            expected = _permute_prediction(plain, order)
            expected = expected.replace(pos=_rotate(expected.pos.double(), turn))
            for field in FIELDS:
                mask = moved.mask if field != "bond_type" else moved.pair_mask
                found, wanted = getattr(turned, field).double()[mask], getattr(expected, field).double()[mask]
                worst = max(worst, float((found - wanted).abs().max() / wanted.abs().max()))
            previous, previous_moved = plain, expected.replace(pos=expected.pos.to(dtype))
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
        properties=torch.full((count, len(model.conditions)), torch.nan),
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


def _permute_batch(batch: MolBatch, order: Tensor) -> MolBatch:
    return batch.replace(**{name: _take(getattr(batch, name), order, name == "bond_type") for name in FIELDS})


def _permute_prediction(prediction: MolPrediction, order: Tensor) -> MolPrediction:
    return MolPrediction(**{name: _take(getattr(prediction, name), order, name == "bond_type") for name in FIELDS})


def _rotate(pos: Tensor, turn: Tensor) -> Tensor:
    """Apply (B, 3, 3) orthogonal matrices to (B, N, 3) positions."""
    return torch.einsum("bij,bnj->bni", turn, pos)


def _cast(batch: MolBatch, dtype: torch.dtype) -> MolBatch:
    return batch.replace(pos=batch.pos.to(dtype), properties=batch.properties.to(dtype))


def _cast_levels(levels: Levels, dtype: torch.dtype) -> Levels:
    return Levels(*(getattr(levels, name).to(dtype) for name in FIELDS))
