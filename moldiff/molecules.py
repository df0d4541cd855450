"""The containers that every part of the package passes on: `MolBatch` and `MolPrediction`, and what a property network
takes and gives, `SoftBatch` and `PropertyPrediction`.

Letters used in every shape: B molecules, N padded atoms, A elements, C formal charges, K bond classes (class 0 = no
bond), P properties.

| field      | MolBatch                              | MolPrediction           |
|------------|---------------------------------------|-------------------------|
| pos        | (B, N, 3) float, angstrom, zero mean  | (B, N, 3) angstrom      |
| atom_type  | (B, N) int64 class index              | (B, N, A) logits        |
| charge     | (B, N) int64 class index              | (B, N, C) logits        |
| bond_type  | (B, N, N) int64, symmetric, zero diagonal | (B, N, N, K) logits, symmetric |
| mask       | (B, N) bool, True = a real atom; real atoms come first |        |
| properties | (B, P) float32, natural units, NaN = not given |                |
| ids        | (B,) int64, identity of the molecule (data row or draw number) | |

Padded entries are zero in every field; of a prediction they mean nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from moldiff.arrays import MolArrays

FIELDS = ("pos", "atom_type", "charge", "bond_type")
Table = TypeVar("Table")  # a dataclass of tensors with a row for each molecule, and of such dataclasses


@dataclass(frozen=True)
class MolBatch:
    """A padded batch of molecules; shapes and units in the module's table. Never edited in place: see `replace`."""

    pos: Tensor
    atom_type: Tensor
    charge: Tensor
    bond_type: Tensor
    mask: Tensor
    properties: Tensor
    ids: Tensor

    def replace(self, **fields: Tensor) -> MolBatch:
        """Return a copy with some fields exchanged; an unknown field name raises TypeError."""
        return dataclasses.replace(self, **fields)

    def to(self, device: torch.device | str) -> MolBatch:
        """Return the batch with every tensor on ``device``."""
        return MolBatch(**{f.name: getattr(self, f.name).to(device) for f in dataclasses.fields(self)})

    def __len__(self) -> int:
        return self.mask.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> MolBatch:
        """Return the molecules selected by a slice or an index tensor along B."""
        return MolBatch(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    @property
    def n_atoms(self) -> Tensor:
        """(B,) int64: number of real atoms of each molecule."""
        return self.mask.sum(1)

    @property
    def pair_mask(self) -> Tensor:
        """(B, N, N) bool: True for ordered pairs of two different real atoms."""
        return pair_mask(self.mask)


@dataclass(frozen=True)
class MolPrediction:
    """The denoiser's estimate of the clean molecule: coordinates and logits; shapes in the module's table."""

    pos: Tensor
    atom_type: Tensor
    charge: Tensor
    bond_type: Tensor

    def replace(self, **fields: Tensor) -> MolPrediction:
        """Return a copy with some fields exchanged."""
        return dataclasses.replace(self, **fields)

    def detach(self) -> MolPrediction:
        """Return the prediction cut off from the gradient tape."""
        return MolPrediction(**{name: getattr(self, name).detach() for name in FIELDS})


@dataclass(frozen=True)
class SoftBatch:
    """Molecules whose classes are real numbers, one for each class, so that there is a gradient with respect to them.

    Attributes:
        pos: (B, N, 3) angstrom.
        atom_type, charge: (B, N, A) and (B, N, C); a class is its unit vector.
        bond_type: (B, N, N, K), symmetric.
        mask: (B, N) bool.
    """

    pos: Tensor
    atom_type: Tensor
    charge: Tensor
    bond_type: Tensor
    mask: Tensor

    @classmethod
    def of(cls, batch: MolBatch, classes: Mapping[str, int]) -> SoftBatch:
        """Return a batch with unit vectors for classes, in the precision of its coordinates.

        Args:
            batch: the molecules.
            classes: number of classes of each categorical field.
        """
        one_hot = {
            field: torch.nn.functional.one_hot(getattr(batch, field), classes[field]).to(batch.pos.dtype)
            for field in FIELDS[1:]
        }
        return cls(batch.pos, mask=batch.mask, **one_hot)

    @property
    def n_atoms(self) -> Tensor:
        """(B,) int64: number of real atoms of each molecule."""
        return self.mask.sum(1)


@dataclass(frozen=True)
class PropertyPrediction:
    """A normal law for each property of clean molecules, given noisy ones: (B, P) each, in standardised units.

    Attributes:
        mean: expected value, in standard deviations of the training data from their mean.
        log_variance: logarithm of the variance.
    """

    mean: Tensor
    log_variance: Tensor


@dataclass(frozen=True)
class FeatureShifts:
    """Additions of a feedback to the features of a denoiser.

    Attributes:
        context: (B, L, G), to the context of each of its L layers.
        nodes: (B, N, D), to the nodes that its first layer meets.
    """

    context: Tensor
    nodes: Tensor


def pair_mask(mask: Tensor) -> Tensor:
    """Return (B, N, N) bool, True for ordered pairs of two different real atoms, from the (B, N) atom mask."""
    both = mask[:, :, None] & mask[:, None, :]
    return both & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)


