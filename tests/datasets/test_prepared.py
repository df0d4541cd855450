"""Opening prepared folders, refusing what is none, and assembling batches equal to a slow reference."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from moldiff.datasets.layout import DTYPES
from moldiff.datasets.prepared import DeviceArrays, PreparedDataset
from moldiff.errors import MoldiffError
from moldiff.molecules import MolBatch, unbatch
from moldiff.vocabulary import Vocabulary


def test_arrays_stay_on_disk(sample: PreparedDataset) -> None:
    assert all(isinstance(array, np.memmap) for array in sample.arrays.values())
    assert not any(array.flags.writeable for array in sample.arrays.values())


def test_splits_are_a_partition(sample: PreparedDataset) -> None:
    rows = np.concatenate([sample.indices(split) for split in ("train", "validation", "test")])
    assert sorted(rows.tolist()) == list(range(len(sample)))
    with pytest.raises(MoldiffError, match="unknown split 'dev'"):
        sample.indices("dev")


def test_rows_outside_are_refused(sample: PreparedDataset) -> None:
    for row in (-1, len(sample)):
        with pytest.raises(IndexError, match="outside"):
            sample.molecule(row)
        with pytest.raises(IndexError, match="outside"):
            sample.name(row)


def slow_batch(dataset: PreparedDataset, rows: list[int], width: int) -> MolBatch:
    """The same batch, molecule by molecule, bond by bond."""
    size = len(rows)
    pos = torch.zeros(size, width, 3, dtype=torch.float64)
    atom_type, charge = torch.zeros(size, width, dtype=torch.int64), torch.zeros(size, width, dtype=torch.int64)
    bond_type = torch.zeros(size, width, width, dtype=torch.int64)
    mask = torch.zeros(size, width, dtype=torch.bool)
    for place, row in enumerate(rows):
        molecule = dataset.molecule(row)
        n = len(molecule.pos)
        exact = molecule.pos.astype(np.float64)
        pos[place, :n] = torch.from_numpy(exact - exact.mean(0))
        atom_type[place, :n] = torch.from_numpy(molecule.atom_type)
        charge[place, :n] = torch.from_numpy(molecule.charge)
        mask[place, :n] = True
        for i, j, order in molecule.bonds.tolist():
            bond_type[place, i, j] = bond_type[place, j, i] = order
    properties = torch.from_numpy(np.array(dataset.arrays["properties"][rows]))
    return MolBatch(pos.float(), atom_type, charge, bond_type, mask, properties, torch.tensor(rows))


@pytest.mark.parametrize("width", [23, 24, 40])
def test_assembled_batches_equal_the_slow_reference(sample: PreparedDataset, width: int) -> None:
    rows = [*np.flatnonzero(sample.sizes <= 23)[::3].tolist(), 5, 5]
    batch, slow = DeviceArrays(sample).assemble(torch.tensor(rows), width), slow_batch(sample, rows, width)
    torch.testing.assert_close(batch.pos, slow.pos, atol=2e-6, rtol=0)
    for name in ("atom_type", "charge", "bond_type", "mask", "properties", "ids"):
        fast_field, slow_field = getattr(batch, name), getattr(slow, name)
        assert fast_field.dtype == slow_field.dtype, name
        assert torch.equal(torch.nan_to_num(fast_field), torch.nan_to_num(slow_field)), name
    assert (slow.bond_type > 0).sum() > 0


def test_batches_are_as_their_contract_says(sample: PreparedDataset) -> None:
    batch = DeviceArrays(sample).assemble(torch.arange(64), 30)
    assert batch.pos.sum(1).abs().max() < 1e-4
    assert torch.equal(batch.bond_type, batch.bond_type.transpose(1, 2))
    assert (batch.bond_type.diagonal(dim1=1, dim2=2) == 0).all()
    assert all((field[~batch.mask] == 0).all() for field in (batch.pos, batch.atom_type, batch.charge))
    assert (batch.bond_type[~(batch.mask[:, :, None] & batch.mask[:, None, :])] == 0).all()
    for row, molecule in enumerate(unbatch(batch)):
        stored = sample.molecule(row)
        assert np.array_equal(molecule.bonds, stored.bonds)
        assert np.array_equal(molecule.atom_type, stored.atom_type)
        assert np.abs(molecule.pos - stored.pos).max() < 0.001


def test_an_empty_batch(sample: PreparedDataset) -> None:
    batch = DeviceArrays(sample).assemble(torch.zeros(0, dtype=torch.int64), 8)
    assert batch.bond_type.shape == (0, 8, 8)


def test_batches_that_cannot_be_are_refused(sample: PreparedDataset) -> None:
    arrays = DeviceArrays(sample)
    largest = int(sample.sizes.argmax())
    with pytest.raises(ValueError, match="does not fit the width"):
        arrays.assemble(torch.tensor([largest]), int(sample.sizes.max()) - 1)
    for row in (-1, len(sample)):
        with pytest.raises(IndexError, match="row indices"):
            arrays.assemble(torch.tensor([row]), 40)


def test_chosen_properties_in_their_order(sample: PreparedDataset) -> None:
    arrays = DeviceArrays(sample, properties=["heavy_atom_count", "logp"])
    batch = arrays.assemble(torch.arange(9), 40)
    assert arrays.property_names == ("heavy_atom_count", "logp")
    assert np.array_equal(batch.properties.numpy(), sample.arrays["properties"][:9][:, [2, 0]])
    with pytest.raises(MoldiffError, match=r"no property 'logP' .did you mean 'logp'"):
        DeviceArrays(sample, properties=["logP"])


def test_classes_of_a_models_vocabulary(sample: PreparedDataset) -> None:
    own = sample.vocabulary
    wide = Vocabulary(("F", *own.elements), tuple(range(-2, 3)), own.bonds)
    batch = DeviceArrays(sample, vocabulary=wide).assemble(torch.arange(30), 40)
    plain = DeviceArrays(sample).assemble(torch.arange(30), 40)
    assert torch.equal(batch.atom_type, (plain.atom_type + 1) * plain.mask)
    charges = torch.tensor([wide.charges.index(charge) for charge in own.charges])
    assert torch.equal(batch.charge, charges[plain.charge] * plain.mask)
    assert torch.equal(batch.bond_type, plain.bond_type)
    for narrow, message in (
        (Vocabulary(("H", "C"), own.charges, own.bonds), "atom_type N, O, which the model does not know"),
        (Vocabulary(own.elements, own.charges, own.bonds[:-1]), "bond_type aromatic"),
        (Vocabulary(own.elements, own.charges, own.bonds, False), "implicit hydrogens"),
    ):
        with pytest.raises(MoldiffError, match=message):
            DeviceArrays(sample, vocabulary=narrow)


def test_large_molecules_use_wide_indices(tmp_path: Path) -> None:
    """Above 256 atoms the bond list is uint16; a chain of 300 atoms comes back whole."""
    from moldiff.datasets.prepared import _max_bonds_up_to

    assert _max_bonds_up_to(np.array([5, 3, 9]), np.array([7, 2, 4])) == [0, 0, 0, 2, 2, 7, 7, 7, 7, 7]


@pytest.fixture
def copy(sample_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample_folder, tmp_path / "copy"))


def edit_json(folder: Path, change: Callable[[dict], object]) -> None:
    info = json.loads((folder / "dataset.json").read_text())
    change(info)
    (folder / "dataset.json").write_text(json.dumps(info))


def test_what_is_no_prepared_folder(tmp_path: Path) -> None:
    with pytest.raises(MoldiffError, match="is not a prepared data set"):
        PreparedDataset.open(tmp_path)
    with pytest.raises(MoldiffError, match="is not a prepared data set"):
        PreparedDataset.open(tmp_path / "missing")
    for text in ("[]", "{}", '{"format": "other"}', "{", "\0"):
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(MoldiffError, match=r"dataset\.json"):
            PreparedDataset.open(tmp_path)


@pytest.mark.parametrize(
    "key", ["vocabulary", "statistics", "properties", "dropped", "sources", "data_hash", "molecules"]
)
def test_missing_entries(copy: Path, key: str) -> None:
    edit_json(copy, lambda info: info.pop(key))
    with pytest.raises(MoldiffError, match=r"dataset\.json"):
        PreparedDataset.open(copy)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vocabulary", 3),
        ("statistics", []),
        ("properties", [1]),
        ("properties", []),
        ("molecules", 3),
        ("sources", 1),
    ],
)
def test_entries_of_the_wrong_kind(copy: Path, key: str, value: object) -> None:
    edit_json(copy, lambda info: info.update({key: value}))
    with pytest.raises(MoldiffError, match=r"dataset\.json"):
        PreparedDataset.open(copy)


def test_another_version(copy: Path) -> None:
    edit_json(copy, lambda info: info.update(version=99))
    with pytest.raises(MoldiffError, match="has format version 99"):
        PreparedDataset.open(copy)


@pytest.mark.parametrize("name", DTYPES)
def test_missing_cut_and_foreign_arrays(copy: Path, name: str) -> None:
    path = copy / f"{name}.npy"
    whole = path.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], whole[:40], b"", b"PK\3\4 no array"):
        path.write_bytes(content)
        with pytest.raises(MoldiffError, match=name):
            PreparedDataset.open(copy)
    np.save(path, np.load(sample_of(whole, path)).astype(np.float64))
    with pytest.raises(MoldiffError, match="holds float64"):
        PreparedDataset.open(copy)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(MoldiffError, match=name):
        PreparedDataset.open(copy)
    path.unlink()
    with pytest.raises(MoldiffError, match=name):
        PreparedDataset.open(copy)


def sample_of(content: bytes, path: Path) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", DTYPES)
def test_arrays_of_another_set(copy: Path, name: str) -> None:
    array = np.load(copy / f"{name}.npy")
    np.save(copy / f"{name}.npy", array[:-1])
    with pytest.raises(MoldiffError, match="belong together"):
        PreparedDataset.open(copy)


def test_names(copy: Path) -> None:
    dataset = PreparedDataset.open(copy)
    assert dataset.name(1) == dataset.names()[1]
    (copy / "names.txt").write_text("a\nb\n")
    with pytest.raises(MoldiffError, match="2 names"):
        dataset.names()
    (copy / "names.txt").unlink()
    with pytest.raises(MoldiffError, match=r"names\.txt cannot be read"):
        dataset.name(0)
