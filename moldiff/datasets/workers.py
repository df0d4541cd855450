"""Worker processes that turn text into parts, in order, and survive a record that crashes RDKit."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from moldiff.chem.io.records import parse
from moldiff.datasets.rows import Dropped, Part, RowOptions, make_part, merge
from moldiff.datasets.sources import Chunk
from moldiff.errors import MoldiffError

CRASHED = "the worker process crashed on this record"
CHUNKS_AHEAD = 3  # submitted chunks per worker: enough to keep it busy, few enough to bound the memory


def map_chunks(chunks: Iterable[Chunk], options: RowOptions, workers: int) -> Iterator[Part]:
    """Yield the part of every chunk, in the order of the chunks.

    Args:
        chunks: text records; read lazily, a few chunks ahead of the workers.
        options: how records become rows.
        workers: number of spawned processes; 1 works in this process, where a crash of RDKit is a crash of everything.
    """
    if workers == 1:
        for chunk in chunks:
            yield convert_chunk(chunk, options)
        return
    crew = _Crew(workers, options)
    try:
        waiting: deque[tuple[Chunk, Future[Part]]] = deque()
        for chunk in chunks:
            waiting.append((chunk, crew.submit(chunk)))
            if len(waiting) > CHUNKS_AHEAD * workers:
                yield crew.first_result(waiting)
        while waiting:
            yield crew.first_result(waiting)
    finally:
        crew.stop()


def convert_chunk(chunk: Chunk, options: RowOptions) -> Part:
    """Parse and convert the records of one chunk; what a worker process runs."""
    return make_part(chunk.source, map(parse, chunk.records), options)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the parent, which stops the workers; otherwise each of them would print a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Crew:
    """A process pool that is started anew when a worker dies.

    Text goes to the workers and arrays come back. Processes are spawned, not forked: forking a process with torch's
    threads can deadlock.
    """

    def __init__(self, workers: int, options: RowOptions) -> None:
        self._workers, self._options = workers, options
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._workers, mp_context=get_context("spawn"), initializer=_ignore_interrupts)

    def stop(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, chunk: Chunk) -> Future[Part]:
        """Queue a chunk; if the pool has just broken, the future says so, like those already queued."""
        try:
            return self._pool.submit(convert_chunk, chunk, self._options)
        except BrokenProcessPool as error:
            broken: Future[Part] = Future()
            broken.set_exception(error)
            return broken

    def first_result(self, waiting: deque[tuple[Chunk, Future[Part]]]) -> Part:
        """Take the first chunk off the queue and return its part.

        A dead worker fails every queued chunk without telling which one killed it. So the first is run alone, split
        until the guilty record is found, and the others are queued again.
        """
        chunk, future = waiting.popleft()
        try:
            return future.result()
        except BrokenProcessPool:
            self._restart()
            part = self._alone(chunk)
            others = [other for other, _ in waiting]
            waiting.clear()
            waiting.extend((other, self.submit(other)) for other in others)
            return part

    def _restart(self) -> None:
        """Start a new pool; MoldiffError if its processes die without any record, which no splitting would cure."""
        self.stop()
        self._pool = self._start()
        try:
            self._pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise MoldiffError(
                "worker processes die before they see a molecule; try one worker"
                " (and a script that starts several needs its: if __name__ == '__main__')"
            ) from error

    def _alone(self, chunk: Chunk) -> Part:
        """Convert one chunk with nothing else in the pool; a record that kills its worker becomes a dropped one."""
        try:
            return self.submit(chunk).result()
        except BrokenProcessPool:
            self._restart()
        if len(chunk.records) == 1:
            record = chunk.records[0]
            part = make_part(chunk.source, [], self._options)
            part.dropped.append(Dropped(chunk.source, record.index, record.name, CRASHED))
            return part
        half = len(chunk.records) // 2
        first = self._alone(Chunk(chunk.source, chunk.records[:half]))
        second = self._alone(Chunk(chunk.source, chunk.records[half:]))
        return Part(merge([first.arrays, second.arrays]), first.names + second.names, first.dropped + second.dropped)
