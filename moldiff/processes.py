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
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Generic, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from moldiff.errors import MoldiffError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNKS_AHEAD = 3  # submitted chunks per worker: enough to keep it busy, few enough to bound the memory
ATTEMPTS = 2  # pools in a row that may break before they have done anything


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
) -> Iterator[Result | Lost]:
    """Yield ``function(item)`` for every item, in order; `Lost` for one that kills its worker or takes too long.

    Args:
        function: a function of a module; items and results are plain values that can be sent to a process.
        items: read lazily, a few chunks ahead of the workers.
        workers: processes, each computing on one thread. Even one is a process of its own.
        chunk: items sent at once. If a chunk is lost, its items are tried one by one.
        timeout_s: longest time for one item; a chunk may take as long as its items together. None = any.

    Raises:
        MoldiffError: processes cannot be started.
        Exception: what ``function`` raises.
    """
    source = iter(items)
    chunks = iter(lambda: list(itertools.islice(source, chunk)), [])
    pool = _Pool(function, workers, timeout_s)
    waiting: deque[tuple[list[Item], ProcessFuture]] = deque()
    try:
        for part in chunks:
            waiting.append((part, pool.submit(part)))
            if len(waiting) > CHUNKS_AHEAD * workers:
                yield from pool.first(waiting)
        while waiting:
            yield from pool.first(waiting)
    finally:
        pool.stop()


class _Pool(Generic[Item, Result]):
    """A process pool that works on chunks, and is started anew if it breaks as a whole."""

    def __init__(self, function: Callable[[Item], Result], workers: int, timeout_s: float | None) -> None:
        self._function, self._workers, self._timeout_s = function, workers, timeout_s
        self._broken = 0  # pools in a row
        self._pool = self._start()

    def _start(self) -> ProcessPool:
        return ProcessPool(self._workers, initializer=_set_up, context=get_context("spawn"))

    def stop(self) -> None:
        self._pool.stop()
        self._pool.join()

    def submit(self, items: Sequence[Item]) -> ProcessFuture:
        limit = None if self._timeout_s is None else self._timeout_s * len(items)
        try:
            return self._pool.schedule(_apply, args=[self._function, items], timeout=limit)
        except RuntimeError as error:  # the pool has just broken: found out when the result is asked for
            broken: ProcessFuture = ProcessFuture()
            broken.set_exception(BrokenProcessPool(str(error)))
            return broken

    def first(self, waiting: deque[tuple[list[Item], ProcessFuture]]) -> list[Result | Lost]:
        """Take the first chunk off the queue and return its results."""
        items, future = waiting.popleft()
        try:
            found: list[Result | Lost] = list(future.result())
        except BrokenProcessPool:
            self._restart()
            waiting.appendleft((items, future))
            again = [(part, self.submit(part)) for part, _ in waiting]
            waiting.clear()
            waiting.extend(again)
            return self.first(waiting)
        except (ProcessExpired, TimeoutError) as error:
            if len(items) == 1:
                return [Lost(self._reason(error))]
            singles = deque(([item], self.submit([item])) for item in items)
            return [result for _ in items for result in self.first(singles)]
        self._broken = 0
        return found

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
        if isinstance(error, TimeoutError):
            return f"timeout: not done within {self._timeout_s:g} s"
        code = int(error.exitcode or 0)
        try:
            how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        except ValueError:
            how = f"signal {-code}"
        return f"crashed: the worker process ended on this record ({how})"


def _apply(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def _set_up() -> None:
    """Prepare a worker: Ctrl-C is the parent's affair, and a worker whose parent was killed ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def map_chunks(
    function: Callable[[Item], Result], chunks: Sequence[Item], *, workers: int, what: str
) -> Iterator[Result]:
    """Yield ``function(chunk)`` for every chunk, in order; in this process if there is one worker or one chunk.

    Args:
        function: a function of a module; chunks and results are plain Python values (text, numbers).
        chunks: one per call.
        workers: processes. They are spawned, never forked (torch may hold threads), and compute on one thread each.
        what: name of the work for the error message.

    Raises:
        MoldiffError: a worker process died.
    """
    if workers <= 1 or len(chunks) <= 1:
        yield from map(function, chunks)
        return
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=context, initializer=_set_up) as pool:
            yield from pool.map(function, chunks)
    except BrokenProcessPool as error:
        raise MoldiffError(
            f"a worker process of {what} died; try again with fewer workers or leave {what} out"
        ) from error
