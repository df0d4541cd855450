"""A run: the same tables whoever does the work and whatever happens on the way, every record accounted for."""

import dataclasses
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from poison import PoisonCheck
from rdkit import Chem

import moldiff
from moldiff.chem.filters.criteria import Criteria
from moldiff.cli.main import main
from moldiff.errors import MoldiffError
from moldiff.screening.runs.estimate import estimate
from moldiff.screening.runs.locking import run_lock
from moldiff.screening.runs.options import screen_options
from moldiff.screening.runs.plan import make_plan, write_plan
from moldiff.screening.runs.run import status_of
from moldiff.screening.screen import merge_screens, resume_screen

ROOT = Path(__file__).parents[3]
DRUGS = ROOT / "tests" / "fixtures" / "drugs.sdf"
TABLES = ("records.parquet", "ranked.parquet", "ranked.csv", "top.sdf.gz", "funnel.json")
SMILES = """CCO ethanol
CCCC butane
not_a_smiles
OCC ethanol again
C(C)(C)(C)(C)C five bonds
CCCCCCCCCCCCCCCCCCCC fat
c1ccccc1O phenol
CC(=O)O acid
CCN amine
Oc1ccccc1 phenol again
CCCl chloride
"""
WORDS: dict[str, Any] = {
    "where": ["mw<200", "logp<5"],
    "alerts": "brenk",
    "rank": ["qed:max:0..0.9", "mw:target:0..80..300"],
    "top": 4,
    "shard_size": 3,
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that nobody writes into: tables hold its name, and those of several runs are compared."""
    path = tmp_path_factory.mktemp("library") / "library.smi"
    path.write_text(SMILES)
    return path


@pytest.fixture(scope="module")
def whole(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `WORDS` that nobody writes into."""
    run = tmp_path_factory.mktemp("whole") / "run"
    done(moldiff.screen(library, run, **WORDS))
    return run


@pytest.fixture(scope="module")
def barren(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody writes into, in which nothing passes: its tables are made anew without a worker."""
    run = tmp_path_factory.mktemp("barren") / "run"
    assert done(moldiff.screen(library, run, where="mw<1")).funnel["ranked"] == 0
    return run


def tables(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in TABLES}


def rows(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(run / "records.parquet").to_pylist()
    return found


def copied(run: Path, folder: Path) -> Path:
    """Return a copy of a run, to do with as one likes."""
    return shutil.copytree(run, folder / "run")


def done(found: moldiff.Screening | None) -> moldiff.Screening:
    assert found is not None
    return found


def test_every_record_is_accounted_for_and_the_best_are_ranked(library: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = done(moldiff.screen([library, DRUGS], run, **{**WORDS, "where": ["mw<250", "logp<5"]}))
    found = rows(run)
    assert [row["record"] for row in found] == list(range(23))
    assert [row["status"] for row in found[:11]] == [
        "valid", "valid", "failed", "duplicate", "invalid", "filtered", "valid", "valid", "valid", "duplicate",
        "filtered",
    ]  # fmt: skip
    assert (found[5]["stage"], found[5]["limit"], found[5]["value"]) == ("mw", "<250", "282.556")
    assert (found[9]["stage"], found[9]["duplicate_of"]) == ("duplicates", 6)
    counts = result.funnel["counts"]
    assert sum(counts.values()) == result.funnel["requested"] == 23
    assert all(counts[status] == sum(row["status"] == status for row in found) for status in counts)
    left = 23
    for stage in result.funnel["stages"]:
        assert stage["asked"] == left
        left = stage["passed"]
    assert left == counts["valid"] == result.funnel["ranked"] == len(result.ranked)
    worth = list(result.ranked["desirability"])
    assert worth == sorted(worth, reverse=True)
    assert list(result.ranked["pick"][:5].fillna(0)) == [1, 2, 3, 4, 0]
    with gzip.open(run / "top.sdf.gz") as handle:
        top = list(Chem.ForwardSDMolSupplier(handle, removeHs=False))
    assert [mol.GetIntProp("record") for mol in top] == list(result.ranked["record"][:4])
    assert all(mol.GetConformer().Is3D() and mol.HasProp("desirability") for mol in top)
    assert "23 requested = " in result.lines()[-2]
    assert status_of(run).lines() == ["8 of 8 shards, 23 of 23 records", *status_of(run).lines()[1:]]
    assert status_of(run).has_tables


def test_it_judges_as_filter_does(library: Path, whole: Path) -> None:
    plain = moldiff.filter(library, where=WORDS["where"], alerts="brenk").table
    for name in ("record", "status", "stage", "reason", "value", "limit", "smiles", "inchikey"):
        assert ["" if row[name] is None else row[name] for row in rows(whole)] == list(plain[name])


def test_processes_parts_and_folders_of_parts_give_the_same_tables(library: Path, whole: Path, tmp_path: Path) -> None:
    done(moldiff.screen(library, tmp_path / "two", workers=2, **WORDS))
    assert tables(whole) == tables(tmp_path / "two")
    for part in ("1/2", "2/2"):
        with pytest.raises(MoldiffError, match=r"2 of 4 shards are not done yet \(1, 3\)|no screening run"):
            merge_screens([tmp_path / "parts"])
        assert moldiff.screen(library, tmp_path / "parts", shard=part, **WORDS) is None
        assert moldiff.screen(library, tmp_path / part[0], shard=part, **WORDS) is None
    merge_screens([tmp_path / "parts"])
    merge_screens([tmp_path / "1", tmp_path / "2"])
    assert tables(whole) == tables(tmp_path / "parts") == tables(tmp_path / "1")


KILLED = """
import os, signal, sys
from pathlib import Path
import moldiff
from moldiff import files
real, calls = os.replace, []
def replace(source, target):
    calls.append(target)
    if len(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)
if __name__ == "__main__":
    os.replace = replace
    import json
    moldiff.screen(sys.argv[1], sys.argv[2], **json.loads(sys.argv[4]))
"""


@pytest.mark.parametrize("moment", [3, 5, 9], ids=["before the first shard", "between shards", "amid the tables"])
def test_a_killed_run_goes_on_and_ends_with_the_same_tables(
    moment: int, library: Path, whole: Path, tmp_path: Path
) -> None:
    script, run = tmp_path / "killed.py", tmp_path / "run"
    script.write_text(KILLED)
    arguments = [str(library), str(run), str(moment), json.dumps(WORDS)]
    ended = subprocess.run([sys.executable, str(script), *arguments], check=False, env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    assert any(path.name.endswith(".part") for path in run.rglob(".*")), "it was killed before a rename"
    before = status_of(run)
    assert not before.has_tables
    assert before.shards_done == {3: 0, 5: 2, 9: 4}[moment]
    done(resume_screen(run) if moment == 5 else moldiff.screen(library, run, **WORDS))
    assert not any(path.name.endswith(".part") for path in run.rglob(".*"))
    assert tables(run) == tables(whole)


def test_a_molecule_that_kills_hangs_or_is_greedy_costs_one_row_and_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, run = tmp_path / "seen", tmp_path / "run"
    plain = Criteria.checks
    monkeypatch.setattr(Criteria, "checks", lambda self: (*plain(self), PoisonCheck(str(seen))))
    library = tmp_path / "library.smi"
    library.write_text("C\n[Ar] crashes\nCC\n[Kr] hangs\nCCC\n[Xe] is greedy\nCCCC\n")
    words: dict[str, Any] = {"where": "mw<300", "timeout_s": 2.0, "memory_mb": 2048}
    result = done(moldiff.screen(library, run, **words))
    found = rows(run)
    assert [row["status"] for row in found] == [
        "valid", "failed", "valid", "failed", "valid", "failed", "valid",
    ]  # fmt: skip
    assert found[1]["reason"].startswith("crashed: ")
    assert found[3]["reason"] == "timeout: not done within 2 s"
    assert (found[5]["stage"], found[5]["reason"]) == ("poison", "poison: error: MemoryError: MemoryError")
    assert result.funnel["counts"]["failed"] == 3
    assert [one["name"] for one in result.funnel["lost"]] == ["crashes", "hangs"]
    asked, first = seen.read_text(), tables(run)
    done(moldiff.screen(library, run, **words))
    assert seen.read_text() == asked
    assert moldiff.screen(library, run, shard="1/1", retry=True, **words) is None
    assert not status_of(run).has_tables, "rows may have changed"
    merge_screens([run])
    again = seen.read_text().removeprefix(asked).split()
    assert {"Ar", "Kr", "Xe"} == set(again), "only what failed is looked at again"
    assert tables(run) == first


def test_other_options_ask_only_what_is_new(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, run = tmp_path / "seen", tmp_path / "run"
    plain = Criteria.checks
    monkeypatch.setattr(Criteria, "checks", lambda self: (*plain(self), PoisonCheck(str(seen))))
    done(moldiff.screen(library, run, **WORDS))
    asked = seen.read_text()
    assert asked.count("\n") == 7, "of eleven records two are no molecules, one is too heavy, one has an alert"
    narrower = {**WORDS, "where": ["mw<200", "logp<1.2"], "alerts": ("brenk", "pains"), "top": 2}
    wider = {**WORDS, "where": ["mw<400", "logp<5"]}  # what was too heavy is left out by its logp now
    found = []
    for words in (narrower, wider):
        done(moldiff.screen(library, run, **words))
        assert seen.read_text() == asked
        found.append(tables(run))
    for number, words in enumerate((narrower, wider)):
        done(moldiff.screen(library, tmp_path / f"other{number}", **words))
        assert tables(tmp_path / f"other{number}") == found[number]


def test_a_copy_is_found_in_whichever_shard_it_lies(tmp_path: Path) -> None:
    library, run = tmp_path / "library.smi", tmp_path / "run"
    library.write_text("CCO\nCCC\nOCC\nC\nC(O)C\nCCC\n")
    words: dict[str, Any] = {"where": "mw<300", "shard_size": 1}
    for part in ("3/3", "1/3", "2/3"):
        moldiff.screen(library, run, shard=part, **words)
    merge_screens([run])
    assert [row["duplicate_of"] for row in rows(run)] == [None, None, 0, None, 0, 1]
    done(moldiff.screen(library, run, dedup=False, **words))
    assert {row["status"] for row in rows(run)} == {"valid"}


def test_two_processes_do_not_work_in_one_folder(library: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with run_lock(run) as lock:
        lock.exclusive()
        for words in ({}, {"shard": "1/2"}):
            with pytest.raises(MoldiffError, match="another process works in"):
                moldiff.screen(library, run, **words, **WORDS)
    moldiff.screen(library, run, shard="1/2", **WORDS)
    with run_lock(run) as lock:
        lock.shared()  # as another part does
        with pytest.raises(MoldiffError, match="another process works in"):
            moldiff.screen(library, run, **WORDS)
        with pytest.raises(MoldiffError, match="another process works in"):
            moldiff.screen(library, run, shard="2/2", **{**WORDS, "top": 1})
        moldiff.screen(library, run, shard="2/2", **WORDS)
    assert merge_screens([run]).funnel["requested"] == 11


def test_the_programs_of_a_plan_run_only_when_allowed(library: Path, tmp_path: Path) -> None:
    run, mark = tmp_path / "run", tmp_path / "ran"
    words = {"commands": {"x": f"touch {mark} {{smiles}}"}, "shard_size": 4}
    moldiff.screen(library, run, shard="1/3", **words)
    mark.unlink()
    with pytest.raises(MoldiffError, match=r"its plan runs 'touch .* \(allow_commands\)"):
        resume_screen(run)
    assert not mark.exists()
    resume_screen(run, allow_commands=True)
    assert mark.exists()


CODE = "import pathlib\npathlib.Path({mark!r}).touch()\n\ndef f(molecules):\n    return [1.0 for _ in molecules]\n"


@pytest.mark.parametrize(
    "words",
    [
        {"where": ["mw<500", "{code}>0"]},
        {"where": ["{code} = 0..2"]},
        {"rank": ["{code}"]},
        {"rank": ["{code}:low"]},
        {"rank": ["qed:max:0..1", "{code} : max:0..1*2"]},
    ],
    ids=str,
)
def test_the_functions_of_a_plan_run_only_when_allowed(words: dict[str, list[str]], tmp_path: Path) -> None:
    run, mark, library = tmp_path / "run", tmp_path / "ran", tmp_path / "library.smi"
    library.write_text("not_a_smiles\n")  # a function is loaded for whatever there is, and nothing has to be placed
    (tmp_path / "mine.py").write_text(CODE.format(mark=str(mark)))
    own = {name: [text.format(code=f"{tmp_path / 'mine.py'}:f") for text in texts] for name, texts in words.items()}
    write_plan(run, make_plan([library], screen_options(own)))
    (tmp_path / "evil.py").write_text((tmp_path / "mine.py").read_text())
    (run / "plan.json").write_text((run / "plan.json").read_text().replace("mine.py", "evil.py"))
    mark.unlink(missing_ok=True)
    with pytest.raises(MoldiffError, match=r"its plan runs '.*evil\.py:f'; .* \(allow_commands\)"):
        resume_screen(run)
    assert not (run / "rows").exists()
    assert not mark.exists()
    resume_screen(run, allow_commands=True)
    assert mark.exists()


LOOKING = """
import sys
from pathlib import Path
from moldiff.cli.main import main
if __name__ == "__main__":
    for action in ("status", "merge", "report", "status"):
        assert main(["screen", action, sys.argv[1]]) == 0, action
        assert not Path(sys.argv[2]).exists(), action
"""


def test_who_looks_at_a_run_or_merges_it_runs_no_code(library: Path, tmp_path: Path) -> None:
    run, mark, code = tmp_path / "run", tmp_path / "ran", tmp_path / "mine.py"
    code.write_text(CODE.format(mark=str(mark)))
    words: dict[str, Any] = {"where": f"{code}:f>0", "rank": f"{code}:f", "shard_size": 4}
    words["commands"] = {"x": f"touch {mark} {{smiles}}"}
    assert moldiff.screen(library, run, shard="1/1", **words) is None
    mark.unlink()
    # by a process that has not loaded it yet, one after the other
    told = subprocess.run([sys.executable, "-c", LOOKING, run, mark], check=True, capture_output=True)
    assert b"the tables are there" in told.stdout
    assert not mark.exists()


def test_a_command_has_the_name_of_no_column_or_stage(library: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    known = tmp_path / "known.smi"
    known.write_text("CCO\n")
    done(moldiff.screen(library, run, **{**WORDS, "rules": "veber", "known": known}))
    names = {name for path in run.glob("*.parquet") for name in pyarrow.parquet.read_table(path).column_names}
    stages = {stage["stage"] for stage in json.loads((run / "funnel.json").read_text())["stages"]}
    assert {"rank", "pick", "desirability", "inchikey", "veber", "brenk", "known", "mw"} <= names
    assert {"read", "duplicates", "hazards", "worker"} <= stages
    for name in names | stages:
        with pytest.raises(MoldiffError, match=f"^commands '{name}': .* has that name") as caught:
            moldiff.screen(library, tmp_path / "other", commands={name: "echo 5 {smiles}"})
        assert caught.value.argument == "commands"
    for name in ("status", "smiles", "duplicate_of"):
        with pytest.raises(MoldiffError, match="a column of the tables has that name"):
            moldiff.filter(["CCO"], commands={name: "echo 5 {smiles}"})
    assert not (tmp_path / "other").exists()


def test_a_program_that_is_missing_shows_before_a_run_but_not_to_who_looks_at_it(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = {"commands": {"k": "no_such_program_here {smiles}"}}
    with pytest.raises(MoldiffError, match="there is no such program here"):
        moldiff.screen(library, tmp_path / "run", **missing)
    with pytest.raises(MoldiffError, match="there is no such program here"):
        moldiff.filter(["CCO"], **missing)
    with pytest.raises(MoldiffError, match="there is no such program here"):
        estimate(make_plan([library], screen_options(missing)), 1)
    assert not (tmp_path / "run").exists()
    run, program = tmp_path / "run", tmp_path / "mine.sh"
    program.write_text("#!/bin/sh\necho 5\n")
    program.chmod(0o755)
    done(moldiff.screen(library, run, commands={"k": f"{program} {{smiles}}"}))
    program.unlink()
    assert status_of(run).has_tables


def test_a_look_at_a_run_writes_nothing(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    moldiff.screen(library, run, shard="1/3", **WORDS)
    for path in run.rglob("chain.json"):
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    monkeypatch.setattr(os, "replace", None)
    assert status_of(run).shards_done == 2
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_what_is_in_the_way_or_has_changed_is_told(tmp_path: Path) -> None:
    run, library = tmp_path / "run", tmp_path / "library.smi"
    library.write_text(SMILES)
    with pytest.raises(MoldiffError, match="no screening run"):
        resume_screen(run)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("words")
    with pytest.raises(MoldiffError, match="is no screening run; choose another folder"):
        moldiff.screen(library, tmp_path / "other", **WORDS)
    assert os.listdir(tmp_path / "other") == ["thesis.tex"]
    moldiff.screen(library, run, shard="1/4", **WORDS)
    with pytest.raises(MoldiffError, match="holds a run of other inputs or shards"):
        moldiff.screen(DRUGS, run, **WORDS)
    library.write_text(SMILES.replace("CCN", "CCS"))
    with pytest.raises(MoldiffError, match=r"library.smi has changed since the run was planned"):
        resume_screen(run)
    wrong: tuple[dict[str, Any], ...] = (
        {"top": 0}, {"diverse": 1.5}, {"shard": "5/4"}, {"rank": ["qed", "sa"]}, {"workers": 0},
    )  # fmt: skip
    for words in wrong:
        with pytest.raises(MoldiffError, match=next(iter(words))):
            moldiff.screen(library, tmp_path / "new", **words)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "text", ["{}", "[]", "null", "3", '{"links": 3, "every": false, "base": ""}', '{"links": [[1]]}']
)
def test_a_chain_of_another_shape_is_told_of(text: str, library: Path, barren: Path, tmp_path: Path) -> None:
    run = copied(barren, tmp_path)
    (chain,) = run.glob("rows/*/chain.json")
    chain.write_text(text)
    with pytest.raises(MoldiffError, match=r"chain\.json is damaged; remove its folder"):
        moldiff.screen(library, run, where="mw<90")


@pytest.mark.parametrize(
    "name",
    ["records.parquet", "ranked.parquet", "ranked.csv", "top.sdf.gz", "funnel.json", "report.html", "ranked.run.json"],
)
def test_a_table_that_is_missing_is_not_there(
    name: str, barren: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(barren, tmp_path)
    assert status_of(run).lines()[-1] == "the tables are there"
    (run / name).unlink()
    assert status_of(run).lines()[-1] == "the tables are not there yet"
    assert main(["screen", "report", str(run)]) == 2
    assert "the tables are not there yet; go on with the run" in capsys.readouterr().err
    resume_screen(run)
    assert status_of(run).has_tables


def cut(path: Path) -> None:
    os.truncate(path, 300)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_rows(path: Path) -> None:
    path.write_bytes(path.with_name("000000.parquet").read_bytes())


def other_columns(path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"record": [4, 5, 6]}), path)


def other_numbers(path: Path) -> None:
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.set_column(0, "record", pyarrow.array(["a"] * len(table))), path)


def no_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def flipped(path: Path) -> None:
    """One bit, of a text that the format does not pack."""
    data = bytearray(path.read_bytes())
    data[data.index(b"not_a_smiles" if b"not_a_smiles" in data else b"acid")] ^= 4
    path.write_bytes(data)


HARMS = (cut, empty, other_rows, other_columns, other_numbers, no_folder, flipped)
RESUMED = """
import sys
from moldiff.cli.main import main
if __name__ == "__main__":
    print(*(main(["screen", "resume", run]) for run in sys.argv[1:]))
"""


def test_a_damaged_shard_is_one_line_that_names_its_file(library: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done(moldiff.screen(library, run, shard_size=4))
    before, runs = tables(run), [copied(run, tmp_path / harm.__name__) for harm in HARMS]
    damaged = [next(one.glob("rows/*/000001.parquet")) for one in runs]
    for harm, path in zip(HARMS, damaged, strict=True):
        harm(path)
    # in one process, which forgets its writers when it ends
    told = subprocess.run([sys.executable, "-c", RESUMED, *runs], capture_output=True, text=True, check=True)
    messages = told.stderr.splitlines()
    assert told.stdout.split() == ["2"] * len(HARMS)
    for harm, path, one, message in zip(HARMS, damaged, runs, messages, strict=True):
        assert message.startswith("error: "), harm
        assert str(path) in message
        assert tables(one) == before, harm
        path.rmdir() if path.is_dir() else path.unlink()
        assert {found.relative_to(one) for found in one.rglob("*")} == {
            found.relative_to(run) for found in run.rglob("*") if found.name != path.name
        }, harm  # from here on all runs are the same
    resume_screen(runs[0])
    assert tables(runs[0]) == before


DRAWS = {"model": "qm9", "sha256": "0" * 64, "records": 4, "seed": 0, "targets": [], "familiar": False}
DAMAGE: list[tuple[str, object, str]] = [
    ("folder", 3, "folder must be a text"),
    ("inputs", {}, "inputs must be a list"),
    ("inputs", None, "inputs must be a list"),
    ("inputs.0", 3, "an input must be a section"),
    ("inputs.0", [], "an input must be a section"),
    ("inputs.0", {}, "'file' is missing"),
    ("inputs.0.file", 3, "file must be a text, not 3"),
    ("inputs.0.sha256", None, "sha256 must be a text"),
    ("inputs.0.size", "x", "size must be a whole number"),
    ("inputs.0.records", "x", "records must be a whole number, not 'x'"),
    ("inputs.0.records", -1, "records must be at least 0"),
    ("inputs.0.records", 10**25, "records must be at most"),
    ("inputs.0.records", 1.5, "records must be a whole number"),
    ("inputs.0.tags", 3, "tags must be"),
    ("inputs.0.tags", [3], "tags must be"),
    ("draws", 3, "draws must be a section"),
    ("draws", [], "draws must be a section"),
    ("draws", {}, "'model' is missing"),
    ("draws", DRAWS | {"model": 3}, "model must be a text, not 3"),
    ("draws", DRAWS | {"sha256": 3}, "sha256 must be a text"),
    ("draws", DRAWS | {"records": "x"}, "records must be a whole number"),
    ("draws", DRAWS | {"records": 10**25}, "records must be at most"),
    ("draws", DRAWS | {"seed": None}, "seed must be a whole number"),
    ("draws", DRAWS | {"targets": 3}, "targets must be"),
    ("draws", DRAWS | {"familiar": 1}, "familiar must be"),
    ("options", 3, "options must be a section"),
    ("options.where", 3, "options: where must be a list"),
    ("options.top", 0, "top must be at least 1"),
    ("options.shard_size", 10**25, "shard_size must be at most"),
    ("options.new", 1, "options: unknown key 'new'"),
]


@pytest.mark.parametrize(("key", "value", "told"), DAMAGE, ids=lambda value: str(value)[:20])
def test_a_plan_of_another_shape_is_one_line(
    key: str, value: object, told: str, library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    write_plan(run, make_plan([library], screen_options({})))
    plan: dict[str, Any] = json.loads((run / "plan.json").read_text())
    *way, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    place: Any = plan
    for part in way:
        place = place[part]
    place[last] = value
    (run / "plan.json").write_text(json.dumps(plan))
    for command in ("status", "resume", "report", "merge"):
        assert main(["screen", command, str(run)]) == 2
        message = capsys.readouterr().err
        assert f"plan.json is damaged: {told}" in message
        assert message.count("\n") == 1


def test_the_top_is_diverse_if_it_is_asked_to_be(tmp_path: Path) -> None:
    library, run = tmp_path / "library.smi", tmp_path / "run"
    library.write_text("CCCCCC\nCCCCCCC\nc1ccccc1O\nc1ccccc1N\nOC1CCCC1\nnot_a_smiles\n")
    words: dict[str, Any] = {"where": "mw<300", "rank": "mw"}
    done(moldiff.screen(library, run, top=2, **words))
    first = pyarrow.parquet.read_table(run / "ranked.parquet").to_pylist()
    assert [row["smiles"] for row in first if row["pick"]] == ["CCCCCCC", "Oc1ccccc1"]
    result = done(moldiff.screen(library, run, top=4, diverse=0.65, **words))
    found = pyarrow.parquet.read_table(run / "ranked.parquet").to_pylist()
    assert [(row["rank"], row["pick"], row["smiles"]) for row in found] == [
        (1, 1, "CCCCCCC"), (2, 2, "Oc1ccccc1"), (3, None, "Nc1ccccc1"), (4, None, "CCCCCC"), (5, 3, "OC1CCCC1"),
    ]  # fmt: skip
    assert result.funnel["top"] == 3


def test_a_pick_without_coordinates_is_told_of(tmp_path: Path) -> None:
    library, run = tmp_path / "library.smi", tmp_path / "run"
    library.write_text("CCO ethanol\n[Xe+] strange\n")
    result = done(moldiff.screen(library, run, where="mw<300", rank="mw"))
    assert result.funnel["top"] + len(result.funnel["without_coordinates"]) == 2
    assert [one["name"] for one in result.funnel["without_coordinates"]] == ["strange"]


def test_an_input_that_no_file_can_be_is_one_line(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    plan = make_plan([library], screen_options({}))
    write_plan(run, dataclasses.replace(plan, inputs=(dataclasses.replace(plan.inputs[0], file="a\0b"),)))
    assert main(["screen", "resume", str(run)]) == 2
    assert "cannot be read: embedded null byte" in capsys.readouterr().err
