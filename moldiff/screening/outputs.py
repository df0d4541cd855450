"""Files of molecules by suffix (.sdf, .sdf.gz, .smi, .csv, .parquet), written row by row."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from moldiff.chem.filters.checks import Subject
from moldiff.chem.filters.hazards import ReleaseCheck
from moldiff.chem.io.records import mol_to_sdf_record
from moldiff.errors import MoldiffError
from moldiff.files import FileSet
from moldiff.foreign_text import safe_cell
from moldiff.screening.rows import WHOLE, Row
from moldiff.screening.worker import Pack, nothing

PARQUET_ROWS = 10_000  # of a row group


@dataclass(frozen=True)
class Sheet:
    """The columns of a table of rows.

    Attributes:
        columns: of `Row.cells`.
        texts: those that hold texts; the others hold numbers.
        tags: names of the input's data fields, as further columns of texts.
    """

    columns: tuple[str, ...]
    texts: frozenset[str]
    tags: tuple[str, ...] = ()

    @property
    def headings(self) -> tuple[str, ...]:
        """The names of all columns. A data field whose name is one of ours has ``input_`` before it."""
        return (*self.columns, *_apart(self.tags, self.columns).values())

    def cells(self, row: Row) -> list[object]:
        """Return the cells of a row, None where there is nothing."""
        return [*row.cells(self.columns).values(), *(row.tags.get(tag) for tag in self.tags)]


def _apart(tags: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """Return data field -> a name that is not taken."""
    found: dict[str, str] = {}
    for tag in tags:
        name = tag
        while name in taken or name in found.values():
            name = f"input_{name}"
        found[tag] = name
    return found


class Output(Protocol):
    """Takes rows one by one; its file is closed by whoever opened it."""

    def add(self, row: Row) -> None: ...

    def close(self) -> None: ...


def cell(value: object) -> object:
    """Return a value as text files have it: numbers with six digits, "" for nothing."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


class CsvRows:
    """A CSV, in which no cell is a formula."""

    def __init__(self, handle: IO[str], sheet: Sheet) -> None:
        self._sheet, self._writer = sheet, csv.writer(handle, lineterminator="\n")
        self._writer.writerow(map(safe_cell, sheet.headings))

    def add(self, row: Row) -> None:
        self._writer.writerow([safe_cell(cell(value)) for value in self._sheet.cells(row)])

    def close(self) -> None:
        """Do nothing: every row is written."""


class SmilesLines:
    """Lines "SMILES name"; what has no name has its number."""

    def __init__(self, handle: IO[str], sheet: Sheet) -> None:
        self._handle = handle

    def add(self, row: Row) -> None:
        mark = row.values.get(ReleaseCheck.name)
        name = " ".join(row.name.split()) or str(row.number)
        self._handle.write("\t".join([row.smiles, name, *([f"{ReleaseCheck.name}: {mark}"] if mark else [])]) + "\n")

    def close(self) -> None:
        """Do nothing: every row is written."""


class SdfRecords:
    """SDF records, as `packed_sdf` made them."""

    def __init__(self, handle: IO[bytes], sheet: Sheet, *, compress: bool) -> None:
        # no file name and no time in the header: the same molecules give the same bytes
        self._packed = gzip.GzipFile(filename="", fileobj=handle, mode="wb", mtime=0) if compress else None
        self._out: Any = self._packed or handle

    def add(self, row: Row) -> None:
        assert isinstance(row.packed, str)
        self._out.write(row.packed.encode("utf-8"))

    def close(self) -> None:
        if self._packed is not None:
            self._packed.close()


class ParquetRows:
    """A Parquet table."""

    def __init__(self, handle: IO[bytes], sheet: Sheet) -> None:
        import pyarrow
        import pyarrow.parquet

        def kind(name: str) -> Any:
            if name in sheet.texts or name not in sheet.columns:
                return pyarrow.string()
            return pyarrow.int64() if name in WHOLE else pyarrow.float64()

        self._sheet = sheet
        self._schema = pyarrow.schema([(name, kind(name)) for name in sheet.headings])
        self._writer = pyarrow.parquet.ParquetWriter(handle, self._schema)
        self._rows: list[dict[str, object]] = []

    def add(self, row: Row) -> None:
        cells = dict(zip(self._sheet.headings, self._sheet.cells(row), strict=True))
        texts = {name: str(cell(cells[name])) for name in self._sheet.texts if cells[name] is not None}
        self._rows.append({**cells, **texts})
        if len(self._rows) == PARQUET_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow

        self._writer.write_table(pyarrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


def packed_sdf(subject: Subject, row: Row) -> str | None:
    """Return the SDF record of a molecule: its own coordinates or those that it was given, the data fields of the
    input, and the values of the checks. A data field that one of these differs from has ``input_`` before its name."""
    mol = subject.mol if subject.has_coordinates else subject.placed[0]
    if mol is None:
        return None
    found: Mapping[str, object] = {"record": row.number, "smiles": row.smiles, **row.values}
    ours = {name: str(cell(value)) for name, value in found.items()}
    same = {name for name, text in row.tags.items() if ours.get(name) == text}
    theirs = _apart([name for name in row.tags if name not in same], tuple(ours))
    return mol_to_sdf_record(mol, row.name, {theirs[name]: row.tags[name] for name in theirs} | ours)


@dataclass(frozen=True)
class Format:
    """A kind of output.

    Attributes:
        suffix: of its files.
        writer: of rows, for an open file.
        pack: what it wants of a molecule.
        binary: its files are bytes.
        has_tags: data fields of the input are columns.
        has_coordinates: what has none is given some.
    """

    suffix: str
    writer: Callable[[IO[Any], Sheet], Output]
    pack: Pack = nothing
    binary: bool = False
    has_tags: bool = False
    has_coordinates: bool = False

    def opened(self, files: FileSet, path: Path, sheet: Sheet) -> Output:
        """Return what writes a file of a set."""
        return self.writer(files.open(path, binary=self.binary), sheet)


FORMATS = (
    Format(".sdf.gz", partial(SdfRecords, compress=True), packed_sdf, binary=True, has_coordinates=True),
    Format(".sdf", partial(SdfRecords, compress=False), packed_sdf, binary=True, has_coordinates=True),
    Format(".smi", SmilesLines),
    Format(".csv", CsvRows, has_tags=True),
    Format(".parquet", ParquetRows, binary=True, has_tags=True),
)


def format_of(path: Path) -> Format:
    """Return the kind of a file by its suffix; MoldiffError if there is none."""
    found = next((one for one in FORMATS if path.name.lower().endswith(one.suffix)), None)
    if found is None:
        known = ", ".join(one.suffix for one in FORMATS)
        raise MoldiffError(f"{path}: the output must end in one of {known}", argument="out")
    return found
