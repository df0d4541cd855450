"""Kill a screening run with SIGKILL at random moments, go on with it, and compare its tables with those of a run that
nobody killed, byte for byte. Writes a Markdown page.

    python -m scripts.benchmarks.kills data/sample.sdf --kills 2
    python -m scripts.benchmarks.kills data/sample.sdf -o scripts/benchmarks/results/kills.md

Every moment is one of a new run: uniform between the start and the time that the whole run took. Each run is killed
once, with its worker processes, and ended by the same command.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from moldiff.errors import MoldiffError
from moldiff.reading import sha256_of
from moldiff.screening.runs.run import status_of
from moldiff.version import VERSION
from scripts.benchmarks.pages import deliver

TABLES = ("records.parquet", "ranked.parquet", "ranked.csv", "top.sdf.gz", "funnel.json")
WORDS = ("--where", "mw<500", "--alerts", "pains,brenk", "--rank", "qed:max:0.2..0.9", "--top", "5")
SHARD_SIZE = "20"
SEED = 0


@dataclass(frozen=True)
class Killed:
    """A run that was killed.

    Attributes:
        after: seconds from its start.
        shards: that were there then; None = it had not come as far as a plan.
        was_done: it had ended before.
        same: tables that came out as those of the run that nobody killed.
    """

    after: float
    shards: int | None
    was_done: bool
    same: int


def command(file: Path, out: Path, workers: int) -> list[str]:
    """Return the command of a run."""
    sized = ("--shard-size", SHARD_SIZE, "--workers", str(workers))
    return [sys.executable, "-m", "moldiff", "screen", str(file), *WORDS, *sized, "-o", str(out)]


def hashes(run: Path) -> dict[str, str]:
    """Return table -> hash."""
    return {name: sha256_of(run / name) for name in TABLES}


def killed(words: Sequence[str], run: Path, after: float, wanted: dict[str, str]) -> Killed:
    """Kill a run after so many seconds, end it, and compare."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(after)
    was_done = process.poll() is not None
    if not was_done:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    try:
        shards = status_of(run).shards_done
    except MoldiffError:
        shards = None
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return Killed(after, shards, was_done, sum(hashes(run)[name] == wanted[name] for name in TABLES))


def kill_runs(file: Path, kills: int, workers: int) -> tuple[list[Killed], float]:
    """Kill so many runs, each at a random moment; return them, and the seconds of the run that nobody killed."""
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "whole"
        started = time.monotonic()
        subprocess.run(command(file, whole, workers), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - started
        wanted, found = hashes(whole), []
        for number, after in enumerate(np.random.default_rng(SEED).uniform(0.0, seconds, kills)):
            run = Path(name) / f"run{number}"
            found.append(killed(command(file, run, workers), run, float(after), wanted))
            shutil.rmtree(run)
        return found, seconds


def page(found: Sequence[Killed], told: str, seconds: float) -> str:
    """Return the page."""
    lines = [
        "# Screening runs that are killed, measured",
        "",
        f"`{told}`, {datetime.now(UTC):%Y-%m-%d}, moldiff {VERSION}. The run that nobody killed took {seconds:.1f} s.",
        "",
        f"Of {len(found)} runs, {sum(one.same == len(TABLES) for one in found)} ended with the same "
        f"{len(TABLES)} tables, byte for byte ({', '.join(TABLES)}); {sum(one.was_done for one in found)} had ended "
        "before the moment came.",
        "",
        "| killed after, s | shards that were there | tables that are the same |",
        "|---|---|---|",
    ]
    for one in sorted(found, key=lambda one: one.after):
        shards = "no plan yet" if one.shards is None else str(one.shards)
        lines.append(f"| {one.after:.2f} | {shards} | {one.same} of {len(TABLES)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Kill, go on, compare, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a molecule file")
    parser.add_argument("--kills", type=int, default=20, help="runs that are killed, 20 by default")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, help="Markdown to write; without it, it is printed")
    arguments = parser.parse_args()
    found, seconds = kill_runs(arguments.file.resolve(), arguments.kills, arguments.workers)
    told = f"python -m scripts.benchmarks.kills {arguments.file.name} --kills {arguments.kills}"
    text = page(found, told, seconds)
    deliver(text, arguments.out)


if __name__ == "__main__":
    main()
