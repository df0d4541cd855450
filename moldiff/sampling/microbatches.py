"""Micro-batches: the only way in which molecules meet the network when they are sampled.

A micro-batch has molecules of one padded width, which follows from a molecule's own size, and a number of rows at which
the arithmetic of a row does not depend on it. So what makes a molecule does not depend on how many are asked for or in
which company it comes.

On a CPU these are the multiples of four: measured on the built-in models at all their widths, the same bits at 4, 8, 12
and 16 rows in float32 and bfloat16, others at 1, 2 and some odd numbers in float32. A test asks the processor that it
runs on (`tests/sampling/test_microbatches.py`). On other devices nothing is taken for granted, and a micro-batch always
has its full number of rows.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch

from moldiff.errors import MoldiffError
from moldiff.threads import INLINE, Workers

logger = logging.getLogger(__name__)

# Rows of a micro-batch, at most, by device and number type of the network.
# A model whose configuration says otherwise (`sampling.rows`, of a CPU in float32) has as many times more or less.
ROWS = {
    ("cpu", torch.float32): 8,
    ("cpu", torch.bfloat16): 16,
    ("cuda", torch.float32): 256,
    ("cuda", torch.bfloat16): 256,
    ("mps", torch.float32): 64,
    ("mps", torch.bfloat16): 64,
}

CPU_ROWS = 4  # a micro-batch on a CPU has a multiple of it: missing rows are made in vain

Item = TypeVar("Item")
Result = TypeVar("Result")


class MicroBatches:
    """Cuts work into micro-batches and runs them.

    Args:
        device: that the network is on.
        workers: run the micro-batches.
        rows: of a micro-batch on this device; None = by the next two.
        precision: number type of the network's matrix products.
        cpu_rows: of a micro-batch on a CPU in float32.

    Attributes:
        rows: at most; halved when memory does not suffice.
    """

    def __init__(
        self,
        device: torch.device,
        workers: Workers = INLINE,
        rows: int | None = None,
        precision: torch.dtype = torch.float32,
        cpu_rows: int = ROWS["cpu", torch.float32],
    ) -> None:
        self.device, self.workers = device, workers
        self.rows = rows or ROWS[device.type, precision] * cpu_rows // ROWS["cpu", torch.float32]

    def run(
        self, items: Sequence[Item], widths: Sequence[int], work: Callable[[list[Item]], Sequence[Result]]
    ) -> Iterator[tuple[int, Result]]:
        """Return (place, result) of every item: grouped by width, those of one width in order. Workers begin at once.

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
        rows = self.rows
        parts = _parts(members, rows)
        begun = self.workers.map(work, [self._filled(items, places, rows) for _, places in parts])
        return self._placed(items, parts, begun, rows, work)

    def _placed(
        self,
        items: Sequence[Item],
        parts: list[tuple[int, list[int]]],
        begun: Iterator[Sequence[Result]],
        rows: int,
        work: Callable[[list[Item]], Sequence[Result]],
    ) -> Iterator[tuple[int, Result]]:
        """Yield (place, result) of parts that were begun; where memory does not suffice, of smaller ones instead."""
        done = 0
        while done < len(parts):
            width, places = parts[done]
            try:
                found = next(begun)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                if rows == 1:
                    raise MoldiffError(
                        f"memory does not suffice for one molecule of up to {width} atoms on {self.device}; "
                        "ask for smaller ones"
                    ) from error
            else:
                yield from zip(places, found, strict=False)  # the rest repeats the last
                done += 1
                continue
            self._halve(rows)
            left: dict[int, list[int]] = {}
            for width, places in parts[done:]:
                left.setdefault(width, []).extend(places)
            rows, done = self.rows, 0
            parts = _parts(left, rows)
            begun = self.workers.map(work, [self._filled(items, places, rows) for _, places in parts])

    def _filled(self, items: Sequence[Item], places: list[int], rows: int) -> list[Item]:
        """Return the items of a part, the last one repeated as often as the device needs it."""
        some = [items[place] for place in places]
        whole = -(-len(some) // CPU_ROWS) * CPU_ROWS if self.device.type == "cpu" else rows
        return some + some[-1:] * (min(whole, rows) - len(some))

    def _halve(self, rows: int) -> None:
        """Go on with fewer rows than did not fit, unless others have seen to that meanwhile, and free what can be."""
        if self.rows == rows:
            self.rows = rows // 2
            logger.warning("out of memory: going on with %d molecules at a time (last digits may differ)", self.rows)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _parts(members: Mapping[int, list[int]], rows: int) -> list[tuple[int, list[int]]]:
    """Return (width, places) of parts of so many at most."""
    return [
        (width, some[first : first + rows])
        for width, some in sorted(members.items())
        for first in range(0, len(some), rows)
    ]


def _is_out_of_memory(error: BaseException) -> bool:
    """The CPU allocator raises a plain RuntimeError; its text is all there is to go by."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
