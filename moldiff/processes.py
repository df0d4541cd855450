"""Worker processes that survive what kills them: items are worked on in order, with a deadline for each.

Chemistry of foreign molecules can crash a process, hang or fill the memory. Here that costs the one item, which comes
back as `Lost`; everything else is worked on all the same. Processes are spawned, never forked: forking a process with
torch's threads can deadlock. They end when their parent does.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Generic, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from moldiff.errors import MoldiffError
from moldiff.interruption import awaited

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCHES_AHEAD = 3  # submitted batches per worker: enough to keep it busy, few enough to bound the memory
ATTEMPTS = 2  # pools in a row that may break before they have done anything
GRACE_S = 2.0  # until a worker that does not heed its own alarm is killed

_ALARM = getattr(signal, "SIGALRM", None)  # not on Windows


@dataclass(frozen=True)
class Lost:
    """An item that cost its worker process.

    Attributes:
        reason: "crashed: ..." or "timeout: ...".
    """

    reason: str


def map_items(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    chunk: int = 1,
    timeout_s: float | None = None,
    isolated: bool = True,
    memory_mb: int | None = None,
) -> Iterator[Result | Lost]:
    """Yield ``function(item)`` for every item, in order; `Lost` for one that kills its worker or takes too long.

    Args:
        function: a function of a module; items and results are plain values that can be sent to a process.
        items: read lazily, a few chunks ahead of the workers.
        workers: see `map_batches`.
        chunk: items sent at once.
        timeout_s: longest time for one item; None = any.
        isolated, memory_mb: see `map_batches`.

    Raises:
        MoldiffError: processes cannot be started.
        Exception: what ``function`` raises.
    """
    source = iter(items)
    batches = iter(lambda: list(itertools.islice(source, chunk)), [])
    work = partial(_each, function)
    found_batches = map_batches(
        work, batches, workers=workers, timeout_s=timeout_s, isolated=isolated, memory_mb=memory_mb
    )
    for _, found in found_batches:
        if isinstance(found, Lost):
            yield found
        else:
            yield from found


def map_batches(
    function: Callable[[Iterable[Item]], Result],
    batches: Iterable[Sequence[Item]],
    *,
    workers: int,
    timeout_s: float | None = None,
    isolated: bool = True,
    memory_mb: int | None = None,
) -> Iterator[tuple[Sequence[Item], Result | Lost]]:
    """Yield (batch, ``function(batch)``) in order. A batch that kills its worker is tried again item by item: then come
    batches of one, and `Lost` for the item that is to blame.

    Args:
        function: a function of a module. It takes the items of its batch one after the other, and only once.
        batches: read lazily, a few ahead of the workers.
        workers: processes, each computing on one thread.
        timeout_s: longest time from one item to the next; None = any.
        isolated: even a single worker is a process of its own. False = a single worker is this process: nothing has to
            be started, but nothing is survived either, and there are no deadlines.
        memory_mb: most memory of a process beside what its libraries map, in MiB, where the system knows such limits;
            beyond it ``function`` gets a MemoryError, or the process ends. None = any.

    Raises:
        MoldiffError: processes cannot be started.
        Exception: what ``function`` raises.
    """
    if workers == 1 and not isolated:
        yield from ((batch, function(batch)) for batch in batches)
        return
    pool = _Pool(function, workers, timeout_s, memory_mb)
    try:
        for batch in batches:
            pool.append(batch)
            while len(pool.waiting) > BATCHES_AHEAD * workers:
                yield from pool.first()
        while pool.waiting:
            yield from pool.first()
    finally:
        pool.stop()


class _Pool(Generic[Item, Result]):
    """A process pool with a queue of batches, started anew if it breaks as a whole."""

    def __init__(
        self,
        function: Callable[[Iterable[Item]], Result],
        workers: int,
        timeout_s: float | None,
        memory_mb: int | None = None,
    ) -> None:
        self._function, self._workers, self._timeout_s, self._memory_mb = function, workers, timeout_s, memory_mb
        self._broken = 0  # pools in a row
        self._pool = self._start()
        self.waiting: deque[tuple[Sequence[Item], ProcessFuture]] = deque()

    def _start(self) -> ProcessPool:
        return ProcessPool(
            self._workers, initializer=_set_up, initargs=(self._memory_mb,), context=get_context("spawn")
        )

    def stop(self) -> None:
        self._pool.stop()
        self._pool.join()

    def append(self, items: Sequence[Item]) -> None:
        self.waiting.append((items, self._submit(items)))

    def _submit(self, items: Sequence[Item]) -> ProcessFuture:
        limit = None if self._timeout_s is None else self._timeout_s * len(items) + GRACE_S
        try:
            return self._pool.schedule(_apply, args=[self._function, items, self._timeout_s], timeout=limit)
        except RuntimeError as error:  # the pool has just broken: found out when the result is asked for
            broken: ProcessFuture = ProcessFuture()
            broken.set_exception(BrokenProcessPool(str(error)))
            return broken

    def first(self) -> Iterator[tuple[Sequence[Item], Result | Lost]]:
        """Take the first batch off the queue; yield it with its result, or put its items into its place."""
        items, future = self.waiting.popleft()
        try:
            found: Result = awaited(future)
        except BrokenProcessPool:
            self._restart()
            again = [items, *(batch for batch, _ in self.waiting)]
            self.waiting = deque((batch, self._submit(batch)) for batch in again)
        except (ProcessExpired, TimeoutError) as error:
            if len(items) == 1:
                yield items, Lost(self._reason(error))
            else:
                self.waiting.extendleft(([item], self._submit([item])) for item in reversed(items))
        else:
            self._broken = 0
            yield items, found

    def _restart(self) -> None:
        """Start a new pool; MoldiffError if the last one broke without having done anything."""
        self._broken += 1
        self.stop()
        if self._broken >= ATTEMPTS:
            raise MoldiffError(
                "worker processes die before they see a molecule "
                "(a script that starts several needs its: if __name__ == '__main__')"
            )
        self._pool = self._start()

    def _reason(self, error: ProcessExpired | TimeoutError) -> str:
        code = 0 if isinstance(error, TimeoutError) else int(error.exitcode or 0)
        if isinstance(error, TimeoutError) or (_ALARM is not None and code == -_ALARM):
            return f"timeout: not done within {self._timeout_s:g} s"
        try:
            how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        except ValueError:
            how = f"signal {-code}"
        return f"crashed: the worker process ended on this record ({how})"


def _each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    return [function(item) for item in items]


def _apply(function: Callable[[Iterable[Item]], Result], items: Sequence[Item], timeout_s: float | None) -> Result:
    """Work on a batch. Runs in a worker."""
    if timeout_s is None or _ALARM is None:
        return function(items)
    try:
        return function(_timed(items, timeout_s))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _timed(items: Sequence[Item], timeout_s: float) -> Iterator[Item]:
    """Yield items; the process ends if the next one is not asked for in time, whatever holds the interpreter."""
    for item in items:
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        yield item
    signal.setitimer(signal.ITIMER_REAL, timeout_s)


def _set_up(memory_mb: int | None) -> None:
    """Prepare a worker: Ctrl-C is the parent's affair, and a worker whose parent was killed ends too."""
    if memory_mb is not None and resource is not None:
        limit = memory_mb * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _ALARM is not None:
        signal.signal(_ALARM, signal.SIG_DFL)  # ends the process
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
