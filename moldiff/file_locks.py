"""Locks on open files, which end with the process that holds them.

A file is read and hashed through the handle that locks it (`HeldFile`): on a Windows server (SMB) nobody reads it
through another one. It is opened for writing: a Unix server (NFS) locks no other. Folders are locked on the machine
alone, whatever server they lie on.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SYSTEM_HAS_LOCKS = fcntl is not None

logger = logging.getLogger(__name__)

_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)  # the last where locks lie on a server
_TRIES, _PAUSE_S = 5, 0.02  # somebody may only have looked whether a file is held
_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0)  # of a pipe, opening would wait for its other end
_said: set[str] = set()


def lock(file: int | IO[str], *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file until it is closed.

    Args:
        file: that is open for reading and writing, as some servers ask for.
        shared: beside others who share it.
        wait: until nobody else holds it.

    Returns:
        Whether it is locked now; None where the system or the disk knows no locks, which is said once of a disk.
    """
    if fcntl is None:
        return None
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno in _HELD:
            return False
        reason = error.strerror or str(error)
        if error.errno == errno.EBADF and not fcntl.fcntl(file, fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR):
            return None  # it is open for reading alone, which tells nothing of the disk
        if reason not in _said:
            _said.add(reason)
            logger.warning("files cannot be locked here (%s): see to it that no two runs write the same output", reason)
        return None
    return True


def open_locked(path: str | Path, flags: int = 0) -> int:
    """Open a file, which is made if it is not there, for reading and writing, and lock it; where there are no locks, it
    is open all the same.

    Args:
        path: of the file.
        flags: more of them, as an opener of Python's ``open`` is given.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be opened.
    """
    for _ in range(_TRIES):
        descriptor = os.open(path, flags & ~os.O_WRONLY | os.O_RDWR | os.O_CREAT, 0o666)
        locked = lock(descriptor)
        if locked is None or (locked and is_named(descriptor, path)):
            return descriptor
        os.close(descriptor)  # held, or removed by who held it
        time.sleep(_PAUSE_S)
    raise BlockingIOError(errno.EAGAIN, "another process holds it", str(path))


@contextlib.contextmanager
def lock_if_free(path: str | Path) -> Iterator[bool]:
    """Lock a file or folder that is there for the time of a block, unless somebody holds it, and tell whether that is
    so; where it cannot be known, it is not."""
    descriptor = -1
    # a folder, or a file of somebody else: on a disk of this machine, being open for reading is enough for a lock
    for access in (os.O_RDWR, os.O_RDONLY):
        if descriptor < 0:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, access | _WITHOUT_WAITING)
    try:
        yield descriptor >= 0 and lock(descriptor) is True and is_named(descriptor, path)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def is_named(descriptor: int, path: str | Path) -> bool:
    """Return whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


@contextlib.contextmanager
def errors_about(path: Path) -> Iterator[None]:
    """Let an error of the system name a file: that of a write names none, others the name that it has meanwhile."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


class HeldFile(io.FileIO):
    """A file that is written under another name until it is whole, locked as by `open_locked`.

    Args:
        path: its name until then.
        final: its name afterwards, which errors of the system tell.
    """

    def __init__(self, path: Path, final: Path) -> None:
        self._final = final
        with errors_about(final):
            super().__init__(path, "w", opener=open_locked)

    def write(self, data: ReadableBuffer, /) -> int:
        """Write bytes, as any file does."""
        with errors_about(self._final):
            return super().write(data)

    def sha256(self) -> str:
        """Return the hash of what was written so far."""
        place = os.lseek(self.fileno(), 0, os.SEEK_CUR)
        try:
            with open(self.fileno(), "rb", closefd=False) as written:
                written.seek(0)
                return hashlib.file_digest(written, "sha256").hexdigest()
        finally:
            os.lseek(self.fileno(), place, os.SEEK_SET)
