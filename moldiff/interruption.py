"""Ctrl-C, SIGTERM and SIGHUP during long work: it stops, what is finished can still be written."""

from __future__ import annotations

import signal
import sys
import threading
import time
from _thread import start_new_thread
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
Handler = Callable[[int, FrameType | None], Any]

ENDING = tuple(
    signal.Signals[name]
    for name in ("SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # no SIGHUP on Windows
)
"""Signals that ask a program to end; Ctrl-C is one of its own."""
_LOOK_S = 0.5  # between looks for a signal
_AGAIN_S = 0.05  # until a signal that was swallowed comes again


_interrupts: list[int] = []  # Ctrl-C that `interrupt` was told of


class Terminated(SystemExit):
    """A signal ends the program: no failure of whatever ran when it came."""


class _Now(BaseException):
    """Raised by a signal while somebody waits in `Interruption.until`; no error, so nothing that handles errors sees
    it.

    Args:
        interruption: that waits.
    """

    def __init__(self, interruption: Interruption) -> None:
        self.interruption = interruption


class Interruption:
    """A signal that may have come; without `watched_signals` none ever does.

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
        terminate(self.number or 0)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal; a second one ends the program without further ado."""
        again, self.number = self.number is not None, number
        if again:
            self.end()
        if self._waiting:
            self._waiting = False
            raise _Now(self)

    def forget(self) -> int:
        """Wait on as if the signal that ended the waiting had not come, and return its number."""
        number, self.number, self._waiting = self.number or 0, None, True
        return number


def terminate(number: int, frame: FrameType | None = None) -> NoReturn:
    """End the program with the status of a signal, by an exception: what is half-made is cleared away."""
    raise Terminated(128 + number)


def interrupt(number: int, frame: FrameType | None = None) -> NoReturn:
    """Do what Python does of Ctrl-C, and remember it."""
    _interrupts.append(number)
    raise KeyboardInterrupt


def ended_by(end: KeyboardInterrupt | SystemExit) -> int:
    """Say in one line that a signal ended the program, and return the exit status; raise what is no such end."""
    if (number := _signal_of(end)) is None:
        raise end
    if number == signal.SIGINT:
        # If Ctrl-C passed through text that Python compiled on the way, as data classes do, `python -m` ends by the
        # signal in spite of the status. It forgets that when it runs another such text, as here.
        namedtuple("Text", ())
    if sys.stderr is not None:  # else it was closed
        with suppress(OSError, ValueError):
            sys.stderr.write("interrupted\n" if number == signal.SIGINT else "terminated\n")
    return 128 + number


def awaited(future: Future[T], look: Callable[[], None] | None = None) -> T:
    """Return the result of a future; in the main thread a signal ends the waiting for it.

    Args:
        future: to wait for.
        look: called every half a second of waiting; what it raises ends that.

    RDKit's substructure search takes Ctrl-C over and puts Python's handler back in the way of C's ``signal``, after
    which a wait goes on as if no signal had come. A signal may also come just before the wait begins. So it is a
    sequence of short ones: between two of them, Python looks for signals.
    """
    if look is not None or threading.current_thread() is threading.main_thread():
        while not wait([future], timeout=_LOOK_S).done:
            if look is not None:
                look()
    return future.result()


@contextmanager
def orderly_end() -> Iterator[None]:
    """Let SIGTERM and SIGHUP `terminate`, where they would otherwise end the program on the spot.

    An error after Ctrl-C is none of its own: libraries swallow what that raises while they are imported, and break.
    """
    ctrl_c: dict[signal.Signals, tuple[Any, ...]] = {signal.SIGINT: (signal.default_int_handler,)}
    with (
        _handled(terminate, dict.fromkeys(ENDING, (signal.SIG_DFL,))),
        _handled(interrupt, ctrl_c),
        _swallowed_sent_again(),
    ):
        before = len(_interrupts)
        try:
            yield
        except Exception:
            if len(_interrupts) > before:
                raise KeyboardInterrupt from None
            raise


@contextmanager
def watched_signals() -> Iterator[Interruption]:
    """Hand Ctrl-C, SIGTERM and SIGHUP to an `Interruption`, where they would otherwise have their default effect: a
    program that handles or ignores one (as under nohup) goes on doing so. Only a program's main thread gets signals."""
    interruption = Interruption()
    usual: dict[signal.Signals, tuple[Any, ...]] = dict.fromkeys(ENDING, (signal.SIG_DFL, terminate))
    usual[signal.SIGINT] = (signal.default_int_handler, interrupt)
    with _handled(interruption.handle, usual), _swallowed_sent_again():
        yield interruption


@contextmanager
def put_off() -> Iterator[None]:
    """Let signals that come within the context have their effect behind it: for what may not stop half-way, and is
    short."""
    come: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    heeded = {number: (known,) for number, known in handlers.items() if known not in (signal.SIG_IGN, None)}
    with _handled(lambda number, frame: come.append(number), heeded):
        yield
    for number in come:
        signal.raise_signal(number)


@contextmanager
def held_back(*numbers: signal.Signals) -> Iterator[None]:
    """Hold signals back from this thread within the context, and for good from processes that it starts there."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # may raise for one that has come already
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _handled(handler: Handler, usual: Mapping[signal.Signals, tuple[Any, ...]]) -> Iterator[None]:
    """Hand signals to a handler, as far as one of their usual handlers gets them now and this is the main thread."""
    replaced = {}
    if threading.current_thread() is threading.main_thread():
        current = {number: signal.getsignal(number) for number in usual}
        replaced = {number: before for number, before in current.items() if before in usual[number]}
    with ExitStack() as stack:
        for number, before in replaced.items():
            stack.callback(signal.signal, number, before)  # each, even if a signal raises meanwhile
            signal.signal(number, handler)
        yield


@contextmanager
def _swallowed_sent_again() -> Iterator[None]:
    """Send a signal again if what its handler raised was swallowed: in ``__del__`` and callbacks of weak references, of
    which imports have many, Python only complains of what is raised. Of a program's main thread, as in `_handled`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = sys.unraisablehook

    def sent_again(swallowed: sys.UnraisableHookArgs) -> None:
        if (number := _signal_of(swallowed.exc_value)) is None:
            before(swallowed)
        else:
            # raised here and now it would be swallowed again; threading's own threads take locks that may be held here
            start_new_thread(_send_soon, (number,))

    sys.unraisablehook = sent_again
    try:
        yield
    finally:
        sys.unraisablehook = before


def _signal_of(raised: BaseException | None) -> int | None:
    """Return the number of the signal whose handler raised something; None = no handler did."""
    if isinstance(raised, _Now):
        return raised.interruption.forget()
    if isinstance(raised, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(raised, SystemExit) and raised.code in {128 + number for number in ENDING}:
        return int(raised.code or 0) - 128
    return None


def _send_soon(number: int) -> None:
    time.sleep(_AGAIN_S)
    signal.raise_signal(number)
