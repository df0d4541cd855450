"""Batches of molecules: a pure function of (seed, step), with one padded width per batch.

The padded width is a function of a molecule's own size, so a molecule meets the same shapes whatever its batch mates
are, and a network compiles once per width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Item = TypeVar("Item")

# (largest size, step): sizes up to the first number are rounded up to a multiple of the second. Finer steps waste less
# padding; coarser ones give fewer shapes to compile.
WIDTH_STEPS: tuple[tuple[int, int], ...] = ((32, 2), (64, 4), (1 << 30, 8))


def bucket_width(n: int) -> int:
    """Return the padded width of a molecule of ``n`` atoms (n >= 1); see `WIDTH_STEPS`."""
    if n < 1:
        raise ValueError(f"a molecule has at least 1 atom, not {n}")
    step = next(step for largest, step in WIDTH_STEPS if n <= largest)
    return -(-n // step) * step


class BatchPlan:
    """An endless, seeded sequence of training batches; ``batch(step)`` depends on nothing but (seed, step).

    Every bucket (the molecules of one width) is an endless stream of seeded permutations of its molecules, cut into
    batches of ``batch_size`` rows. Cutting goes on across the end of a permutation, so no batch is padded or dropped
    and, in the long run, every molecule is drawn equally often (within a bucket the counts never differ by more
    than one). Epoch e holds floor((e + 1) c / batch_size) - floor(e c / batch_size) batches of a bucket of c molecules,
    in a seeded order; a bucket smaller than a batch is therefore only met every few epochs, repeating its molecules.
    """

    def __init__(
        self,
        sizes: np.ndarray,
        batch_size: int,
        seed: int,
        *,
        indices: np.ndarray | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Plan batches over molecules.

        Args:
            sizes: (M,) number of atoms of each molecule.
            batch_size: rows of a global batch, a multiple of ``world_size``.
            seed: 0 <= seed < 2**64.
            indices: (M,) row of each molecule in its data set; by default 0 .. M - 1.
            rank: which process this is; it gets the rows rank, rank + world_size, ... of each global batch.
            world_size: number of processes.
        """
        rows = np.arange(len(sizes)) if indices is None else np.asarray(indices)
        if len(sizes) == 0 or len(rows) != len(sizes):
            raise ValueError(f"expected as many indices as sizes and at least one, not {len(rows)} and {len(sizes)}")
        if batch_size < 1 or batch_size % world_size or not 0 <= rank < world_size:
            raise ValueError(
                f"batch_size {batch_size} must be a positive multiple of world_size {world_size}, rank {rank} below it"
            )
        self.batch_size, self.seed, self._rank, self._world_size = batch_size, seed, rank, world_size
        self._buckets = group_by_width(np.asarray(sizes), rows)
        self._widths = list(self._buckets)
        self._counts = np.array([len(members) for members in self._buckets.values()], dtype=np.int64)
        # Bound to the instance on purpose: a plan lives as long as its run, and one permutation per bucket is in use.
        self._order = lru_cache(maxsize=4 * len(self._widths))(self._permutation)
        self._epoch = lru_cache(maxsize=2)(self._epoch_schedule)

    @property
    def widths(self) -> list[int]:
        """The padded widths that occur, ascending."""
        return list(self._widths)

    def batch(self, step: int) -> tuple[Tensor, int]:
        """Return the int64 data set rows (batch_size / world_size,) and the padded width of training step ``step``."""
        bucket, places = self._places(step)
        width, count = self._widths[bucket], int(self._counts[bucket])
        members = self._buckets[width]
        drawn = [members[self._order(bucket, place // count)[place % count]] for place in places.tolist()]
        return torch.tensor(drawn, dtype=torch.int64), width

    def turns(self, step: int) -> Tensor:
        """Return (batch_size / world_size,) int64: a molecule's turn in the global batch of ``step``, from 0.

        Where a bucket holds fewer molecules than a batch, a molecule stands in it several times, each in another turn.
        """
        bucket, places = self._places(step)
        turns = places // int(self._counts[bucket])
        return torch.from_numpy(turns - self._start(step)[1] // int(self._counts[bucket]))

    def _places(self, step: int) -> tuple[int, np.ndarray]:
        """Return the bucket of a step, and this process's places in the bucket's stream."""
        bucket, start = self._start(step)
        return bucket, np.arange(start, start + self.batch_size)[self._rank :: self._world_size]

    def _start(self, step: int) -> tuple[int, int]:
        """Return the bucket of a step, and the first place of its batch in the bucket's stream."""
        if step < 0:
            raise ValueError(f"steps count from 0, not {step}")
        epoch = self._epoch_of(step)
        return self._epoch(epoch)[step - self._first_step(epoch)]

    def _first_step(self, epoch: int) -> int:
        """Number of batches before ``epoch``."""
        return int((epoch * self._counts // self.batch_size).sum())

    def _epoch_of(self, step: int) -> int:
        """The epoch that holds ``step``: the last one whose first step is not after it (some epochs may be empty)."""
        low, high = 0, 1
        while self._first_step(high) <= step:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._first_step(middle) <= step else (low, middle)
        return low

    def _epoch_schedule(self, epoch: int) -> list[tuple[int, int]]:
        """The batches of an epoch in order: (bucket, first place in the bucket's stream)."""
        number, after = epoch * self._counts // self.batch_size, (epoch + 1) * self._counts // self.batch_size
        buckets = np.repeat(np.arange(len(number)), after - number)
        schedule = []
        # Only the order of the buckets is random: within a bucket the stream is read from front to back.
        for bucket in buckets[_shuffled(len(buckets), (self.seed, 0, epoch))].tolist():
            schedule.append((bucket, int(number[bucket]) * self.batch_size))
            number[bucket] += 1
        return schedule

    def _permutation(self, bucket: int, turn: int) -> np.ndarray:
        """The order in which a bucket's molecules are drawn the ``turn``-th time through it."""
        return _shuffled(int(self._counts[bucket]), (self.seed, 1, self._widths[bucket], turn))


def validation_batches(
    sizes: np.ndarray, batch_size: int, *, indices: np.ndarray | None = None
) -> Iterator[tuple[Tensor, int]]:
    """Yield (rows (b,) int64, padded width), every molecule exactly once, widths ascending, b <= batch_size."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be positive, not {batch_size}")
    rows = np.arange(len(sizes)) if indices is None else np.asarray(indices)
    for width, members in group_by_width(np.asarray(sizes), rows).items():
        for start in range(0, len(members), batch_size):
            yield torch.from_numpy(members[start : start + batch_size].astype(np.int64)), width


def group_by_width(sizes: np.ndarray, rows: np.ndarray) -> dict[int, np.ndarray]:
    """Return width -> the ``rows`` of that padded width, widths ascending, order kept."""
    table = np.zeros(int(sizes.max(initial=0)) + 1, dtype=np.int64)
    for n in np.unique(sizes).tolist():
        table[n] = bucket_width(n)
    widths = table[sizes]
    return {int(width): rows[widths == width] for width in np.unique(widths)}


def _shuffled(count: int, key: tuple[int, ...]) -> np.ndarray:
    """Return a permutation of 0 .. count - 1 that depends only on ``key``.

    Sorting raw Philox output, not `Generator.permutation`: NumPy promises the same bits in every version (NEP 19) for
    the former only, and a resumed run may meet another NumPy.
    """
    bits = np.random.Philox(np.random.SeedSequence(key)).random_raw(count)
    return np.argsort(bits, kind="stable")


def evenly_spaced(items: Sequence[Item], most: int) -> list[Item]:
    """Return all items, or ``most`` from all over them: files are often sorted, so that the first tell little."""
    return [items[place * len(items) // most] for place in range(most)] if len(items) > most else list(items)
