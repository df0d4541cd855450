"""A text record, and the limits that stand in front of every reader: nothing that a file holds can fill the memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from moldiff.chem.io.encodings import foreign_character, visible
from moldiff.errors import MoldiffError

MAX_RECORD = 1_000_000  # characters
MAX_SMILES = 10_000
SHOWN = 60  # characters of a text that a reason quotes
MAX_LINE = 100 * MAX_RECORD  # beyond that a file holds no lines; what is longer than a record is cut
MAX_BLANK = 1_000_000  # lines without a word in a row


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


def capped_lines(path: Path, handle: io.TextIOBase) -> Iterator[str]:
    """Yield lines; what is longer than a record may be is cut just behind that length, and never kept.

    Raises:
        MoldiffError: a line of more than `MAX_LINE` characters (a file of zeros, a packed bomb), or more than
            `MAX_BLANK` blank ones in a row.
    """
    number = blank = 0
    while line := handle.readline(MAX_RECORD + 2):
        number, size, rest = number + 1, len(line), line
        blank = blank + 1 if line.isspace() else 0
        if blank > MAX_BLANK:
            raise MoldiffError(f"{path}: more than {MAX_BLANK} blank lines in a row, up to line {number}")
        while size > MAX_RECORD and not rest.endswith("\n") and rest:
            rest = handle.readline(MAX_RECORD)
            size += len(rest)
            if size > MAX_LINE:
                raise MoldiffError(f"{path}: line {number} has more than {MAX_LINE} characters")
        yield line.rstrip("\r\n") + "\n" if line.endswith("\r\n") else line


def smiles_record(index: int, smiles: str, name: str, tags: dict[str, str]) -> TextRecord:
    """Return the record of a SMILES, which may have a CXSMILES extension behind a blank. What nobody sees is taken out;
    one that is empty, too long or holds other characters has a reason."""
    if len(smiles) > MAX_SMILES:
        return TextRecord(index, "smiles", name, "", tags, f"too large: SMILES of {len(smiles)} characters")
    text = visible(smiles).strip()
    reason = "" if text else "empty: no SMILES"
    if letter := foreign_character(text.partition(" ")[0]):
        reason = f"smiles: {letter} cannot stand in one: '{text[:SHOWN]}'"
    note = "" if reason or text == smiles.strip() else "characters that nobody sees were taken out of its SMILES"
    return TextRecord(index, "smiles", name, text, tags, reason, note)
