"""Noisy molecules with a little of everything: three sizes, padding, every class, one row without its property."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from moldiff.diffusion.levels import Levels
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch, MolPrediction, pair_mask

SIZES = (5, 9, 12)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The four arguments of a denoiser."""

    batch: MolBatch
    levels: Levels
    condition: Tensor
    previous: MolPrediction | None = None

    def rows(self, rows: slice) -> "Inputs":
        """Return some of the molecules."""
        return Inputs(
            self.batch[rows],
            Levels(*(getattr(self.levels, field)[rows] for field in FIELDS)),
            self.condition[rows],
            None if self.previous is None else MolPrediction(*(getattr(self.previous, f)[rows] for f in FIELDS)),
        )

    def widened(self, by: int) -> "Inputs":
        """Return the same molecules with more padding."""

        def pad(value: Tensor, axes: int, skip: int) -> Tensor:
            return torch.nn.functional.pad(value, [0, 0] * skip + [0, by] * axes)

        batch = self.batch.replace(
            pos=pad(self.batch.pos, 1, 1),
            **{name: pad(getattr(self.batch, name), 1, 0) for name in ("atom_type", "charge", "mask")},
            bond_type=pad(self.batch.bond_type, 2, 0),
        )
        previous = None
        if self.previous is not None:
            widths = {field: 2 if field == "bond_type" else 1 for field in FIELDS}
            previous = MolPrediction(**{f: pad(getattr(self.previous, f), n, 1) for f, n in widths.items()})
        return dataclasses.replace(self, batch=batch, previous=previous)


@pytest.fixture(scope="session")
def make_inputs() -> Callable[[MoleculeModel, torch.dtype], Inputs]:
    """Make random inputs of a model, with a previous prediction; the padding is zero, row 1 has no property."""

    def make(model: MoleculeModel, dtype: torch.dtype) -> Inputs:
        generator = torch.Generator().manual_seed(0)
        rows, width = len(SIZES), max(SIZES)
        mask = torch.arange(width) < torch.tensor(SIZES)[:, None]
        both, sizes = pair_mask(mask), model.vocabulary.sizes

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

        def classes(field: str, *shape: int) -> Tensor:
            return torch.randint(sizes[field], shape, generator=generator)

        bonds, believed = (
            classes("bond_type", rows, width, width).triu(1),
            normal(rows, width, width, sizes["bond_type"]),
        )
        batch = MolBatch(
            pos=2 * normal(rows, width, 3) * mask[..., None],
            atom_type=classes("atom_type", rows, width) * mask,
            charge=classes("charge", rows, width) * mask,
            bond_type=(bonds + bonds.transpose(1, 2)) * both,
            mask=mask,
            properties=torch.full((rows, len(model.conditions)), torch.nan),
            ids=torch.arange(rows),
        )
        condition = normal(rows, len(model.conditions)).index_fill(0, torch.tensor(1), torch.nan)
        previous = MolPrediction(
            normal(rows, width, 3) * mask[..., None],
            normal(rows, width, sizes["atom_type"]) * mask[..., None],
            normal(rows, width, sizes["charge"]) * mask[..., None],
            (believed + believed.transpose(1, 2)) * both[..., None],
        )
        levels = Levels(*(torch.linspace(-2, 2, rows, dtype=dtype).roll(k) for k in range(4)))
        return Inputs(batch, levels, condition, previous)

    return make
