"""Parquet tables with a column of SMILES, or of SMILES and coordinates, as text records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from moldiff.chem.io.capped import MAX_RECORD, TOO_LARGE, TextRecord
from moldiff.chem.io.csv_rows import MAX_ROW
from moldiff.chem.io.encodings import decoded, is_text, tell_once
from moldiff.chem.io.tables import COORDINATES, Columns, columns_of, distinct, table_record
from moldiff.errors import MoldiffError, class_and_line, first_line

MAX_COLUMN = 1 << 30  # bytes, and numbers in lists, that one column of a row group unpacks to
_ROWS = 512  # read at once
_FEW = 16  # the same, of texts whose length is not known before
_AT_ONCE = 1 << 23  # bytes of text that become Python's at once


def read_parquet(path: Path, columns: Columns | None = None) -> Iterator[TextRecord]:
    """Read the rows of a Parquet table with a column of SMILES, where they may have coordinates too. Bytes are text as
    in other files; what cannot be said as a text, a day beyond the calendar say, is nothing."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            header = distinct(path, table.schema_arrow.names)
            smiles, name = columns_of(path, header, columns or Columns())
            _check_size(path, table.metadata)
            for index, cells in enumerate(_rows(path, table.schema_arrow, header)):
                row = dict(zip(header, cells, strict=True))
                placed = row.pop(COORDINATES, None)
                record = table_record(index, row, smiles, name)
                yield record if placed is None or record.reason else _placed_record(record, placed)
    except (MoldiffError, OSError, MemoryError):
        raise
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
        raise MoldiffError(f"{path} is not a Parquet file: {first_line(error, 120)}") from error
    except Exception as error:  # PyArrow hands on what the conversion of any of its types raises
        raise MoldiffError(f"{path} cannot be read: {class_and_line(error, 120)}") from error


def _check_size(path: Path, metadata: Any) -> None:
    """Refuse row groups that unpack to more than fits: lists of numbers may take next to no space in the file."""
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            if max(column.total_uncompressed_size, column.num_values) > MAX_COLUMN:
                raise MoldiffError(f"{path}: column {column.path_in_schema} unpacks to more than {MAX_COLUMN} bytes")


def _placed_record(record: TextRecord, coordinates: object) -> TextRecord:
    """Return the record of a row that has coordinates too."""
    if coordinates == TOO_LARGE:
        return replace(record, text="", reason=TOO_LARGE)
    if not isinstance(coordinates, list) or not all(isinstance(value, int) for value in coordinates):
        return replace(record, text="", reason=f"coordinates: {COORDINATES} is no list of whole numbers")
    text = " ".join((record.text, *map(str, coordinates)))
    if len(text) > MAX_RECORD:
        return replace(record, text="", reason=TOO_LARGE)
    return replace(record, kind="placed", text=text)


def _rows(path: Path, schema: Any, header: list[str]) -> Iterator[tuple[object, ...]]:
    """Yield the cells of rows, texts as dictionaries of different ones until they are needed some at a time: a file of
    a kilobyte may hold the same megabyte 20,000 times."""
    import pyarrow.parquet

    texts = [field.name for field in schema if _is(field.type, "string", "large_string", "binary", "large_binary")]
    size = _FEW if any(_is(field.type, "string_view", "binary_view") for field in schema) else _ROWS
    longest = _Longest()
    with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as table:
        for batch in table.iter_batches(batch_size=size):
            step = max(1, min(size, _AT_ONCE // max(1, sum(map(longest, batch.columns)))))
            for start in range(0, batch.num_rows, step):
                columns = zip(header, batch.slice(start, step).columns, strict=True)
                yield from zip(*(_cells(path, name, column) for name, column in columns), strict=True)


def _is(kind: Any, *names: str) -> bool:
    """Return whether a type is one of some, by their names in PyArrow."""
    import pyarrow.types

    return any(getattr(pyarrow.types, f"is_{name}")(kind) for name in names)


class _Longest:
    """The bytes of the longest text of a column, 0 if it holds none. Batches share dictionaries: each is looked at
    once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], int] = {}

    def __call__(self, column: Any) -> int:
        import pyarrow.compute

        if _is(column.type, "fixed_size_binary"):
            return int(column.type.byte_width)
        if not _is(column.type, "dictionary") or not _is_of_text(column.type.value_type):
            return 0
        texts = column.dictionary
        key = len(texts), texts.buffers()[-1].address
        if key not in self._known:
            lengths = pyarrow.compute.binary_length(texts)
            self._known[key] = min(MAX_ROW, pyarrow.compute.max(lengths).as_py() or 0)
        return self._known[key]


def _is_of_text(kind: Any) -> bool:
    return _is(kind, "string", "large_string", "string_view", "binary", "large_binary", "binary_view")


def _cells(path: Path, name: str, column: Any) -> list[Any]:
    """Return the cells of a column as Python's values. Lists have no cell but for those of coordinates."""
    kind = column.type
    if _is(kind, "dictionary"):
        places = column.indices
        used = places.unique()
        values = dict(zip(used.to_pylist(), _cells(path, name, column.dictionary.take(used)), strict=True))
        return [values[place] for place in places.to_pylist()]
    if _is_of_text(kind) or _is(kind, "fixed_size_binary"):
        return _texts(column, meant=_is(kind, "string", "large_string", "string_view"))
    placed = name == COORDINATES and _is(kind, "list", "large_list")
    if not placed and _holds_lists(kind):
        return [None] * len(column)
    try:
        return _coordinates(column) if placed else list(column.to_pylist())
    except Exception:  # noqa: BLE001 - of many kinds, by type
        return _odd_cells(path, name, column)


def _holds_lists(kind: Any) -> bool:
    """Return whether a cell of a type may hold any number of values."""
    if _is(kind, "struct"):
        return any(_holds_lists(field.type) for field in kind)
    return _is(kind, "nested")


def _coordinates(column: Any) -> list[Any]:
    """Return lists of numbers as Python's; for one that cannot belong to a record that fits, `TOO_LARGE`."""
    import pyarrow.compute

    lengths = pyarrow.compute.list_value_length(column)
    if (pyarrow.compute.max(lengths).as_py() or 0) <= MAX_RECORD:
        return list(column.to_pylist())
    return [
        TOO_LARGE if length is not None and length > MAX_RECORD else cell.as_py()
        for cell, length in zip(column, lengths.to_pylist(), strict=True)
    ]


def _texts(column: Any, *, meant: bool) -> list[str | None]:
    """Return the texts of a column; None for bytes that are none, unless they are meant to be. One that is longer than
    a row may be is cut there: it costs its row."""
    import pyarrow
    import pyarrow.compute

    cut = pyarrow.compute.binary_slice(column.cast(pyarrow.binary()), 0, MAX_ROW + 1)
    return [None if data is None or not (meant or is_text(data)) else decoded(data) for data in cut.to_pylist()]


def _odd_cells(path: Path, name: str, column: Any) -> list[object]:
    """Return the cells of a column some of which Python has no value for: None for these. A time of a zone that nobody
    knows is that of Greenwich."""
    import pyarrow

    if _is(column.type, "timestamp") and column.type.tz is not None:
        column = column.cast(pyarrow.timestamp(column.type.unit, "UTC"))
    tell_once(f"{path}: the column '{name}' has cells that are no text, such as days beyond the calendar: left out")
    found: list[object] = []
    for cell in column:
        try:
            found.append(cell.as_py())
        except Exception:  # noqa: BLE001 - the same
            found.append(None)
    return found
