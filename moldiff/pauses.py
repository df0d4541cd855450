"""Moments in which this process stood still: stopped by Ctrl-Z, its machine asleep, its clock put forward.

A deadline that passes meanwhile says nothing about the work that had it.
"""

from __future__ import annotations

import threading
import time

_TICK_S = 0.5
_LONG_S = 2.0  # between two ticks: more than a busy machine makes of them


def stood_still(waited: float, used: float) -> bool:
    """Return True if, by its processor time, work cannot have been at it for most of the seconds that it took."""
    return used < waited / 2


class Pauses:
    """A thread that looks at the clock again and again, and so sees when it could not.

    The clock is that of the day, which goes on while a machine sleeps; deadlines of worker processes are told by it.
    """

    def __init__(self) -> None:
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._last, self._seen = time.time(), 0.0
        threading.Thread(target=self._watch, name="moldiff-pauses", daemon=True).start()

    def since(self, moment: float) -> bool:
        """Return True if there was a pause after a moment, in seconds since the epoch."""
        self._look()
        return self._seen > moment

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(_TICK_S):
            self._look()

    def _look(self) -> None:
        with self._lock:
            now = time.time()
            if now - self._last > _LONG_S:
                self._seen = now
            elif now < self._last:  # the clock was put back: no pause lies ahead of it
                self._seen = min(self._seen, now)
            self._last = now
