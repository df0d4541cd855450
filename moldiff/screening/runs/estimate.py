"""An estimate of a run, from some of its molecules."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from moldiff.errors import MoldiffError
from moldiff.processes import Lost, pool_of
from moldiff.screening.entries import Entry
from moldiff.screening.rows import RowCounts
from moldiff.screening.runs.plan import Plan
from moldiff.screening.worker import lost

SAMPLE, BATCH = 200, 8


@dataclass(frozen=True)
class Estimate:
    """An estimate of a run.

    Attributes:
        records, shards: of the run.
        looked_at: records that were looked at, spread evenly over the inputs.
        counts: of what became of these.
        ms: milliseconds that one takes on one process.
        workers: processes of the run.
    """

    records: int
    shards: int
    looked_at: int
    counts: RowCounts
    ms: float
    workers: int

    @property
    def hours(self) -> float:
        """Hours that the run will take."""
        return self.records * self.ms / self.workers / 3.6e6

    def lines(self) -> list[str]:
        """Return the estimate for the terminal."""
        parts = " + ".join(f"{count} {status}" for status, count in self.counts.by_status.items())
        stages = sorted(self.counts.by_stage.items(), key=lambda one: -one[1])
        seconds = 3600 * self.hours
        length = f"{self.hours:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"
        length = length if seconds >= 60 else f"{seconds:.0f} seconds"
        return [
            f"{self.records} records in {self.shards} shards; looked at {self.looked_at} of them",
            f"{self.looked_at} requested = {parts}",
            *([f"left out: {', '.join(f'{count} by {name}' for name, count in stages)}"] if stages else []),
            f"{self.ms:.2f} ms for each on one process: about {length} on {self.workers}",
        ]


def estimate(plan: Plan, workers: int) -> Estimate:
    """Return an estimate of a run; nothing is written.

    Raises:
        MoldiffError: a file cannot be read, or the run is one of draws, which are not there yet.
    """
    if plan.draws is not None:
        raise MoldiffError("an estimate looks at files; generate some hundred molecules, and give their file")
    asked = plan.asked()
    asked.criteria.refuse_missing_programs()
    work = asked.work(asked.checks())
    sample = _sample(plan)
    # The first record starts the process, and builds the catalogues: it is not timed, unless it is the only one.
    batches = [sample[:1], *(sample[first : first + BATCH] for first in range(1, len(sample), BATCH))]
    counts, timed = RowCounts(asked.dedup), 0
    started = ended = time.monotonic()
    with pool_of(1, memory_mb=plan.options.memory, ready=work.prepare) as pool:
        for batch, rows in pool.map_batches(work, batches, timeout_s=plan.options.timeout):
            for row in [lost(batch[0], rows)] if isinstance(rows, Lost) else rows:
                counts.take(row)
            if batch[0] is sample[0] and len(sample) > 1:
                started = time.monotonic()
            else:
                timed += len(batch)
                ended = time.monotonic()
    ms = 1000 * (ended - started) / max(timed, 1)
    return Estimate(plan.records, plan.shards, len(sample), counts, ms, workers)


def _sample(plan: Plan) -> list[Entry]:
    count = min(SAMPLE, plan.records)
    numbers = {place * plan.records // count for place in range(count)}
    return [entry for entry in plan.entries(set(range(plan.shards)), Path()) if entry.number in numbers]
