"""Runs from records: which records a run is asked about, and what they are called, is part of what is resumed."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moldiff.generation.writer import RunFiles
from moldiff.journal import find_journal

Run = Callable[..., Any]
SETTINGS = {
    "vary": ["-n", "1", "--strength", "0.2", "--evaluations", "2"],
    "conformers": ["-n", "1", "--evaluations", "2", "--redraws", "0"],
}


@pytest.fixture
def folder(tmp_path: Path, sample_texts: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with five molecules, and a table with two columns of SMILES and two of names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.sdf").write_text("".join(sample_texts[20:25]))
    (tmp_path / "t.csv").write_text("First,second,key,word\nCCO,CCCN,1,uno\nCC=O,CCOC,2,dos\nCCN,CC#N,3,tres\n")
    return tmp_path


def stop_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run stop like a killed one after so many results."""
    add, added = RunFiles.add, []

    def killed(self: RunFiles, result: Any) -> None:
        if len(added) == count:
            raise RuntimeError("killed")
        added.append(result)
        add(self, result)

    monkeypatch.setattr(RunFiles, "add", killed)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def refused(found: Any, words: str) -> None:
    """Assert that a command ended with status 2 and an error; before it, a model without references is told of."""
    assert (found.status, found.out) == (2, "")
    assert found.err.splitlines()[-1].startswith("error: ") and words in found.err.splitlines()[-1]


@pytest.mark.parametrize("command", SETTINGS)
def test_a_part_that_has_ended_is_not_another_part_or_the_whole(
    run: Run, command: str, packed: Path, folder: Path
) -> None:
    asked = [command, "m.sdf", *SETTINGS[command], "--model", packed, "--keep-invalid", "-o", "x.sdf"]
    run(*asked, "--shard", "2/3")
    made = (folder / "x.csv").read_text()
    assert [row["record"] for row in rows_of(folder / "x.csv")] == ["1", "2"]
    assert json.loads((folder / "x.run.json").read_text())["options"]["shard"] == "2/3"
    for other in ([], ["--shard", "1/3"], ["--shard", "4/6"]):
        refused(run(*asked, *other, "--resume"), "x.sdf exists already")
    again = run(*asked, "--shard", "2/3", "--resume")
    assert "nothing is left to do" in again.out + again.err
    assert (folder / "x.csv").read_text() == made


@pytest.mark.parametrize("command", SETTINGS)
def test_results_of_a_part_are_not_taken_over_by_another(
    run: Run, command: str, packed: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [command, "m.sdf", *SETTINGS[command], "--model", packed, "--keep-invalid", "--batch-size", "1"]
    whole = run(*asked, "-o", "whole.sdf", "--shard", "1/2")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        stop_after(1, patch)
        run(*asked, "-o", "x.sdf", "--shard", "1/2")
    assert find_journal(folder / "x.sdf") is not None
    refused(run(*asked, "-o", "x.sdf", "--shard", "2/2", "--resume"), "another run (shard 1/2, now 2/2)")
    refused(run(*asked, "-o", "x.sdf", "--resume"), "another run (shard 1/2, now not given)")
    assert run(*asked, "-o", "x.sdf", "--shard", "1/2", "--resume").status == whole.status
    assert rows_of(folder / "x.csv") == rows_of(folder / "whole.csv")


OTHER_COLUMNS = {
    "--smiles-column": (["--smiles-column", "FIRST"], ["--smiles-column", "second"]),
    "--name-column": (["--name-column", "key"], ["--name-column", "word"]),
    "none": (["--smiles-column", "first", "--name-column", "key"], ["--smiles-column", "first"]),
    "--delimiter": (["--smiles-column", "first"], ["--smiles-column", "first", "--delimiter", "comma"]),
}


@pytest.mark.parametrize("option", OTHER_COLUMNS)
def test_a_table_read_by_other_columns_is_another_request(
    run: Run, option: str, packed: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = OTHER_COLUMNS[option]
    if option == "--name-column":
        (folder / "t.csv").write_text("smiles,key,word\nCCO,1,uno\nCC=O,2,dos\nCCN,3,tres\n")
    asked = ["conformers", "t.csv", *SETTINGS["conformers"], "--model", packed, "--batch-size", "1"]
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        stop_after(1, patch)
        run(*asked, *one, "-o", "x.sdf")
    refused(run(*asked, *other, "-o", "x.sdf", "--resume"), "results of another run (")
    run(*asked, *one, "-o", "x.sdf", "--resume")
    made = (folder / "x.csv").read_text()
    refused(run(*asked, *other, "-o", "x.sdf", "--resume"), "x.sdf exists already")
    assert (folder / "x.csv").read_text() == made


def test_the_same_columns_in_other_words_are_the_same_request(run: Run, packed: Path, folder: Path) -> None:
    asked = ["conformers", "t.csv", *SETTINGS["conformers"], "--model", packed, "-o", "x.sdf"]
    run(*asked, "--smiles-column", "first", "--delimiter", "comma")
    again = run(*asked, "--smiles-column", " FIRST", "--delimiter", ",", "--resume")
    assert "nothing is left to do" in again.out + again.err


def test_ids_tell_the_column_of_the_molecule_and_not_that_of_its_name(run: Run, packed: Path, folder: Path) -> None:
    asked = ["conformers", "t.csv", *SETTINGS["conformers"], "--model", packed, "--keep-invalid"]
    ids = {}
    for name, columns in {
        "first": ["first"], "second": ["second"], "key": ["first", "--name-column", "key"],
        "word": ["first", "--name-column", "word"],
    }.items():  # fmt: skip
        run(*asked, "--smiles-column", *columns, "-o", f"{name}.sdf")
        ids[name] = [row["moldiff_id"] for row in rows_of(folder / f"{name}.csv")]
    assert not set(ids["first"]) & set(ids["second"])
    assert ids["first"] == ids["key"] == ids["word"]
    assert [row["name"] for row in rows_of(folder / "word.csv")] == ["uno", "dos", "tres"]


@pytest.mark.parametrize("command", SETTINGS)
def test_a_run_that_names_neither_part_nor_columns_is_asked_for_as_ever(
    run: Run, command: str, packed: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        stop_after(1, patch)
        run(command, "m.sdf", *SETTINGS[command], "--model", packed, "--batch-size", "1", "-o", "x.sdf")
    found = find_journal(folder / "x.sdf")
    assert found is not None
    assert found.request["shard"] is None
    assert not {"smiles_column", "name_column", "delimiter", "columns"} & set(found.request)
