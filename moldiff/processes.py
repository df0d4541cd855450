"""Work on chunks in this process or in others that are started afresh."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from moldiff.errors import MoldiffError

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


def map_chunks(
    function: Callable[[Chunk], Result], chunks: Sequence[Chunk], *, workers: int, what: str
) -> Iterator[Result]:
    """Yield ``function(chunk)`` for every chunk, in order; in this process if there is one worker or one chunk.

    Args:
        function: a function of a module; chunks and results are plain Python values (text, numbers).
        chunks: one per call.
        workers: processes. They are spawned, never forked (torch may hold threads), and compute on one thread each.
        what: name of the work for the error message.

    Raises:
        MoldiffError: a worker process died.
    """
    if workers <= 1 or len(chunks) <= 1:
        yield from map(function, chunks)
        return
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=context, initializer=_one_thread) as pool:
            yield from pool.map(function, chunks)
    except BrokenProcessPool as error:
        raise MoldiffError(
            f"a worker process of {what} died; try again with fewer workers or leave {what} out"
        ) from error


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
