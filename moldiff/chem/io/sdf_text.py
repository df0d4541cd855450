"""The records of an SDF as text: no line of the file is lost, whatever separates its records."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from moldiff.chem.io.capped import MAX_RECORD, SHOWN, TOO_LARGE, TextRecord, capped_pieces
from moldiff.chem.io.encodings import open_text
from moldiff.errors import MoldiffError
from moldiff.foreign_text import free_name

LOOK_AHEAD = 100  # records without a mol block after which a file is no SDF
NO_NAME = "no name"  # of a tag

_END = "M  END"
_SEPARATOR = re.compile(r"\$\$\$\$.*\n?")
# of lines without blanks at their end; each letter can belong to one part only, so that time grows with length alone
_TAG = re.compile(r">(?:\s[^<]*)?<(.*)>[^<>]*")
_PLAIN_TAG = re.compile(r">\s*<[^<>]+>(?:\s*\([^()]*\))?")
_NUMBERED_TAG = re.compile(r">(?:\s+(?:(DT\d+)|\d+|FROM ARCHIVES)|\s*\([^()]*\))*")
_COUNTS = re.compile(r"^[ \d]{6}.*\bV[23]000\s*$")
_HEADER = 3  # lines of a mol block in front of its counts


def read_sdf(path: Path) -> Iterator[TextRecord]:
    """Hold records back until one has a mol block, so that a file that is no SDF gives one error and no records."""
    with open_text(path) as text:
        parts = itertools.chain.from_iterable(map(_records, _blocks(capped_pieces(path, text))))
        records = (_numbered(index, part) for index, part in enumerate(parts))
        head: list[TextRecord] = []
        for record in itertools.islice(records, LOOK_AHEAD):
            head.append(record)
            if _END in record.text:
                break
        else:
            if head:
                raise MoldiffError(f"{path} is not an SDF: no mol block in its first {len(head)} records")
        yield from head
        yield from records


def _numbered(index: int, record: TextRecord) -> TextRecord:
    return TextRecord(index, record.kind, record.name, record.text, record.tags, record.reason, record.note)


def _blocks(pieces: Iterable[str]) -> Iterator[list[str] | None]:
    """Yield the lines between one "$$$$" and the next, from pieces of whole lines; None for a record that is too long
    to keep."""
    kept, size = list[str](), 0
    for piece in pieces:
        start = 0
        for separator in _SEPARATOR.finditer(piece):
            end = separator.start()
            if end and piece[end - 1] != "\n":
                continue
            yield _lines([*kept, piece[start:end]]) if size + end - start <= MAX_RECORD else None
            kept, size, start = [], 0, separator.end()
        size += len(piece) - start
        kept = [*kept, piece[start:]] if size <= MAX_RECORD else []
    if size > MAX_RECORD:
        yield None
    elif any(map(str.strip, kept)):
        yield _lines(kept)


def _lines(pieces: Sequence[str]) -> list[str]:
    """Return lines without their ends."""
    text = "".join(pieces)
    lines = text.removesuffix("\n").split("\n") if text else []
    return [line.rstrip("\r") for line in lines] if "\r" in text else lines


def _records(lines: list[str] | None) -> Iterator[TextRecord]:
    """Yield the record of some lines, then those that follow it without a "$$$$", and what belongs to none of them."""
    if lines is None:
        yield _failure(TOO_LARGE)
        return
    start: int | None = 0
    while start is not None:
        record, strays, start = _record(lines, start)
        yield record
        if strays:
            yield _failure(f"text between records: {len(strays)} lines, the first: '{strays[0].strip()[:SHOWN]}'")


def _failure(reason: str) -> TextRecord:
    return TextRecord(0, "sdf", "", "", reason=reason)


def _record(lines: list[str], start: int) -> tuple[TextRecord, list[str], int | None]:
    """Return the record that begins at a line, lines behind it that are neither tags nor another record, and where that
    one begins, None if there is none."""
    end = _end_of_block(lines, start)
    following = _next_start(lines, end)
    stop = len(lines) if following is None else following
    tags, strays, doubled = _tags(lines[end:stop])
    note = f"tag '{doubled}' comes more than once" if doubled else ""
    name = lines[start].strip() if start < len(lines) else ""
    return TextRecord(0, "sdf", name, _block(lines[start:end]), tags, note=note), strays, following


def _end_of_block(lines: list[str], start: int) -> int:
    """Return the line behind a mol block that begins at a line; of one without an end, the number of lines."""
    return next((k + 1 for k in range(start, len(lines)) if lines[k].startswith(_END)), len(lines))


def _next_start(lines: list[str], end: int) -> int | None:
    """Return where another mol block begins, by its line of counts; one that is quoted in a tag is none."""
    in_tag = False
    for k in range(end, len(lines)):
        if k - _HEADER >= end and _COUNTS.match(lines[k]) and not in_tag:
            return k - _HEADER
        # the header of a quoted block is part of the tag's value, up to its blank line
        in_tag = bool(_tag_name(lines[k])) or (in_tag and (bool(lines[k].strip()) or _is_quoted(lines, k)))
    return None


def _is_quoted(lines: list[str], blank: int) -> bool:
    """Return whether a blank line is the third of a mol block whose first ones stand in a tag's value."""
    return blank + 1 < len(lines) and bool(_COUNTS.match(lines[blank + 1])) and bool(lines[blank - 2].strip())


def _block(lines: list[str]) -> str:
    """Return a mol block without the blank lines that some editors leave between its atoms, its bonds and its end."""
    counts = next((k for k, line in enumerate(lines) if _COUNTS.match(line)), len(lines))
    body = lines[counts:]
    if not all(map(str.strip, body)):
        lines = [*lines[:counts], *(line for line in body if line.strip())]
    return "\n".join(lines) + "\n"


def _tag_name(line: str) -> str:
    """Return the name of a tag's header, "" if the line is none."""
    if not line.startswith(">"):
        return ""
    line = line.rstrip()
    if found := _TAG.fullmatch(line):
        return found.group(1).strip() or NO_NAME
    if line == ">":
        return NO_NAME
    numbered = _NUMBERED_TAG.fullmatch(line)
    return "" if numbered is None else numbered.group(1) or ""


def _tags(lines: list[str]) -> tuple[dict[str, str], list[str], str]:
    """Return the tags, the lines that belong to none, and the name of one that comes more than once."""
    values: dict[str, list[str]] = {}
    strays, copies = list[str](), Counter[str]()
    name, doubled = "", ""
    for k, line in enumerate(lines):
        # some programs leave out the blank line behind a value, also of one that is empty; but ">", or "> 10 <uM>", is
        # then part of the value
        header = _tag_name(line) if not name or _is_plain_tag(line) else ""
        if header:
            doubled = header if header in values else doubled
            name = free_name(header, values, copies)
            values[name] = []
        elif name and (line.strip() or _is_quoted(lines, k)):
            values[name].append(line[1:] if protected(line[1:]) == line else line)
        elif line.strip():
            strays.append(line)
        else:
            name = ""
    return {name: "\n".join(value) for name, value in values.items()}, strays, doubled


def protected(line: str) -> str:
    """Return the line of a tag's value as it is written: one that is plainly the header of a tag has a blank in front,
    which reading takes off again; other readers see it."""
    return f" {line}" if _is_plain_tag(line) else line


def _is_plain_tag(line: str) -> bool:
    """Return whether a line can hardly be anything but the header of a tag."""
    return line.startswith(">") and _PLAIN_TAG.fullmatch(line.rstrip()) is not None
