"""A run folder, and what is done in it: begun or gone on with, merged, looked at.

| name               | content                                                                             |
|--------------------|-------------------------------------------------------------------------------------|
| plan.json          | inputs with hashes and numbers of records, options                                  |
| draws/             | draws of a model, of each shard                                                     |
| rows/KEY/          | the rows of each shard, 000000.parquet ..., for a chain of checks, chain.json        |
| records.parquet    | every record, with status, stage, reason, value, limit                              |
| ranked.parquet     | the best; ranked.csv is the same                                                    |
| top.sdf.gz         | the top of them, with coordinates and all fields                                    |
| report.html        | funnel, distributions, the top, failures, how it was made                           |
| funnel.json        | how many came to each stage                                                         |
| ranked.run.json    | the run record                                                                      |
| lock, lock.*       | held by the processes that work on the run                                          |
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moldiff.arguments import Part, count
from moldiff.errors import MoldiffError
from moldiff.files import atomic_writer, clear_leftovers
from moldiff.foreign_code import only_looked_at
from moldiff.reading import open_regular
from moldiff.screening.filter_run import Progress
from moldiff.screening.runs.chain import Chain
from moldiff.screening.runs.draws import DRAWS
from moldiff.screening.runs.engines import ONE_PROCESS, Engines
from moldiff.screening.runs.funnel import Funnel
from moldiff.screening.runs.locking import LOCK, PLANNING, Lock, run_lock
from moldiff.screening.runs.plan import PLAN, Plan, read_plan, write_plan
from moldiff.screening.runs.report_page import reference_of
from moldiff.screening.runs.shards import ShardTables
from moldiff.screening.runs.tables import forget_tables, has_tables, write_tables

logger = logging.getLogger(__name__)

ROWS = "rows"


@dataclass(frozen=True)
class RunState:
    """Progress of a run.

    Attributes:
        shards, records: of the run.
        shards_done, records_done: of those that are there.
        counts: status -> records of these, copies not marked yet.
        has_tables: the tables of the run are there, and of these options.
        outdated: why what is there is of no use, see `ShardTables.outdated`.
    """

    shards: int
    records: int
    shards_done: int
    records_done: int
    counts: dict[str, int]
    has_tables: bool
    outdated: str = ""

    def lines(self) -> list[str]:
        """Return it for the terminal."""
        parts = ", ".join(f"{count} {status}" for status, count in sorted(self.counts.items()))
        lines = [f"{self.shards_done} of {self.shards} shards, {self.records_done} of {self.records} records"]
        if self.outdated:
            lines.append(f"all is to be computed anew, by {self.outdated}")
        if parts:
            lines.append(f"so far, before copies are marked: {parts}")
        lines.append("the tables are there" if self.has_tables else "the tables are not there yet")
        return lines


def check_folder(run: Path) -> None:
    """Raise MoldiffError if something that is no screening run is in the way."""
    if run.exists() and not run.is_dir():
        raise MoldiffError(f"{run} is a file; choose another name", argument="out")
    if not run.is_dir() or (run / PLAN).exists():
        return
    if any(not entry.name.startswith((".", LOCK)) for entry in run.iterdir()):
        raise MoldiffError(f"{run} exists and is no screening run; choose another folder", argument="out")


def work_on(
    run: Path,
    plan: Plan,
    *,
    part: Part | None = None,
    engines: Engines = ONE_PROCESS,
    retry: bool = False,
    progress: Progress | None = None,
) -> Funnel | None:
    """Begin a run, or go on with it; and make its tables, unless only a part is worked on.

    Args:
        run: its folder.
        plan: of the run. With other options than before, the checks that are new or changed are asked, no others.
        part: of the shards; None = all.
        engines: have the shards made; their processes also look for the coordinates of the top.
        retry: look again at records that failed.
        progress: called with the number of records done so far.

    Raises:
        MoldiffError: the folder holds a run of other inputs, somebody else works in it, an input has changed, a file
            cannot be read or written.
        KeyboardInterrupt, SystemExit: Ctrl-C, SIGTERM. What is finished is there, the same call goes on.
    """
    check_folder(run)
    reference = None if part is not None else reference_of(plan)
    with run_lock(run) as lock, _hold(run, lock, plan, part):
        asked = plan.asked()
        tables = ShardTables.opened(run / ROWS, Chain.of(asked))
        for folder in (run, run / DRAWS, tables.folder):
            clear_leftovers(folder / PLAN, siblings=True)
        if retry:
            forget_tables(run)
        if tables.outdated:
            logger.info("all is computed anew, by %s", tables.outdated)
        shards = [shard for shard in range(plan.shards) if (part or Part()).has(shard)]
        engines.engine(plan, tables, asked, progress).work(shards, retry=retry)
        if part is not None:
            return None
        return write_tables(run, plan, tables, reference=reference, workers=engines.workers)


@contextlib.contextmanager
def _hold(run: Path, lock: Lock, plan: Plan, part: Part | None) -> Iterator[None]:
    """Hold a run, alone or as one of its parts, with this plan in it."""
    if part is None:
        lock.exclusive()
        _agree(run, plan)
        yield
        return
    with run_lock(run, f"lock.{part.index}-of-{part.count}") as own:
        own.exclusive()
        with run_lock(run, PLANNING) as planning:
            planning.exclusive(wait=True)  # others of the run that begin at the same time wait here
            lock.shared()
            if (run / PLAN).exists() and read_plan(run).options != plan.options:
                lock.exclusive()
            _agree(run, plan)
            lock.shared()
        yield


def _agree(run: Path, plan: Plan) -> None:
    """Write the plan of a run, or see that it is of the same inputs."""
    if not (run / PLAN).exists():
        write_plan(run, plan)
        return
    before = read_plan(run)
    if not plan.same_input(before):
        raise MoldiffError(f"{run} holds a run of other inputs or shards; choose another folder", argument="out")
    if before.options != plan.options:
        logger.info("the options have changed; only what is new or changed is computed")
    if before != plan:
        write_plan(run, plan)


def merge(runs: Sequence[Path], *, workers: int = 1) -> Funnel:
    """Make the tables of a run whose parts are done.

    Args:
        runs: its folder, and those of other machines that worked on parts of the same run, from which shards are
            copied into the first.
        workers: processes.

    Raises:
        MoldiffError: shards are missing, a folder is of another run, or somebody works in the first.
    """
    count(workers, "workers")
    run, plan = runs[0], read_plan(runs[0])
    reference = reference_of(plan)
    with run_lock(run) as lock:
        lock.exclusive()
        tables = ShardTables.opened(run / ROWS, Chain.of(plan.asked()))
        for other in runs[1:]:
            _copy_shards(other, run, plan, tables)
        missing = sorted(set(range(plan.shards)) - tables.numbers())
        if tables.outdated:
            raise MoldiffError(f"{run} was made by something else than is at hand: {tables.outdated}")
        if missing:
            told = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
            raise MoldiffError(f"{run}: {len(missing)} of {plan.shards} shards are not done yet ({told})")
        return write_tables(run, plan, tables, reference=reference, workers=workers)


def _copy_shards(other: Path, run: Path, plan: Plan, tables: ShardTables) -> None:
    theirs = read_plan(other)
    if not plan.same_input(theirs) or theirs.options != plan.options:
        raise MoldiffError(f"{other} is a run of other inputs, options or versions than the first")
    source = ShardTables(other / ROWS / tables.chain.key, tables.chain, tables.sheet)
    if source.outdated:
        raise MoldiffError(f"{other} was made by something else than is at hand: {source.outdated}")
    for shard in sorted(source.numbers() - tables.numbers()):
        with open_regular(source.path(shard)) as taken, atomic_writer(tables.path(shard), binary=True) as handle:
            shutil.copyfileobj(taken, handle)
        _copy_draws(other, run, plan, shard)


def _copy_draws(other: Path, run: Path, plan: Plan, shard: int) -> None:
    """Copy the draws of a shard, if it has any."""
    path, own = plan.draws_path(other, shard), plan.draws_path(run, shard)
    if path.exists() and not own.exists():
        with open_regular(path) as taken, atomic_writer(own, binary=True) as handle:
            shutil.copyfileobj(taken, handle)


def status_of(run: Path) -> RunState:
    """Return how far a run has come.

    Raises:
        MoldiffError: it is none, or a shard is damaged.
    """
    plan = read_plan(run)
    with only_looked_at():
        tables, is_done = ShardTables.seen(run / ROWS, Chain.of(plan.asked())), has_tables(run, plan)
    done, counts = tables.numbers(), dict[str, int]()
    for shard in sorted(done):
        for status, _ in tables.counts(shard):
            counts[status] = counts.get(status, 0) + 1
    return RunState(plan.shards, plan.records, len(done), sum(counts.values()), counts, is_done, tables.outdated)
