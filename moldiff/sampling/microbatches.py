"""Micro-batches: the only way in which molecules meet the network when they are sampled.

A micro-batch has molecules of one padded width, which follows from a molecule's own size, and a number of rows at which
the arithmetic of a row does not depend on it. So what makes a molecule does not depend on how many are asked for or in
which company it comes.

On a CPU these are the multiples of four: measured on the built-in models at all their widths, the same bits at every
multiple up to 48 in float32 and bfloat16, others at 1, 2 and some odd numbers in float32. A test asks the processor
that it runs on (`tests/sampling/test_microbatches.py`). On other devices nothing is taken for granted, and a
micro-batch always has its full number of rows: as many as have a given number of pairs of atoms, so that a card is as
busy with small molecules as with large ones.
"""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TypeVar

import torch

from moldiff.devices import is_out_of_memory
from moldiff.errors import MoldiffError
from moldiff.threads import INLINE, Workers

logger = logging.getLogger(__name__)

# Rows of a micro-batch on a CPU, at most, by number type of the network, and pairs of padded atoms beyond which there
# are fewer rows: what no longer fits into the cache is slower, row by row. Measured on the built-in models, with memory
# as `_keep_freed_memory` leaves it; without, there were half as many.
# A model whose configuration says otherwise (`sampling.rows`, in float32) has as many times more or less of both.
ROWS = {torch.float32: 32, torch.bfloat16: 48}
CPU_PAIRS = {torch.float32: 10400, torch.bfloat16: 18500}
PAIRS = 1 << 18  # of padded atoms, of a micro-batch on another device, at most
USUAL_WIDTH = 32  # padded atoms
SIDE_BY_SIDE = 256  # items on a CPU that are worked on side by side
FULL = 32  # micro-batches' worth of items of some ten widths, with which most are full

_WIDE = 128  # padded atoms; a molecule that is wider than that has a micro-batch of its own on a CPU
_LARGEST_MAPPED = (32 << 20) - (
    64 << 10
)  # bytes: glibc looks at 32 MiB at most, its own and PyTorch's margins included
CPU_ROWS = 4  # a micro-batch on a CPU has a multiple of it: missing rows are made in vain

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(device: torch.device, rows: int) -> int:
    """Return how many items to work on at a time where any number gives the same results. On a CPU, which fills up next
    to nothing, a few, so that results come soon; on other devices so many that micro-batches of so many rows are full.
    """
    return SIDE_BY_SIDE if device.type == "cpu" else max(SIDE_BY_SIDE, FULL * rows)


