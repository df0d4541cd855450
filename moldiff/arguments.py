"""Values as users write them, such as ``15..22`` or ``C,N,O``: one grammar for the command line and for Python.

The parsers read a text. The other functions take an argument of a Python function as it came, a text or a value. All
raise MoldiffError in one line that names the option or argument.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ParamSpec, TypeGuard, TypeVar

from moldiff.errors import MoldiffError, blaming, nearest_name
from moldiff.path_names import written_out

Choice = TypeVar("Choice", bound=StrEnum)
P = ParamSpec("P")
R = TypeVar("R")

_RANGE = re.compile(r"(\d{1,6})(?:\.\.(\d{1,6}))?", flags=re.ASCII)
_NAMES = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"\s*(?=,|$)|(?P<plain>[^,]*))(?:,|$)')
LONGEST_S = 366 * 86_400.0  # a year
LEAST_MIB, MOST_MIB = 256, 1 << 32
MOST_SEED = (1 << 64) - 1
# Counts, wherever they come from: far above sense, far below what a machine would choke on before it says so.
MOST_COUNT = 10**9
MOST_EVALUATIONS = 10**6
MOST_OF = {
    "evaluations": MOST_EVALUATIONS,
    "batch_size": 10**6,
    "requested": 10**7,
    "shard_size": 10**6,
    "workers": 4096,
}
_MOST_SHOWN = 60  # letters of a value in a message
_MOST_BITS = 200  # of a whole number in a message: Python writes none of thousands of digits


def parse_range(text: str, name: str) -> tuple[int, int]:
    """Return (first, last) of ``18`` or ``15..22``, both at least 1; MoldiffError names the argument."""
    match = _RANGE.fullmatch(text.strip())
    if match:
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if 1 <= first <= last:
            return first, last
    raise MoldiffError(
        f"{name} {text}: expected a number such as 18 or a range such as 15..22, from 1 up", argument=name
    )


@dataclass(frozen=True)
class Part:
    """One of several parts of a whole, counted from 1."""

    index: int = 1
    count: int = 1

    def has(self, number: int) -> bool:
        """Return whether something numbered belongs to the part, if each has every ``count``-th."""
        return number % self.count == self.index - 1

    def span(self, total: int, first: int = 0) -> range:
        """Return the numbers that belong to the part of so many from one on, if each has those that follow each
        other."""
        return range(first + total * (self.index - 1) // self.count, first + total * self.index // self.count)


WHOLE = Part()


def parse_part(text: str) -> Part:
    """Read ``2/8``: the second of eight parts; MoldiffError if it is none."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, flags=re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise MoldiffError(f"shard '{text}': expected a part such as 2/8, from 1/8 to 8/8", argument="shard")
    return Part(int(match[1]), int(match[2]))


def split_names(names: str) -> list[str]:
    """Return the names of a list with commas. A name in double quotes may hold commas; two of them in it are one."""
    found = (
        match["plain"] if match["quoted"] is None else match["quoted"].replace('""', '"')
        for match in _NAMES.finditer(names)
    )
    return [name.strip() for name in found if name.strip()]


def refusal(name: str, expected: str, value: object) -> MoldiffError:
    """Return the error that an argument is not what was expected."""
    return MoldiffError(f"{name} must be {expected}, not {shown(value)}", argument=name)


def shown(value: object) -> str:
    """Return a value as messages have it: in one short line."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"one of {value.bit_length()} bits"
    try:
        return " ".join(repr(value).split())[:_MOST_SHOWN]
    except Exception:  # noqa: BLE001 - of a foreign class, or a list of such numbers
        return f"one of type {type(value).__name__}"


def with_plain_numbers(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function of users that has numbers of NumPy as Python's, arrays without dimensions too: files, RDKit and
    workers know no others."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})  # type: ignore[arg-type]

    return called


def _plain(value: object) -> object:
    if isinstance(value, Iterable) and getattr(value, "ndim", None) == 0:  # of an array, which is not iterable at all
        value = value.item()  # type: ignore[attr-defined]
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else value


def whole_number(value: object, name: str) -> int:
    """Return an argument that is a whole number, of Python or NumPy; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise refusal(name, "a whole number", value)
    return int(value)


def count(value: object, name: str, least: int = 1) -> int:
    """Return an argument that is a number of things, no fewer than ``least`` and no more than `MOST_OF` its name, or
    else `MOST_COUNT`."""
    found = whole_number(value, name)
    if found < least:
        raise refusal(name, f"at least {least}", found)
    if found > (most := MOST_OF.get(name, MOST_COUNT)):
        raise refusal(name, f"at most {most}", found)
    return found


def seed_number(value: object) -> int:
    """Return a seed: a whole number from 0 to 2^64 - 1."""
    if not 0 <= (found := whole_number(value, "seed")) <= MOST_SEED:
        raise refusal("seed", "in 0 .. 2^64 - 1", found)
    return found


