"""The first record of each key, for any number of keys in constant memory: a table of SQLite beside the run."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from moldiff.errors import MoldiffError
from moldiff.files import clear_leftovers, hold, part_beside

CACHE_KIB = 65_536
"""Memory for pages of the table."""


class FirstOnDisk:
    """A dictionary from keys to the numbers of their first records, of which only `setdefault` is asked.

    Args:
        connection: to an empty database.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("CREATE TABLE first (key TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID")

    def setdefault(self, key: str, number: int, /) -> int:
        """Return the number that a key came with first."""
        if self._connection.execute("INSERT OR IGNORE INTO first VALUES (?, ?)", (key, number)).rowcount:
            return number
        return int(self._connection.execute("SELECT number FROM first WHERE key = ?", (key,)).fetchone()[0])


@contextlib.contextmanager
def first_on_disk(path: Path) -> Iterator[FirstOnDisk]:
    """Give an empty `FirstOnDisk` in a file beside ``path``, which goes away with the block.

    Raises:
        MoldiffError: the disk is full, or the folder cannot be written.
    """
    clear_leftovers(path)
    aside = part_beside(path)
    try:
        with (
            open(aside, "wb") as handle,
            contextlib.closing(sqlite3.connect(aside, isolation_level=None)) as connection,
        ):
            hold(handle.fileno())
            # nothing of it outlives the process, so nothing has to be safe
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{CACHE_KIB}"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN")
            yield FirstOnDisk(connection)
    except sqlite3.Error as error:
        raise MoldiffError(f"the table of keys beside {path} could not be written: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(aside)
