"""The journal of long work: what is done so far, a line for each result, beside the output until that is whole.

A killed run leaves it, and a run of the same request goes on from its last whole line. A line holds a checksum, so that
what a kill or a crash of the machine cut short is told from what is whole.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import time
import zlib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from moldiff.errors import MoldiffError
from moldiff.files import claimed, sync_folder
from moldiff.reading import MOST_JSON, open_regular

logger = logging.getLogger(__name__)

FORMAT, FORMAT_VERSION = "moldiff-unfinished", 2
_SYNC_S = 5.0  # what a crash of the machine costs at most; a kill costs nothing


def journal_path(out: Path) -> Path:
    """Return where the journal of an output stands."""
    return out.with_name(f"{out.name}.unfinished")


@dataclass(frozen=True)
class Found:
    """A journal that an earlier run left.

    Attributes:
        version: of its format.
        request: what it was asked for.
        ends: place in the file after its first line and after each entry.
    """

    version: int
    request: Mapping[str, Any]
    ends: array[int]

    @property
    def count(self) -> int:
        """Its entries."""
        return len(self.ends) - 1


def find_journal(out: Path) -> Found | None:
    """Return what an earlier run left of an output; None if it left no result.

    Raises:
        MoldiffError: the file is none of ours, or cannot be read.
    """
    path = journal_path(out)
    try:
        with open_regular(path) as handle:
            head = handle.readline(MOST_JSON)
            if not head.endswith(b"\n"):
                return None  # killed while it began
            header = _value(head)
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise MoldiffError(f"{path} is in the way: it is no journal of moldiff")
            ends = array("q", [len(head)])
            while (line := handle.readline(MOST_JSON)) and _is_whole(line):
                ends.append(ends[-1] + len(line))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MoldiffError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(ends) == 1:
        return None
    if not header.keys() >= {"version", "request"}:
        raise MoldiffError(f"{path} is damaged: it does not say what was asked for")
    return Found(header["version"], header["request"], ends)


def is_unfinished(out: Path) -> bool:
    """Return whether an earlier run left results of an output: what stands under its names may be a part of it."""
    return find_journal(out) is not None


def refuse_unfinished(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise MoldiffError if an earlier run left results that this one would throw away unasked, or a living one writes
    them.

    Args:
        out: the output.
        resume: they are wanted.
        overwrite: they may be thrown away.
    """
    if not os.path.exists(journal_path(out)):  # unlike Path.exists, not surprised by a name that is too long
        return
    with claimed(out):
        found = find_journal(out)
    if found is not None and not resume and not overwrite:
        _refuse(out, found)


def _refuse(out: Path, found: Found) -> NoReturn:
    raise MoldiffError(
        f"{journal_path(out)} holds {found.count} results of a run that was cut short; pass resume to go on from "
        "there, or overwrite to begin anew",
        argument="resume",
    )


