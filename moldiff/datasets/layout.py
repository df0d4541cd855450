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
| dataset.sha256    |                            | SHA-256 of every file above (older sets have none)             |
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from tokenize import TokenError

import numpy as np

from moldiff.errors import MoldiffError
from moldiff.files import atomic_writer, write_text
from moldiff.folders import Ours
from moldiff.hash_sums import parse_sums, sums_text
from moldiff.reading import check_regular, read_whole, sha256_of
from moldiff.vocabulary import Vocabulary

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
SUMS_FILE = "dataset.sha256"
HASHED_FILES = ("dataset.json", "names.txt", "dropped.csv", *(f"{name}.npy" for name in DTYPES))
OURS = Ours("a prepared data set", "dataset.json", (*HASHED_FILES[1:], SUMS_FILE))
_OF_A_HEADER = (SyntaxError, TokenError, TypeError)  # NumPy's, about one that is no literal of Python
_MOST_SUMS = 1 << 12  # bytes
_BLOCK = 100_000  # molecules whose classes and bonds are checked at a time

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
        except (MoldiffError, OSError, ValueError, EOFError, OverflowError, *_OF_A_HEADER) as error:
            raise MoldiffError(f"{path} is missing or damaged ({error}); prepare the data set again") from error
        if array.dtype.name not in dtypes:
            raise MoldiffError(f"{path} holds {array.dtype.name}, expected {' or '.join(dtypes)}; prepare it again")
        arrays[name] = array
    _check_shapes(folder, arrays)
    return arrays


def write_sums(folder: Path) -> None:
    """Write the hashes of all other files of a folder."""
    write_text(folder / SUMS_FILE, sums_text({name: sha256_of(folder / name) for name in HASHED_FILES}))


def changed_file(folder: Path) -> str | None:
    """Return the first file of a folder that is not as it was written, "" if all are; None if the folder has no list of
    hashes, as older ones have none.

    Raises:
        MoldiffError: the list is damaged.
    """
    if not (folder / SUMS_FILE).exists():
        return None
    data = read_whole(folder / SUMS_FILE, _MOST_SUMS)
    digests = parse_sums(folder / SUMS_FILE, data, OURS.what, HASHED_FILES, HASHED_FILES)
    for name, digest in digests.items():
        check_regular(folder / name)
        if sha256_of(folder / name) != digest:
            return name
    return ""


def out_of_range(arrays: Arrays, vocabulary: Vocabulary) -> str:
    """Return the name of an array with a class that the vocabulary does not have, a bond to an atom that its molecule
    does not have, or a split that is none; "" if there is none. Arrays as `open_arrays` checks them."""
    for name, classes in (*vocabulary.sizes.items(), ("split", len(SPLITS))):
        if name != "bond_type" and arrays[name].max(initial=0) >= classes:
            return name
    atoms, rows = arrays["atom_offsets"], arrays["bond_offsets"]
    for start in range(0, len(arrays["split"]), _BLOCK):
        stop = min(start + _BLOCK, len(arrays["split"]))
        bonds = arrays["bonds"][rows[start] : rows[stop]].astype(np.int64)
        sizes = np.repeat(np.diff(atoms[start : stop + 1]), np.diff(rows[start : stop + 1]))
        i, j, order = bonds.T
        if not ((i < j) & (j < sizes) & (order > 0) & (order < vocabulary.sizes["bond_type"])).all():
            return "bonds"
    return ""


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
