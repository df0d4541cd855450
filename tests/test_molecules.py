"""The containers: replaced and never edited, selected row by row, split without their padding."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from moldiff.arrays import MolArrays
from moldiff.molecules import FIELDS, MolBatch, MolPrediction, collate, pair_mask, unbatch


@pytest.fixture
def batch() -> MolBatch:
    """Water and a lone atom; the second row's padding holds garbage that must never come out."""
    bonds = torch.zeros(2, 3, 3, dtype=torch.int64)
    bonds[0, 0, 1] = bonds[0, 1, 0] = 1
    bonds[0, 0, 2] = bonds[0, 2, 0] = 2
    bonds[1, 1, 2] = bonds[1, 2, 1] = 3
    return MolBatch(
        pos=torch.arange(18.0).reshape(2, 3, 3),
        atom_type=torch.tensor([[3, 0, 0], [2, 1, 1]]),
        charge=torch.tensor([[1, 1, 1], [0, 2, 2]]),
        bond_type=bonds,
        mask=torch.tensor([[True, True, True], [True, False, False]]),
        properties=torch.tensor([[1.0], [torch.nan]]),
        ids=torch.tensor([10, 11]),
    )


def test_a_batch_knows_its_sizes_and_pairs(batch: MolBatch) -> None:
    assert len(batch) == 2
    assert batch.n_atoms.tolist() == [3, 1]
    assert batch.pair_mask.sum((1, 2)).tolist() == [6, 0]
    assert not batch.pair_mask.diagonal(dim1=1, dim2=2).any()
    assert torch.equal(pair_mask(batch.mask), batch.pair_mask)


def test_replacing_leaves_the_original_alone(batch: MolBatch) -> None:
    moved = batch.replace(pos=batch.pos + 1)
    assert torch.equal(moved.pos, batch.pos + 1)
    assert moved.charge is batch.charge
    with pytest.raises(dataclasses.FrozenInstanceError):
        batch.pos = moved.pos  # type: ignore[misc]
    with pytest.raises(TypeError, match="position"):
        batch.replace(position=batch.pos)


@pytest.mark.parametrize("rows", [slice(1, 2), torch.tensor([1])], ids=["slice", "index"])
def test_rows_are_selected_in_every_field(batch: MolBatch, rows: slice | Tensor) -> None:
    one = batch[rows]
    for field in dataclasses.fields(MolBatch):
        torch.testing.assert_close(getattr(one, field.name), getattr(batch, field.name)[1:2], equal_nan=True)


def test_every_field_moves_to_the_device(batch: MolBatch) -> None:
    moved = batch.to("meta")
    assert {getattr(moved, field.name).device.type for field in dataclasses.fields(MolBatch)} == {"meta"}


def test_molecules_come_out_without_padding_and_each_bond_once(batch: MolBatch) -> None:
    water, atom = unbatch(batch)
    assert water.bonds.tolist() == [[0, 1, 1], [0, 2, 2]]
    assert water.atom_type.tolist() == [3, 0, 0]
    assert atom.pos.tolist() == [[9, 10, 11]]
    assert atom.charge.tolist() == [0]
    assert atom.bonds.shape == (0, 3)


def test_each_molecule_gets_its_own_bonds() -> None:
    atoms = np.zeros(4, dtype=np.int64)
    of = {0: [], 1: [[0, 1, 2], [1, 3, 1]], 2: [], 3: [[2, 3, 3]], 4: []}
    given = [
        MolArrays(np.zeros((4, 3), np.float32), atoms, atoms, np.array(bonds, dtype=np.int64).reshape(-1, 3))
        for bonds in of.values()
    ]
    found = unbatch(collate(given, torch.arange(5), 6, torch.zeros(5, 0)))
    assert {row: molecule.bonds.tolist() for row, molecule in enumerate(found)} == of
    assert all(molecule.bonds.dtype == np.int64 for molecule in found)


def test_a_detached_prediction_holds_no_gradient() -> None:
    fields = {field: torch.ones(1, requires_grad=True) * 2 for field in FIELDS}
    detached = MolPrediction(**fields).detach()
    assert not any(getattr(detached, field).requires_grad for field in FIELDS)
    replaced = MolPrediction(**fields).replace(pos=torch.zeros(1))
    assert float(replaced.pos) == 0
    assert replaced.charge is fields["charge"]
