"""Draws of a model as an input: each has its row, they are made once, and what the model got wrong is told."""

import json
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from methane import METHANE

import moldiff
from moldiff import provenance
from moldiff.arrays import RawSample
from moldiff.chem.filters.hazard_list import hazard_list_of
from moldiff.errors import MoldiffError
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.screening.runs import draws
from moldiff.screening.runs.draws import Draws, draws_of
from moldiff.screening.runs.plan import PLAN, read_plan
from moldiff.screening.screen import merge_screens, resume_screen


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
@pytest.mark.usefixtures("half_methane")
def test_what_a_list_withholds_follows_from_the_list_that_is_named(model: Path, tmp_path: Path) -> None:
    """Not from the one that was named when the draws were made; and of a model nothing is released."""
    (tmp_path / "methane.smi").write_text("C\n")
    hazard_list_of([tmp_path / "methane.smi"], "test").write(tmp_path / "list.json")
    words: dict[str, Any] = {"from_model": model, "n": 4}
    run = tmp_path / "run"

    def statuses(**more: Any) -> list[str]:
        moldiff.screen([], run, **words, **more)
        return [row["status"] for row in records(run)][::2]

    listed: dict[str, Any] = {"hazard_lists": tmp_path / "list.json"}
    assert statuses() == ["valid", "duplicate"]
    assert statuses(**listed) == ["withheld"] * 2
    assert statuses(**listed, release_hazards="a reason that is long enough") == ["withheld"] * 2
    assert statuses() == ["valid", "duplicate"]


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


@pytest.fixture
def begun(half_methane: None, model: Path, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A run whose last shard is not drawn yet, and the words that began it."""
    run, words = tmp_path / "run", {"from_model": model, "n": 5, "where": "mw<100", "shard_size": 2}
    for part in ("1/3", "2/3"):
        moldiff.screen([], run, shard=part, **words)
    assert len(list((run / "draws").iterdir())) == 2
    return run, words


def other_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "version", lambda name: "99.1" if name == "torch" else version(name))


def test_a_run_is_not_gone_on_with_by_other_versions(
    begun: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, words = begun
    shutil.copytree(run, tmp_path / "apart")
    told = rf"model .*: its draws were begun with other versions \(torch {re.escape(version('torch'))}, now 99\.1\)"
    with monkeypatch.context() as patch:
        other_versions(patch)
        for go_on in (lambda: resume_screen(run), lambda: moldiff.screen([], run, **words)):
            with pytest.raises(MoldiffError, match=told):
                go_on()
        assert len(list((run / "draws").iterdir())) == 2
        assert moldiff.screen([], tmp_path / "new", shard="3/3", **words) is None
        with pytest.raises(MoldiffError, match="is a run of other inputs, options or versions than the first"):
            merge_screens([tmp_path / "apart", tmp_path / "new"])
    whole = resume_screen(run)
    assert whole is not None and whole.funnel["requested"] == 5
    other_versions(monkeypatch)  # what is drawn may be looked at in other ways
    assert moldiff.screen([], run, **{**words, "where": "mw<90"}) is not None
    plan = read_plan(run).draws
    assert plan is not None and plan.versions["torch"] == version("torch"), "and is still told of as it was made"


def test_a_run_that_an_earlier_moldiff_began_goes_on(begun: tuple[Path, dict[str, Any]]) -> None:
    """Its plan does not tell of versions."""
    run, words = begun
    plan = json.loads((run / PLAN).read_text())
    del plan["draws"]["versions"]
    for go_on in (lambda: moldiff.screen([], run, shard="3/3", **words), lambda: resume_screen(run)):
        (run / PLAN).write_text(json.dumps(plan))
        go_on()
    assert len(records(run)) == 5


def test_who_goes_on_with_an_older_plan_stands_in_it(
    begun: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, words = begun
    plan = json.loads((run / PLAN).read_text())
    del plan["draws"]["versions"]
    (run / PLAN).write_text(json.dumps(plan))
    moldiff.screen([], run, shard="1/3", **words)
    draws = read_plan(run).draws
    assert draws is not None and draws.versions == provenance.versions()
    other_versions(monkeypatch)
    with pytest.raises(MoldiffError, match="its draws were begun with other versions"):
        moldiff.screen([], run, shard="3/3", **words)


@pytest.mark.parametrize("value", ["0.2", {"torch": 2}, [], None])
def test_versions_of_a_plan_that_are_none_are_told(begun: tuple[Path, dict[str, Any]], value: object) -> None:
    run, _ = begun
    plan = json.loads((run / PLAN).read_text())
    (run / PLAN).write_text(json.dumps({**plan, "draws": {**plan["draws"], "versions": value}}))
    with pytest.raises(MoldiffError, match=r"plan\.json is damaged: versions must be"):
        resume_screen(run)
