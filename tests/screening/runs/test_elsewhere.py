"""A run that is gone on with elsewhere or later: from another folder, by other versions, of files that have changed."""

import gzip
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

import moldiff
from moldiff.chem.filters.hazard_list import hazard_list_of
from moldiff.errors import MoldiffError
from moldiff.screening.runs import chain, dask_engine
from moldiff.screening.runs.chain import Chain
from moldiff.screening.runs.plan import Plan, read_plan
from moldiff.screening.runs.run import status_of
from moldiff.screening.runs.shards import ShardTables
from moldiff.screening.screen import merge_screens, resume_screen

ALCOHOLS = "".join(f"{'C' * length}O n{length}\n" for length in range(1, 9))
TABLES = ("records.parquet", "ranked.parquet", "ranked.csv", "top.sdf.gz", "funnel.json")


def rows(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(run / "records.parquet").to_pylist()
    return found


def tables(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in TABLES}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a library, at hand."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "library.smi").write_text(ALCOHOLS)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that holds other files by the same names."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "bad.smarts").write_text("[#6] carbon\n")
    (folder / "known.smi").write_text("CO\nCCO\nCCCO\nCCCCO\n")
    (folder / "like.smi").write_text("c1ccccc1\n")
    return folder


def test_files_of_the_options_are_seen_from_where_a_run_was_begun(
    here: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "bad.smarts").write_text("[CX4;H3][CX4;H2][CX4;H2][OX2;H1] propanol\n")
    (here / "known.smi").write_text("CCO\n")
    (here / "like.smi").write_text("CCCCO\n")
    (here / "listed.smi").write_text("CCCCCO\n")
    hazard_list_of([here / "listed.smi"], "test").write(here / "list.json")
    words: dict[str, Any] = {"where": "mw<110", "rank": "similarity", "top": 2, "shard_size": 3}
    run = Path("run")
    moldiff.screen(
        "library.smi", run, smarts="bad.smarts", known="known.smi", similar_to="like.smi", hazard_lists="list.json",
        **words,
    )  # fmt: skip
    before = tables(run)
    stages = {row["stage"] for row in rows(run)}
    assert {"smarts:bad.smarts", "known", "mw"} <= stages
    assert "withheld" in {row["status"] for row in rows(run)}
    run = here / "run"
    monkeypatch.chdir(elsewhere)
    state = status_of(run)
    assert (state.shards_done, state.has_tables) == (3, True)
    assert merge_screens([run]).funnel["counts"] == json.loads(before["funnel.json"])["counts"]
    assert tables(run) == before
    resume_screen(run)
    assert tables(run) == before
    shutil.rmtree(next((run / "rows").iterdir()))
    resume_screen(run)
    assert tables(run) == before
    assert [folder.name for folder in (run / "rows").iterdir()] == [Chain.of(read_plan(run).asked()).key]


def test_a_function_of_a_file_is_not_looked_for_elsewhere(
    here: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "own.py").write_text("def length(molecules):\n    return [mol.GetNumHeavyAtoms() for mol in molecules]\n")
    (elsewhere / "own.py").write_text("def length(molecules):\n    return [0 for mol in molecules]\n")
    moldiff.screen("library.smi", "run", where="own.py:length<5")
    monkeypatch.chdir(elsewhere)
    for go_on in (status_of, lambda run: merge_screens([run]), lambda run: resume_screen(run, allow_commands=True)):
        with pytest.raises(MoldiffError, match=rf"'own.py:length<5' names a file that is seen from {here}: go on from"):
            go_on(here / "run")
    monkeypatch.chdir(here)
    (here / "own.py").unlink()
    with pytest.raises(MoldiffError, match=r"own\.py cannot be read: No such file"):
        status_of(Path("run"))


def test_a_worker_that_sees_another_file_or_version_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moldiff.screen("library.smi", "run", where="mw<110")
    plan = read_plan(Path("run"))
    asked = plan.asked()
    ours = ShardTables.opened(Path("run") / "rows", Chain.of(asked))
    dask_engine.work_on_shards(plan, ours, asked, [0], False)
    monkeypatch.setattr(chain, "VERSION", "99.9")
    with pytest.raises(MoldiffError, match="a worker has other versions, or another file"):
        dask_engine.work_on_shards(plan, ours, asked, [0], False)


