"""Work inside a worker process of `moldiff.processes`: its limits, its alarm, and which item it is at."""

from __future__ import annotations

import contextlib
import importlib
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from types import FrameType
from typing import TypeVar

from moldiff.batch_slots import NOWHERE, Slot

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

Item = TypeVar("Item")
Result = TypeVar("Result")

ALARM = getattr(signal, "SIGALRM", None)  # not on Windows

START_S = 120.0  # for what a worker does before its first item

_numbers: MutableSequence[int] = []  # of `Slots`, shared with the parent
_ready = 0  # functions that have got this process ready
_at_end: list[Callable[[], object]] = []


def at_end(function: Callable[[], object]) -> None:
    """Have a function called where a worker is ended from outside: told to, or because its parent was killed. What a
    worker has started in a session of its own would go on without it."""
    _at_end.append(function)


def seconds_left() -> float:
    """Return the seconds until this worker ends if it is not done with the item it is at; inf if nobody set it a time,
    as in a process that is no worker."""
    if ALARM is None or signal.getsignal(ALARM) != signal.SIG_DFL:
        return math.inf
    return signal.getitimer(signal.ITIMER_REAL)[0] or math.inf


def _call_at_end() -> None:
    for function in _at_end:
        with contextlib.suppress(Exception):
            function()


def idle() -> None:
    """Do nothing."""


def load(*names: str) -> None:
    """Import modules ("package.module") and call functions without arguments ("package.module:function")."""
    for name in names:
        module, _, function = name.partition(":")
        found = importlib.import_module(module)
        if function:
            getattr(found, function)()


def each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what a function makes of each item."""
    return [function(item) for item in items]


def apply(
    function: Callable[[Iterable[Item]], Result],
    items: Sequence[Item],
    timeout_s: float,
    slot: Slot | None,
    ready: Sequence[Callable[[], object]] = (),
) -> Result:
    """Return what a function makes of a batch.

    Args:
        function: takes the items of its batch one after the other.
        items: of the batch.
        timeout_s: for each item.
        slot: see `_at`.
        ready: what a process does before its first item, and no item is to blame for. What goes wrong goes wrong again
            with an item, which tells the reason.
    """
    _get_ready(ready)
    if ALARM is None:
        return function(items)
    try:
        return function(_timed(items, timeout_s, slot))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _get_ready(functions: Sequence[Callable[[], object]]) -> None:
    global _ready
    for function in functions[_ready:]:
        _ready += 1
        if ALARM is not None:
            _alarm(START_S)
        with contextlib.suppress(Exception, SystemExit):
            function()


def _timed(items: Sequence[Item], timeout_s: float, slot: Slot | None) -> Iterator[Item]:
    """Yield items; the process ends if the next one is not asked for in time, whatever holds the interpreter."""
    for place, item in enumerate(items):
        _at(slot, place)
        _alarm(timeout_s)
        yield item
    _at(slot, NOWHERE)
    _alarm(timeout_s)


def _alarm(seconds: float) -> None:
    """Let the process end after so many seconds, also where a function of the item before has set an alarm of its
    own."""
    signal.setitimer(signal.ITIMER_REAL, seconds)  # first: an alarm of the item before may be about to go off
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _at(slot: Slot | None, place: int) -> None:
    """Write down which item of a batch this worker is at; its parent reads it if the worker ends there."""
    if slot is not None:
        slot.write(_numbers, place)


def set_up(memory_mb: int, numbers: MutableSequence[int]) -> None:
    """Prepare a worker: Ctrl-C is the parent's affair, and a worker whose parent was killed ends too."""
    global _numbers
    _numbers = numbers
    if resource is not None:
        _limit_memory(memory_mb * 2**20)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # held back since the start
    if ALARM is not None:
        signal.signal(ALARM, signal.SIG_DFL)  # ends the process
    _before_sigterm(_call_at_end)
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _limit_memory(size: int) -> None:
    """Limit the data of this process, in bytes, if the system lets it: macOS knows the limit and refuses it."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most != resource.RLIM_INFINITY:
        size = min(size, most)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _before_sigterm(function: Callable[[], object]) -> None:
    """Have a function called in front of what the pool does in a worker that is told to end."""
    own = signal.getsignal(signal.SIGTERM)

    def ended(number: int, frame: FrameType | None) -> None:
        function()
        if callable(own):
            own(number, frame)
        os._exit(1)

    signal.signal(signal.SIGTERM, ended)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _call_at_end()
        os._exit(1)