def number(value: object, name: str) -> float:
    """Return an argument that is a number, of Python or NumPy; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise refusal(name, "a number", value)
    try:
        return float(value)
    except OverflowError:
        raise MoldiffError(f"{name} is too large a number", argument=name) from None


def seconds(value: object, name: str = "timeout_s", least: float = 0.0) -> float:
    """Return an argument that is a time limit: above zero, and no longer than clocks and timers of processes count."""
    found = number(value, name)
    if not least <= found <= LONGEST_S or not found:
        low = f"at least {least:g}" if least else "more than 0"
        raise MoldiffError(f"{name} must be {low} and at most {LONGEST_S:.0f} seconds, not {found:g}", argument=name)
    return found


def mebibytes(value: object, name: str = "memory_mb") -> int:
    """Return an argument that is a limit of memory in MiB: enough for a process to start, no more than there can be."""
    if not LEAST_MIB <= (found := whole_number(value, name)) <= MOST_MIB:
        raise refusal(name, f"in {LEAST_MIB} .. {MOST_MIB} MiB", found)
    return found


def check_flag(value: object, name: str) -> None:
    """Raise MoldiffError unless an argument is True or False."""
    if not isinstance(value, bool):
        raise refusal(name, "True or False", value)


def check_flags(flags: Mapping[str, object]) -> None:
    """Do `check_flag` for arguments by their names."""
    for name, value in flags.items():
        check_flag(value, name)


def check_function(value: object, name: str) -> None:
    """Raise MoldiffError unless an argument is a function, or None."""
    if value is not None and not callable(value):
        raise refusal(name, "a function", value)


def check_text(value: object, name: str) -> None:
    """Raise MoldiffError unless an argument is a text."""
    if not isinstance(value, str):
        raise refusal(name, "a text", value)


def check_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise MoldiffError, with the nearest known name, unless a name of this kind is known."""
    names = list(known)
    if name not in names:
        hint = nearest_name(name, names)
        raise MoldiffError(f"unknown {kind} '{name}'{hint}; known are {', '.join(names)}")


def choice(value: object, kind: type[Choice], name: str) -> Choice:
    """Return the member of a StrEnum that an argument names; MoldiffError, with the nearest name, if there is none."""
    if not isinstance(value, str):
        raise refusal(name, "a text", value)
    try:
        check_known(name, value, kind)
    except MoldiffError as error:
        raise MoldiffError(str(error), argument=name) from None
    return kind(value)


def size_range(value: object, name: str) -> tuple[int, int] | None:
    """Return the inclusive range of a number, a pair of numbers or a text such as "15..22"; None stays None."""
    if value is None:
        return None
    if isinstance(value, str):
        return parse_range(value, name)
    expected = 'a whole number, a pair of them or a text such as "15..22"'
    ends = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(ends) != 2 or any(isinstance(end, bool) or not isinstance(end, Integral) for end in ends):
        raise refusal(name, expected, value)
    return int(ends[0]), int(ends[1])


def path_text(value: object, name: str) -> str:
    """Return an argument that is a path, or a text that is one, as a text: "./qm9" stays what it is, a folder, where
    "qm9" is the name of a model."""
    if not isinstance(value, str | os.PathLike) or not str(value) or not isinstance(found := os.fspath(value), str):
        raise refusal(name, "a path or a text", value)
    return found


def path(value: object, name: str) -> Path:
    """Return an argument that is a path, or a text that is one, which a shell need not read (see `written_out`)."""
    with blaming(name):
        return written_out(Path(path_text(value, name)))


def name_list(value: object, name: str) -> tuple[str, ...]:
    """Return the names of a list, or of a text with commas."""
    return tuple(split_names(value)) if isinstance(value, str) else texts(value, name)


def repeated(names: Sequence[str]) -> str | None:
    """Return the first name that stood before it too; None = each stands once."""
    return next((name for place, name in enumerate(names) if name in names[:place]), None)


def paths(value: object, name: str) -> tuple[Path, ...]:
    """Return the paths of a list of paths and texts; a single one is a list of one."""
    if isinstance(value, str | os.PathLike):
        return (path(value, name),)
    if not _is_list(value):
        raise refusal(name, "a path or a list of paths", value)
    return tuple(path(item, name) for item in value)


def texts(value: object, name: str) -> tuple[str, ...]:
    """Return the texts of a list; a single text is a list of one."""
    if isinstance(value, str):
        return (value,)
    found = tuple(value) if _is_list(value) else ()
    if not _is_list(value) or not all(isinstance(item, str) for item in found):
        raise refusal(name, "a text or a list of texts", value)
    return found


def _is_list(value: object) -> TypeGuard[Iterable[Any]]:
    """Return whether a value holds items: not the keys of a mapping, the columns of a table or the numbers of bytes."""
    is_table = isinstance(value, Mapping | bytes | bytearray) or hasattr(value, "columns")
    return isinstance(value, Iterable) and not is_table
