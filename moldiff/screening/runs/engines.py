"""Engines: what has the shards of a run made. A shard is the unit of work, and an engine only starts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from moldiff.arguments import count
from moldiff.choices import EngineName
from moldiff.errors import MoldiffError
from moldiff.extras import CLUSTER
from moldiff.screening.filter_run import FilterOptions, Progress
from moldiff.screening.runs.dask_engine import DaskEngine
from moldiff.screening.runs.plan import Plan
from moldiff.screening.runs.processes_engine import ProcessesEngine
from moldiff.screening.runs.shards import ShardTables


class Engine(Protocol):
    """Makes shards that are not there yet, wherever it may be."""

    def work(self, shards: Sequence[int], *, retry: bool = False) -> None: ...


@dataclass(frozen=True)
class Engines:
    """The means of a run.

    Attributes:
        workers: processes on this machine.
        name: of the engine.
        scheduler: of Dask, "tcp://host:8786"; None = a cluster of so many workers on this machine.

    Raises:
        MoldiffError: fewer than one worker, a scheduler without Dask, or Dask is not installed.
    """

    workers: int = 1
    name: EngineName = EngineName.PROCESSES
    scheduler: str | None = None

    def __post_init__(self) -> None:
        count(self.workers, "workers")
        if self.name is EngineName.DASK:
            CLUSTER.require("engine dask", "engine")
        elif self.scheduler is not None:
            raise MoldiffError("scheduler goes with engine dask", argument="scheduler")

    def engine(self, plan: Plan, tables: ShardTables, asked: FilterOptions, progress: Progress | None = None) -> Engine:
        """Return the engine of a run."""
        if self.name is EngineName.DASK:
            return DaskEngine(plan, tables, asked, workers=self.workers, scheduler=self.scheduler, progress=progress)
        return ProcessesEngine(plan, tables, asked, workers=self.workers, progress=progress)


ONE_PROCESS = Engines()