class MicroBatches:
    """Cuts work into micro-batches and runs them.

    Args:
        device: that the network is on.
        workers: run the micro-batches.
        rows: of a micro-batch, whatever its width (on a CPU 1 of very wide ones); None = what suits the device.
        precision: number type of the network's matrix products.
        cpu_rows: of a micro-batch on a CPU in float32, rounded down to a multiple of `CPU_ROWS`.

    Attributes:
        budget: rows, at most, or pairs of padded atoms where ``by_pairs``; halved when memory does not suffice.
    """

    def __init__(
        self,
        device: torch.device,
        workers: Workers = INLINE,
        rows: int | None = None,
        precision: torch.dtype = torch.float32,
        cpu_rows: int = ROWS[torch.float32],
    ) -> None:
        if device.type == "cpu":
            _keep_freed_memory()
        self.device, self.workers = device, workers
        self.by_pairs = rows is None and device.type != "cpu"
        self._cpu_pairs = math.inf
        if self.by_pairs:
            self.budget = PAIRS
        elif rows is not None:
            self.budget = rows
        else:
            scaled = ROWS[precision] * cpu_rows // ROWS[torch.float32]
            self.budget = max(CPU_ROWS, scaled // CPU_ROWS * CPU_ROWS)
            self._cpu_pairs = CPU_PAIRS[precision] * cpu_rows / ROWS[torch.float32]

    @property
    def rows(self) -> int:
        """Rows of a micro-batch of molecules of usual size, at most."""
        return self.rows_of(USUAL_WIDTH)

    def rows_of(self, width: int) -> int:
        """Return the rows of a micro-batch of a padded width, at most, at least 1."""
        return self._rows(width, self.budget)

    def _rows(self, width: int, budget: int) -> int:
        if self.by_pairs:
            return max(1, budget // width**2)
        if self.device.type != "cpu":
            return budget
        if width > _WIDE:
            return 1
        whole = self._cpu_pairs // (CPU_ROWS * width**2) * CPU_ROWS
        return int(min(budget, max(whole, CPU_ROWS)))

    def run(
        self, items: Sequence[Item], widths: Sequence[int], work: Callable[[list[Item]], Sequence[Result]]
    ) -> Iterator[tuple[int, Result]]:
        """Return (place, result) of every item: those of one width in order. Workers begin at once, with what costs
        most, so that they end at about the same time.

        Args:
            items: what to work on.
            widths: padded number of atoms of each.
            work: from ``rows`` items of one width, on a CPU from any multiple of `CPU_ROWS` up to that, to a result for
                each. Missing ones repeat the last item, and their results are thrown away.

        Raises:
            MoldiffError: memory does not suffice for a single molecule.
        """
        members: dict[int, list[int]] = {}
        for place, width in enumerate(widths):
            members.setdefault(width, []).append(place)
        budget = self.budget
        parts = self._parts(members, budget)
        begun = self.workers.map(work, self._filled(items, parts, budget))
        return self._placed(items, parts, begun, budget, work)

    def _placed(
        self,
        items: Sequence[Item],
        parts: list[tuple[int, list[int]]],
        begun: Iterator[Sequence[Result]],
        budget: int,
        work: Callable[[list[Item]], Sequence[Result]],
    ) -> Iterator[tuple[int, Result]]:
        """Yield (place, result) of parts that were begun; where memory does not suffice, of smaller ones instead."""
        done = 0
        while done < len(parts):
            width, places = parts[done]
            try:
                found = next(begun)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self._rows(width, budget) == 1:
                    raise MoldiffError(
                        f"memory does not suffice for one molecule of up to {width} atoms on {self.device}; "
                        "ask for smaller ones"
                    ) from error
            else:
                yield from zip(places, found, strict=False)  # the rest repeats the last
                done += 1
                continue
            self._halve(budget, width, len(places))
            left: dict[int, list[int]] = {}
            for width, places in parts[done:]:
                left.setdefault(width, []).extend(places)
            budget, done = self.budget, 0
            parts = self._parts(left, budget)
            begun = self.workers.map(work, self._filled(items, parts, budget))

    def _parts(self, members: Mapping[int, list[int]], budget: int) -> list[tuple[int, list[int]]]:
        """Return (width, places) of parts of so many rows at most, those with the most pairs of atoms first."""
        parts = [
            (width, some[first : first + rows])
            for width, some in sorted(members.items())
            for rows in (self._rows(width, budget),)
            for first in range(0, len(some), rows)
        ]
        return sorted(parts, key=lambda part: -(part[0] ** 2) * len(part[1]))

    def _filled(
        self, items: Sequence[Item], parts: Sequence[tuple[int, list[int]]], budget: int
    ) -> Iterator[list[Item]]:
        """Yield the items of each part, the last one repeated as often as the device needs it."""
        for width, places in parts:
            rows, some = self._rows(width, budget), [items[place] for place in places]
            whole = _whole(len(some)) if self.device.type == "cpu" else rows
            yield some + some[-1:] * (min(whole, rows) - len(some))

    def _halve(self, budget: int, width: int, count: int) -> None:
        """Go on with fewer rows than did not fit, unless others have seen to that meanwhile, and free what can be."""
        if self.budget == budget:
            on_cpu = self.device.type == "cpu"
            self.budget = (min(budget, _whole(count)) if on_cpu else budget) // 2
            if on_cpu and self.budget > CPU_ROWS:
                self.budget -= self.budget % CPU_ROWS
            left = self.rows_of(width)
            logger.warning("out of memory: going on with %d molecules at a time (last digits may differ)", left)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _whole(count: int) -> int:
    """Return the rows that a CPU takes for so many molecules."""
    return -(-count // CPU_ROWS) * CPU_ROWS


@cache
def _keep_freed_memory() -> None:
    """Let glibc keep what is freed for what is asked for next, for which it takes the size of freed blocks as a sign.

    It gives freed memory back beyond twice the largest block that was mapped for itself and freed. In a network that is
    a few MiB, soon reached, and every page that is asked for anew costs a fault: half as much time again. So a block of
    the largest size that counts is freed, no page of which was touched. Elsewhere this does nothing.
    """
    torch.empty(_LARGEST_MAPPED, dtype=torch.uint8)  # freed at once
