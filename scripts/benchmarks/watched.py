"""A command whose processes are watched while it runs: their resident memory, second by second."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

EVERY_S = 1.0


@dataclass(frozen=True)
class Watched:
    """A command that ended.

    Attributes:
        status: its exit status.
        seconds: wall time.
        cpu: seconds of processor time of all its processes.
        done: (m,) what was done at each look.
        main, worker: (m,) resident memory of the command and of the largest process that it started, MB; 0 = there was
            none.
    """

    status: int
    seconds: float
    cpu: float
    done: np.ndarray
    main: np.ndarray
    worker: np.ndarray

    @property
    def most(self) -> float:
        """The largest memory of any process, MB."""
        return float(max(self.main.max(initial=0.0), self.worker.max(initial=0.0)))

    def slope(self, memory: np.ndarray, total: int) -> float:
        """Return by how much memory grows while the last three quarters are done, MB for all of it.

        Args:
            memory: `main` or `worker`.
            total: what there is to do.
        """
        shown = (self.done >= total / 4) & (self.done < total) & (memory > 0)
        if len(set(self.done[shown])) < 2:
            return 0.0
        return float(np.polyfit(self.done[shown] / total, memory[shown], 1)[0])


def watch(words: Sequence[str], folder: Path, done: Callable[[], int]) -> Watched:
    """Run ``python -m moldiff`` in a folder and watch it.

    Args:
        words: behind the name of the command.
        folder: it runs there.
        done: tells how much is done so far.
    """
    looks, started = list[tuple[int, float, float]](), time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "moldiff", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pid = 0
    while not pid:
        sizes = [resident_mb(number) for number in (process.pid, *children(process.pid))]
        looks.append((done(), sizes[0], max(sizes[1:], default=0.0)))
        time.sleep(EVERY_S)
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    numbers = np.array(looks)
    seconds = time.monotonic() - started
    return Watched(process.returncode, seconds, usage.ru_utime + usage.ru_stime, *numbers.T)


def children(process: int) -> list[int]:
    """Return the processes that one has started and that are there."""
    try:
        texts = [path.read_text(encoding="utf-8") for path in Path(f"/proc/{process}/task").glob("*/children")]
    except OSError:
        return []
    return [int(word) for text in texts for word in text.split()]


def resident_mb(process: int) -> float:
    """Return the resident memory of a process, MB; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