class Journal:
    """Results of a run so far; made by `journal_of`.

    Args:
        path: of the file.
        request: of the run.
        found: what an earlier run of the same request left.

    Attributes:
        earlier: entries of the earlier run.
    """

    def __init__(self, path: Path, request: Mapping[str, Any], found: Found | None) -> None:
        self._path, self._request = path, request
        self._handle: IO[bytes] | None = None
        self._synced = time.monotonic()
        self._ends = array("q") if found is None else found.ends
        self.earlier = self.count

    @property
    def count(self) -> int:
        """All entries."""
        return max(len(self._ends) - 1, 0)

    @property
    def seconds(self) -> float:
        """Time that had been worked for at the last entry."""
        return next((seconds for seconds, _ in self._lines(self.count - 1)), 0.0)

    def keep(self, count: int) -> None:
        """Forget the entries of the earlier run after the first ``count``."""
        del self._ends[count + 1 if count else 0 :]
        self.earlier = count

    def entries(self) -> Iterator[Any]:
        """Yield the entries that are there now."""
        return (entry for _, entry in self._lines(0))

    def add(self, entry: object, seconds: float) -> None:
        """Write down one more result.

        Args:
            entry: plain JSON types.
            seconds: that the run has worked for.
        """
        try:
            handle = self._handle or self._opened()
            self._ends.append(self._ends[-1] + handle.write(_line([round(seconds, 3), entry])))
            handle.flush()
            if time.monotonic() - self._synced > _SYNC_S:
                os.fsync(handle.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise MoldiffError(f"{self._path} could not be written: {error.strerror or error}") from error

    def remove(self) -> None:
        """Remove the journal of a run that has ended."""
        self.close()
        del self._ends[:]
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the journal to a later run."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                self._handle.close()
            self._handle = None

    def _opened(self) -> IO[bytes]:
        if self._ends:
            handle: IO[bytes] = open(self._path, "r+b")  # noqa: SIM115 - closed by `close`
            handle.truncate(self._ends[-1])
            handle.seek(0, os.SEEK_END)
        else:
            handle = open(self._path, "wb")  # noqa: SIM115 - the same
            header = {"format": FORMAT, "version": FORMAT_VERSION, "request": self._request}
            self._ends.append(handle.write(_line(header)))
        self._handle = handle  # without a lock: the output is claimed, and lines are read by name
        sync_folder(self._path.parent)
        return handle

    def _lines(self, first: int) -> Iterator[tuple[float, Any]]:
        """Yield time and entry of each line, from one on."""
        if not 0 <= first < (count := self.count):
            return
        with open(self._path, "rb") as handle:
            handle.seek(self._ends[first])
            for _ in range(first, count):
                seconds, entry = _value(handle.readline())
                yield seconds, entry


@contextlib.contextmanager
def journal_of(out: Path, request: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Iterator[Journal]:
    """Give the journal of an output that is `claimed`. `Journal.remove` it once the output is whole; else it stays.

    Args:
        out: the output.
        request: what the results follow from, plain JSON types; only a run of the same goes on.
        resume: go on with what an earlier run left.
        overwrite: throw away what an earlier run of another request left.

    Raises:
        MoldiffError: an earlier run left results of another request. Others that pass through, and errors of the system
            such as a full disk, say where results are.
    """
    request = json.loads(json.dumps(request, default=_plain))  # as it is read again
    found = find_journal(out)
    if found is not None and not resume:
        if not overwrite:
            _refuse(out, found)
        logger.warning("%s: %d results of a run that was cut short are thrown away", journal_path(out), found.count)
        found = None
    elif found is not None and (told := _differences(found, request)):
        if not overwrite:
            raise MoldiffError(
                f"{journal_path(out)} holds {found.count} results of another run ({told}); resume it as it was begun, "
                "or overwrite them",
                argument="resume",
            )
        found = None
    if found is None:
        journal_path(out).unlink(missing_ok=True)
    journal = Journal(journal_path(out), request, found)
    try:
        yield journal
    except MoldiffError as error:
        if not journal.count:
            raise
        raise MoldiffError(f"{error}; {_kept(out)}", argument=error.argument) from error
    except OSError as error:
        if not journal.count or isinstance(error, BrokenPipeError):  # of whoever listens to the run's progress
            raise
        is_ours = error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT)
        told = f"{error.filename or out}{' could not be written' * is_ours}: {error.strerror or error}"
        raise MoldiffError(f"{told}; {_kept(out)}") from error
    finally:
        journal.close()


def _kept(out: Path) -> str:
    return f"what was made is kept in {journal_path(out)}, resume=True goes on from there"


def _differences(found: Found, request: Mapping[str, Any]) -> str:
    """Return why a journal is none that a request goes on from; "" if it is one."""
    if found.version != FORMAT_VERSION:
        return f"journal of version {found.version}, now {FORMAT_VERSION}"
    return differences(found.request, request)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], most: int = 3) -> str:
    """Return in what two requests differ, such as "seed 0, now 1"; "" if in nothing."""
    told = []
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            told.append(differences(old, new, most))
        else:
            told.append(f"{name} {_short(old)}, now {_short(new)}")
    return "; ".join(told[:most]) + ("; ..." if len(told) > most else "")


def _short(value: object) -> str:
    text = "not given" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _line(value: object) -> bytes:
    """Return a value as a line with its checksum."""
    data = json.dumps(value, separators=(",", ":"), default=_plain).encode("utf-8")
    return b"%08x %s\n" % (zlib.crc32(data), data)


def _plain(value: Any) -> object:
    """Return a number of NumPy as one of Python."""
    return value.item()


def _is_whole(line: bytes) -> bool:
    checksum, _, data = line.partition(b" ")
    return line.endswith(b"\n") and checksum == b"%08x" % zlib.crc32(data[:-1])


def _value(line: bytes) -> Any:
    """Return what a line says; None if it is not whole."""
    return json.loads(line.partition(b" ")[2]) if _is_whole(line) else None
