"""The first record of each key, for any number of keys in constant memory: a table of SQLite beside the run."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path, PurePath

from moldiff.errors import MoldiffError
from moldiff.files import claimed, clear_leftovers, part_beside

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
    with claimed(path):  # not the table itself is locked: on servers (NFS, SMB) SQLite would wait for that lock
        clear_leftovers(path)
        aside = part_beside(path)
        # nobody else opens it, so that SQLite has nothing to lock either
        place = f"{_uri(aside.absolute())}?nolock=1"
        # nothing of it outlives the process, so nothing has to be safe
        pragmas = ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{CACHE_KIB}")
        try:
            with contextlib.closing(sqlite3.connect(place, uri=True, isolation_level=None)) as connection:
                for pragma in pragmas:
                    connection.execute(f"PRAGMA {pragma}")
                connection.execute("BEGIN")
                yield FirstOnDisk(connection)
        except sqlite3.Error as error:
            raise MoldiffError(f"the table of keys beside {path} could not be written: {error}") from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(aside)


def _uri(path: PurePath) -> str:
    """Return the URI of an absolute path as SQLite takes it, with nothing where others name a server."""
    uri = path.as_uri()
    return uri if uri.startswith("file:///") else uri.replace("file://", "file:////", 1)
