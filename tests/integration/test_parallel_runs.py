"""Runs side by side in one folder harm no other, and their files can be joined."""

import contextlib
import csv
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from killed import begin
from rdkit import Chem
from servers import another_machine
from started import started

import moldiff
from moldiff.chem.filters.criteria import Criteria
from moldiff.datasets.sources import Source, find_sources
from moldiff.files import claimed
from moldiff.run_record import record_path
from moldiff.screening.entries import Library
from moldiff.screening.filter_files import filter_files
from moldiff.screening.filter_run import FilterOptions, FilterRun

RUNS = 10


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def generate(model: Path, out: str, *options: str) -> list[str]:
    command = ["generate", "-n", "3", "--evaluations", "2", "--keep-invalid", "--device", "cpu", "--model", str(model)]
    return [*command, "-o", out, *options]


def test_ten_runs_in_one_folder_lose_nothing_and_one_name_is_given_once(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    names = [*(f"m{seed}.sdf" for seed in range(RUNS)), "twice.sdf", "twice.sdf"]
    running = [
        begin(generate(model, name, "--seed", str(seed)), folder, f"said{seed}.txt") for seed, name in enumerate(names)
    ]
    for process in running:
        process.join(240)
    said = [(folder / f"said{seed}.txt").read_text() for seed in range(len(names))]
    assert [process.exitcode for process in running[:RUNS]] == [0] * RUNS, said
    assert sorted(str(process.exitcode) for process in running[RUNS:]) == ["0", "2"], said[RUNS:]
    loser = next(text for text, process in zip(said, running, strict=True) if process.exitcode == 2)
    assert loser.count("\n") == 1
    assert "twice.sdf is being written by another run" in loser or "twice.sdf exists already" in loser
    ids: Counter[str] = Counter()
    for seed, name in enumerate(names[: RUNS + 1]):
        record = json.loads(record_path(folder / name).read_text())
        assert record["output"] == name
        assert record["options"]["seed"] == seed or name == "twice.sdf"
        rows = rows_of((folder / name).with_suffix(".csv"))
        assert [row["draw"] for row in rows] == ["0", "1", "2"]
        ids.update(row["moldiff_id"] for row in rows)
        with Chem.SDMolSupplier(str(folder / name), sanitize=False) as molecules:
            assert {mol.GetProp("_Name") for mol in molecules} <= {row["moldiff_id"] for row in rows}
    assert len(ids) == ids.total() == 3 * (RUNS + 1)
    left = [path.name for path in folder.iterdir() if path.name.startswith(".") or path.suffix == ".unfinished"]
    assert left == []


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("command", [["data", "prepare"], ["evaluate", "--posebusters", "0"]])
def test_a_folder_that_another_run_is_making_is_refused_before_the_work(
    run: Callable, sample_path: Path, tmp_path: Path, command: list[str], overwrite: bool
) -> None:
    folder, *more = tmp_path / "made", *(["--overwrite"] if overwrite else [])
    with claimed(folder):
        run(*command, sample_path, "-o", folder, *more).assert_refused("made is being written by another run")
        assert [path.suffix for path in tmp_path.iterdir()] == [".part"], "the claim alone"
    assert run(*command, sample_path, "-o", folder, *more).status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


CLAIM = """
import sys, time
from pathlib import Path
from moldiff.files import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
OF_FOLDERS = (["data", "prepare"], ["evaluate", "--posebusters", "0"], ["models", "pack"], ["models", "average"])


@pytest.mark.parametrize("command", OF_FOLDERS, ids=lambda command: " ".join(command[:2]))
def test_the_folders_of_a_run_on_another_machine_are_not_touched(
    run: Callable, model: Path, sample_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """As it has them between the two renames that replace an older folder; locks on folders are its own machine's."""
    another_machine(monkeypatch)
    inputs = [model, model] if command[-1] == "average" else [model if command[0] == "models" else sample_path]
    folder, mark = tmp_path / "made", tmp_path / ".made.00000000.part"
    new, old = tmp_path / ".made.0123abcd.part", tmp_path / ".made.old"
    for there in (new, old):
        there.mkdir()
    with started([sys.executable, "-c", CLAIM, str(folder)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        told = "made is being written by another run"
        run(*command, *inputs, "-o", folder, "--overwrite").assert_refused(told)
        assert {path for path in tmp_path.iterdir() if "made" in path.name} == {new, old, mark}


def test_a_folder_that_another_run_begins_meanwhile_is_refused(
    sample_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the place and the work."""
    with contextlib.ExitStack() as other:

        def begin_and_find(*arguments: Any) -> list[Source]:
            other.enter_context(claimed(tmp_path / "made"))
            return find_sources(*arguments)

        monkeypatch.setattr("moldiff.datasets.prepare.find_sources", begin_and_find)
        with pytest.raises(moldiff.MoldiffError, match="made is being written by another run"):
            moldiff.prepare(sample_path, tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


def ids(**keywords: object) -> set[str]:
    found = moldiff.generate(2, evaluations=2, keep_invalid=True, **keywords)  # type: ignore[arg-type]
    return set(found.table["moldiff_id"])


def test_an_id_belongs_to_one_molecule(model: Path) -> None:
    plain = ids(model=model)
    assert all(one.startswith("model_1_") for one in plain)
    # what makes other molecules gives them other ids
    others = [
        ids(model=model, seed=1), ids(model=model, n_atoms=5),
        ids(model=model, first=2), ids(model=model, sampler="ddim"), ids(model=model, charge=0),
    ]  # fmt: skip
    assert len(plain.union(*others)) == 12
    # what only chooses among them, or writes them down elsewhere, does not
    assert ids(model=model, batch_size=1) == plain
    assert ids(model=model, where="mw<500") == plain
    wider = moldiff.generate(4, evaluations=2, keep_invalid=True, model=model).table["moldiff_id"]
    assert set(wider) == plain | ids(model=model, first=2)


def test_variations_of_different_files_have_different_ids(model: Path, sample_texts: list[str], tmp_path: Path) -> None:
    first, second = tmp_path / "a.sdf", tmp_path / "b.sdf"
    first.write_text("".join(sample_texts[:2]))
    second.write_text("".join(sample_texts[1:3]))
    settings = {"evaluations": 2, "strength": 0.3, "model": model, "keep_invalid": True}
    one, other = (moldiff.vary(path, 2, **settings).table for path in (first, second))  # type: ignore[arg-type]
    assert not set(one["moldiff_id"]) & set(other["moldiff_id"])
    both = moldiff.vary([first, second], 2, **settings).table  # type: ignore[arg-type]
    assert list(both["file"]) == ["a.sdf"] * 4 + ["b.sdf"] * 4
    assert list(both["record"]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [place.rpartition("-")[2] for place in both["moldiff_id"]][-1] == "3.1"


@pytest.mark.parametrize("command", [["vary"], ["conformers"]], ids=lambda command: command[0])
def test_parts_made_apart_are_one_run(command: list[str], model: Path, sample_texts: list[str], tmp_path: Path) -> None:
    for name, some in (("a.sdf", sample_texts[:3]), ("b.sdf", sample_texts[3:5])):
        (tmp_path / name).write_text("".join(some))
    options = [*command, "a.sdf", "b.sdf", "-n", "2", "--evaluations", "2", "--keep-invalid", "--model", str(model)]
    asked = [[*options, "-o", "all.sdf"], *([*options, "-o", f"p{k}.sdf", "--shard", f"{k}/3"] for k in (1, 2, 3))]
    for arguments in asked:
        process = begin(arguments, tmp_path)
        process.join()
        assert process.exitcode == 0, (tmp_path / "said.txt").read_text()
    parts = [tmp_path / f"p{k}.sdf" for k in (1, 2, 3)]
    assert "".join(part.read_text() for part in parts) == (tmp_path / "all.sdf").read_text()
    rows = [row for part in parts for row in rows_of(part.with_suffix(".csv"))]
    assert rows == rows_of(tmp_path / "all.csv")
    assert [len(rows_of(part.with_suffix(".csv"))) for part in parts] == [2, 4, 4]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.run.json", "generate -n 2 --model qm9_fast -o a.smi"),
        ("a.run.json", "vary one.sdf -n 1 --model qm9_fast -o a.sdf.gz"),
        ("a.run.json", "filter one.sdf -o a.parquet"),
        ("a.run.json", "data relax one.sdf -o a.sdf --method mmff94s"),
        ("a.json", "likelihood one.sdf --model qm9_fast --evaluations 8 -o a.csv"),
        ("a.records.csv", "filter one.sdf -o a.csv"),
        ("a.records.csv", "filter one.sdf -o a.sdf.gz"),
        ("a.csv", "data relax one.sdf -o a.sdf --method mmff94s"),
        ("a.csv", "generate -n 1 --evaluations 2 --model qm9_fast -o a.sdf"),
        ("a.csv", "vary one.sdf -n 1 --model qm9_fast -o a.smi"),
        ("page.html", "generate -n 1 --model qm9_fast --report page.html -o a.csv"),
        ("walk.xyz", "generate -n 1 --model qm9_fast --trajectory walk.xyz -o a.csv"),
        ("a.targets.png", "generate -n 1 --model qm9_fast --target mw=100 -o a.csv"),
    ],
)
def test_every_file_of_a_run_is_made_by_one_run_at_a_time(
    run: Callable[..., Any], sample_texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
    words: str,
) -> None:  # fmt: skip
    """Outputs of one name and other kinds would have one run record: that of the last to end would tell of all. And
    what a run writes beside its output may be the output of another."""
    monkeypatch.chdir(tmp_path)
    Path("one.sdf").write_text(sample_texts[7])
    with claimed(Path(name)):  # as the other run does
        run(*words.split()).assert_refused(f"{name} is being written by another run; choose another name")
    assert {path.name for path in tmp_path.iterdir()} == {"one.sdf"}
    assert run(*words.split()).status == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_a_run_writes_beside_its_output_is_no_output_of_another_meanwhile(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.smi").write_text("CCO\n")
    options = FilterOptions(criteria=Criteria.of(where="mw<500"))
    with filter_files(FilterRun(Library((Path("one.smi"),)), options), Path("g.csv"), overwrite=True):
        for words in (["-o", "g.records.csv"], ["-o", "g.sdf"], ["-o", "g.records.csv", "--overwrite"]):
            told = run("filter", "one.smi", *words)
            told.assert_refused("is being written by another run; choose another name")
    assert run("filter", "one.smi", "-o", "g.records.csv").status == 0
