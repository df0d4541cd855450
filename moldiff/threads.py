"""Micro-batches side by side. One micro-batch is too small to keep several CPU threads busy, several at once are not.

Each computes on one thread of PyTorch, however many there are: what comes out does not depend on the machine's cores.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from moldiff.interruption import awaited

Item = TypeVar("Item")
Result = TypeVar("Result")


_THREAD = threading.local()


class Unwanted(Exception):
    """Ends a piece of work whose result nobody waits for any more."""


def stop_if_unwanted() -> None:
    """Raise `Unwanted` in a worker that is being given back; long work calls it now and then, or Ctrl-C would have to
    wait for its end."""
    given_back: threading.Event | None = getattr(_THREAD, "given_back", None)
    if given_back is not None and given_back.is_set():
        raise Unwanted


class Workers:
    """Threads that run independent pieces of work; made by `workers_for`.

    Args:
        executor: runs the pieces; None = they run one after the other, in the caller's thread, when they are asked for.
        count: pieces that run at a time.
    """

    def __init__(self, executor: ThreadPoolExecutor | None, count: int) -> None:
        self._executor, self.count = executor, count

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Return the results in the order of the items. Threads begin at once, not when the first is asked for."""
        if self._executor is None:
            return map(work, items)
        return _results(deque(self._executor.submit(work, item) for item in items))


def _results(waiting: deque[Future[Result]]) -> Iterator[Result]:
    """Yield results in order; what nobody waits for any more is not begun."""
    try:
        while waiting:
            yield awaited(waiting.popleft())
    finally:
        for future in waiting:
            future.cancel()


INLINE = Workers(None, 1)


class _SingleThreads:
    """PyTorch's operations on one thread each while anybody, in any thread of the caller, is in this context; a thread
    may be in it more than once."""

    def __init__(self) -> None:
        self._lock, self._users, self._before, self._own = threading.Lock(), 0, 1, threading.local()

    def __enter__(self) -> int:
        """Return how many threads PyTorch has without."""
        with self._lock:
            if not self._users:
                self._before = torch.get_num_threads()
            self._users += 1
            self._own.depth = self._depth() + 1
            torch.set_num_threads(1)
            return self._before

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1
            self._own.depth -= 1
            if not self._depth():
                torch.set_num_threads(self._before)

    def _depth(self) -> int:
        """Return how often this thread is in the context; PyTorch keeps the number of threads for each thread apart."""
        return getattr(self._own, "depth", 0)


SINGLE = _SingleThreads()


@contextmanager
def workers_for(device: torch.device) -> Iterator[Workers]:
    """Give the threads that suit a device: on a CPU as many as PyTorch has, elsewhere a single one that keeps the
    device busy while the caller does other work.

    Until they are given back, an operation of this process's PyTorch uses one CPU thread.
    """
    given_back = threading.Event()

    def begin() -> None:
        _THREAD.given_back = given_back
        torch.set_num_threads(1)  # each thread has a number of its own, and others may be given back meanwhile

    with SINGLE as threads:
        count = threads if device.type == "cpu" else 1
        executor = ThreadPoolExecutor(count, "moldiff", initializer=begin)
        try:
            yield Workers(executor, count)
        finally:
            given_back.set()
            executor.shutdown(cancel_futures=True)
