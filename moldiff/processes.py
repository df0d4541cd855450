"""Worker processes that survive what kills them: items are worked on in order, with a deadline for each.

Chemistry of foreign molecules can crash a process, hang or fill the memory. Here that costs the one item, which comes
back as `Lost`; everything else is worked on all the same, and results come in order. Processes are spawned, never
forked: forking a process with torch's threads can deadlock. They end when their parent does.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing.util import Finalize
from threading import Lock
from typing import Any, Generic, Self, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from moldiff.arguments import count
from moldiff.batch_slots import Slot, Slots
from moldiff.errors import MoldiffError
from moldiff.interruption import awaited, put_off
from moldiff.pauses import Pauses
from moldiff.spawning import ENDED_WITH_0, Spawning, start_that_failed
from moldiff.worker_process import ALARM, START_S, apply, each, idle, load, set_up

Item = TypeVar("Item")
Result = TypeVar("Result")
Ready = Callable[[], object]

BATCHES_AHEAD = 3  # submitted batches per worker: enough to keep it busy, few enough to bound the memory
ATTEMPTS = 2  # pools in a row that may break before they have done anything
MEMORY_MB = 4096  # of a worker's own data: what needs more is no molecule that anybody waits for
DEADLINE_S = 60.0  # for the chemistry of one molecule, which takes milliseconds; decoding anew may take 20 s
GRACE_S = 2.0  # until a worker that does not heed its own alarm is killed
_STARTING = Lock()


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
        """Yield (batch, ``function(batch)``) in order. A batch that kills its worker is tried again in parts, at worst
        item by item: then come smaller batches, and `Lost` for the item that is to blame.

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
        ready: what every process does before its first item, whose time that is not: import, read tables.

    Attributes:
        pauses: of this process, in which deadlines pass that mean nothing.
        slots: of its batches.
    """

    def __init__(self, workers: int, memory_mb: int = MEMORY_MB, ready: Ready = idle) -> None:
        self._workers, self.memory_mb = workers, memory_mb
        self._ready = [ready]  # goes with every batch: what starts a process is small, or a broken start would hang
        self._broken, self.slots = 0, Slots()  # broken: times in a row
        self._pool = self._started()

    def _started(self) -> ProcessPool:
        self.pauses, given = Pauses(), (self.memory_mb, self.slots.numbers)
        return ProcessPool(self._workers, initializer=set_up, initargs=given, context=Spawning())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the processes."""
        self.pauses.stop()
        self._pool.stop()
        self._pool.join()

    def load(self, *names: str) -> None:
        """Start the processes, without waiting for them, and let them and those that replace them import modules
        ("package.module") and call functions without arguments ("package.module:function")."""
        self._ready.append(partial(load, *names))
        with suppress(RuntimeError):  # the pool has just broken: found out with the first batch
            for _ in range(self._workers):
                self._schedule(load, names, None)

    def map_items(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, chunk: int = 1, timeout_s: float
    ) -> Iterator[Result | Lost]:
        source = iter(items)
        batches = iter(lambda: list(itertools.islice(source, chunk)), [])
        for _, found in self.map_batches(partial(each, function), batches, timeout_s=timeout_s):
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
            line.cancel(line.waiting)

    def submit(self, batch: _Batch[Item], function: Callable[[Iterable[Item]], Result], timeout_s: float) -> None:
        """Have a function called with a batch, which then knows its pool, slot and result to come."""
        batch.slot = self.slots.take(len(batch.items))
        batch.pool, limit = self._pool, START_S + timeout_s * len(batch.items) + GRACE_S
        try:
            batch.future = self._schedule(apply, [function, batch.items, timeout_s, batch.slot, self._ready], limit)
        except RuntimeError as error:  # the pool has just broken: found out when the result is asked for
            batch.future = ProcessFuture()
            batch.future.set_exception(BrokenProcessPool(str(error)))

    def _schedule(self, function: Callable[..., Any], given: Sequence[Any], limit: float | None) -> ProcessFuture:
        try:
            with put_off():  # the first starts the processes, which complain if they are told only half of what to do
                return self._pool.schedule(function, args=given, timeout=limit)
        except OSError as error:
            raise MoldiffError(f"worker processes cannot be started: {error.strerror or error}") from error

    def worked(self) -> None:
        """Take note that the processes have done something."""
        self._broken = 0

    def replace(self, broken: ProcessPool | None) -> None:
        """Start anew, unless that was done; MoldiffError if processes broke before without having done anything."""
        if broken is not self._pool:
            return
        self._broken += 1
        self.stop()
        if self._broken >= ATTEMPTS:
            raise start_that_failed()
        self._pool = self._started()


class _Overdue(TimeoutError): ...


@dataclass
class _Batch(Generic[Item]):
    """Items that are sent together.

    Attributes:
        items: of the batch.
        pool, sent, future: where it was sent to, when (seconds since the epoch), and its result to come.
        slot: where its worker writes down which item it is at; None = it does not.
        place, since: which one that was when somebody looked, and since when.
    """

    items: Sequence[Item]
    pool: ProcessPool | None = None
    sent: float = field(default_factory=time.time)
    future: ProcessFuture = field(default_factory=ProcessFuture)
    slot: Slot | None = None
    place: int | None = None
    since: float = 0.0


