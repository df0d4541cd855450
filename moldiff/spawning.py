"""The start of worker processes: their locks last, and what a terminal sends to all processes leaves them silent.

A new process hears every signal that its parent does not hold back, before a line of its own could say otherwise.
"""

from __future__ import annotations

import signal
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.synchronize import RLock

from moldiff.interruption import held_back
from moldiff.temporary_folders import name_around

ENDED_WITH_0 = 256  # no status that a process can have
"""Exit code of a worker whose status was 0: a library that calls C's ``exit(0)`` ends it in the middle of its work, and
the pool takes 0 for the end of a worker that has nothing more to do."""


class _Worker(SpawnProcess):
    """A process that Ctrl-C does not reach while it imports what it needs: where that is done, it ignores it. It does
    not end by itself.

    Attributes:
        name_around: see `moldiff.temporary_folders`.
    """

    @property
    def exitcode(self) -> int | None:
        code = super().exitcode
        return ENDED_WITH_0 if code == 0 else code

    def start(self) -> None:
        self.name_around = name_around()
        with held_back(signal.SIGINT):
            super().start()


class Spawning(SpawnContext):
    """The way to start processes, which keeps the locks that it makes as long as itself.

    A pool that is stopped gives up its locks before it ends its workers: one that has hardly begun looks for them by
    name, and complains.
    """

    Process = _Worker

    def __init__(self) -> None:
        self._locks: list[RLock] = []
        start_accounts()

    def RLock(self) -> RLock:
        lock = super().RLock()
        self._locks.append(lock)
        return lock


def start_accounts() -> None:
    """Start the process in which multiprocessing keeps account of locks, where it needs one and has none yet.

    It ignores Ctrl-C and SIGTERM, but not SIGHUP, which a closing terminal sends to all: then a new one would complain
    of every lock that it does not know.
    """
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        with held_back(signal.SIGHUP):
            resource_tracker.ensure_running()
