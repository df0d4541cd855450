"""Writing files so that a final name never holds half a file.

Everything that the package leaves on disk goes through here: a temporary file in the same folder, flush, fsync, rename,
fsync of the folder. An error (a full disk, a read-only folder) removes the temporary file and reaches the caller.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, cast

from moldiff.arguments import check_flag
from moldiff.errors import MoldiffError
from moldiff.file_locks import SYSTEM_HAS_LOCKS, HeldFile, errors_about, lock, lock_if_free, open_locked
from moldiff.foreign_text import readable
from moldiff.path_names import with_stem, written_out


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise MoldiffError if ``path`` exists and may not be replaced, or cannot be made where it should be.

    Checked before long work, so that its result is not lost at the end; a full disk still shows only then.
    """
    check_flag(overwrite, "overwrite")
    try:
        if written_out(path).exists() and not overwrite:
            raise MoldiffError(f"{path} exists already; choose another name or pass overwrite", argument="overwrite")
        parent = path.parent
        while not os.path.lexists(parent) and parent != parent.parent:  # a link to nowhere is in the way
            parent = parent.parent
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(parent / part_beside(path).name)  # the longer name, which it has at first
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise MoldiffError(f"{str(path)[:100]} cannot be written: {error.strerror or error}") from error
    if not parent.is_dir():
        raise MoldiffError(f"{path} cannot be written: {parent} is not a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise MoldiffError(f"{path} cannot be written: no permission to write into {parent}")


_KEPT_SAFE: ContextVar[tuple[Path, ...]] = ContextVar("kept safe", default=())


@contextlib.contextmanager
def kept_safe(files: Iterable[Path]) -> Iterator[None]:
    """Let no output take the place of one of these files in the work within."""
    token = _KEPT_SAFE.set((*_KEPT_SAFE.get(), *files))
    try:
        yield
    finally:
        _KEPT_SAFE.reset(token)


def refuse_existing_file(path: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Like `refuse_existing`; a folder, a link, a pipe, a device, one of ``inputs`` and what is `kept_safe` are refused
    in any case."""
    with_stem(path)
    begun_with = (*inputs, *_KEPT_SAFE.get())
    if any(os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other) for other in begun_with):
        raise MoldiffError(f"{path} would be written over, but it is an input; choose another name for the output")
    # before it is told to overwrite, which these never are
    if os.path.isdir(path):
        raise MoldiffError(f"{path} is a folder, not a file; choose another name")
    if os.path.islink(path):
        raise MoldiffError(f"{path} is a link; it is not replaced, choose another name")
    _refuse_device(path)
    refuse_existing(path, overwrite)
    clear_leftovers(path)


def _refuse_device(path: Path) -> None:
    """Raise MoldiffError for a pipe, a socket or a device, whose place a file would take for all who use it."""
    if os.path.exists(path) and not os.path.isdir(path) and not os.path.isfile(path):
        raise MoldiffError(f"{path} is no regular file; it is not replaced, choose another name")


def refuse_the_same(paths: Iterable[Path]) -> None:
    """Raise MoldiffError if two of the files that a run writes are one."""
    places = set[str]()
    for path in paths:
        if (place := _place(path)) in places:
            raise MoldiffError(f"{path} would be written twice; choose another name for one of the outputs")
        places.add(place)


def refuse_existing_files(paths: Sequence[Path], overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Do `refuse_the_same` for all files of a run, and `refuse_existing_file` for each."""
    refuse_the_same(paths)
    for path in paths:
        refuse_existing_file(path, overwrite, inputs)


def _place(path: Path) -> str:
    """Return what is the same for all names of a file that may not be there yet."""
    return os.path.normcase(os.path.join(os.path.realpath(path.parent), path.name))


@contextlib.contextmanager
def atomic_writer(path: Path, *, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a file for writing that appears under ``path`` only when the block ends without an error.

    Raises:
        MoldiffError: the file could not be written completely (names the path and the system's reason).
    """
    temporary = _beside(path)
    try:
        with _opened(temporary, path, binary) as handle:
            yield handle
            _sync(handle)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise MoldiffError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        _remove(temporary)


class FileSet:
    """Files that belong together, made by `file_set`: written aside, then renamed, last of all the one that tells that
    the others are whole. A set without that file is unfinished.

    Args:
        last: that file.
    """

    def __init__(self, last: Path) -> None:
        self._last = last
        self._aside: dict[Path, tuple[Path, IO[Any]]] = {}

    def open(self, path: Path, *, binary: bool = False) -> IO[Any]:
        """Return a handle to write a file of the set with; it stays open until `commit`. ValueError: it is open."""
        if _place(path) in map(_place, self._aside):
            raise ValueError(f"{path} is being written already")
        temporary = _beside(path)
        self._aside[path] = temporary, _opened(temporary, path, binary)
        return self._aside[path][1]

    def add(self, path: Path, content: str | bytes) -> None:
        """Add a whole file to the set."""
        self.open(path, binary=isinstance(content, bytes)).write(content)

    def add_json(self, path: Path, value: object) -> None:
        """Add a file of indented JSON to the set."""
        self.add(path, _json(value))

    def sync(self) -> None:
        """Make durable what was written aside so far."""
        for path, (_, handle) in self._aside.items():
            with errors_about(path):
                _sync(handle)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the set so far."""
        return tuple(self._aside)

    def sha256(self, path: Path) -> str:
        """Return the hash of a file of the set, after `sync`."""
        handle: Any = self._aside[path][1]
        return cast(HeldFile, getattr(handle, "buffer", handle).raw).sha256()

    def commit(self, value: object) -> None:
        """Let all files appear, in place of older ones: an older last file goes first, the new one, ``value`` as JSON,
        comes last."""
        self.add(self._last, _json(value))
        self.sync()
        self._last.unlink(missing_ok=True)
        for path in [path for path in self._aside if path != self._last] + [self._last]:
            temporary, handle = self._aside[path]
            with errors_about(path):
                handle.close()
                if path == self._last:
                    self._sync_folders()  # the others are there for certain
                os.replace(temporary, path)
        self._sync_folders()

    def discard(self) -> None:
        """Remove what still lies aside."""
        for temporary, handle in self._aside.values():
            with contextlib.suppress(OSError):
                handle.close()
            _remove(temporary)

    def _sync_folders(self) -> None:
        for folder in {path.parent for path in self._aside}:
            sync_folder(folder)


@contextlib.contextmanager
def file_set(last: Path) -> Iterator[FileSet]:
    """Give a `FileSet`; without `FileSet.commit`, nothing is left of it.

    Raises:
        MoldiffError: a file could not be written completely.
    """
    files = FileSet(last)
    try:
        yield files
    except OSError as error:
        raise MoldiffError(f"{error.filename or last} could not be written: {error.strerror or error}") from error
    finally:
        files.discard()


def _beside(path: Path, name: Path | None = None) -> Path:
    """Return a name, by default a new one, in the same folder, which is made if it is not there."""
    _refuse_device(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MoldiffError(f"{path} could not be written: {error.strerror or error}") from error
    return name or part_beside(path)


def _opened(temporary: Path, final: Path, binary: bool) -> IO[Any]:
    handle = io.BufferedWriter(HeldFile(temporary, final))
    return handle if binary else io.TextIOWrapper(handle, encoding="utf-8", newline="\n")


def _sync(handle: IO[Any]) -> None:
    handle.flush()
    os.fsync(handle.fileno())


def _remove(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def named(temporary: Path, final: Path) -> Iterator[None]:
    """Let errors about a file in ``temporary`` name the place ``final`` that it was meant for."""
    try:
        yield
    except MoldiffError as error:
        raise error.of(str(error).replace(str(temporary), str(final))) from error


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable (a no-op where folders cannot be opened, as on Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_writer(path) as handle:
        handle.write(text)


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON, atomically. NaN and infinity are refused (ValueError): they are not JSON."""
    write_text(path, _json(value))


def _json(value: object) -> str:
    return readable(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def part_beside(path: Path) -> Path:
    """Return the name that a file or folder has until it is whole; the process that makes it must `hold` it."""
    return path.parent / f".{path.name}.{secrets.token_hex(4)}.part"


def hold(descriptor: int) -> None:
    """Mark an open file or folder as one that a living process works on; the mark ends with the process."""
    lock(descriptor)


_claims: set[str] = set()  # places that this process has claimed


@contextlib.contextmanager
def claimed(path: Path, *others: Path) -> Iterator[None]:
    """Hold the sole right to make a file or folder, and others of the same work, from before the work to its end.

    Raises:
        MoldiffError: a living process holds that of one, or it cannot be made there.
    """
    refuse_existing(path, overwrite=True)
    mark = _beside(path, _mark_of(path))
    try:
        descriptor = open_locked(mark) if SYSTEM_HAS_LOCKS else -1
    except BlockingIOError as error:
        raise MoldiffError(f"{path} is being written by another run; choose another name", argument="out") from error
    except OSError as error:
        raise MoldiffError(f"{path} cannot be written: {error.strerror or error}") from error
    _claims.add(place := _place(path))
    try:
        with claimed(*others) if others else contextlib.nullcontext():
            yield
    finally:
        _claims.discard(place)
        if descriptor >= 0:
            _remove(mark)
            os.close(descriptor)


def _mark_of(path: Path) -> Path:
    """Return the file that marks a claim; `clear_leftovers` finds one of a killed run."""
    return path.parent / f".{path.name}.{'0' * 8}.part"


def _is_claimed(path: Path) -> bool:
    """Return whether another process claims a file or folder."""
    if _place(path) in _claims or not os.path.lexists(mark := _mark_of(path)):
        return False
    with lock_if_free(mark) as is_free:
        return not is_free


def clear_leftovers(path: Path, *, siblings: bool = False) -> None:
    """Remove the unfinished files and folders that killed runs left for ``path``, or for all its ``siblings`` too.

    What another process claims stays: of a folder, its lock is known to its own machine alone.
    """
    pattern = re.compile(rf"\.({'.+' if siblings else re.escape(path.name)})\.[0-9a-f]{{8}}\.part")
    with contextlib.suppress(OSError):
        for entry in os.scandir(path.parent):
            found = pattern.fullmatch(entry.name)
            if found is None or entry.is_symlink() or _is_claimed(path.parent / found[1]):
                continue
            with lock_if_free(entry.path) as is_free:  # held until it is gone: a run may be about to take it
                if is_free and entry.is_dir():
                    shutil.rmtree(entry.path, ignore_errors=True)
                elif is_free:
                    os.unlink(entry.path)
