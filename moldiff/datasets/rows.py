"""One record to one row of the arrays, and a list of records to a `Part`: what a preparation worker does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from moldiff.arrays import MolArrays
from moldiff.chem.convert import EncodingError, encode, parts_problem
from moldiff.chem.descriptors.rdkit_descriptors import compute
from moldiff.chem.identity import canonical_smiles, parent_block, text_key
from moldiff.chem.io.records import Record, completed, embed
from moldiff.chem.sanitize import sanitize_reason
from moldiff.datasets.layout import POSITION_LIMIT, POSITION_UNIT, SPLITS, Arrays
from moldiff.datasets.splits import split_of
from moldiff.datasets.statistics import LARGEST
from moldiff.foreign_text import number_in
from moldiff.vocabulary import BOND_ORDERS, ELEMENTS, Vocabulary

if TYPE_CHECKING:
    from rdkit.Chem import Mol

# Records are first written in a vocabulary that has everything; when all are read, the classes that never occurred are
# taken out, so that one pass over the files is enough.
CHARGES = tuple(range(-8, 9))


def wide_vocabulary(aromatic: bool, explicit_hydrogens: bool) -> Vocabulary:
    """Return the vocabulary that holds every element, the charges -8 .. 8 and every bond order."""
    return Vocabulary(ELEMENTS, CHARGES, BOND_ORDERS if aromatic else BOND_ORDERS[:-1], explicit_hydrogens)


@dataclass(frozen=True)
class RowOptions:
    """Settings by which records become rows; sent to every worker.

    Attributes:
        vocabulary: classes that a molecule may have.
        tags: property names read from tags or columns, each with its column in the result.
        calculated: property names computed by RDKit, each with its column.
        seed: for embedding molecules that come without coordinates.
        timeout_s: longest time for one embedding.
        fragments: keep molecules of several fragments.
        add_hydrogens: place the hydrogens that records with coordinates leave out.
    """

    vocabulary: Vocabulary
    tags: dict[str, int]
    calculated: dict[str, int]
    seed: int
    timeout_s: int
    fragments: bool
    add_hydrogens: bool = False


@dataclass(frozen=True)
class Dropped:
    """A record that was not kept: its file's name, its place there (from 0), its own name, and why."""

    source: str
    index: int
    name: str
    reason: str


class RowError(ValueError):
    """The record cannot become a row; the message is the reason."""


@dataclass(frozen=True)
class Row:
    """One molecule as the arrays store it; shapes in `moldiff.datasets.layout`, properties (P,) float32."""

    name: str
    positions: np.ndarray
    arrays: MolArrays
    properties: np.ndarray
    split: int
    keys: tuple[int, int]


@dataclass
class Part:
    """Rows and dropped records of consecutive records of one file, in their order; of each tag with values that are no
    numbers or too large, how many of the rows have one, and the first."""

    arrays: Arrays
    names: list[str]
    dropped: list[Dropped] = field(default_factory=list)
    unusable: dict[str, tuple[int, str]] = field(default_factory=dict)


def make_part(records: Iterable[tuple[str, Record]], options: RowOptions) -> Part:
    """Turn records, each with its file's name, into a `Part`; one that cannot be kept becomes a `Dropped`."""
    rows, dropped, unusable = [], [], dict[str, tuple[int, str]]()
    for source, record in records:
        try:
            rows.append(make_row(record, options))
            for name in options.tags:
                if (text := record.tags.get(name, "").strip()) and math.isnan(number(text)):
                    count, first = unusable.get(name, (0, text))
                    unusable[name] = count + 1, first
        except (RowError, EncodingError) as error:
            dropped.append(Dropped(source, record.index, record.name, str(error)))
        except Exception as error:  # noqa: BLE001 - of RDKit, about this molecule
            dropped.append(Dropped(source, record.index, record.name, sanitize_reason(error, None)))
    arrays = stack(rows, len(options.tags) + len(options.calculated))
    return Part(arrays, [row.name for row in rows], dropped, unusable)


