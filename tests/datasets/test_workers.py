"""A record that kills its worker costs that record and no other."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from moldiff.chem.io.records import read_texts
from moldiff.chem.io.text_records import TextRecord
from moldiff.datasets.rows import Dropped, Part, RowOptions, wide_vocabulary
from moldiff.datasets.sources import Chunk
from moldiff.datasets.workers import CRASHED, _Crew, map_chunks
from moldiff.errors import MoldiffError

OPTIONS = RowOptions(wide_vocabulary(True, True), {}, {"logp": 0}, 0, 20, False)


class Bomb(dict):
    """Ends the process that unpickles it, as a crash of RDKit would."""

    def __reduce__(self) -> tuple:
        return os._exit, (11,)


class BrittlePool:
    """Stands for a process pool that dies, with all that is queued, on a record named "deadly"."""

    started = 0

    def __init__(self) -> None:
        BrittlePool.started += 1
        self.futures: list[Future] = []
        self.broken = False

    def submit(self, function: Callable, *arguments: Any) -> Future:
        if self.broken:
            raise BrokenProcessPool
        chunks = [argument for argument in arguments if isinstance(argument, Chunk)]
        self.broken = any(record.name == "deadly" for chunk in chunks for record in chunk.records)
        future: Future = Future()
        if self.broken:
            future.set_exception(BrokenProcessPool())
        else:
            future.set_result(function(*arguments))
        return future

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        self.broken = True


def check(parts: list[Part], groups: list[list[TextRecord]]) -> None:
    """Everything is there in its order except the deadly record, which is listed with the reason."""
    assert [part.names for part in parts] == [[r.name for r in group if r.name != "deadly"] for group in groups]
    dropped = [entry for part in parts for entry in part.dropped]
    assert dropped == [Dropped("a.sdf", 1, "deadly", CRASHED)]
    assert [part.arrays["properties"].shape for part in parts] == [(len(part.names), 1) for part in parts]


@pytest.mark.parametrize("first", [0, 1, 5])
def test_a_crash_costs_one_record(sample_sdf: Path, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """The deadly record stands in the middle of ten, after ``first`` harmless chunks."""
    monkeypatch.setattr(_Crew, "_start", lambda self: BrittlePool())
    monkeypatch.setattr(BrittlePool, "started", 0)
    records = list(read_texts(sample_sdf))
    groups = [records[start : start + 10] for start in range(100, 190, 10)]
    groups[first][4] = TextRecord(1, "sdf", "deadly", "")
    check(list(map_chunks([Chunk("a.sdf", group) for group in groups], OPTIONS, 2)), groups)
    assert BrittlePool.started <= 3 + 4  # once for the start, then alone, then by halves of ten


def test_workers_that_cannot_even_start_are_one_error(sample_sdf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a script without its main guard: no record is to blame, so none is hunted down."""

    def broken_from_the_start(crew: _Crew) -> BrittlePool:
        pool = BrittlePool()
        pool.broken = True
        return pool

    monkeypatch.setattr(_Crew, "_start", broken_from_the_start)
    chunks = [Chunk("a.sdf", list(read_texts(sample_sdf))[:4])]
    with pytest.raises(MoldiffError, match="one worker"):
        list(map_chunks(chunks, OPTIONS, 2))


def test_a_real_process_dies(sample_sdf: Path) -> None:
    records = list(read_texts(sample_sdf))[:3]
    records[1] = TextRecord(1, "sdf", "deadly", "", Bomb())
    groups = [records[:1], records[1:2], records[2:]]
    check(list(map_chunks([Chunk("a.sdf", group) for group in groups], OPTIONS, 2)), groups)
