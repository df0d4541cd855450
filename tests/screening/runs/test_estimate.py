"""An estimate looks at some records of all files, and writes nothing."""

import os
from pathlib import Path

import pytest

from moldiff.screening.runs import estimate as module
from moldiff.screening.runs.estimate import estimate
from moldiff.screening.runs.options import screen_options
from moldiff.screening.runs.plan import make_plan


def test_few_records_are_timed_without_the_start_of_the_process(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\n\n\ndef one(molecules):\n"
        "    time.sleep(1.5 if molecules[0].GetNumHeavyAtoms() == 1 else 0.1)\n    return [1 for _ in molecules]\n"
    )
    (tmp_path / "a.smi").write_text("C\nCC\nCCC\n")
    options = screen_options({"where": [f"{tmp_path}/slow.py:one>0"]})
    found = estimate(make_plan([tmp_path / "a.smi"], options), workers=1)
    assert (found.looked_at, found.counts.valid) == (3, 3)
    assert 50 <= found.ms < 500, "the first is not among those that are timed"
    (tmp_path / "one.smi").write_text("C\n")
    assert estimate(make_plan([tmp_path / "one.smi"], options), workers=1).ms >= 1500


def test_the_sample_is_spread_over_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, atom in (("a.smi", "C"), ("b.smi", "CC(C)")):
        (tmp_path / name).write_text("".join(f"{atom * length}\n" for length in range(1, 31)))
    monkeypatch.setattr(module, "SAMPLE", 20)
    before = sorted(os.listdir(tmp_path))
    options = screen_options({"where": ["mw<100"], "shard_size": 7})
    found = estimate(make_plan([tmp_path / "a.smi", tmp_path / "b.smi"], options), workers=2)
    assert sorted(os.listdir(tmp_path)) == before
    assert (found.records, found.shards, found.looked_at) == (60, 9, 20)
    assert sum(found.counts.by_status.values()) == 20
    # every third of 30 alkanes, six of which weigh less than 100, and of 30 branched ones, of which three do
    assert (found.counts.valid, found.counts.by_stage) == (3, {"mw": 17})
    assert found.hours == pytest.approx(60 * found.ms / 2 / 3.6e6)
    assert found.lines()[0] == "60 records in 9 shards; looked at 20 of them"
