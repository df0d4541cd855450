"""Walks that begin with given molecules, and which of them form a micro-batch.

A walk is a function of (model, seed, its key, its molecule, its start, settings) alone: micro-batches have the fixed
shapes of `moldiff.sampling.draws`.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from moldiff.datasets.batching import bucket_width
from moldiff.errors import MoldiffError
from moldiff.molecules import MolArrays, MolBatch, collate
from moldiff.sampling.draws import Draw, Drawer, _is_out_of_memory, draws_of
from moldiff.sampling.sampler import Sample

logger = logging.getLogger(__name__)

MOST_DRAWS, MOST_ATTEMPTS = 1 << 20, 1 << 6
_DRAW_SHIFT, _RECORD_SHIFT = 6, 26  # a key is attempt + draw * 2^6 + record * 2^26


@dataclass(frozen=True)
class Task:
    """One walk to make.

    Attributes:
        key: identity that its noise is keyed by, see `noise_key`.
        arrays: the molecule, zero mean.
        start: the time at which the walk begins, 0 < start <= 1.
    """

    key: int
    arrays: MolArrays
    start: float = 1.0


def noise_key(record: int, draw: int, attempt: int = 0) -> int:
    """Return the identity of one attempt at a draw for a record: no other has the same noise.

    Args:
        record: from 0, below 2^30.
        draw: for that record, from 0, below `MOST_DRAWS`.
        attempt: from 0, below `MOST_ATTEMPTS`.
    """
    return attempt + (draw << _DRAW_SHIFT) + (record << _RECORD_SHIFT)


class TaskRunner:
    """Makes walks with the micro-batches, workers and predictions of a drawer.

    Args:
        drawer: gives rows, workers, device, and how a result is decided.
        walk: from a batch and the starts (B,) of its rows to a sample. (Guidance and constraints are its business.)
    """

    def __init__(self, drawer: Drawer, walk: Callable[[MolBatch, Tensor], Sample]) -> None:
        self.drawer, self.walk = drawer, walk
        self._rows = drawer.rows

    def run(self, tasks: Sequence[Task]) -> Iterator[Draw]:
        """Return a draw for each task, its number the task's key; grouped by width, those of one width in order."""
        by_width: dict[int, list[Task]] = {}
        for task in tasks:
            by_width.setdefault(bucket_width(len(task.arrays.atom_type)), []).append(task)
        rows = self._rows
        parts = [some[first : first + rows] for some in by_width.values() for first in range(0, len(some), rows)]
        return chain.from_iterable(self.drawer.workers.map(self._within_memory, parts))

    def _within_memory(self, tasks: list[Task]) -> list[Draw]:
        """Run tasks of one width as one micro-batch, or as several smaller ones if memory does not suffice."""
        rows = self._rows
        try:
            return [
                draw
                for first in range(0, len(tasks), rows)
                for draw in self._micro_batch(tasks[first : first + rows], rows)
            ]
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if rows == 1:
                atoms = len(tasks[0].arrays.atom_type)
                raise MoldiffError(
                    f"memory does not suffice for one molecule of {atoms} atoms on {self.drawer.device}"
                ) from error
            if self._rows == rows:  # or another micro-batch has halved them meanwhile
                self._rows = rows // 2
                logger.warning(
                    "out of memory: going on with %d molecules at a time (last digits may differ)", self._rows
                )
        gc.collect()
        if self.drawer.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._within_memory(tasks)

    def _micro_batch(self, tasks: list[Task], rows: int) -> list[Draw]:
        """Run one micro-batch of exactly ``rows`` rows; missing ones repeat the last task and are thrown away."""
        filled = tasks + tasks[-1:] * (rows - len(tasks))
        arrays = [task.arrays for task in filled]
        properties = torch.full((rows, len(self.drawer.model.conditions)), torch.nan)
        keys = torch.tensor([task.key for task in filled])
        batch = collate(arrays, keys, bucket_width(len(arrays[0].atom_type)), properties)
        starts = torch.tensor([task.start for task in filled], dtype=torch.float64)
        result = self.walk(batch.to(self.drawer.device), starts.to(self.drawer.device))
        return draws_of(self.drawer.decided(result), [task.key for task in tasks], self.drawer.keep_predictions)
