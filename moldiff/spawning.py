"""The start of worker processes: their locks last, and what a terminal sends to all processes leaves them silent.

A new process hears every signal that its parent does not hold back, before a line of its own could say otherwise. The
program around them is as it was: what multiprocessing would settle for it stays open.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.spawn import get_preparation_data
from multiprocessing.synchronize import RLock
from pathlib import Path

from moldiff.errors import MoldiffError
from moldiff.interruption import held_back
from moldiff.temporary_folders import name_around

ENDED_WITH_0 = 256  # no status that a process can have
"""Exit code of a worker whose status was 0: a library that calls C's ``exit(0)`` ends it in the middle of its work, and
the pool takes 0 for the end of a worker that has nothing more to do."""

_one_at_a_time = threading.RLock()  # starts: each puts back what the program's own state was before it
if hasattr(os, "register_at_fork"):  # not on Windows; a fork in the middle of a start would keep half of it
    os.register_at_fork(
        before=_one_at_a_time.acquire,
        after_in_parent=_one_at_a_time.release,
        after_in_child=_one_at_a_time.release,
    )


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
        with _one_at_a_time, held_back(signal.SIGINT), program_left_alone():
            super().start()


class Spawning(SpawnContext):
    """The way to start processes, which keeps the locks that it makes as long as itself.

    A pool that is stopped gives up its locks before it ends its workers: one that has hardly begun looks for them by
    name, and complains.

    Raises:
        MoldiffError: this process may not start others.
    """

    Process = _Worker

    def __init__(self) -> None:
        refuse_if_daemonic()
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


def may_start_processes() -> bool:
    """Return whether multiprocessing lets this process start others: daemonic ones may not, as those of its Pool."""
    return not multiprocessing.current_process().daemon


def refuse_if_daemonic() -> None:
    """Raise MoldiffError if this process may not start others."""
    if not may_start_processes():
        raise MoldiffError(
            "workers: this process is daemonic, as those of multiprocessing.Pool are, and may not start others; run it "
            "in a concurrent.futures.ProcessPoolExecutor, or do without processes (the fewest workers, not isolated)",
            argument="workers",
        )


@contextmanager
def program_left_alone() -> Iterator[None]:
    """Let processes be started in here by multiprocessing's "spawn" whatever the program around it is, and leave that
    as it was."""
    with _start_method_left_open(), _without_lost_file():
        yield


@contextmanager
def _start_method_left_open() -> Iterator[None]:
    """Leave it to the program by which method multiprocessing starts processes, if it has not said so yet.

    Whatever method a process is started by, multiprocessing tells it the program's, and settles that on the default to
    do so. The program may have chosen another one meanwhile, in another thread; that stays.
    """
    before = multiprocessing.get_start_method(allow_none=True)
    try:
        yield
    finally:
        default = multiprocessing.get_all_start_methods()[0]
        if before is None and multiprocessing.get_start_method(allow_none=True) == default:
            multiprocessing.set_start_method(None, force=True)


@contextmanager
def _without_lost_file() -> Iterator[None]:
    """Start a process without the program's main file if that is not there: read from standard input or a pipe, moved,
    deleted. A worker would run it before anything else, and needs nothing of it. Where there is one it is run, as
    multiprocessing has it."""
    main = sys.modules["__main__"]
    if not _is_lost(_told_of_main()):
        yield
        return
    before = vars(main).copy()
    vars(main).pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update({name: before[name] for name in ("__file__", "__spec__") if name in before})


def start_that_failed() -> MoldiffError:
    """Return what to raise of workers none of which came to its first item.

    Each runs the program's main file again: one that does not ask whether it is the main program starts workers itself.
    """
    file = _told_of_main().get("init_main_from_path")
    script = None if file is None else Path(str(file))
    told = "what they said stands above"
    if script is not None and script.is_file() and b"__main__" not in script.read_bytes():
        told = f"they run {script.name} again, which needs its: if __name__ == '__main__'"
    return MoldiffError(f"worker processes die before they see a molecule ({told})")


def _told_of_main() -> dict[str, object]:
    """Return what multiprocessing tells a new process of this one."""
    with _start_method_left_open():
        return get_preparation_data("")


def _is_lost(told: dict[str, object]) -> bool:
    """Return whether a main file of which a new process is told is not there.

    Args:
        told: what multiprocessing tells it: of a program named by ``python -m`` the name, of others the path.
    """
    if name := told.get("init_main_from_name"):
        spec = sys.modules["__main__"].__spec__
        if str(name).rpartition(".")[2] == "__main__" or spec is None or not spec.has_location or spec.origin is None:
            return False  # it is not run, or has no file
        origin = Path(spec.origin)
        return not any(path.is_file() for path in (origin, *origin.parents))  # it may lie in a zip file
    path = told.get("init_main_from_path")
    return path is not None and not Path(str(path)).is_file()