def test_a_molecule_that_has_changed_does_not_come_to_the_top(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words: dict[str, Any] = {"rank": "mw:low", "top": 3, "shard_size": 3}
    for part in ("1/2", "2/2"):
        moldiff.screen("library.smi", "run", shard=part, **words)
    (here / "library.smi").write_text(ALCOHOLS.replace("CO n1\n", "c1ccccc1 n1\n"))
    with pytest.raises(MoldiffError, match=r"library\.smi has changed since the run was planned"):
        merge_screens([Path("run")])
    assert not (here / "run" / "top.sdf.gz").exists()
    monkeypatch.setattr(Plan, "check_inputs", lambda plan: None)  # it changes while it is read
    run = Path("run")
    assert merge_screens([run]).funnel["top"] == 2
    assert b"n1" not in gzip.decompress((run / "top.sdf.gz").read_bytes())
    told = json.loads((run / "funnel.json").read_text())
    assert "changed since it was screened" in json.dumps(told)


def test_an_input_that_changes_while_it_is_screened_is_told(here: Path) -> None:
    def change(done: int) -> None:
        (here / "library.smi").write_text(ALCOHOLS.replace("CO n1\n", "c1ccccc1 n1\n"))

    with pytest.raises(MoldiffError, match=r"library\.smi has changed since the run was planned"):
        moldiff.screen("library.smi", "run", rank="mw:low", shard_size=3, progress=change)
    assert not (here / "run" / "top.sdf.gz").exists()


def test_a_folder_that_is_renamed_is_not_made_anew(here: Path) -> None:
    def rename(done: int) -> None:
        if (here / "run").exists():
            (here / "run").rename(here / "moved")

    with pytest.raises(MoldiffError, match="run is not there any more; if it has another name now, go on with that"):
        moldiff.screen("library.smi", "run", shard_size=3, progress=rename)
    assert not (here / "run" / "rows").exists()
    resume_screen(Path("moved"))
    assert len(rows(Path("moved"))) == 8


def test_a_command_that_fails_costs_its_molecule_until_it_works(here: Path) -> None:
    script = here / "score.sh"
    script.write_text(f"#!/bin/sh\ntest -e {here}/licence || {{ echo no licence >&2; exit 3; }}\necho ${{#1}}\n")
    script.chmod(0o755)
    words: dict[str, Any] = {"commands": {"score": f"{script} {{smiles}}"}, "rank": "score:low", "where": "score<6"}
    moldiff.screen("library.smi", "run", **words)
    assert {(row["status"], row["reason"]) for row in rows(Path("run"))} == {
        ("failed", "score: exit status 3: no licence")
    }
    (here / "licence").touch()
    moldiff.screen("library.smi", "run", retry=True, **words)
    assert [row["status"] for row in rows(Path("run"))] == ["valid"] * 4 + ["filtered"] * 4


def test_parts_of_another_version_are_told_by_it(
    here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    words: dict[str, Any] = {"where": "mw<110", "shard_size": 3}
    moldiff.screen("library.smi", "one", shard="1/2", **words)
    ours = chain.VERSION
    with monkeypatch.context() as patch:
        patch.setattr(chain, "VERSION", "99.9")
        moldiff.screen("library.smi", "two", shard="2/2", **words)
        with pytest.raises(MoldiffError, match=rf"one was made by .*: moldiff 99\.9 \(was moldiff {ours}\)$"):
            merge_screens([Path("one")])
        assert f"all is to be computed anew, by moldiff 99.9 (was moldiff {ours})" in status_of(Path("one")).lines()
    with pytest.raises(MoldiffError, match=rf"two was made by .*: moldiff {ours} \(was moldiff 99\.9\)$"):
        merge_screens([Path("one"), Path("two")])
    assert not any("computed anew" in line for line in status_of(Path("one")).lines())
    caplog.clear()
    moldiff.screen("library.smi", "two", **words)
    assert f"all is computed anew, by moldiff {ours} (was moldiff 99.9)" in caplog.text
    caplog.clear()
    moldiff.screen("library.smi", "two", **words)
    moldiff.screen("library.smi", "two", **words | {"where": "mw<90"})
    assert "computed anew" not in caplog.text


def test_the_name_of_a_field_may_look_like_a_reason(here: Path) -> None:
    (here / "table.csv").write_text("smiles,IC50: nM\nCCO,50\nCCCO,500\nCCCCO,abc\n")
    words: dict[str, Any] = {"where": ["tag:IC50: nM<100"]}
    moldiff.screen("table.csv", "run", **words)
    words["where"].append("mw<300")
    moldiff.screen("table.csv", "run", **words)
    moldiff.screen("table.csv", "fresh", **words)
    assert (here / "run" / "records.parquet").read_bytes() == (here / "fresh" / "records.parquet").read_bytes()
    assert rows(Path("run"))[1]["reason"] == "tag:IC50: nM: 500, must be <100"
