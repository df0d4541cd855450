"""A record that kills its worker, or holds it up, costs that record and no other."""

import os
from pathlib import Path

import pytest
from poison import Bomb

from moldiff.chem.io.records import read_texts
from moldiff.chem.io.text_records import TextRecord
from moldiff.datasets import workers
from moldiff.datasets.prepare import prepare
from moldiff.datasets.rows import RowOptions, merge, wide_vocabulary
from moldiff.datasets.sources import Chunk
from moldiff.datasets.workers import convert_chunks
from moldiff.errors import MoldiffError

OPTIONS = RowOptions(wide_vocabulary(True, True), {}, {"logp": 0}, 0, 1, False)


@pytest.mark.parametrize("count", [1, 2])
def test_a_crash_and_a_hang_cost_two_records(sample_sdf: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(workers, "RECORD_S", 1.0)
    options = RowOptions(OPTIONS.vocabulary, {"tag": 1}, {"logp": 0}, 0, 1, False)
    records = list(read_texts(sample_sdf))[:12]
    for place, deed in ((2, "crash"), (7, "hang")):
        old = records[place]
        records[place] = TextRecord(old.index, "sdf", deed, old.text, Bomb(deed=deed))
    chunks = [Chunk("a.sdf", records[:4]), Chunk("b.sdf", records[4:8]), Chunk("b.sdf", records[8:])]
    parts = list(convert_chunks(chunks, options, workers=count))
    assert {part.arrays["properties"].shape[1] for part in parts} == {2}
    found = [(entry.source, entry.index, entry.name, entry.reason) for part in parts for entry in part.dropped]
    assert found == [
        ("a.sdf", 2, "crash", "crashed: the worker process ended on this record (SIGSEGV)"),
        ("b.sdf", 7, "hang", "timeout: not done within 2 s"),
    ]
    kept = [record.name for record in records if not isinstance(record.tags, Bomb)]
    assert [name for part in parts for name in part.names] == kept
    assert len(merge([part.arrays for part in parts])["atom_offsets"]) == len(kept) + 1


def test_one_worker_of_its_own_gives_the_same_folder(sample_sdf: Path, tmp_path: Path) -> None:
    for name, isolated in (("here", False), ("there", True)):
        prepare([sample_sdf], tmp_path / name, properties=["logp"], isolated=isolated)
    files = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "there").iterdir())
    assert all((tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes() for name in files)


def test_workers_that_cannot_even_start_are_one_error(sample_sdf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a script without its main guard: no record is to blame, so none is hunted down."""
    monkeypatch.setattr("moldiff.processes.set_up", os.abort)
    chunks = [Chunk("a.sdf", list(read_texts(sample_sdf))[:4])]
    with pytest.raises(MoldiffError, match="before they see a molecule"):
        list(convert_chunks(chunks, OPTIONS, workers=2))
