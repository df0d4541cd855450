"""Ctrl-C and SIGTERM while molecules are made: the work stops, what is finished can still be written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TypeVar

T = TypeVar("T")


class _Now(BaseException):
    """Raised by a signal while somebody waits in `Interruption.until`; no error, so nothing that handles errors sees
    it."""


class Interruption:
    """Whether a signal has come; without `watched_signals` none ever does.

    Attributes:
        number: of the signal; None = none has come.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._waiting = False

    def until(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items until a signal comes. It ends the making of the next item at once, and leaves alone whatever is
        done with an item that was yielded."""
        source = iter(items)
        while self.number is None:
            try:
                try:
                    self._waiting = True
                    item = next(source)
                except StopIteration:
                    return
                finally:
                    self._waiting = False
            except _Now:
                return
            yield item

    def end(self) -> NoReturn:
        """End the program as the signal would have: KeyboardInterrupt for Ctrl-C, exit status 128 + its number for
        another."""
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + (self.number or 0))

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal; a second one ends the program without further ado."""
        again, self.number = self.number is not None, number
        if again:
            self.end()
        if self._waiting:
            self._waiting = False
            raise _Now


def terminate(number: int, frame: FrameType | None) -> NoReturn:
    """End the program with the status of a signal, by an exception: what is half-made is cleared away."""
    raise SystemExit(128 + number)


@contextmanager
def orderly_end() -> Iterator[None]:
    """Let SIGTERM `terminate`, where it would otherwise end the program on the spot."""
    watched = threading.current_thread() is threading.main_thread()
    watched = watched and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if watched:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if watched:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def watched_signals() -> Iterator[Interruption]:
    """Hand Ctrl-C and SIGTERM to an `Interruption`, where they would otherwise have their default effect: a program
    that handles or ignores one goes on doing so. Only the main thread of a program gets signals."""
    interruption = Interruption()
    defaults = {signal.SIGINT: (signal.default_int_handler,), signal.SIGTERM: (signal.SIG_DFL, terminate)}
    replaced = {}
    if threading.current_thread() is threading.main_thread():
        current = {number: signal.getsignal(number) for number in defaults}
        replaced = {number: handler for number, handler in current.items() if handler in defaults[number]}
    for number in replaced:
        signal.signal(number, interruption.handle)
    try:
        yield interruption
    finally:
        for number, usual in replaced.items():
            signal.signal(number, usual)
