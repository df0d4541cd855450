"""Micro-batches: the only way in which molecules meet the network when they are sampled.

A micro-batch has molecules of one padded width, which follows from a molecule's own size, and a number of rows that is
a constant of the device. So the arithmetic that makes a molecule does not depend on how many are asked for or in which
company it comes.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from moldiff.errors import MoldiffError
from moldiff.threads import INLINE, Workers

logger = logging.getLogger(__name__)

# Rows of a micro-batch, by device and number type of the network: few on a CPU, where missing ones are made in vain.
# A model whose configuration says otherwise (`sampling.rows`, of a CPU in float32) has as many times more or less.
ROWS = {
    ("cpu", torch.float32): 8,
    ("cpu", torch.bfloat16): 16,
    ("cuda", torch.float32): 256,
    ("cuda", torch.bfloat16): 256,
    ("mps", torch.float32): 64,
    ("mps", torch.bfloat16): 64,
}

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
        rows: halved when memory does not suffice.
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
            work: from exactly ``rows`` items of one width to a result for each. Missing ones repeat the last item, and
                their results are thrown away.

        Raises:
            MoldiffError: memory does not suffice for a single molecule.
        """
        members: dict[int, list[int]] = {}
        for place, width in enumerate(widths):
            members.setdefault(width, []).append(place)
        parts = [
            (width, some[first : first + self.rows])
            for width, some in sorted(members.items())
            for first in range(0, len(some), self.rows)
        ]

        def run_part(part: tuple[int, list[int]]) -> list[tuple[int, Result]]:
            width, places = part
            return list(zip(places, self._within_memory([items[place] for place in places], width, work), strict=True))

        results = self.workers.map(run_part, parts)
        return (found for part in results for found in part)

    def _within_memory(
        self, items: list[Item], width: int, work: Callable[[list[Item]], Sequence[Result]]
    ) -> list[Result]:
        """Run items of one width as one micro-batch, or as several smaller ones if memory does not suffice."""
        rows = self.rows
        try:
            found: list[Result] = []
            for first in range(0, len(items), rows):
                some = items[first : first + rows]
                found += work(some + some[-1:] * (rows - len(some)))[: len(some)]
            return found
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if rows == 1:
                raise MoldiffError(
                    f"memory does not suffice for one molecule of up to {width} atoms on {self.device}; "
                    "ask for smaller ones"
                ) from error
            if self.rows == rows:  # or another micro-batch has halved them meanwhile
                self.rows = rows // 2
                logger.warning(
                    "out of memory: going on with %d molecules at a time (last digits may differ)", self.rows
                )
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._within_memory(items, width, work)


def _is_out_of_memory(error: BaseException) -> bool:
    """The CPU allocator raises a plain RuntimeError; its text is all there is to go by."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
