"""The engine of one machine: shards that are not there yet are worked on by processes, in order, and each is written
when it is whole."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from moldiff.errors import MoldiffError
from moldiff.interruption import watched_signals
from moldiff.processes import Lost, pool_of
from moldiff.screening.entries import Entry
from moldiff.screening.filter_run import CHUNK, FilterOptions, Progress
from moldiff.screening.rows import Row
from moldiff.screening.runs.chain import Earlier
from moldiff.screening.runs.plan import PLAN, Plan
from moldiff.screening.runs.shards import ShardTables
from moldiff.screening.worker import lost
from moldiff.status import Status

logger = logging.getLogger(__name__)


class _Job:
    """A shard under way.

    Args:
        shard: its number.
        entries: records that have to be looked at.
        rows: of the others.
    """

    def __init__(self, shard: int, entries: list[Entry], rows: list[Row]) -> None:
        self.shard, self._entries, self._rows = shard, entries, rows
        self._records = len(entries) + len(rows)

    def batches(self) -> Iterator[list[Entry]]:
        """Yield the records that have to be looked at; only once, so that they need not be kept."""
        entries, self._entries = iter(self._entries), []
        yield from iter(lambda: list(itertools.islice(entries, CHUNK)), [])

    def take(self, rows: Sequence[Row]) -> None:
        """Take rows that came back."""
        self._rows += rows

    @property
    def is_whole(self) -> bool:
        """All rows are there."""
        return len(self._rows) == self._records

    @property
    def rows(self) -> list[Row]:
        """The rows, in order."""
        return sorted(self._rows, key=lambda row: row.number)


class ProcessesEngine:
    """Worker processes on this machine.

    Args:
        plan: of the run.
        tables: of its chain of checks.
        asked: what is asked of each molecule.
        workers: processes.
        progress: called with the number of records done so far.
    """

    def __init__(
        self,
        plan: Plan,
        tables: ShardTables,
        asked: FilterOptions,
        *,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> None:
        self._plan, self._tables, self._asked = plan, tables, asked
        self._workers, self._progress = workers, progress
        self._done = 0

    def work(self, shards: Sequence[int], *, retry: bool = False) -> None:
        """Make shards that are not there yet.

        Args:
            shards: their numbers.
            retry: look again at records that failed.

        Raises:
            MoldiffError: a file cannot be read or written. What is finished is there.
            KeyboardInterrupt, SystemExit: Ctrl-C, SIGTERM. Likewise.
        """
        there = self._tables.numbers()
        sources: dict[int, tuple[ShardTables, Earlier]] = {}
        if retry:
            same = self._tables, Earlier(self._tables.chain, self._tables.chain, retry=True)
            sources |= {shard: same for shard in shards if shard in there and self._has_failed(shard)}
        mine = set(shards)
        others = ShardTables.others(self._tables.folder.parent, self._tables.chain)
        for tables in reversed(others):  # the most akin comes last, and stays
            earlier = tables, Earlier(tables.chain, self._tables.chain)
            sources |= {shard: earlier for shard in tables.numbers() if shard not in there and shard in mine}
        wanted = (mine - there) | sources.keys()
        self._done = sum(self._plan.size(shard) for shard in mine - wanted)
        wanted -= {shard for shard, source in sources.items() if self._carried_over(shard, *source)}
        if wanted:
            self._compute(wanted, sources)

    def _has_failed(self, shard: int) -> bool:
        return any(status == Status.FAILED for status, _ in self._tables.counts(shard))

    def _carried_over(self, shard: int, tables: ShardTables, earlier: Earlier) -> bool:
        """Write a shard from an earlier one alone; return False if there is more to be known."""
        rows = [earlier.settled(row) for row in tables.read(shard)]
        found = [row for row in rows if row is not None]
        if len(found) < len(rows):
            return False
        self._write(shard, found)
        return True

    def _write(self, shard: int, rows: Sequence[Row]) -> None:
        run = self._tables.folder.parent.parent
        if not (run / PLAN).is_file():  # a folder of its name would be made anew
            raise MoldiffError(f"{run} is not there any more; if it has another name now, go on with that")
        self._tables.write(shard, rows)
        self._done += self._plan.size(shard)
        if self._progress is not None:
            self._progress(self._done)

    def _compute(self, wanted: set[int], sources: dict[int, tuple[ShardTables, Earlier]]) -> None:
        options = self._plan.options
        work = self._asked.work(self._asked.checks())
        jobs: deque[_Job] = deque()
        logger.debug("%d shards to be worked on", len(wanted))
        started = pool_of(self._workers, memory_mb=options.memory, ready=work.prepare)
        with watched_signals() as interruption, started as pool:
            batches = _batches(self._jobs(wanted, sources), jobs)
            found = pool.map_batches(work, batches, timeout_s=options.timeout)
            for batch, rows in interruption.until(found):
                jobs[0].take([lost(batch[0], rows)] if isinstance(rows, Lost) else rows)
                if jobs[0].is_whole:
                    job = jobs.popleft()
                    self._write(job.shard, job.rows)
            if interruption.number is not None:
                interruption.end()

    def _jobs(self, wanted: set[int], sources: dict[int, tuple[ShardTables, Earlier]]) -> Iterator[_Job]:
        size = self._plan.options.shard_size
        for shard, entries in itertools.groupby(
            self._plan.entries(wanted, self._tables.folder.parent.parent), key=lambda entry: entry.number // size
        ):
            if shard not in sources:
                yield _Job(shard, list(entries), [])
                continue
            tables, earlier = sources[shard]
            before = {row.number: row for row in tables.read(shard)}
            settled = {number: earlier.settled(row) for number, row in before.items()}
            yield _Job(
                shard,
                [
                    replace(entry, known=earlier.known(before[entry.number]))
                    for entry in entries
                    if settled[entry.number] is None
                ],
                [row for row in settled.values() if row is not None],
            )


def _batches(jobs: Iterable[_Job], under_way: deque[_Job]) -> Iterator[list[Entry]]:
    """Yield the records of jobs in batches, none of which has records of two jobs; each job joins those under way."""
    for job in jobs:
        under_way.append(job)
        yield from job.batches()
