"""Draws of a model as an input: each has its row, they are made once, and what the model got wrong is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from methane import METHANE

import moldiff
from moldiff.arrays import RawSample
from moldiff.errors import MoldiffError
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.screening.runs import draws
from moldiff.screening.runs.draws import Draws, draws_of
from moldiff.screening.runs.plan import read_plan
from moldiff.screening.screen import merge_screens


@pytest.fixture
def half_methane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other draw is methane; the rest is what a network with random weights makes."""
    original = MoleculeSampler.draw

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        for sample in original(self, first, count):
            yield RawSample(sample.number, METHANE, -1) if sample.number % 2 == 0 else sample

    monkeypatch.setattr(MoleculeSampler, "draw", draw)


def records(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(run / "records.parquet").to_pylist()
    return found


@pytest.mark.usefixtures("half_methane")
def test_draws_come_behind_the_files_and_are_made_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library.smi"
    library.write_text("CCO ethanol\nCC ethane\n")
    words: dict[str, Any] = {"from_model": model, "n": 7, "where": "mw<100", "shard_size": 4, "rank": "mw:low"}
    run = moldiff.screen(library, tmp_path / "run", **words)
    assert run is not None
    found, plain = records(run.folder), moldiff.generate(7, model=model, keep_invalid=True).table
    assert [row["file"] for row in found] == [str(library)] * 2 + [f"model {model}"] * 7
    assert [row["name"] for row in found[2:]] == [str(number) for number in range(7)]
    assert [(row["status"], row["reason"]) for row in found[3::2]] == [
        (status, reason) for status, reason in zip(plain["status"][1::2], plain["reason"][1::2], strict=True)
    ]
    assert {row["stage"] for row in found[3::2]} == {"draw"}
    assert [row["status"] for row in found[2::2]] == ["valid", "duplicate", "duplicate", "duplicate"]
    assert run.funnel["requested"] == 9
    assert list(run.ranked["smiles"]) == ["C", "CC", "CCO"]
    monkeypatch.setattr(Draws, "make", None)  # none is made again
    moldiff.screen(library, tmp_path / "run", **{**words, "where": "mw<40"})
    assert [row["status"] for row in records(run.folder)[:3]] == ["filtered", "valid", "valid"]


@pytest.mark.usefixtures("half_methane")
def test_parts_make_the_same_draws(model: Path, tmp_path: Path) -> None:
    words: dict[str, Any] = {"from_model": model, "n": 5, "where": "mw<100", "shard_size": 2}
    moldiff.screen([], tmp_path / "whole", **words)
    for part in ("2/2", "1/2"):
        moldiff.screen([], tmp_path / part[0], shard=part, **words)
    merge_screens([tmp_path / "1", tmp_path / "2"])
    for name in ("records.parquet", "ranked.csv", "top.sdf.gz", "draws/000001.jsonl.gz"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()


def test_draws_are_as_they_were_asked_for(tmp_path: Path) -> None:
    words: dict[str, Any] = {"from_model": "qm9_fast", "n": 3, "targets": "rings=1", "shard_size": 2}
    run = moldiff.screen([], tmp_path / "run", **words)
    assert run is not None
    asked = moldiff.generate(3, model="qm9_fast", targets="rings=1").table
    assert [row["smiles"] for row in records(run.folder)] == list(asked["smiles"])
    assert read_plan(run.folder).draws == draws_of("qm9_fast", 3, 0, ["rings=1"])
    moldiff.screen([], tmp_path / "run", **words)  # the same run: nothing is refused
    with pytest.raises(MoldiffError):
        moldiff.screen([], tmp_path / "run", **{**words, "targets": "rings=2"})


def test_wishes_are_checked_before_a_run_begins(tmp_path: Path) -> None:
    for words, message in (
        ({"from_model": "qm9_fast", "n": 3, "targets": "colour=2"}, "the model knows no property 'colour'"),
        ({"from_model": "qm9_fast", "n": 3, "familiar": True}, "carries no tables"),
        ({"targets": "rings=1"}, "targets: only draws of a model"),
        ({"familiar": True}, "familiar: only draws of a model"),
    ):
        with pytest.raises(MoldiffError, match=message):
            moldiff.screen([], tmp_path / "run", **words)
    assert not (tmp_path / "run").exists()


def test_what_does_not_go_together_is_told(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MoldiffError, match="n is missing: how many draws of from_model"):
        moldiff.screen([], tmp_path / "run", from_model=model)
    with pytest.raises(MoldiffError, match="n must be at least 1"):
        moldiff.screen([], tmp_path / "run", from_model=model, n=0)
    with pytest.raises(MoldiffError, match="no molecule files to begin with"):
        moldiff.screen([], tmp_path / "run")
    wrong = Draws(str(model), "0" * 64, 3, 0)
    with pytest.raises(MoldiffError, match="has changed since the run was planned"):
        wrong.make(tmp_path / "draws.jsonl.gz", 0, 3)
    assert not (tmp_path / "draws.jsonl.gz").exists()
    assert draws.draws_of(str(model), 3, 0).records == 3
