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


@contextmanager
def watched_signals() -> Iterator[Interruption]:
    """Hand Ctrl-C and SIGTERM to an `Interruption`, where they would otherwise have their default effect: a program
    that handles or ignores one goes on doing so. Only the main thread of a program gets signals."""
    interruption = Interruption()
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    replaced = {}
    if threading.current_thread() is threading.main_thread():
        replaced = {number: usual for number, usual in defaults.items() if signal.getsignal(number) == usual}
    for number in replaced:
        signal.signal(number, interruption.handle)
    try:
        yield interruption
    finally:
        for number, usual in replaced.items():
            signal.signal(number, usual)
