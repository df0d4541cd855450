"""A text record, and the limits that stand in front of every reader: nothing that a file holds can fill the memory."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from moldiff.chem.io.encodings import foreign_character, visible
from moldiff.errors import MoldiffError

MAX_RECORD = 1_000_000  # characters
MAX_SMILES = 10_000
TOO_LARGE = f"too large: record of more than {MAX_RECORD} characters"
SHOWN = 60  # characters of a text that a reason quotes
MAX_LINE = 100 * MAX_RECORD  # beyond that a file holds no lines; what is longer than a record is cut
MAX_BLANK = 1_000_000  # lines without a word in a row
_RETURNS = re.compile(r"\r+\n")
_EXTENSION = re.compile(r"\|[^|]*\|")


@dataclass(frozen=True)
class TextRecord:
    """One record of a file, not parsed yet.

    Attributes:
        index: position in the file, from 0.
        kind: "sdf" (text is a mol block), "smiles", "xyz", or "placed" (a SMILES and, behind a blank, its coordinates,
            see `moldiff.chem.io.ordered_smiles`).
        name: title of the record, "" if it has none.
        text: what is to be parsed.
        tags: data fields by name, as written in the file.
        reason: why the record cannot be parsed, "" if it can be tried.
        note: what was done to its text before, "" for nothing.
    """

    index: int
    kind: str
    name: str
    text: str
    tags: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    note: str = ""


def capped_lines(path: Path, text: Iterable[str], longest: int = MAX_RECORD) -> Iterator[str]:
    """Yield the lines of `capped_pieces`."""
    for piece in capped_pieces(path, text, longest):
        yield from io.StringIO(piece, newline="\n")


def capped_pieces(path: Path, text: Iterable[str], longest: int = MAX_RECORD) -> Iterator[str]:
    """Yield a text in pieces of whole lines, many at once; a line that is longer than it may be is a piece of its own,
    cut just behind that length, and never kept.

    Args:
        path: named in messages.
        text: in pieces of any ends, each shorter than a record may be.
        longest: characters of a line.

    Raises:
        MoldiffError: a line of more than `MAX_LINE` characters (a file of zeros, a packed bomb), or more than
            `MAX_BLANK` blank ones in a row.
    """
    lines, rest, size = _LineCount(path), "", 0  # of the last line so far: what is kept of it, and its length
    for piece in text:
        first = piece.find("\n") + 1
        end = first or len(piece)
        if size + end > longest:
            rest, size = rest + piece[:end][: max(0, longest + 2 - len(rest))], size + end
            if size > MAX_LINE:
                raise MoldiffError(f"{path}: line {lines.number + 1} has more than {MAX_LINE} characters")
            if not first:
                continue
            yield lines.counted(rest)
            rest, piece = "", piece[first:]
        if last := piece.rfind("\n") + 1:
            yield lines.counted(rest + piece[:last])
            rest = piece[last:]
        else:
            rest += piece
        size = len(rest)
    if rest:
        yield lines.counted(rest)


class _LineCount:
    """Counts the lines of pieces, and those without a word.

    Args:
        path: named in messages.

    Attributes:
        number: of the last line, from 1.
    """

    def __init__(self, path: Path) -> None:
        self.number = 0
        self._path, self._blank = path, 0

    def counted(self, piece: str) -> str:
        """Return a piece with plain ends of lines; MoldiffError if there are more blank lines in a row than there may
        be. Those in the midst of a piece are too few, and not looked at."""
        lines = piece.count("\n") + (not piece.endswith("\n"))
        if piece.isspace():
            self._see(self._blank + lines, self.number + lines)
        else:
            first = piece[: len(piece) - len(piece.lstrip())].count("\n")
            self._see(self._blank + first, self.number + first)
            self._see(max(0, piece[len(piece.rstrip()) :].count("\n") - 1), self.number + lines)
        self.number += lines
        return _RETURNS.sub("\n", piece) if "\r" in piece else piece

    def _see(self, blank: int, last: int) -> None:
        """Take note of so many blank lines in a row, up to a line."""
        if blank > MAX_BLANK:
            told = f"more than {MAX_BLANK} blank lines in a row, up to line {last - blank + MAX_BLANK + 1}"
            raise MoldiffError(f"{self._path}: {told}")
        self._blank = blank


def smiles_record(index: int, smiles: str, name: str = "", tags: dict[str, str] | None = None) -> TextRecord:
    """Return the record of a SMILES, which may have a CXSMILES extension behind a blank. What nobody sees is taken out;
    one that is empty, too long or holds other characters has a reason."""
    if len(smiles) > MAX_SMILES:
        return TextRecord(index, "smiles", name, "", tags or {}, f"too large: SMILES of {len(smiles)} characters")
    text = visible(smiles).strip()
    reason = smiles_problem(text) if text else "empty: no SMILES"
    note = "" if reason or text == smiles.strip() else "characters that nobody sees were taken out of its SMILES"
    return TextRecord(index, "smiles", name, text, tags or {}, reason, note)


def smiles_problem(text: str) -> str:
    """Return why a text is not one SMILES from beginning to end, "" if it may be."""
    words = unread(text)
    return words and f"smiles: {words}"


def unread(text: str) -> str:
    """Return what RDKit would leave out of a SMILES or a SMARTS pattern without a word, "" if there is nothing: it
    stops at a letter that is not ASCII, and at a line break, a tab or a blank, behind which only a CXSMILES extension
    may stand."""
    words = text.split(maxsplit=1)
    if words and (letter := foreign_character(words[0])):
        return f"{letter} cannot stand in one: '{text[:SHOWN]}'"
    if len(words) < 2:
        return ""
    if len(text.strip().splitlines()) > 1:
        return "a line break stands in it"
    rest = words[1]
    if extension := _EXTENSION.match(rest):
        rest = rest[extension.end() :]
    return f"'{rest.strip()[:SHOWN]}' stands behind it" if rest.strip() else ""
