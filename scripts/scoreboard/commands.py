"""The command line as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LONGEST_S = 3600.0  # a command that takes longer hangs


@dataclass(frozen=True)
class Run:
    """A command that ended.

    Attributes:
        status: its exit status, negative if a signal ended it; 124 = it took too long.
        said: on either stream.
    """

    status: int
    said: str


def run_python(words: Sequence[str], folder: Path, seconds: float = LONGEST_S) -> Run:
    """Run Python in a folder, on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env=environment,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return Run(124, f"not done within {seconds:g} s")
    return Run(done.returncode, done.stdout.decode("utf-8", errors="replace"))


def run_moldiff(words: Sequence[str], folder: Path, seconds: float = LONGEST_S) -> Run:
    """Run a command of moldiff in a folder."""
    return run_python(["-m", "moldiff", *words], folder, seconds)
