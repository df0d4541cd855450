"""Locks on a run folder: one process, or several that share its shards. They end with the process that holds them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from moldiff.errors import MoldiffError
from moldiff.file_locks import lock
from moldiff.reading import check_regular

LOCK = "lock"
PLANNING = "lock.plan"


class Lock:
    """A lock on a run folder; without `exclusive` or `shared` it is not held.

    Args:
        run: the folder.
        handle: of its lock file.
    """

    def __init__(self, run: Path, handle: IO[str]) -> None:
        self._run, self._handle = run, handle

    def exclusive(self, *, wait: bool = False) -> None:
        """Hold the run alone.

        Raises:
            MoldiffError: somebody else works on it, and ``wait`` is false.
        """
        self._take(lock(self._handle, wait=wait))

    def shared(self) -> None:
        """Hold the run beside others who share it.

        Raises:
            MoldiffError: somebody holds it alone.
        """
        self._take(lock(self._handle, shared=True))

    def _take(self, taken: bool | None) -> None:
        if taken is False:
            raise MoldiffError(f"another process works in {self._run}; wait for it, or end it")


@contextlib.contextmanager
def run_lock(run: Path, name: str = LOCK) -> Iterator[Lock]:
    """Give a lock on a run folder, which is made if it is not there.

    Raises:
        MoldiffError: the folder cannot be written, or the lock is no regular file.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        if (run / name).exists():
            check_regular(run / name)
        handle = open(run / name, "a+", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise MoldiffError(f"{run} cannot be written: {error.strerror or error}", argument="out") from error
    with handle:
        yield Lock(run, handle)
