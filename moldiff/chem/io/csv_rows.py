"""Rows of a text table with quotes. No line is lost in a cell: a quote that nobody meant is a letter."""

from __future__ import annotations

import contextlib
import csv
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from moldiff.chem.io.capped import MAX_RECORD, TOO_LARGE
from moldiff.chem.io.encodings import tell_once

MAX_ROW = 4 * MAX_RECORD  # characters: a record, all its quotes doubled, and columns of our own beside it

_LIMIT = threading.RLock()
_CLOSED_WITHIN = "expected after"  # what Python says of a closing quote that has letters behind it
_NOT_CLOSED = "unexpected end"  # and of one that is missing
_SMILES = re.compile(r"(?:\[[^\[\]\s]+\]|Br|Cl|[BCNOPSFIbcnops*]|[-=#$:/\\.~()]|%?\d)+")  # by its letters alone


class QuotedRows:
    """The rows of a text table that are not empty, as cells, or why one cannot be read.

    A cell in quotes may go over several lines. But a quote at the start of a cell may also be a letter ("5 inch pipe),
    and then takes in all lines up to the next quote. It is a letter where a cell has no end, or where whole rows stand
    in it; its line is then read by itself, and so are those that it took in.

    Args:
        path: named in messages.
        lines: of the table, each of at most `MAX_ROW` and some characters.
        cut: the character between cells.
    """

    def __init__(self, path: Path, lines: Iterator[str], cut: str) -> None:
        self._path, self._cut = path, cut
        self._lines = _Lines(lines)
        self._reader = csv.reader(self._lines, delimiter=cut, strict=True)
        self._width, self._smiles = 0, 0
        self._said = False
        self._rows = self._read()

    def header(self) -> list[str]:
        """Return the first row."""
        found = next(self._rows, [])
        return [] if isinstance(found, str) else found

    def expect(self, width: int, smiles: int) -> None:
        """Say how many cells a row has, and which of them is a SMILES."""
        self._width, self._smiles = width, smiles

    def __iter__(self) -> Iterator[list[str] | str]:
        return self._rows

    def _read(self) -> Iterator[list[str] | str]:
        while True:
            self._lines.begin()
            try:
                with _cells_of_any_length():
                    found: Iterable[list[str] | str] = [next(self._reader)]
                if len(self._lines.taken) > 1 and self._holds_rows():
                    found = self._apart()
            except StopIteration:
                return
            except csv.Error as error:
                found = self._mended(error)
            yield from filter(None, found)

    def _holds_rows(self) -> bool:
        """Return whether the lines of a row that goes over several look as if each were one: by the cells of the first
        and of another, and by the letters of their SMILES."""
        opening, *rest = self._lines.taken
        first, *others = map(self._alone, [opening.removeprefix('"'), *rest])
        return self._is_row(first) and any(map(self._is_row, others))

    def _is_row(self, cells: Sequence[str]) -> bool:
        return len(cells) == self._width and bool(_SMILES.fullmatch(cells[self._smiles].strip()))

    def _mended(self, error: csv.Error) -> Iterable[list[str] | str]:
        """Return what is read where a row is none by the rules of quotes."""
        lines = self._lines.taken
        if isinstance(error, _TooLarge) and len(lines) == 1:
            return [TOO_LARGE]
        if isinstance(error, _TooLarge) or _NOT_CLOSED in str(error):
            return self._apart()
        if _CLOSED_WITHIN not in str(error):
            self._lines.give_back(lines[1:])
            return [f"row: {error}"]
        holds_rows = any(len(self._alone(line)) == self._width for line in lines[1:])
        cells = None if holds_rows else self._lenient(lines)
        return self._apart() if cells is None else [cells]

    def _lenient(self, lines: Sequence[str]) -> list[str] | None:
        """Return the one row of some lines by the rules of programs that know no errors; None if they are none."""
        reader = csv.reader([f"{_bare(line)}\n" for line in lines], delimiter=self._cut)
        with _cells_of_any_length():
            cells = next(reader)
        return None if reader.line_num < len(lines) or _is_open(cells) else cells

    def _apart(self) -> Iterator[list[str]]:
        """Return the rows of lines that were taken for one. The last is given back: a cell may begin in it."""
        lines = self._lines.taken
        if not self._said:
            self._said = True
            tell_once(
                f"{self._path}, line {self._lines.first}: a quote opens a cell that would take in the rows behind it; "
                "it is read as a letter, as are further such quotes"
            )
        if len(lines) > 1:
            self._lines.give_back(lines[-1:])
            lines = lines[:-1]
        return map(self._alone, lines)

    def _alone(self, line: str) -> list[str]:
        """Return the cells of a line that is a row by itself; a quote that it does not close is a letter."""
        cells = cells_of(line, self._cut)
        if not _is_open(cells):
            return cells
        with _cells_of_any_length():
            plain = next(csv.reader([_bare(line)], delimiter=self._cut, quoting=csv.QUOTE_NONE), [])
        return plain if len(plain) == self._width else [*cells[:-1], f'"{cells[-1][:-1]}']


def cells_of(line: str, cut: str) -> list[str]:
    """Return the cells of a line; the last ends with an end of line if its quote is not closed."""
    with _cells_of_any_length():
        return next(csv.reader([f"{_bare(line)}\n"], delimiter=cut), [])


@contextlib.contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """Lift the limit of Python's reader, which is that of the whole process, for a moment; lines have one of their
    own."""
    with _LIMIT:  # or of two threads the second would leave what the first has set
        before = csv.field_size_limit(2 * MAX_ROW)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _bare(line: str) -> str:
    """Return a line without its end; another within it, which no row may have, is a blank."""
    return line.rstrip("\r\n").replace("\r", " ")


def _is_open(cells: Sequence[str]) -> bool:
    """Return whether the last of the cells of lines with ends of lines goes on behind them."""
    return bool(cells) and cells[-1].endswith("\n")


class _TooLarge(csv.Error):
    """A row has more than `MAX_ROW` characters."""


class _Lines:
    """Lines for a reader of rows, which takes them one by one.

    Attributes:
        taken: lines of the row so far.
        first: number of the first of them, from 1.
    """

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._again = lines, deque[str]()
        self.taken: list[str] = []
        self.first, self._used = 1, 0

    def begin(self) -> None:
        """Begin a row."""
        self.first += len(self.taken)
        self.taken, self._used = [], 0

    def give_back(self, lines: Sequence[str]) -> None:
        """Take back the last lines of a row, which come again."""
        self._again.extendleft(reversed(lines))
        self.first -= len(lines)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        self._used += len(line)
        if self._used > MAX_ROW:
            raise _TooLarge
        return line
