"""The files of a prepared folder: names, types, the data hash, and how they are written and opened.

| file              | type, shape                | meaning                                                       |
|-------------------|----------------------------|---------------------------------------------------------------|
| positions.npy     | int16 (atoms, 3)           | coordinates in 0.001 angstrom, centred per molecule           |
| atom_type.npy     | uint8 (atoms,)             | element class                                                 |
| charge.npy        | uint8 (atoms,)             | formal-charge class                                           |
| bonds.npy         | uint8 or uint16 (bonds, 3) | rows (i, j, class): i < j within the molecule, class > 0       |
| atom_offsets.npy  | int64 (molecules + 1,)     | first row of each molecule in the atom arrays                 |
| bond_offsets.npy  | int64 (molecules + 1,)     | first row of each molecule in bonds                           |
| properties.npy    | float32 (molecules, P)     | natural units, NaN = unknown                                  |
| split.npy         | uint8 (molecules,)         | 0 train, 1 validation, 2 test                                 |
| keys.npy          | uint64 (molecules, 2)      | hash of the canonical SMILES without and with stereo          |
| names.txt         | one line a molecule        | names as read                                                 |
| dataset.json      |                            | version, vocabulary, statistics, properties, sources, hash    |
| dropped.csv       | source, index, name, reason | every record that was not kept                                |
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

from moldiff.errors import MoldiffError
from moldiff.files import atomic_writer
from moldiff.folders import Ours
from moldiff.reading import check_regular

FORMAT = "moldiff-dataset"
FORMAT_VERSION = 1
SPLITS = ("train", "validation", "test")
POSITION_UNIT = 0.001  # angstrom per integer step of positions.npy
POSITION_LIMIT = 32.767  # angstrom: what int16 can hold

DTYPES: dict[str, tuple[str, ...]] = {
    "positions": ("int16",),
    "atom_type": ("uint8",),
    "charge": ("uint8",),
    "bonds": ("uint8", "uint16"),
    "atom_offsets": ("int64",),
    "bond_offsets": ("int64",),
    "properties": ("float32",),
    "split": ("uint8",),
    "keys": ("uint64",),
}
COLUMNS = {"positions": 3, "bonds": 3, "keys": 2}
OURS = Ours("a prepared data set", "dataset.json", ("names.txt", "dropped.csv", *(f"{name}.npy" for name in DTYPES)))

Arrays = dict[str, np.ndarray]


def data_hash(arrays: Arrays) -> str:
    """Return the hexadecimal SHA-256 over name, type, shape and bytes of every array, in the order of `DTYPES`."""
    digest = hashlib.sha256()
    for name in DTYPES:
        array = arrays[name]
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_arrays(folder: Path, arrays: Arrays) -> None:
    """Write every array of `DTYPES` as ``<name>.npy`` into ``folder``."""
    for name in DTYPES:
        content = (
            io.BytesIO()
        )  # NumPy writes around Python's file object, and its errors do not say that a disk is full
        np.lib.format.write_array(content, np.ascontiguousarray(arrays[name]), allow_pickle=False)
        with atomic_writer(folder / f"{name}.npy", binary=True) as handle:
            handle.write(content.getbuffer())


def open_arrays(folder: Path) -> Arrays:
    """Open every array memory-mapped and check types and shapes against each other.

    Raises:
        MoldiffError: a file is missing, cut, of another type, or does not fit the others.
    """
    arrays: Arrays = {}
    for name, dtypes in DTYPES.items():
        path = folder / f"{name}.npy"
        try:
            check_regular(path)
            # Not np.load, which would also look into zip files and pickles.
            array = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError, EOFError, OverflowError) as error:
            raise MoldiffError(f"{path} is missing or damaged ({error}); prepare the data set again") from error
        if array.dtype.name not in dtypes:
            raise MoldiffError(f"{path} holds {array.dtype.name}, expected {' or '.join(dtypes)}; prepare it again")
        arrays[name] = array
    _check_shapes(folder, arrays)
    return arrays


def _check_shapes(folder: Path, arrays: Arrays) -> None:
    molecules = len(arrays["split"])
    atoms, bonds = arrays["atom_offsets"], arrays["bond_offsets"]
    two_dimensional = (*COLUMNS, "properties")
    sound = (
        all(arrays[name].ndim == (2 if name in two_dimensional else 1) for name in DTYPES)
        and all(arrays[name].shape[1] == columns for name, columns in COLUMNS.items())
        and all(len(arrays[name]) == molecules for name in ("properties", "keys"))
        and len(atoms) == len(bonds) == molecules + 1
        and atoms[0] == bonds[0] == 0
        and all(len(arrays[name]) == atoms[-1] for name in ("positions", "atom_type", "charge"))
        and len(arrays["bonds"]) == bonds[-1]
        and bool((np.diff(atoms) > 0).all())
        and bool((np.diff(bonds) >= 0).all())
    )
    if not sound:
        shapes = ", ".join(f"{name} {arrays[name].shape}" for name in DTYPES)
        raise MoldiffError(f"the arrays of {folder} do not belong together ({shapes}); prepare the data set again")