def collate(molecules: Sequence[MolArrays], ids: Tensor, width: int, properties: Tensor) -> MolBatch:
    """Pad molecules into a batch on the CPU.

    Args:
        molecules: B molecules of at most ``width`` atoms.
        ids: (B,) identities.
        width: padded number of atoms N.
        properties: (B, P), NaN = not given.
    """
    count = len(molecules)
    pos, mask = torch.zeros(count, width, 3, dtype=torch.float32), torch.zeros(count, width, dtype=torch.bool)
    atom_type, charge = (torch.zeros(count, width, dtype=torch.int64) for _ in range(2))
    bond_type = torch.zeros(count, width, width, dtype=torch.int64)
    for row, molecule in enumerate(molecules):
        n = len(molecule.atom_type)
        pos[row, :n] = torch.from_numpy(molecule.pos)
        atom_type[row, :n], charge[row, :n] = torch.from_numpy(molecule.atom_type), torch.from_numpy(molecule.charge)
        i, j, kind = torch.from_numpy(molecule.bonds).unbind(1)
        bond_type[row, i, j] = bond_type[row, j, i] = kind
        mask[row, :n] = True
    return MolBatch(pos, atom_type, charge, bond_type, mask, properties, ids)


def unbatch(batch: MolBatch) -> list[MolArrays]:
    """Split a batch into one `MolArrays` per molecule, without padding, on the CPU."""
    pos, atom_type = batch.pos.float().cpu().numpy(), batch.atom_type.cpu().numpy()
    charge, bond_type = batch.charge.cpu().numpy(), batch.bond_type.cpu().numpy()
    n_atoms = batch.n_atoms.tolist()
    # bonds of all molecules at once: a sampler's thread takes the interpreter from those that write
    row, i, j = np.nonzero(np.triu(bond_type, k=1) * batch.mask.cpu().numpy()[:, None, :])
    bonds = np.stack([i, j, bond_type[row, i, j]], axis=1).astype(np.int64)
    ends = np.searchsorted(row, np.arange(len(n_atoms) + 1)).tolist()
    return [
        MolArrays(pos[k, :n], atom_type[k, :n], charge[k, :n], bonds[ends[k] : ends[k + 1]])
        for k, n in enumerate(n_atoms)
    ]


def empty_batch(sizes: Tensor, ids: Tensor, width: int, properties: int) -> MolBatch:
    """Return a template of molecules of given sizes (B,), all fields zero, every property free."""
    count = len(sizes)
    mask = torch.arange(width)[None, :] < sizes[:, None]
    return MolBatch(
        pos=torch.zeros(count, width, 3, dtype=torch.float32),
        atom_type=torch.zeros(count, width, dtype=torch.int64),
        charge=torch.zeros(count, width, dtype=torch.int64),
        bond_type=torch.zeros(count, width, width, dtype=torch.int64),
        mask=mask,
        properties=torch.full((count, properties), torch.nan, dtype=torch.float32),
        ids=ids.to(torch.int64),
    )


def map_tensors(function: Callable[..., Tensor], table: Table, *others: Table) -> Table:
    """Return what a function makes of every tensor of a dataclass, and of those in the same place of others.

    Args:
        function: of one tensor, or of one of each table.
        table: a dataclass of tensors, None, and such dataclasses.
        others: alike.
    """
    fields: dict[str, object] = {}
    for field in dataclasses.fields(table):  # type: ignore[arg-type]
        values = [getattr(one, field.name) for one in (table, *others)]
        if isinstance(values[0], Tensor):
            fields[field.name] = function(*values)
        else:
            fields[field.name] = None if values[0] is None else map_tensors(function, *values)
    return type(table)(**fields)
