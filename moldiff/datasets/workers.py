"""Text records to parts of the arrays, in order, in worker processes that a record may crash or hold up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from moldiff.chem.io.records import TextRecord, parse
from moldiff.datasets.rows import Dropped, Part, RowOptions, make_part
from moldiff.datasets.sources import Chunk
from moldiff.processes import Lost, pool_of

RECORD_S = 60.0  # longest time for a record, beside the embedding that its options limit


def convert_chunks(
    chunks: Iterable[Chunk], options: RowOptions, *, workers: int, isolated: bool = True
) -> Iterator[Part]:
    """Yield the parts of all chunks, in order: one for each chunk, or for each record of a chunk with a bad one.

    Args:
        chunks: text records; read lazily.
        options: how records become rows.
        workers, isolated: see `moldiff.processes.pool_of`.
    """
    work = partial(_convert, options=options)
    batches = ([(chunk.source, record) for record in chunk.records] for chunk in chunks)
    limit = options.timeout_s + RECORD_S
    with pool_of(workers, isolated=isolated) as pool:
        for batch, found in pool.map_batches(work, batches, timeout_s=limit):
            if isinstance(found, Lost):
                (source, record), part = batch[0], make_part([], options)
                part.dropped.append(Dropped(source, record.index, record.name, found.reason))
                yield part
            else:
                yield found


def _convert(records: Iterable[tuple[str, TextRecord]], options: RowOptions) -> Part:
    """Parse and convert records, each with its file's name; what a worker runs."""
    return make_part(((source, parse(record)) for source, record in records), options)
