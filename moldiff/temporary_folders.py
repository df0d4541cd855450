"""Temporary folders of workers, in one of the process that began the work, which goes with that process.

A worker that is killed leaves its folder. Who began the work removes it in the end; where that one was killed, its
workers do so; and what is left of all of them goes when a later run makes such a folder.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing import current_process, parent_process
from multiprocessing.util import Finalize
from pathlib import Path

from moldiff.file_locks import is_named, lock, lock_if_free

_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"  # locks of folders are known to their own machine alone
_NAME = re.compile(rf"moldiff-{_MACHINE}-[0-9a-f]{{16}}")
_open: set[Path] = set()  # folders of this process


def name_around() -> str:
    """Return the name of the folder around those of this process and its workers."""
    return getattr(current_process(), "name_around", None) or _new_name(os.getpid())


@cache
def _new_name(process: int) -> str:
    name = f"moldiff-{_MACHINE}-{secrets.token_hex(8)}"
    Finalize(None, _remove_all, (name,), exitpriority=-100)  # when its workers have ended
    return name


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder that is removed with the block, or, if this process is killed in it, later."""
    _clear_leftovers(os.getpid())
    around = Path(tempfile.gettempdir()) / name_around()
    descriptor = _held(around)
    try:
        with tempfile.TemporaryDirectory(dir=around) as name:
            _open.add(folder := Path(name))
            try:
                yield folder
            finally:
                _open.discard(folder)
    finally:
        if descriptor >= 0:
            if lock(descriptor) is True:  # nobody else is about to make one in it
                with suppress(OSError):  # somebody was killed in one
                    around.rmdir()
            os.close(descriptor)


def remove_now() -> None:
    """Remove the folders of this process, which is ended from outside; those of all workers if their parent was."""
    for folder in list(_open):
        shutil.rmtree(folder, ignore_errors=True)
    parent = parent_process()
    if parent is not None and not parent.is_alive():
        _remove_all(name_around())


def _remove_all(name: str) -> None:
    with suppress(OSError):  # there is no place for temporary files
        shutil.rmtree(Path(tempfile.gettempdir()) / name, ignore_errors=True)


def _held(folder: Path) -> int:
    """Return a folder that is made if it is not there, open and locked against `_clear_leftovers`; -1 where folders
    cannot be opened. Its name can be seen and is used again: it must be a folder of this user.

    Raises:
        OSError: it is not, or cannot be made.
    """
    while True:
        folder.mkdir(0o700, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:  # it has just been removed
            continue
        except OSError:
            if os.name == "nt":
                return -1
            raise
        if hasattr(os, "getuid") and os.fstat(descriptor).st_uid != os.getuid():
            os.close(descriptor)
            raise PermissionError(errno.EPERM, "it belongs to another user", str(folder))
        if lock(descriptor, shared=True, wait=True) is None or is_named(descriptor, folder):
            return descriptor
        os.close(descriptor)


@cache
def _clear_leftovers(process: int) -> None:
    """Remove what runs left all of whose processes were killed."""
    with suppress(OSError):
        for entry in os.scandir(tempfile.gettempdir()):
            if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with lock_if_free(entry.path) as is_free:
                    if is_free:
                        shutil.rmtree(entry.path, ignore_errors=True)
