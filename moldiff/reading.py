"""Files that anybody may have written, read whole: of a regular kind, of a size that fits; JSON without traps.

A pipe or a device may never begin or never end, and a sparse file costs nothing on a disk: every file that is read
whole goes through `read_whole`, every JSON through `parse_json`. Molecule files are read in pieces, which have limits
of their own (`moldiff.chem.io.capped`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

from moldiff.errors import MoldiffError
from moldiff.path_names import written_out

MOST_JSON = 1 << 28  # bytes
_MOST_DIGITS = 300  # of a whole number: floats end there


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file; a pipe or a device is refused at once, as reading it may never end.

    Raises:
        MoldiffError: it is another kind of file, or its path begins with ~.
        OSError: it cannot be opened.
    """
    handle = open(written_out(path), "rb", opener=_without_waiting)  # noqa: SIM115 - the caller's
    if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
        handle.close()
        raise MoldiffError(f"{path} is not a regular file")
    return handle


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; of a pipe, that would wait for somebody who writes into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def check_regular(path: Path) -> None:
    """Raise MoldiffError unless a path is that of a regular file that can be opened, for readers that open it
    themselves."""
    try:
        open_regular(path).close()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_whole(path: Path, most: int) -> bytes:
    """Return the bytes of a file.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        MoldiffError: it cannot be read, is no regular file, or too large.
    """
    try:
        with open_regular(path) as handle:
            size = os.fstat(handle.fileno()).st_size
            data = b"" if size > most else handle.read(size)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise _unreadable(path, error) from error
    if size > most:
        raise MoldiffError(f"{path} is larger than the {most} bytes allowed")
    return data


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a regular file's bytes; MoldiffError if it cannot be read."""
    try:
        with open_regular(path) as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> MoldiffError:
    return MoldiffError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}")


def read_json(path: Path, *, halves: bool = False) -> Any:
    """Read a JSON file; MoldiffError names the file when it cannot be read or is not JSON."""
    return parse_json(read_whole(path, MOST_JSON), str(path), halves=halves)


def parse_json(data: bytes | str, source: str, *, halves: bool = False) -> Any:
    """Parse JSON in UTF-8; what only Python takes for JSON (NaN, halves of characters) is refused.

    Args:
        data: the text.
        source: names it in messages.
        halves: take halves of characters, of which names of files may consist.

    Raises:
        MoldiffError: it is no JSON, or nested too deep; the message names ``source``.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_whole)
        # an escape that may be half a character, which no file could be written with
        if not halves and "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise MoldiffError(f"{source} is not valid JSON ({str(error)[:100]})") from error
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _too_large(text)


def _whole(text: str) -> int:
    return int(text) if len(text) <= _MOST_DIGITS else _too_large(text)


def _too_large(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is too large a number")
