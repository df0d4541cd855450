"""Tables with a column of SMILES, .csv and .parquet, as text records. An apostrophe before what a spreadsheet would
take for a formula is no part of a cell."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from moldiff.chem.io.capped import MAX_RECORD, TextRecord, capped_lines, smiles_record
from moldiff.errors import MoldiffError
from moldiff.foreign_text import plain_cell

MAX_CELL = 131_072  # bytes in a table, as many as Python's csv reader takes
MAX_COLUMN = 1 << 30  # bytes, and numbers in lists, that one column of a Parquet row group unpacks to
PARQUET_ROWS = 512  # read at once: with the largest cells, 64 MB of a column
COORDINATES = "coordinates_mA"  # column of a table: see `moldiff.chem.io.ordered_smiles`
_NAME_COLUMNS = ("name", "id", "title", "mol_id")


def _columns(path: Path, header: Iterable[str]) -> tuple[str, str | None]:
    """Return the SMILES column and the name column (None if there is none), found without regard to case."""
    lower = {column.strip().lower(): column for column in header}
    if "smiles" not in lower:
        names = ", ".join(lower.values())
        raise MoldiffError(f"{path} has no column 'smiles'; its columns are {names[:200]}")
    return lower["smiles"], next((lower[name] for name in _NAME_COLUMNS if name in lower), None)


def _table_record(index: int, row: dict[str, object], smiles: str, name: str | None) -> TextRecord:
    tags = {
        str(column).strip(): str(value)
        for column, value in row.items()
        if column not in (None, smiles, name) and value is not None and not isinstance(value, list)
    }
    text, title = row.get(smiles), row.get(name) if name else None
    return smiles_record(index, "" if text is None else str(text).strip(), "" if title is None else str(title), tags)


def _placed_record(record: TextRecord, coordinates: object) -> TextRecord:
    """Return the record of a row that has coordinates too."""
    if not isinstance(coordinates, list) or not all(isinstance(value, int) for value in coordinates):
        return replace(record, text="", reason=f"coordinates: {COORDINATES} is no list of whole numbers")
    text = " ".join((record.text, *map(str, coordinates)))
    if len(text) > MAX_RECORD:
        return replace(record, text="", reason=f"too large: record of more than {MAX_RECORD} characters")
    return replace(record, kind="placed", text=text)


def read_csv(path: Path) -> Iterator[TextRecord]:
    """Read the rows of a table with a column of SMILES."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as handle:
        budget = _RowBudget(path, capped_lines(path, handle))
        reader = csv.DictReader(budget)
        smiles, name = _columns(path, reader.fieldnames or [])
        for index, row in enumerate(reader):
            budget.used = 0
            plain = {column: plain_cell(value) if isinstance(value, str) else value for column, value in row.items()}
            yield _table_record(index, plain, smiles, name)


class _RowBudget:
    """Lines for a reader of rows, which may span several of them."""

    def __init__(self, path: Path, lines: Iterator[str]) -> None:
        self.path, self.lines, self.used = path, lines, 0

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.used += len(line)
            if self.used > MAX_RECORD:
                raise MoldiffError(f"{self.path}: a row of more than {MAX_RECORD} characters")
            yield line


def read_parquet(path: Path) -> Iterator[TextRecord]:
    """The same of a Parquet table, where rows may have coordinates too."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            smiles, name = _columns(path, table.schema_arrow.names)
            _check_parquet(path, table.metadata)
            for index, row in enumerate(_parquet_rows(path, table.schema_arrow)):
                placed = row.pop(COORDINATES, None)
                record = _table_record(index, row, smiles, name)
                yield record if placed is None or record.reason else _placed_record(record, placed)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
        raise MoldiffError(f"{path} is not a Parquet file: {str(error).splitlines()[0][:120]}") from error


def _check_parquet(path: Path, metadata: Any) -> None:
    """Refuse row groups that unpack to more than fits: lists of numbers may take next to no space in the file."""
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            if max(column.total_uncompressed_size, column.num_values) > MAX_COLUMN:
                raise MoldiffError(f"{path}: column {column.path_in_schema} unpacks to more than {MAX_COLUMN} bytes")


def _parquet_rows(path: Path, schema: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file, texts as dictionaries of different ones until they are needed one by one: a
    file of a kilobyte may hold the same megabyte 20,000 times."""
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet

    kinds = pyarrow.types
    texts = [field.name for field in schema if kinds.is_string(field.type) or kinds.is_binary(field.type)]
    checked = set()
    with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as table:
        for batch in table.iter_batches(batch_size=PARQUET_ROWS):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if not kinds.is_dictionary(column.type):
                    continue
                key = name, len(column.dictionary), column.dictionary.buffers()[-1].address
                if key not in checked:
                    longest = pyarrow.compute.max(pyarrow.compute.binary_length(column.dictionary)).as_py() or 0
                    if longest > MAX_CELL:
                        raise MoldiffError(f"{path}: column {name} has a cell of {longest} bytes, above {MAX_CELL}")
                    checked.add(key)
            yield from batch.to_pylist()
