"""Tables with a column of SMILES, .csv and .parquet, as text records. An apostrophe before what a spreadsheet would
take for a formula is no part of a cell."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moldiff.chem.io.capped import MAX_RECORD, TextRecord, capped_lines, smiles_record
from moldiff.chem.io.encodings import open_text, tell_once
from moldiff.errors import MoldiffError
from moldiff.foreign_text import plain_cell

MAX_CELL = 131_072  # bytes in a table, as many as Python's csv reader takes
MAX_COLUMNS = 20_000
MAX_COLUMN = 1 << 30  # bytes, and numbers in lists, that one column of a Parquet row group unpacks to
PARQUET_ROWS = 512  # read at once: with the largest cells, 64 MB of a column
COORDINATES = "coordinates_mA"  # column of a table: see `moldiff.chem.io.ordered_smiles`
SMILES_COLUMNS = ("smiles", "canonical_smiles", "isomeric_smiles", "canonicalsmiles", "isomericsmiles", "smi")
_NAME_COLUMNS = ("name", "id", "title", "mol_id", "molecule", "compound", "compound_id", "molecule_id")
_DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " "}


@dataclass(frozen=True)
class Columns:
    """Columns of a table by what they hold; None = it is found out.

    Attributes:
        smiles_column, name_column: their names.
        delimiter: one character between cells, or a word of tab, comma, semicolon, space.
    """

    smiles_column: str | None = None
    name_column: str | None = None
    delimiter: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None and len(_DELIMITERS.get(self.delimiter, self.delimiter)) != 1:
            words = ", ".join(_DELIMITERS)
            raise MoldiffError(
                f"delimiter must be one character, or one of {words}, not '{self.delimiter}'", argument="delimiter"
            )

    @classmethod
    def of(cls, smiles_column: str | None, name_column: str | None, delimiter: str | None) -> Columns | None:
        """Return the columns that a user names; None if none is."""
        return cls(smiles_column, name_column, delimiter) if smiles_column or name_column or delimiter else None

    @property
    def first(self) -> str:
        """The argument that is given."""
        return next(name for name in ("smiles_column", "name_column", "delimiter") if getattr(self, name))

    @property
    def cut(self) -> str | None:
        """The character between cells."""
        return None if self.delimiter is None else _DELIMITERS.get(self.delimiter, self.delimiter)


def _columns(path: Path, header: Sequence[str], wanted: Columns) -> tuple[str, str | None]:
    """Return the SMILES column and the name column (None if there is none), found without regard to case.

    Without a column of one of the usual names, it is the only one that has "smiles" in its name.
    """
    lower = {column.strip().lower(): column for column in reversed(header)}
    names = ", ".join(column.strip() for column in header)[:200]
    for name in ("smiles_column", "name_column"):
        column = getattr(wanted, name)
        if column is not None and column.strip().lower() not in lower:
            raise MoldiffError(f"{path} has no column '{column}'; its columns are {names}", argument=name)
    other = [name for name in lower if "smiles" in name]
    usual = [name for name in SMILES_COLUMNS if name in lower] or (other if len(other) == 1 else [])
    if wanted.smiles_column is None and not usual:
        raise MoldiffError(
            f"{path} has no column 'smiles'; its columns are {names}; name one of them (smiles_column)",
            argument="smiles_column",
        )
    smiles = lower[wanted.smiles_column.strip().lower() if wanted.smiles_column else usual[0]]
    if wanted.smiles_column is None and usual[0] != "smiles":
        tell_once(f"{path}: the column '{smiles}' holds the SMILES")
    if wanted.name_column is not None:
        return smiles, lower[wanted.name_column.strip().lower()]
    return smiles, next((lower[name] for name in _NAME_COLUMNS if name in lower), None)


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


def read_csv(path: Path, columns: Columns | None = None) -> Iterator[TextRecord]:
    """Read the rows of a text table with a column of SMILES. Its first line tells what stands between cells; a row that
    has more cells than there are columns, or too large a one, is a record with a reason."""
    wanted = columns or Columns()
    with open_text(path) as handle:
        budget = _RowBudget(path, capped_lines(path, handle))
        lines = iter(budget)
        first = next((line for line in lines if line.strip()), "")
        budget.used = 0
        reader = csv.reader(itertools.chain([first], lines), delimiter=wanted.cut or _delimiter(first))
        header = _distinct(path, next(reader, []))
        smiles, name = _columns(path, header, wanted)
        for index, cells in enumerate(_rows(reader, budget)):
            if isinstance(cells, str):
                yield TextRecord(index, "smiles", "", "", reason=cells)
                continue
            row = dict(zip(header, map(plain_cell, cells), strict=False))
            record = _table_record(index, dict(row), smiles, name)
            if len(cells) > len(header) and any(cells[len(header) :]):
                record = replace(record, reason=f"row: {len(cells)} cells, where the table has {len(header)} columns")
            yield record


def _rows(reader: Iterator[list[str]], budget: _RowBudget) -> Iterator[list[str] | str]:
    """Yield the cells of every row that is not empty, or why it cannot be read: a quote that is not closed has taken in
    all rows behind it."""
    while True:
        budget.used, before = 0, budget.taken
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"row: {error}"
        else:
            if budget.ended:  # the reader returns a whole row before it asks for another line
                yield f"row: a quote is not closed; it takes in the {budget.taken - before} lines up to the file's end"
            elif cells:
                yield cells


def _delimiter(header: str) -> str:
    """Return what stands between the cells of a line: what cuts it into the most pieces, a comma if nothing does."""
    return max(",", "\t", ";", key=header.count)


def _distinct(path: Path, header: Sequence[str]) -> list[str]:
    """Return column names, each once: further columns of a name are numbered, and said."""
    if len(header) > MAX_COLUMNS:
        raise MoldiffError(f"{path} has {len(header)} columns, more than {MAX_COLUMNS}")
    names: dict[str, None] = {}
    copies: Counter[str] = Counter()
    for column in header:
        name = column
        while name in names:
            copies[column] += 1
            name = f"{column} ({copies[column] + 1})"
        if name != column and column.strip() and copies[column] == 1:
            tell_once(f"{path} has more than one column '{column}'; further ones are called '{name}' and so on")
        names[name] = None
    return list(names)


class _RowBudget:
    """Lines for a reader of rows, which may span several of them: characters of a row, lines so far, and the end."""

    def __init__(self, path: Path, lines: Iterator[str]) -> None:
        self.path, self.lines, self.used, self.taken, self.ended = path, lines, 0, 0, False

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.taken += 1
            self.used += len(line)
            if self.used > MAX_RECORD:
                raise MoldiffError(f"{self.path}: a row of more than {MAX_RECORD} characters")
            yield line
        self.ended = True


def read_parquet(path: Path, columns: Columns | None = None) -> Iterator[TextRecord]:
    """The same of a Parquet table, where rows may have coordinates too."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            smiles, name = _columns(path, table.schema_arrow.names, columns or Columns())
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