def make_row(record: Record, options: RowOptions) -> Row:
    """Turn one record into a row.

    Raises:
        RowError, EncodingError: it cannot be kept; the message is the reason.
    """
    if record.mol is None:
        raise RowError(record.reason)
    if options.add_hydrogens:
        record = completed(record)
        assert record.mol is not None
    if reason := parts_problem(record.mol, options.fragments):
        raise RowError(reason)  # before the work of an embedding
    mol = _with_conformer(record.mol, options)
    arrays = encode(mol, options.vocabulary, fragments=options.fragments)
    smiles = canonical_smiles(mol, stereo=False)
    positions = _stored_positions(arrays.pos)
    return Row(
        name=" ".join(record.name.split()),
        positions=positions,
        arrays=arrays,
        properties=_properties(mol, record.tags, options),
        split=SPLITS.index(split_of(parent_block(mol))),
        keys=(text_key(smiles), text_key(canonical_smiles(mol, stereo=True))),
    )


def _with_conformer(mol: Mol, options: RowOptions) -> Mol:
    """Return ``mol`` itself, or embedded if it came from a format without coordinates."""
    if mol.GetNumConformers():
        return mol
    embedded, reason = embed(mol, options.seed, options.timeout_s)
    if embedded is None:
        raise RowError(reason)
    return embedded


def _stored_positions(pos: np.ndarray) -> np.ndarray:
    """Return (n, 3) int16 centred coordinates in units of `POSITION_UNIT`."""
    exact = pos.astype(np.float64)
    centred = exact - exact.mean(0)
    if np.abs(centred).max() > POSITION_LIMIT:
        raise RowError(f"an atom lies more than {POSITION_LIMIT} angstrom from the centre")
    return np.rint(centred / POSITION_UNIT).astype(np.int16)


def _properties(mol: Mol, tags: dict[str, str], options: RowOptions) -> np.ndarray:
    """Return (P,) float32 values, NaN where a tag is missing, no number or too large, or a calculator fails."""
    values = np.full(len(options.tags) + len(options.calculated), np.nan, dtype=np.float32)
    for name, column in options.tags.items():
        values[column] = number(tags.get(name, ""))
    for name, value in compute(mol, options.calculated).items():
        values[options.calculated[name]] = _held(value)
    return values


def number(text: str) -> float:
    """Read a number that a prepared set can hold; anything else is NaN, that is, unknown."""
    try:
        return _held(number_in(text))
    except ValueError:
        return math.nan


def _held(value: float) -> float:
    """Return a value of a property, NaN if it is larger than what statistics are read with."""
    return value if abs(value) <= LARGEST else math.nan


def stack(rows: Sequence[Row], properties: int) -> Arrays:
    """Concatenate rows into the arrays of `moldiff.datasets.layout`; bonds are uint16 until the folder is written."""
    sizes = [len(row.positions) for row in rows]
    bonds = [len(row.arrays.bonds) for row in rows]
    return {
        "positions": _concatenate([row.positions for row in rows], np.int16, (3,)),
        "atom_type": _concatenate([row.arrays.atom_type for row in rows], np.uint8, ()),
        "charge": _concatenate([row.arrays.charge for row in rows], np.uint8, ()),
        "bonds": _concatenate([row.arrays.bonds for row in rows], np.uint16, (3,)),
        "atom_offsets": np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        "bond_offsets": np.concatenate([[0], np.cumsum(bonds, dtype=np.int64)]).astype(np.int64),
        "properties": np.array([row.properties for row in rows], dtype=np.float32).reshape(len(rows), properties),
        "split": np.array([row.split for row in rows], dtype=np.uint8),
        "keys": np.array([row.keys for row in rows], dtype=np.uint64).reshape(len(rows), 2),
    }


def _concatenate(arrays: list[np.ndarray], dtype: type, tail: tuple[int, ...]) -> np.ndarray:
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros((0, *tail), dtype)


def merge(parts: Sequence[Arrays]) -> Arrays:
    """Concatenate the arrays of consecutive parts (at least one)."""
    offsets = ("atom_offsets", "bond_offsets")
    merged = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name not in offsets}
    for name in offsets:
        counts = np.concatenate([np.diff(part[name]) for part in parts])
        merged[name] = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
    return merged
