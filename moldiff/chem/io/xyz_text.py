"""The frames of an .xyz as text: no line of the file is lost, whatever a frame says of its own length."""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator

from moldiff.chem.io.capped import MAX_RECORD, SHOWN

_COUNT = re.compile(r"\s*\d{1,9}\s*", re.ASCII)
_ATOM = re.compile(r"\s*\w+(?:\s+[-+]?\.?\d\S*){3}", re.ASCII)  # label and coordinates
TOO_LARGE = f"too large: more than {MAX_RECORD} characters, or empty"
QM9_TAGS = ("a", "b", "c", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "u0", "u", "h", "g", "cv")
_QM9_REST = 3  # lines behind the atoms of a frame of QM9: frequencies, SMILES and InChI


def is_qm9(comment: str) -> bool:
    """Return whether the comment of a frame is one of QM9: "gdb", a number, and 15 properties."""
    words = comment.split()
    return len(words) == len(QM9_TAGS) + 2 and words[0] == "gdb"


def has_qm9_rest(comment: str) -> bool:
    """Return whether lines behind the atoms may be those of a frame of QM9, whose comment may have been altered."""
    return comment.split()[:1] == ["gdb"]


def frames(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the text of each frame and "", or "" and why there is none.

    A frame that states too many atoms, or too few, ends where the next one begins for certain: at a lone count with a
    comment and an atom behind it, which nobody writes among atoms. Other lines that belong to no frame are a record.
    """
    ahead = _Ahead(lines)
    for line in ahead:
        if _COUNT.fullmatch(line):
            yield _frame(line, ahead)
        elif line.strip():
            yield "", _strays(line, ahead)


class _Ahead:
    """Lines, of which the next ones can be looked at."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines, self._seen = iter(lines), deque[str]()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return self._seen.popleft() if self._seen else next(self._lines)

    def begins_frame(self) -> bool:
        """Return whether a frame begins with the next line for certain."""
        if not (first := self._look(1)) or not _COUNT.fullmatch(first[0]):
            return False
        following = self._look(3)[1:]
        if len(following) < 2 or not _ATOM.match(following[1]):
            return False
        return has_qm9_rest(following[0]) or not _ATOM.match(following[0])

    def before_frame(self) -> Iterator[str]:
        """Yield the next lines, up to where a frame begins for certain."""
        while not self.begins_frame() and (line := next(self, "")):
            yield line

    def _look(self, number: int) -> list[str]:
        """Return the next lines, as many as there are."""
        self._seen.extend(itertools.islice(self._lines, max(0, number - len(self._seen))))
        return list(itertools.islice(self._seen, number))


def _frame(first: str, lines: _Ahead) -> tuple[str, str]:
    """Return the frame that begins with a count, and its problem; of one that is too long, nothing is kept."""
    kept, size = [first], len(first)
    for number in range(int(first) + 1):
        if number and lines.begins_frame():
            break
        line = next(lines, "")
        size += len(line)
        if not line:
            break
        if size <= MAX_RECORD:
            kept.append(line)
    if len(kept) > 1 and has_qm9_rest(kept[1]):
        kept += itertools.islice(lines.before_frame(), _QM9_REST)
    text = "".join(kept)
    return (text, "") if max(size, len(text)) <= MAX_RECORD else ("", TOO_LARGE)


def _strays(first: str, lines: _Ahead) -> str:
    """Return what lines that belong to no frame are called, and read them up to the next frame."""
    number = 1 + sum(bool(line.strip()) for line in lines.before_frame())
    return f"xyz: text between frames: {number} lines, the first: '{first.strip()[:SHOWN]}'"
