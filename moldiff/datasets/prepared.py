"""A prepared data set: memory-mapped on disk, or as tensors on a device from which batches are gathered by indexing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moldiff.arrays import MolArrays
from moldiff.datasets.layout import (
    FORMAT,
    FORMAT_VERSION,
    POSITION_UNIT,
    SPLITS,
    Arrays,
    changed_file,
    data_hash,
    open_arrays,
    out_of_range,
)
from moldiff.datasets.statistics import DatasetStatistics
from moldiff.errors import MoldiffError, nearest_name
from moldiff.folders import standing
from moldiff.molecules import MolBatch
from moldiff.reading import read_json, read_whole
from moldiff.vocabulary import Vocabulary

MAKE_ONE = "make one with: moldiff data prepare"
PREPARE_AGAIN = "prepare the data set again"
_MOST_NAMES = 1 << 32  # bytes


@dataclass(frozen=True)
class PropertyInfo:
    """A property column: name, unit ("1" for a plain number, "" if not known), and source, "tag" (read) or "rdkit"."""

    name: str
    unit: str
    source: str


@dataclass(frozen=True)
class PreparedDataset:
    """An open prepared folder; the arrays stay on disk and are mapped into memory (see `moldiff.datasets.layout`).

    Attributes:
        folder: where it lies.
        arrays: name -> memory-mapped array.
        vocabulary: class labels of the three categorical fields.
        statistics: of the training split.
        properties: the property columns.
        info: the content of dataset.json.
    """

    folder: Path
    arrays: Arrays
    vocabulary: Vocabulary
    statistics: DatasetStatistics
    properties: tuple[PropertyInfo, ...]
    info: dict[str, Any]

    @classmethod
    def open(cls, folder: Path | str, *, verify: bool = True) -> PreparedDataset:
        """Open a folder written by `moldiff data prepare`.

        Args:
            folder: the prepared folder.
            verify: also compare every file with its hash, and every class with the vocabulary (some seconds per GB).

        Raises:
            MoldiffError: not a prepared folder, another format version, damaged or mismatched files.
        """
        folder = standing(Path(folder))
        if not (folder / "dataset.json").is_file():
            raise MoldiffError(f"{folder} is not a prepared data set (no dataset.json); {MAKE_ONE}")
        info = read_json(folder / "dataset.json")
        if not isinstance(info, dict) or info.get("format") != FORMAT:
            raise MoldiffError(f"{folder}/dataset.json does not describe a prepared data set; {MAKE_ONE}")
        if (version := info.get("version")) != FORMAT_VERSION:
            raise MoldiffError(f"{folder} has format version {version}, not {FORMAT_VERSION}; {PREPARE_AGAIN}")
        try:
            vocabulary = Vocabulary.from_json(info["vocabulary"])
            statistics = DatasetStatistics.from_json(info["statistics"])
            properties = tuple(PropertyInfo(**row) for row in info["properties"])
            _check_description(info, vocabulary, statistics, properties)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MoldiffError(f"{folder}/dataset.json is damaged ({error}); {PREPARE_AGAIN}") from error
        dataset = cls(folder, open_arrays(folder), vocabulary, statistics, properties, info)
        if dataset.arrays["properties"].shape[1] != len(properties) or len(dataset) != info.get("molecules"):
            raise MoldiffError(f"{folder}/dataset.json and the arrays do not belong together; {PREPARE_AGAIN}")
        if verify:
            dataset.verify()
        return dataset

    def verify(self) -> None:
        """Raise MoldiffError unless every file is as it was written, and holds what the vocabulary knows."""
        changed = changed_file(self.folder)
        if changed:
            raise MoldiffError(f"{self.folder}/{changed} is damaged: it does not match its hash; {PREPARE_AGAIN}")
        if changed is None and data_hash(self.arrays) != self.info["data_hash"]:
            raise MoldiffError(f"{self.folder} is damaged: its arrays do not match their hash; {PREPARE_AGAIN}")
        if name := out_of_range(self.arrays, self.vocabulary):
            raise MoldiffError(f"{self.folder}/{name}.npy is damaged: a value is out of range; {PREPARE_AGAIN}")

    def __len__(self) -> int:
        return len(self.arrays["split"])

    @property
    def sizes(self) -> np.ndarray:
        """(M,) int64: number of atoms of every molecule."""
        return np.diff(self.arrays["atom_offsets"])

    @property
    def property_names(self) -> tuple[str, ...]:
        """Names of the property columns, in order."""
        return tuple(entry.name for entry in self.properties)

    def indices(self, split: str) -> np.ndarray:
        """Return the rows of one split, "train", "validation" or "test", ascending, int64."""
        if split not in SPLITS:
            raise MoldiffError(f"unknown split '{split}'; known are {', '.join(SPLITS)}")
        return np.flatnonzero(self.arrays["split"] == SPLITS.index(split))

    def molecule(self, row: int) -> MolArrays:
        """Return molecule ``row`` (0 <= row < len) without its properties; positions float32 in angstrom."""
        self._check_row(row)
        a, b = self.arrays, self.arrays["bond_offsets"]
        atoms, bonds = slice(*a["atom_offsets"][row : row + 2]), slice(*b[row : row + 2])
        return MolArrays(
            pos=a["positions"][atoms].astype(np.float32) * np.float32(POSITION_UNIT),
            atom_type=a["atom_type"][atoms].astype(np.int64),
            charge=a["charge"][atoms].astype(np.int64),
            bonds=a["bonds"][bonds].astype(np.int64),
        )

    def name(self, row: int) -> str:
        """Return the name of molecule ``row`` as it was read (reads names.txt; for many rows use `names`)."""
        self._check_row(row)
        return self.names()[row]

    def names(self) -> list[str]:
        """Read the names of all molecules."""
        try:
            names = read_whole(self.folder / "names.txt", _MOST_NAMES).decode("utf-8").split("\n")[:-1]
        except (MoldiffError, UnicodeDecodeError) as error:
            raise MoldiffError(f"{self.folder}/names.txt cannot be read ({error}); {PREPARE_AGAIN}") from error
        if len(names) != len(self):
            raise MoldiffError(f"{self.folder}/names.txt has {len(names)} names, not {len(self)}; {PREPARE_AGAIN}")
        return names

    def property_columns(self, names: Sequence[str]) -> list[int]:
        """Return the column of each property name; MoldiffError names the nearest known one."""
        for name in names:
            if name not in self.property_names:
                known = ", ".join(self.property_names) or "none"
                raise MoldiffError(
                    f"{self.folder} has no property '{name}'{nearest_name(name, self.property_names)}; it has: {known}"
                )
        return [self.property_names.index(name) for name in names]

    def property_table(self, names: Sequence[str], *, absent_as_unknown: bool = False) -> np.ndarray:
        """Return (M, P) float32, the named properties of every molecule, NaN = unknown.

        Args:
            names: of P properties, in this order.
            absent_as_unknown: a property that the data set lacks is NaN throughout; otherwise it is a MoldiffError.
        """
        present = [name for name in names if name in self.property_names] if absent_as_unknown else list(names)
        columns = self.property_columns(present)
        table = np.full((len(self), len(names)), np.nan, dtype=np.float32)
        table[:, [list(names).index(name) for name in present]] = self.arrays["properties"][:, columns]
        return table

    def class_tables(self, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
        """Return, per categorical field, the table own class -> class of another vocabulary (for a given model).

        Raises:
            MoldiffError: the data set holds a class that ``vocabulary`` does not have, or other hydrogens.
        """
        if vocabulary.explicit_hydrogens != self.vocabulary.explicit_hydrogens:
            expected = "explicit" if vocabulary.explicit_hydrogens else "implicit"
            raise MoldiffError(f"the model expects {expected} hydrogens, unlike {self.folder}; {PREPARE_AGAIN}")
        tables = {}
        for field, own, other in (
            ("atom_type", self.vocabulary.elements, vocabulary.elements),
            ("charge", self.vocabulary.charges, vocabulary.charges),
            ("bond_type", self.vocabulary.bonds, vocabulary.bonds),
        ):
            missing = [str(label) for label in own if label not in other]
            if missing:
                raise MoldiffError(
                    f"{self.folder} holds {field} {', '.join(missing)}, which the model does not know; "
                    "prepare the data with the model's vocabulary"
                )
            tables[field] = np.array([other.index(label) for label in own], dtype=np.uint8)
        return tables

    def _check_row(self, row: int) -> None:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} is outside 0 .. {len(self) - 1}")


def _check_description(
    info: dict[str, Any],
    vocabulary: Vocabulary,
    statistics: DatasetStatistics,
    properties: Sequence[PropertyInfo],
) -> None:
    """Raise KeyError, TypeError or ValueError unless the parts of dataset.json fit together and none is missing."""
    for field, size in vocabulary.sizes.items():
        if len(statistics.marginals[field]) != size:
            raise ValueError(f"{len(statistics.marginals[field])} frequencies for {size} classes of {field}")
    if list(statistics.properties) != [entry.name for entry in properties]:
        raise ValueError("the statistics are those of other properties")
    for key, kind in (("data_hash", str), ("records", int), ("distinct", int), ("dropped", dict), ("sources", list)):
        if not isinstance(info[key], kind):
            raise TypeError(f"{key} is no {kind.__name__}")
    if not all(isinstance(count, int) for count in info["dropped"].values()):
        raise TypeError("dropped holds more than counts")
    if not all(isinstance(source[key], str) for source in info["sources"] for key in ("file", "sha256")):
        raise TypeError("a source is not a file and its hash")


class DeviceArrays:
    """A data set as flat tensors on one device (about 280 bytes a QM9 molecule); batches are gathered by indexing."""

    def __init__(
        self,
        dataset: PreparedDataset,
        device: torch.device | str = "cpu",
        *,
        properties: Sequence[str] | None = None,
        vocabulary: Vocabulary | None = None,
        absent_as_unknown: bool = False,
    ) -> None:
        """Copy a data set to a device.

        Args:
            dataset: the open data set.
            device: where the tensors live and the batches are made.
            properties: names of the property columns of a batch, in this order; by default all.
            vocabulary: class indices of the batches, for a model with its own vocabulary; by default the data set's.
            absent_as_unknown: see `PreparedDataset.property_table`.
        """
        arrays = dataset.arrays
        tables = dataset.class_tables(vocabulary or dataset.vocabulary)
        names = tuple(dataset.property_names if properties is None else properties)
        bonds = np.array(arrays["bonds"], dtype=np.uint8 if arrays["bonds"].dtype == np.uint8 else np.int32)
        bonds[:, 2] = tables["bond_type"][arrays["bonds"][:, 2]]
        self.device = torch.device(device)
        self.property_names = names
        self._sizes = torch.from_numpy(dataset.sizes)  # stays in main memory: checks must not wait for the device
        self._max_bonds = _max_bonds_up_to(dataset.sizes, np.diff(arrays["bond_offsets"]))
        self._positions = self._copy(arrays["positions"])
        self._atom_type = self._copy(tables["atom_type"][arrays["atom_type"]])
        self._charge = self._copy(tables["charge"][arrays["charge"]])
        self._bonds = self._copy(bonds)
        self._atom_offsets = self._copy(arrays["atom_offsets"])
        self._bond_offsets = self._copy(arrays["bond_offsets"])
        self._properties = self._copy(dataset.property_table(names, absent_as_unknown=absent_as_unknown))

    def _copy(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self.device)

    def assemble(self, indices: Tensor, width: int) -> MolBatch:
        """Gather molecules into one padded batch; no loop over molecules, no synchronisation with the device.

        Args:
            indices: (B,) int64 rows of the data set. On the CPU they are checked; indices that are already on another
                device are taken at their word.
            width: padded number of atoms N, at least the largest molecule's.

        Returns:
            The batch on this object's device, with ``ids`` = indices.
        """
        if indices.device.type == "cpu":
            self._check(indices, width)
        rows = indices.to(self.device, non_blocking=True)
        first = self._atom_offsets[rows]
        count = self._atom_offsets[rows + 1] - first
        place = torch.arange(width, device=self.device)
        mask = place < count[:, None]  # (B, N)
        source = torch.where(mask, first[:, None] + place, 0)
        pos = self._positions[source].to(torch.float32) * (POSITION_UNIT * mask[:, :, None])
        # Rounding to 0.001 angstrom moved the centre by up to 0.0005.
        pos = (pos - pos.sum(1, keepdim=True) / count[:, None, None]) * mask[:, :, None]
        return MolBatch(
            pos=pos,
            atom_type=self._atom_type[source].to(torch.int64) * mask,
            charge=self._charge[source].to(torch.int64) * mask,
            bond_type=self._bond_matrix(rows, width),
            mask=mask,
            properties=self._properties[rows],
            ids=rows,
        )

    def _bond_matrix(self, rows: Tensor, width: int) -> Tensor:
        """Scatter the bond lists of ``rows`` (B,) into (B, N, N) int64 classes, symmetric."""
        # The bond lists are padded to the longest of any molecule of this width, a constant, so that shapes are static.
        longest = self._max_bonds[min(width, len(self._max_bonds) - 1)]
        batch = len(rows)
        matrix = torch.zeros(batch * width * width, dtype=torch.int64, device=self.device)
        if longest:
            first = self._bond_offsets[rows]
            count = self._bond_offsets[rows + 1] - first
            place = torch.arange(longest, device=self.device)
            real = place < count[:, None]  # (B, M)
            bonds = self._bonds[torch.where(real, first[:, None] + place, 0)].to(torch.int64) * real[:, :, None]
            i, j, order = bonds.unbind(2)
            start = torch.arange(batch, device=self.device)[:, None] * (width * width)
            # A padded entry is (0, 0, class 0): it writes the zero that stands on the diagonal anyway.
            matrix[(start + i * width + j).flatten()] = order.flatten()
            matrix[(start + j * width + i).flatten()] = order.flatten()
        return matrix.view(batch, width, width)

    def _check(self, indices: Tensor, width: int) -> None:
        if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= len(self._sizes)):
            raise IndexError(f"row indices must lie in 0 .. {len(self._sizes) - 1}")
        if len(indices) and (largest := int(self._sizes[indices].max())) > width:
            raise ValueError(f"a molecule of {largest} atoms does not fit the width {width}")


def _max_bonds_up_to(sizes: np.ndarray, bonds: np.ndarray) -> list[int]:
    """Return, for n = 0 .. largest size, the largest number of bonds of a molecule of at most n atoms."""
    table = np.zeros(int(sizes.max(initial=0)) + 1, dtype=np.int64)
    np.maximum.at(table, sizes, bonds)
    longest: list[int] = np.maximum.accumulate(table).tolist()
    return longest
