"""Progress of a command: a bar with time left, or lines now and then."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator

from moldiff.durations import duration

logger = logging.getLogger(__name__)


class ProgressLines:
    """Tells progress where there is no terminal to draw on: a line after a minute, and from then on seldom.

    The pace is that since the first call, if this comes before the first line: what an earlier run did is told then.

    Args:
        label: what is counted.
        total: of all; None = not known.
        clock: seconds.
        shares: what is told is no number of finished ones, but the share of the work that is done.
    """

    FIRST, FACTOR, LONGEST = 60.0, 2.0, 600.0  # seconds to the first line, growth of the time between lines, its end

    def __init__(
        self, label: str, total: int | None, clock: Callable[[], float] = time.monotonic, *, shares: bool = False
    ) -> None:
        self._label, self._total, self._clock, self._shares = label, total, clock, shares
        self._started, self._wait = clock(), self.FIRST
        self._next = self._started + self.FIRST
        self._before: tuple[int, float] | None = None  # done at the first call, and when that was

    def __call__(self, done: int) -> None:
        """Take the number done so far."""
        now = self._clock()
        if self._before is None:
            self._before = (done, now) if now < self._next else (0, self._started)
        if now < self._next:
            return
        self._wait = min(self._wait * self.FACTOR, self.LONGEST)
        self._next = now + self._wait
        spent = now - self._started
        new, pace_since = done - self._before[0], now - self._before[1]
        if self._total is None or new < 1:
            logger.info("%d %s in %s", done, self._label, duration(spent))
            return
        left = duration(pace_since * max(self._total - done, 0) / new)
        told = f"{done} of {self._total} {self._label}"
        if self._shares:
            told = f"{100 * done // self._total} % of the work"
        logger.info("%s in %s, %s left", told, duration(spent), left)


@contextlib.contextmanager
def progress_bar(label: str, total: int | None, *, shares: bool = False) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes the number done so far: it draws a bar with time left, or, without a terminal, tells
    of it in a line now and then; see `ProgressLines`."""
    if not sys.stderr.isatty():
        yield ProgressLines(label, total, shares=shares)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    done = TaskProgressColumn() if shares else MofNCompleteColumn()
    columns = [TextColumn(label), BarColumn(), done, TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)
