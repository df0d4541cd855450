"""Text out of other people's files: numbers in it, and its way into a spreadsheet or onto a terminal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container
from typing import TypeVar

Cell = TypeVar("Cell")

_FORMULA = re.compile(r"'*(?!'|[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$)[=+\-@\t\r＝＋－＠]", re.IGNORECASE)
_FIRST = frozenset("'=+-@＝＋－＠")  # letters that the text of a formula may begin with, of those that can be seen
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def safe_cell(value: Cell) -> Cell | str:
    """Return what to write into a cell of a CSV.

    Spreadsheets take a text that begins with = + - @ for a formula, which may read files or send data away. Such a text
    gets an apostrophe in front, which says that it is a text; `plain_cell` takes it off again. A plain number stays as
    it is. Control characters, which could only garble what shows the table, become question marks.
    """
    if not isinstance(value, str):
        return value
    if value.isprintable() and value[:1] not in _FIRST:
        return value
    text = _CONTROL.sub("?", value)
    return f"'{text}" if _FORMULA.match(text) else text


def plain_cell(text: str) -> str:
    """Return the text that `safe_cell` made a cell of."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def readable(name: str) -> str:
    """Return the name of a file with a "?" for each of its bytes that is no text, as files can hold it."""
    return name.encode("utf-8", errors="replace").decode("utf-8")


def number_in(text: str) -> float:
    """Return the number that a text is; ValueError if it is none. Python's own reading also takes 2024_01 and digits of
    other scripts, which nobody else means as numbers."""
    plain = text.strip()
    if "_" in plain or not plain.isascii():
        raise ValueError(f"'{plain}' is no number")
    return float(plain)


def printable(text: str) -> str:
    """Return a text for a terminal: what could move its cursor, change its colours or title, or turn the direction of
    writing becomes a question mark; line breaks and tabs stay."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)


def for_pictures(text: str) -> str:
    """Return a text that Matplotlib writes as it stands: what is between two dollar signs would be a formula, and an
    error if it is none."""
    return printable(text).replace("$", r"\$")


def free_name(name: str, taken: Container[str], copies: Counter[str]) -> str:
    """Return a name that is not taken: itself, or numbered from 2 on.

    Args:
        name: that is wanted.
        taken: those that there are.
        copies: how often each was there before, counted here: a name that comes a hundred thousand times is not
            numbered from 2 on each time.
    """
    found = name
    while found in taken:
        copies[name] += 1
        found = f"{name} ({copies[name] + 1})"
    return found
