"""Worker processes that survive what kills them: items are worked on in order, with a deadline for each.

Chemistry of foreign molecules can crash a process, hang or fill the memory. Here that costs the one item, which comes
back as `Lost`; everything else is worked on all the same, and results come in order. Processes are spawned, never
forked: forking a process with torch's threads can deadlock. They end when their parent does.
"""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from multiprocessing.util import Finalize
from typing import Generic, Self, TypeVar

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
MEMORY_MB = 4096  # of a worker's own data: what needs more is no molecule that anybody waits for
DEADLINE_S = 60.0  # for the chemistry of one molecule, which takes milliseconds; decoding anew may take 20 s
GRACE_S = 2.0  # until a worker that does not heed its own alarm is killed

_ALARM = getattr(signal, "SIGALRM", None)  # not on Windows


@dataclass(frozen=True)
class Lost:
    """An item that cost its worker process.

    Attributes:
        reason: "crashed: ...", "timeout: ..." or "memory: ...".
    """

    reason: str


class Pool:
    """This process as a pool: nothing has to be started, but nothing is survived either, and nothing ends in time. Of
    others, see `WorkerPool`."""

    def map_items(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, chunk: int = 1, timeout_s: float
    ) -> Iterator[Result | Lost]:
        """Yield ``function(item)`` for every item, in order; `Lost` for one that kills its worker or takes too long.

        Args:
            function: a function of a module; items and results are plain values that can be sent to a process.
            items: read lazily, a few chunks ahead of the workers.
            chunk: items sent at once.
            timeout_s: longest time for one item.

        Raises:
            MoldiffError: processes cannot be started.
            Exception: what ``function`` raises.
        """
        return map(function, items)

    def map_batches(
        self, function: Callable[[Iterable[Item]], Result], batches: Iterable[Sequence[Item]], *, timeout_s: float
    ) -> Iterator[tuple[Sequence[Item], Result | Lost]]:
        """Yield (batch, ``function(batch)``) in order. A batch that kills its worker is tried again item by item: then
        come batches of one, and `Lost` for the item that is to blame.

        Args:
            function: a function of a module. It takes the items of its batch one after the other, and only once.
            batches: read lazily, a few ahead of the workers.
            timeout_s: longest time from one item to the next.

        Raises:
            MoldiffError: processes cannot be started.
            Exception: what ``function`` raises.
        """
        return ((batch, function(batch)) for batch in batches)


THIS_PROCESS = Pool()


