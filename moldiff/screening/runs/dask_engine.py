"""The engine of several machines: shards are handed to the workers of a Dask cluster, which write them themselves.

A worker does what the engine of one machine does, in a process of its own for the molecules, so that one that hangs or
crashes costs its row and not the worker. All workers see the folder of the run and the input files under the same
names. What a worker had not written when it was lost, another one does.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moldiff.errors import MoldiffError
from moldiff.extras import CLUSTER
from moldiff.interruption import Interruption, watched_signals
from moldiff.screening.filter_run import FilterOptions, Progress
from moldiff.screening.runs.chain import Chain
from moldiff.screening.runs.plan import Plan
from moldiff.screening.runs.processes_engine import ProcessesEngine
from moldiff.screening.runs.shards import ShardTables
from moldiff.spawning import may_start_processes, program_left_alone, refuse_if_daemonic

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

TASKS_PER_WORKER = 4  # enough to share the work evenly; each reads the inputs anew up to its shards
LOST_WORKERS = 3  # that one task may cost
GPU = "GPU"  # the resource of workers that have one: dask worker --resources GPU=1
TIMEOUT_S = 20.0  # until a scheduler answers


class DaskEngine:
    """Workers of a Dask cluster.

    Args:
        plan: of the run.
        tables: of its chain of checks.
        asked: what is asked of each molecule.
        workers: of a cluster on this machine, if no scheduler is named.
        scheduler: address of a running one, "tcp://host:8786"; None = a cluster is started, and stopped in the end.
        progress: called with the number of records done so far.

    Raises:
        MoldiffError: Dask is not installed.
    """

    def __init__(
        self,
        plan: Plan,
        tables: ShardTables,
        asked: FilterOptions,
        *,
        workers: int = 1,
        scheduler: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._plan, self._asked = plan, asked
        self._tables = replace(tables, folder=tables.folder.resolve())  # workers have working folders of their own
        self._workers, self._scheduler, self._progress = workers, scheduler, progress
        CLUSTER.require("engine dask", "engine")

    def work(self, shards: Sequence[int], *, retry: bool = False) -> None:
        """Make shards that are not there yet.

        Args:
            shards: their numbers.
            retry: look again at records that failed.

        Raises:
            MoldiffError: no scheduler or no worker, workers that are lost again and again, a file that cannot be read
                or written. What is finished is there.
            KeyboardInterrupt, SystemExit: Ctrl-C, SIGTERM. Likewise.
        """
        there = self._tables.numbers()
        wanted = [shard for shard in shards if retry or shard not in there]
        done = sum(self._plan.size(shard) for shard in shards) - sum(self._plan.size(shard) for shard in wanted)
        if not wanted:
            return
        with watched_signals() as interruption, self._client() as client:
            draws = self._draws(client, wanted)
            for future in interruption.until(_finished(draws)):
                _result(future)
            _end_if_interrupted(interruption, client, draws)
            waiting = {
                client.submit(
                    work_on_shards, self._plan, self._tables, self._asked, part, retry, pure=False, retries=0
                ): part
                for part in self._parts(client, wanted)
            }
            for future in interruption.until(_finished(list(waiting))):
                _result(future)
                done += sum(self._plan.size(shard) for shard in waiting[future])
                if self._progress is not None:
                    self._progress(done)
            _end_if_interrupted(interruption, client, list(waiting))

    def _draws(self, client: Client, wanted: Sequence[int]) -> list[Any]:
        """Let workers that have a GPU make the draws of a model; without any, whoever needs draws makes them."""
        workers = client.scheduler_info()["workers"].values()
        if self._plan.draws is None or not any(GPU in worker["resources"] for worker in workers):
            return []
        run = self._tables.folder.parent.parent
        return [client.submit(self._plan.make_draws, shard, run, resources={GPU: 1}, pure=False) for shard in wanted]

    def _parts(self, client: Client, wanted: Sequence[int]) -> list[list[int]]:
        """Return the shards of each task; those of one follow each other, so that it reads the inputs once."""
        workers = len(client.scheduler_info()["workers"])
        size = math.ceil(len(wanted) / (TASKS_PER_WORKER * max(workers, 1)))
        return [list(wanted[first : first + size]) for first in range(0, len(wanted), size)]

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        """Give a client of the cluster."""
        import dask
        from distributed import Client, LocalCluster

        settings = {
            "distributed.worker.daemon": False,  # or a worker may have no process for its molecules
            "distributed.scheduler.allowed-failures": LOST_WORKERS,
        }
        with contextlib.ExitStack() as stack:
            stack.enter_context(dask.config.set(settings))
            stack.enter_context(_quiet())
            if self._scheduler is None:
                refuse_if_daemonic()
                stack.enter_context(program_left_alone())
                cluster = LocalCluster(
                    n_workers=self._workers,
                    threads_per_worker=1,
                    memory_limit=0,
                    dashboard_address=None,
                )
                yield stack.enter_context(Client(stack.enter_context(cluster)))
                return
            try:
                client = stack.enter_context(Client(self._scheduler, timeout=TIMEOUT_S))
            except (OSError, ValueError) as error:
                raise MoldiffError(f"scheduler {self._scheduler} does not answer", argument="scheduler") from error
            if not client.scheduler_info()["workers"]:
                raise MoldiffError(f"scheduler {self._scheduler} has no workers", argument="scheduler")
            yield client


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let Dask tell of errors alone: it reports every step of starting and stopping."""
    theirs = logging.getLogger("distributed")
    before = theirs.level
    theirs.setLevel(logging.ERROR)
    try:
        yield
    finally:
        theirs.setLevel(before)


def work_on_shards(plan: Plan, tables: ShardTables, asked: FilterOptions, shards: Sequence[int], retry: bool) -> None:
    """Make some shards of a run. Runs in a worker of Dask.

    Raises:
        MoldiffError: see `ProcessesEngine.work`; or the worker may not start processes.
    """
    if not may_start_processes():
        raise MoldiffError(
            "Dask's workers may not start processes; start them without a nanny, or with "
            "DASK_DISTRIBUTED__WORKER__DAEMON=False"
        )
    if not tables.folder.is_dir():
        raise MoldiffError(f"{tables.folder} is not there on a worker; all machines must see the folder of the run")
    if Chain.of(asked) != tables.chain:
        raise MoldiffError(
            "a worker has other versions, or another file of a function, than the run was begun with; see that all "
            "have the same, and name the file by its whole path"
        )
    ProcessesEngine(plan, tables, asked, workers=1).work(shards, retry=retry)


def _end_if_interrupted(interruption: Interruption, client: Client, futures: Sequence[Any]) -> None:
    """End the run after a signal, and the tasks that it still waits for."""
    if interruption.number is not None:
        client.cancel(futures, force=True)
        interruption.end()


def _finished(futures: Sequence[Any]) -> Iterator[Any]:
    from distributed import as_completed

    yield from as_completed(futures)


def _result(future: Any) -> None:
    """Raise what a task raised."""
    from distributed import KilledWorker

    try:
        future.result()
    except KilledWorker as error:
        raise MoldiffError(f"{LOST_WORKERS + 1} workers were lost at the same shards; look into their logs") from error
