"""Files that are written, by suffix: the table `KINDS`. A `Sheet` says what of an item stands in them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

from moldiff.conditions import number_text
from moldiff.errors import MoldiffError
from moldiff.files import FileSet
from moldiff.foreign_text import safe_cell
from moldiff.path_names import with_stem

PARQUET_ROWS = 10_000  # of a row group
Item = TypeVar("Item")
_Taken = TypeVar("_Taken", contravariant=True)


class Sheet(Protocol[_Taken]):
    """Content of files, item by item."""

    @property
    def headings(self) -> Sequence[str]:
        """Names of the columns of a table."""

    @property
    def texts(self) -> Container[str]:
        """Columns that hold texts; of the others, those in ``whole`` hold whole numbers, the rest numbers."""

    @property
    def whole(self) -> Container[str]: ...

    def cells(self, item: _Taken, /) -> Sequence[object]:
        """Return the cells of a table's row, None where there is nothing."""

    def line(self, item: _Taken, /) -> tuple[str, ...]:
        """Return SMILES and name, and what else is to be said; "" = it has no SMILES."""

    def sdf(self, item: _Taken, /) -> str:
        """Return the SDF record; "" = it has none."""


class Output(Protocol[_Taken]):
    """Takes items one by one; its file is closed by whoever opened it."""

    def add(self, item: _Taken, /) -> None: ...

    def close(self) -> None: ...


def cell(value: object) -> object:
    """Return a value as text files have it: numbers as in `number_text`, "" for nothing."""
    if value is None:
        return ""
    return number_text(value) if isinstance(value, float) else value


class _WhileOpen:
    """An open file, for writers that write an end even if nobody closes them: when they are forgotten. By then the
    file may be closed, since a run that is stopped gives it up; that end goes nowhere."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle

    def write(self, data: bytes) -> int:
        return len(data) if self.closed else self._handle.write(data)

    def flush(self) -> None:
        if not self.closed:
            self._handle.flush()

    @property
    def closed(self) -> bool:
        return self._handle.closed


class _Text:
    """UTF-8 text into an open file, packed or not."""

    def __init__(self, handle: IO[bytes], compress: bool) -> None:
        # no file name and no time in the header: the same text gives the same bytes
        self._packed = gzip.GzipFile("", "wb", fileobj=_WhileOpen(handle), mtime=0) if compress else None
        self._out: Any = self._packed or handle

    def write(self, text: str) -> None:
        self._out.write(text.encode("utf-8"))

    def close(self) -> None:
        if self._packed is not None:
            self._packed.close()


class CsvRows(Output[Item]):
    """A CSV, in which no cell is a formula."""

    def __init__(self, handle: IO[bytes], sheet: Sheet[Item], *, compress: bool = False) -> None:
        self._text, self._sheet = _Text(handle, compress), sheet
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow(map(safe_cell, sheet.headings))

    def add(self, item: Item) -> None:
        self._writer.writerow([safe_cell(cell(value)) for value in self._sheet.cells(item)])

    def close(self) -> None:
        self._text.close()


class SmilesLines(Output[Item]):
    """Lines "SMILES name"."""

    def __init__(self, handle: IO[bytes], sheet: Sheet[Item], *, compress: bool = False) -> None:
        self._text, self._sheet = _Text(handle, compress), sheet

    def add(self, item: Item) -> None:
        smiles, *rest = self._sheet.line(item)
        if smiles:
            self._text.write("\t".join([smiles, *(" ".join(text.split()) for text in rest)]) + "\n")

    def close(self) -> None:
        self._text.close()


class SdfRecords(Output[Item]):
    """SDF records."""

    def __init__(self, handle: IO[bytes], sheet: Sheet[Item], *, compress: bool = False) -> None:
        self._text, self._sheet = _Text(handle, compress), sheet

    def add(self, item: Item) -> None:
        self._text.write(self._sheet.sdf(item))

    def close(self) -> None:
        self._text.close()


class ParquetRows(Output[Item]):
    """A Parquet table."""

    def __init__(self, handle: IO[bytes], sheet: Sheet[Item]) -> None:
        import pyarrow
        import pyarrow.parquet

        def kind(name: str) -> Any:
            if name in sheet.texts:
                return pyarrow.string()
            return pyarrow.int64() if name in sheet.whole else pyarrow.float64()

        self._sheet = sheet
        self._schema = pyarrow.schema([(name, kind(name)) for name in sheet.headings])
        self._is_text = [name in sheet.texts for name in sheet.headings]
        self._writer = pyarrow.parquet.ParquetWriter(_WhileOpen(handle), self._schema, write_page_checksum=True)
        self._rows: list[Sequence[object]] = []

    def add(self, item: Item) -> None:
        self._rows.append(self._sheet.cells(item))
        if len(self._rows) == PARQUET_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow

        columns = zip(*self._rows, strict=True) if self._rows else ((),) * len(self._schema)
        arrays = [
            pyarrow.array(list(map(_text if is_text else _number, values)), field.type)
            for field, is_text, values in zip(self._schema, self._is_text, columns, strict=True)
        ]
        self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
        self._rows = []


def _text(value: object) -> str | None:
    return value if value is None or type(value) is str else str(cell(value))


def _number(value: object) -> object:
    return float(value) if isinstance(value, str) else value  # a number as a text file has it


@dataclass(frozen=True)
class Kind:
    """A kind of output.

    Attributes:
        suffix: of its files.
        writer: of items, for an open file.
        is_table: it has a column for each value, data fields of the input among them.
        has_coordinates: it holds them.
    """

    suffix: str
    writer: Callable[[IO[bytes], Sheet[Any]], Output[Any]]
    is_table: bool = False
    has_coordinates: bool = False

    def opened(self, files: FileSet, path: Path, sheet: Sheet[Item]) -> Output[Item]:
        """Return what writes a file of a set."""
        return self.writer(files.open(path, binary=True), sheet)

    def stem(self, path: Path) -> Path:
        """Return a file's path without the suffix."""
        return path.with_name(path.name[: -len(self.suffix)])


KINDS = (
    Kind(".sdf.gz", partial(SdfRecords, compress=True), has_coordinates=True),
    Kind(".sdf", SdfRecords, has_coordinates=True),
    Kind(".smi.gz", partial(SmilesLines, compress=True)),
    Kind(".smi", SmilesLines),
    Kind(".csv.gz", partial(CsvRows, compress=True), is_table=True),
    Kind(".csv", CsvRows, is_table=True),
    Kind(".parquet", ParquetRows, is_table=True),
)
TABLES = tuple(kind for kind in KINDS if kind.is_table)
WITH_COORDINATES = tuple(kind for kind in KINDS if kind.has_coordinates)


def kind_of(path: Path, among: Iterable[Kind] = KINDS) -> Kind:
    """Return the kind of a file by its suffix; MoldiffError if it is none of some, or there is no name before it."""
    kinds, name = tuple(among), with_stem(path).name
    found = next((kind for kind in kinds if name.lower().endswith(kind.suffix) and name != kind.suffix), None)
    if found is None:
        known = ", ".join(sorted(kind.suffix for kind in kinds))
        raise MoldiffError(f"{path}: the output must end in one of {known}", argument="out")
    return found
