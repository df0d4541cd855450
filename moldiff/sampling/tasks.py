"""Walks that begin with given molecules, and which of them form a micro-batch.

A walk is a function of (model, seed, its key, its molecule, its start, settings) alone: micro-batches have the fixed
shapes of `moldiff.sampling.microbatches`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moldiff.arrays import MolArrays
from moldiff.datasets.batching import bucket_width
from moldiff.molecules import MolBatch, collate
from moldiff.sampling.molecule_sampler import Draw, Drawer, draws_of
from moldiff.sampling.sampler import Sample

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

    def run(self, tasks: Sequence[Task]) -> Iterator[Draw]:
        """Return a draw for each task, its number the task's key; grouped by width, those of one width in order."""
        widths = [bucket_width(len(task.arrays.atom_type)) for task in tasks]
        return (draw for _, draw in self.drawer.micro_batches.run(tasks, widths, self._micro_batch))

    def _micro_batch(self, tasks: list[Task]) -> list[Draw]:
        """Run one micro-batch."""
        arrays = [task.arrays for task in tasks]
        properties = torch.full((len(tasks), len(self.drawer.model.conditions)), torch.nan)
        keys = torch.tensor([task.key for task in tasks])
        batch = collate(arrays, keys, bucket_width(len(arrays[0].atom_type)), properties)
        starts = torch.tensor([task.start for task in tasks], dtype=torch.float64)
        result = self.walk(batch.to(self.drawer.device), starts.to(self.drawer.device))
        return draws_of(self.drawer.decided(result), keys.tolist(), self.drawer.keep_predictions)
