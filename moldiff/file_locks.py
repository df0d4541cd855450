"""Locks on open files, which end with the process that holds them."""

from __future__ import annotations

import errno
import logging
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SYSTEM_HAS_LOCKS = fcntl is not None

logger = logging.getLogger(__name__)

_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)  # the last where locks lie on a server
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
        if reason not in _said:
            _said.add(reason)
            logger.warning("files cannot be locked here (%s): see to it that no two runs write the same output", reason)
        return None
    return True