class _Line(Generic[Item, Result]):
    """Batches that wait for their turn, in order.

    Args:
        pool: works on them.
        function: on each of them.
        timeout_s: for an item.

    Attributes:
        waiting: sent already.
    """

    def __init__(self, pool: WorkerPool, function: Callable[[Iterable[Item]], Result], timeout_s: float) -> None:
        self._pool, self._function, self._timeout_s = pool, function, timeout_s
        self.waiting: deque[_Batch[Item]] = deque()

    def append(self, items: Sequence[Item]) -> None:
        self.waiting.append(self._sent(items))

    def _sent(self, items: Sequence[Item]) -> _Batch[Item]:
        batch = _Batch(items)
        self._pool.submit(batch, self._function, self._timeout_s)
        return batch

    def first(self) -> Iterator[tuple[Sequence[Item], Result | Lost]]:
        """Take the first batch off the line; yield it with its result, or put its items into its place."""
        batch = self.waiting.popleft()
        try:
            found: Result = awaited(batch.future, partial(self._look, batch))
        except (BrokenProcessPool, CancelledError):
            again = [batch, *self.waiting]
            self.cancel(again)
            self.waiting.clear()
            self._pool.replace(batch.pool)
            self.waiting.extend(self._sent(one.items) for one in again)
        except (ProcessExpired, TimeoutError, MemoryError) as error:
            left_at = self._pool.slots.give_back(batch.slot)
            place = batch.place if isinstance(error, _Overdue) else left_at  # it may have gone on since
            if self._is_timeout(error) and self._pool.pauses.since(batch.sent):
                self.waiting.appendleft(self._sent(batch.items))  # nobody knows how long it really had
            elif len(batch.items) == 1:
                yield batch.items, Lost(self._reason(error))
            else:
                self.waiting.extendleft(reversed(self._parts(batch.items, place, error)))
        except BaseException:  # of the function, or of who waits
            self.cancel([batch])
            raise
        else:
            self._pool.slots.give_back(batch.slot)
            self._pool.worked()
            yield batch.items, found

    def _look(self, batch: _Batch[Item]) -> None:
        """Raise BrokenProcessPool if nothing works on a batch: a pool forgets what it is sent while it breaks. Raise
        TimeoutError if a worker has been at one item for too long: a function has taken its alarm over."""
        if batch.pool is not None and not batch.pool.active and not batch.future.done():
            raise BrokenProcessPool("the processes have ended")
        place, now = self._pool.slots.place(batch.slot), time.monotonic()
        if place is None or place != batch.place:
            batch.place, batch.since = place, now
        elif now - batch.since > self._timeout_s + GRACE_S:
            batch.future.cancel()  # which ends the worker
            raise _Overdue

    def _parts(self, items: Sequence[Item], place: int | None, error: Exception) -> list[_Batch[Item]]:
        """Return smaller batches, in order: where the worker ended is known, what stands before and behind stays
        together. What took too long has had its time; what crashed is tried once more, alone."""
        if place is None:
            return [self._sent([item]) for item in items]
        parts = [items[:place], items[place : place + 1], items[place + 1 :]]
        if not self._is_timeout(error):
            return [self._sent(part) for part in parts if part]
        lost = _Batch(parts[1])
        lost.future.set_exception(error)
        return [lost if part is parts[1] else self._sent(part) for part in parts if part]

    def cancel(self, batches: Iterable[_Batch[Item]]) -> None:
        """Give up what nobody waits for any more; its workers are ended."""
        for batch in batches:
            batch.future.cancel()
            self._pool.slots.give_back(batch.slot)

    @staticmethod
    def _is_timeout(error: Exception) -> bool:
        return isinstance(error, TimeoutError) or (ALARM is not None and getattr(error, "exitcode", 0) == -ALARM)

    def _reason(self, error: ProcessExpired | TimeoutError | MemoryError) -> str:
        if isinstance(error, MemoryError):
            return f"memory: more than {self._pool.memory_mb} MiB"
        if self._is_timeout(error):
            return f"timeout: not done within {self._timeout_s:g} s"
        code = int(error.exitcode or 0) if isinstance(error, ProcessExpired) else 0
        try:
            how = signal.Signals(-code).name if code < 0 else f"exit status {0 if code == ENDED_WITH_0 else code}"
        except ValueError:
            how = f"signal {-code}"
        return f"crashed: the worker process ended on this record ({how})"


@contextmanager
def pool_of(workers: int, *, isolated: bool = True, memory_mb: int = MEMORY_MB, ready: Ready = idle) -> Iterator[Pool]:
    """Give a pool that ends with its context.

    Args:
        workers: processes.
        isolated: even a single worker is a process of its own; False = a single worker is this process.
        memory_mb, ready: see `WorkerPool`.
    """
    if count(workers, "workers") == 1 and not isolated:
        yield THIS_PROCESS
        return
    with WorkerPool(workers, memory_mb, ready) as pool:
        yield pool


def standing_pool(workers: int) -> Pool:
    """Return worker processes that are started once and stay as long as this process; of 0 workers, this process."""
    with _STARTING:  # of threads that come at once, one starts them
        return _standing(os.getpid(), workers) if count(workers, "workers", least=0) else THIS_PROCESS


@cache
def _standing(parent: int, workers: int) -> WorkerPool:
    pool = WorkerPool(workers)
    # before multiprocessing ends what it knows of: while it waits for that, the pool would replace it
    Finalize(pool, pool.stop, exitpriority=10)
    return pool