class WorkerPool(Pool):
    """Worker processes, each computing on one thread, started anew if they break as a whole.

    Args:
        workers: how many.
        memory_mb: most memory of a process beside what its libraries map, in MiB, where the system knows such limits;
            beyond it a function gets a MemoryError, or the process ends.

    Attributes:
        memory_mb: see above.
    """

    def __init__(self, workers: int, memory_mb: int = MEMORY_MB) -> None:
        self._workers, self.memory_mb = workers, memory_mb
        self._broken = 0  # times in a row
        self._pool = self._started()

    def _started(self) -> ProcessPool:
        return ProcessPool(self._workers, initializer=_set_up, initargs=(self.memory_mb,), context=get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the processes."""
        self._pool.stop()
        self._pool.join()

    def load(self, *names: str) -> None:
        """Start the processes, without waiting for them, and let them import modules ("package.module") and call
        functions without arguments ("package.module:function"): their first item does not wait for it."""
        for _ in range(self._workers):
            self._pool.schedule(_load, args=names)

    def map_items(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, chunk: int = 1, timeout_s: float
    ) -> Iterator[Result | Lost]:
        source = iter(items)
        batches = iter(lambda: list(itertools.islice(source, chunk)), [])
        for _, found in self.map_batches(partial(_each, function), batches, timeout_s=timeout_s):
            if isinstance(found, Lost):
                yield found
            else:
                yield from found

    def map_batches(
        self, function: Callable[[Iterable[Item]], Result], batches: Iterable[Sequence[Item]], *, timeout_s: float
    ) -> Iterator[tuple[Sequence[Item], Result | Lost]]:
        line = _Line(self, function, timeout_s)
        try:
            for batch in batches:
                line.append(batch)
                while len(line.waiting) > BATCHES_AHEAD * self._workers:
                    yield from line.first()
            while line.waiting:
                yield from line.first()
        finally:
            line.cancel()

    def submit(self, arguments: Sequence[object], limit: float) -> tuple[ProcessPool, ProcessFuture]:
        """Have `_apply` called; return by which pool, and its result to come."""
        try:
            return self._pool, self._pool.schedule(_apply, args=arguments, timeout=limit)
        except RuntimeError as error:  # the pool has just broken: found out when the result is asked for
            broken: ProcessFuture = ProcessFuture()
            broken.set_exception(BrokenProcessPool(str(error)))
            return self._pool, broken

    def worked(self) -> None:
        """Take note that the processes have done something."""
        self._broken = 0

    def replace(self, broken: ProcessPool) -> None:
        """Start anew, unless that was done; MoldiffError if processes broke before without having done anything."""
        if broken is not self._pool:
            return
        self._broken += 1
        self.stop()
        if self._broken >= ATTEMPTS:
            raise MoldiffError(
                "worker processes die before they see a molecule "
                "(a script that starts several needs its: if __name__ == '__main__')"
            )
        self._pool = self._started()


class _Line(Generic[Item, Result]):
    """Batches that wait for their turn, in order.

    Args:
        pool: works on them.
        function: on each of them.
        timeout_s: for an item.

    Attributes:
        waiting: each with the pool it was sent to, and its result to come.
    """

    def __init__(self, pool: WorkerPool, function: Callable[[Iterable[Item]], Result], timeout_s: float) -> None:
        self._pool, self._function, self._timeout_s = pool, function, timeout_s
        self.waiting: deque[tuple[Sequence[Item], ProcessPool, ProcessFuture]] = deque()

    def append(self, items: Sequence[Item]) -> None:
        self.waiting.append(self._sent(items))

    def _sent(self, items: Sequence[Item]) -> tuple[Sequence[Item], ProcessPool, ProcessFuture]:
        limit = self._timeout_s * len(items) + GRACE_S
        return items, *self._pool.submit([self._function, items, self._timeout_s], limit)

    def first(self) -> Iterator[tuple[Sequence[Item], Result | Lost]]:
        """Take the first batch off the line; yield it with its result, or put its items into its place."""
        items, pool, future = self.waiting.popleft()
        try:
            found: Result = awaited(future)
        except (BrokenProcessPool, CancelledError):
            self._pool.replace(pool)
            again = [items, *(batch for batch, *_ in self.waiting)]
            self.waiting = deque(map(self._sent, again))
        except (ProcessExpired, TimeoutError, MemoryError) as error:
            if len(items) == 1:
                yield items, Lost(self._reason(error))
            else:
                self.waiting.extendleft(self._sent([item]) for item in reversed(items))
        else:
            self._pool.worked()
            yield items, found

    def cancel(self) -> None:
        """Give up what nobody waits for any more; its workers are ended."""
        for *_, future in self.waiting:
            future.cancel()

    def _reason(self, error: ProcessExpired | TimeoutError | MemoryError) -> str:
        if isinstance(error, MemoryError):
            return f"memory: more than {self._pool.memory_mb} MiB"
        code = 0 if isinstance(error, TimeoutError) else int(error.exitcode or 0)
        if isinstance(error, TimeoutError) or (_ALARM is not None and code == -_ALARM):
            return f"timeout: not done within {self._timeout_s:g} s"
        try:
            how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        except ValueError:
            how = f"signal {-code}"
        return f"crashed: the worker process ended on this record ({how})"


@contextmanager
def pool_of(workers: int, *, isolated: bool = True, memory_mb: int = MEMORY_MB) -> Iterator[Pool]:
    """Give a pool that ends with its context.

    Args:
        workers: processes.
        isolated: even a single worker is a process of its own; False = a single worker is this process.
        memory_mb: see `WorkerPool`.
    """
    if workers == 1 and not isolated:
        yield THIS_PROCESS
        return
    with WorkerPool(workers, memory_mb) as pool:
        yield pool


def standing_pool(workers: int) -> Pool:
    """Return worker processes that are started once and stay as long as this process; of 0 workers, this process."""
    return THIS_PROCESS if workers == 0 else _standing(os.getpid(), workers)


@cache
def _standing(parent: int, workers: int) -> WorkerPool:
    pool = WorkerPool(workers)
    # before multiprocessing ends what it knows of: while it waits for that, the pool would replace it
    Finalize(pool, pool.stop, exitpriority=10)
    return pool


def _load(*names: str) -> None:
    for name in names:
        module, _, function = name.partition(":")
        found = importlib.import_module(module)
        if function:
            getattr(found, function)()


def _each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    return [function(item) for item in items]


def _apply(function: Callable[[Iterable[Item]], Result], items: Sequence[Item], timeout_s: float) -> Result:
    """Work on a batch. Runs in a worker."""
    if _ALARM is None:
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


def _set_up(memory_mb: int) -> None:
    """Prepare a worker: Ctrl-C is the parent's affair, and a worker whose parent was killed ends too."""
    if resource is not None:
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
