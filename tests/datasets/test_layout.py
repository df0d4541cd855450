"""The files of a prepared folder: damage of any of them is found, and nothing is looked up that does not exist."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from moldiff.datasets import layout
from moldiff.datasets.layout import DTYPES, SUMS_FILE, data_hash, write_sums
from moldiff.datasets.prepared import PreparedDataset
from moldiff.errors import MoldiffError


@pytest.fixture
def copy(sample_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample_folder, tmp_path / "copy"))


def flips(folder: Path, each: int) -> Iterator[str]:
    """Flip bits of every file of a folder, one at a time; yield its name while a bit is wrong."""
    generator = np.random.default_rng(0)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for place in generator.integers(0, len(whole), size=each):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(generator.integers(8))
            path.write_bytes(damaged)
            yield path.name
        path.write_bytes(whole)


def test_every_flipped_bit_is_found(copy: Path) -> None:
    """Of any file, headers and texts too."""
    (copy / "dropped.csv").write_text("source,index,name,reason\na.sdf,3,b,empty: no atoms\n")
    write_sums(copy)
    told = r"damaged|belong together|missing|is not a list|dataset\.json|format version"
    for name in flips(copy, 12):
        with pytest.raises(MoldiffError, match=told):
            PreparedDataset.open(copy)
            pytest.fail(f"a bit of {name} is wrong")
    PreparedDataset.open(copy)


def test_a_set_of_an_older_version_has_no_list_of_hashes_and_its_arrays_are_checked(copy: Path) -> None:
    (copy / SUMS_FILE).unlink()
    for name in flips(copy, 4):
        if name.endswith(".npy"):
            with pytest.raises(MoldiffError):
                PreparedDataset.open(copy)
    PreparedDataset.open(copy)


def test_a_file_that_is_missing_or_not_listed(copy: Path) -> None:
    sums = (copy / SUMS_FILE).read_text()
    (copy / SUMS_FILE).write_text("".join(line for line in sums.splitlines(keepends=True) if "names.txt" not in line))
    with pytest.raises(MoldiffError, match=r"dataset\.sha256 does not list names\.txt"):
        PreparedDataset.open(copy)
    (copy / SUMS_FILE).write_text(sums)
    (copy / "dropped.csv").unlink()
    with pytest.raises(MoldiffError, match=r"dropped\.csv cannot be read"):
        PreparedDataset.open(copy)
    assert len(PreparedDataset.open(copy, verify=False))


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("atom_type", 3, 9),
        ("charge", 0, 200),
        ("split", 1, 3),
        ("bonds", (0, 2), 0),
        ("bonds", (0, 2), 9),
        ("bonds", (2, 1), 250),
        ("bonds", (1, 0), 77),
        ("bonds", (-1, 1), 0),
    ],
)
def test_a_class_or_an_atom_that_does_not_exist(
    copy: Path, name: str, place: object, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a folder whose hashes are right: whoever wrote it, nothing is looked up beyond the end of a table."""
    monkeypatch.setattr(layout, "_BLOCK", 7)  # molecules
    PreparedDataset.open(copy)
    array = np.load(copy / f"{name}.npy")
    array[place] = value
    np.save(copy / f"{name}.npy", array)
    arrays = {key: np.load(copy / f"{key}.npy") for key in DTYPES}
    info = json.loads((copy / "dataset.json").read_text())
    (copy / "dataset.json").write_text(json.dumps({**info, "data_hash": data_hash(arrays)}))
    write_sums(copy)
    with pytest.raises(MoldiffError, match=rf"{name}\.npy is damaged: a value is out of range"):
        PreparedDataset.open(copy)
