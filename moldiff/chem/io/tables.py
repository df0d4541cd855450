"""Tables with a column of SMILES, and those of text as text records. An apostrophe before what a spreadsheet would
take for a formula is no part of a cell."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moldiff.arguments import refusal
from moldiff.chem.io.capped import MAX_RECORD, SHOWN, TOO_LARGE, TextRecord, capped_lines, smiles_record
from moldiff.chem.io.csv_rows import MAX_ROW, QuotedRows, cells_of
from moldiff.chem.io.encodings import open_text, tell_once
from moldiff.errors import MoldiffError
from moldiff.foreign_text import free_name, plain_cell

MAX_COLUMNS = 20_000
COORDINATES = "coordinates_mA"  # column of a table: see `moldiff.chem.io.ordered_smiles`
SMILES_COLUMNS = ("smiles", "canonical_smiles", "isomeric_smiles", "canonicalsmiles", "isomericsmiles", "smi")
_NAME_COLUMNS = ("name", "id", "title", "mol_id", "molecule", "compound", "compound_id", "molecule_id")
_DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " "}
_SEPARATOR = re.compile(r'"?sep=([^"\s]|\t| )"?', re.IGNORECASE)  # a first line for Excel: what stands between cells


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

    def record(self) -> dict[str, str]:
        """Return what is named, by the names that users give it; two spellings of one name are the same."""
        columns = {"smiles_column": self.smiles_column, "name_column": self.name_column}
        found = {name: column.strip().lower() for name, column in columns.items() if column is not None}
        return found if self.cut is None else {**found, "delimiter": self.cut}

    @property
    def first(self) -> str:
        """The argument that is given."""
        return next(name for name in ("smiles_column", "name_column", "delimiter") if getattr(self, name))

    @property
    def cut(self) -> str | None:
        """The character between cells."""
        return None if self.delimiter is None else _DELIMITERS.get(self.delimiter, self.delimiter)


def check_columns(value: object) -> None:
    """Raise MoldiffError unless an argument says which columns of a table are which, or is None."""
    if value is not None and not isinstance(value, Columns):
        raise refusal("columns", "a moldiff.chem.io.tables.Columns", value)


def refuse_columns(columns: Columns | None) -> None:
    """Raise MoldiffError if columns are named where molecules are given themselves."""
    if columns is not None:
        raise MoldiffError("columns: only a file has them, not molecules that are given themselves", argument="columns")


def columns_of(path: Path, header: Sequence[str], wanted: Columns) -> tuple[str, str | None]:
    """Return the SMILES column and the name column (None if there is none), found without regard to case.

    Without a column of one of the usual names, it is the only one that has "smiles" in its name.
    """
    lower = {column.lower(): column for column in reversed(header)}
    names = ", ".join(header)[:200]
    for name in ("smiles_column", "name_column"):
        column = getattr(wanted, name)
        if column is not None and column.strip().lower() not in lower:
            raise MoldiffError(
                f"{path} has no column '{column}'; its columns are {names}", argument="columns", word=name
            )
    other = [name for name in lower if "smiles" in name]
    usual = [name for name in SMILES_COLUMNS if name in lower] or (other if len(other) == 1 else [])
    if wanted.smiles_column is None and not usual:
        raise MoldiffError(
            f"{path} has no column 'smiles'; its columns are {names}; call the one of the molecules 'smiles'",
            word="smiles_column",
            hint=", or name it (smiles_column)",
        )
    smiles = lower[wanted.smiles_column.strip().lower() if wanted.smiles_column else usual[0]]
    if wanted.smiles_column is None and usual[0] != "smiles":
        tell_once(f"{path}: the column '{smiles}' holds the SMILES")
    if wanted.name_column is not None:
        return smiles, lower[wanted.name_column.strip().lower()]
    return smiles, next((lower[name] for name in _NAME_COLUMNS if name in lower), None)


def table_record(index: int, row: dict[str, object], smiles: str, name: str | None) -> TextRecord:
    """Return the record of a row: column -> cell, None where there is nothing."""
    tags = {column: str(value) for column, value in row.items() if column not in (smiles, name) and value is not None}
    text, title = row.get(smiles), row.get(name) if name else None
    given, called = "" if text is None else str(text).strip(), "" if title is None else str(title)
    if len(given) + len(called) + sum(map(len, tags.values())) > MAX_RECORD:
        return TextRecord(index, "smiles", called[:SHOWN], "", reason=TOO_LARGE)
    return smiles_record(index, given, called, tags)


def read_csv(path: Path, columns: Columns | None = None) -> Iterator[TextRecord]:
    """Read the rows of a text table with a column of SMILES. Its first line tells what stands between cells, by a
    "sep=;" in front of it or by itself; a row that has more cells than there are columns, or is too large, is a record
    with a reason."""
    wanted = columns or Columns()
    with open_text(path) as handle:
        lines = capped_lines(path, handle, longest=MAX_ROW)
        first = next((line for line in lines if line.strip()), "")
        above, said = list[str](), _SEPARATOR.fullmatch(first.rstrip("\r\n"))
        if said is not None:
            above, first = ["\n"], next((line for line in lines if line.strip()), "")
        cut = wanted.cut or (said[1] if said is not None else _delimiter(first, wanted.smiles_column))
        rows = QuotedRows(path, itertools.chain(above, [first], lines), cut)
        header = distinct(path, list(map(plain_cell, rows.header())))
        smiles, name = columns_of(path, header, wanted)
        rows.expect(len(header), header.index(smiles))
        for index, cells in enumerate(rows):
            if isinstance(cells, str):
                yield TextRecord(index, "smiles", "", "", reason=cells)
                continue
            row: dict[str, object] = dict(zip(header, map(plain_cell, cells), strict=False))
            record = table_record(index, row, smiles, name)
            if len(cells) > len(header) and any(cells[len(header) :]):
                record = replace(record, reason=f"row: {len(cells)} cells, where the table has {len(header)} columns")
            yield record


def _delimiter(header: str, wanted: str | None) -> str:
    """Return what stands between the cells of a line, outside of quotes: what makes one of them the SMILES column by
    name, else what cuts it into the most, a comma if nothing does."""
    names = SMILES_COLUMNS if wanted is None else (wanted.strip().lower(),)

    def worth(cut: str) -> tuple[bool, int]:
        cells = [plain_cell(cell).strip().lower() for cell in cells_of(header, cut)]
        return any(name in cells for name in names), len(cells)

    return max(",", "\t", ";", key=worth)


def add_fields(known: dict[str, None], fields: Iterable[str], path: Path) -> None:
    """Add the data fields of a record to those of the records before it; MoldiffError if they become more than a table
    has columns: each record could have others."""
    known |= dict.fromkeys(fields)
    if len(known) > MAX_COLUMNS:
        raise MoldiffError(f"{path} has records with more than {MAX_COLUMNS} different data fields")


def distinct(path: Path, header: Sequence[str]) -> list[str]:
    """Return column names without blanks around them, each once: further columns of a name are numbered, and said."""
    if len(header) > MAX_COLUMNS:
        raise MoldiffError(f"{path} has {len(header)} columns, more than {MAX_COLUMNS}")
    names: dict[str, None] = {}
    copies: Counter[str] = Counter()
    for column in map(str.strip, header):
        name = free_name(column, names, copies)
        if name != column and column and copies[column] == 1:
            tell_once(f"{path} has more than one column '{column}'; further ones are called '{name}' and so on")
        names[name] = None
    return list(names)
