"""Columns of tables: what they are called in, for every command that reads them, and hints that help there."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer

import moldiff
from moldiff.chem.io.inputs import records_of
from moldiff.chem.io.tables import Columns
from moldiff.cli.main import app

COMMANDS = {
    "filter": "filter y.csv -o new.csv",
    "describe": "describe y.csv -o new.csv",
    "screen run": "screen run y.csv -o new",
    "vary": "vary y.csv -o new.sdf --model qm9_fast",
    "conformers": "conformers y.csv -o new.sdf --model drugs",
    "likelihood": "likelihood y.csv -o new.csv --model qm9_fast",
    "hazard-list": "hazard-list y.csv -o new.json --source mine",
    "show": "show y.csv -o new.png",
    "data prepare": "data prepare y.csv -o new",
    "data relax": "data relax y.csv -o new.sdf --method mmff94s",
    "generate": "generate -n 1 --fragment y.csv -o new.sdf --model qm9_fast",
}
BROUGHT = (  # files beside the molecules
    "filter m.smi --known y.csv -o new.csv",
    "filter m.smi --similar-to y.csv -o new.csv",
    "filter m.smi --dock tests.pdbqt --dock-box y.csv -o new.csv",
    "screen run m.smi --known y.csv -o new",
    "likelihood m.sdf --calibrate y.csv -o new.csv --model qm9_fast",
)
READ_NO_TABLES = {"evaluate"}  # an SDF alone


def commands_of(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{above}{name} ")
        else:
            yield above + name, command


ALL = dict(commands_of(typer.main.get_command(app)))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample_texts: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("y.csv").write_text("mol;title;ic50\nCCO;a;3\nCCN;b;4\nCCC;c;5\n")
    Path("m.smi").write_text("CCO a\n")
    Path("m.sdf").write_text(sample_texts[0])
    Path("tests.pdbqt").write_text((Path(__file__).parents[1] / "fixtures" / "cb7.pdbqt").read_text())


def test_every_command_that_reads_molecules_is_tried() -> None:
    reading = {name for name, command in ALL.items() if any("FILE" in str(one.metavar) for one in command.params)}
    reading = {name for name in reading if any(one.name in ("files", "file", "path") for one in ALL[name].params)}
    assert reading - READ_NO_TABLES - COMMANDS.keys() <= {"models info", "data info"}
    assert {name for name, command in ALL.items() if has_option(command)} <= COMMANDS.keys()


def has_option(command: Any) -> bool:
    return any("--smiles-column" in one.opts for one in command.params)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_hint_names_an_option_that_the_command_has(run: Callable[..., Any], name: str) -> None:
    told = run(*COMMANDS[name].split())
    told.assert_refused("y.csv has no column 'smiles'; its columns are mol, title, ic50; call the one of")
    assert ("--smiles-column" in told.err) == has_option(ALL[name])
    assert "smiles_column" not in told.err


@pytest.mark.parametrize("words", BROUGHT)
def test_a_hint_speaks_of_the_molecules_not_of_what_is_brought_along(run: Callable[..., Any], words: str) -> None:
    told = run(*words.split())
    if "dock" in words and "extra" in told.err:
        pytest.skip("needs the extra dock")
    told.assert_refused("y.csv has no column 'smiles'", "call the one of the molecules 'smiles'\n")


NAMED = ["--smiles-column", "Mol", "--name-column", "title", "--delimiter", "semicolon"]


def test_filter_takes_the_columns_that_are_named(run: Callable[..., Any]) -> None:
    assert run("filter", "y.csv", "-o", "a.csv", "--where", "tag:ic50<5", *NAMED).status == 0
    found = moldiff.filter(Path("y.csv"), where="tag:ic50<5", columns=Columns("MOL", "title", ";"))
    assert list(found.table["name"]) == ["a", "b", "c"]
    assert [row.split(",")[2:4] for row in Path("a.csv").read_text().splitlines()[1:]] == [["a", "CCO"], ["b", "CCN"]]
    options = json.loads(Path("a.run.json").read_text())["options"]
    assert {name: options[name] for name in ("smiles_column", "name_column", "delimiter")} == {
        "smiles_column": "mol", "name_column": "title", "delimiter": ";",
    }  # fmt: skip
    assert not {"valid"} & set(moldiff.filter([Path("y.csv")], columns=Columns("title")).table["status"])
    run("filter", "m.smi", "-o", "b.csv", "--name-column", "title").assert_refused("m.smi is no table")


@pytest.mark.parametrize(
    "job", [moldiff.filter, moldiff.conformers, partial(moldiff.conformers, model="qm9"), records_of]
)
def test_molecules_that_are_given_themselves_have_no_columns(job: Callable[..., object]) -> None:
    with pytest.raises(moldiff.MoldiffError, match="columns: only a file has them") as refused:
        job(["CCO"], columns=Columns("mol"))
    assert refused.value.argument == "columns"


def test_a_screen_takes_them_and_goes_on_by_its_plan(run: Callable[..., Any]) -> None:
    words = ["screen", "y.csv", "-o", "run", "--where", "tag:ic50<5", "--workers", "1", "--shard-size", "1"]
    assert run(*words, *NAMED, "--shard", "1/2").status == 0
    assert not list(Path("run").glob("*.parquet"))
    again = ["--smiles-column", "mol", "--name-column", "TITLE", "--delimiter", ";"]
    run(*words, *again[2:], "--smiles-column", "title").assert_refused("run holds a run of other inputs")
    assert run("screen", "resume", "run", "--workers", "1").status == 0
    before = Path("run", "ranked.csv").read_bytes()
    assert run(*words, *again).status == 0
    assert run("screen", "report", "run").status == 0
    assert Path("run", "ranked.csv").read_bytes() == before
    screening = moldiff.screen("y.csv", "run2", where="tag:ic50<5", shard_size=1, columns=Columns("mol", "title", ";"))
    assert screening is not None and list(screening.records["name"]) == ["a", "b", "c"]
    assert list(screening.ranked["smiles"]) == ["CCO", "CCN"]
    record = json.loads(Path("run", "ranked.run.json").read_text())
    assert (record["options"]["smiles_column"], record["options"]["delimiter"]) == ("mol", ";")


def test_a_plan_that_names_no_columns_is_as_before(run: Callable[..., Any]) -> None:
    words = ["screen", "m.smi", "-o", "run", "--workers", "1"]
    assert run(*words).status == 0
    path, record = Path("run", "plan.json"), json.loads(Path("run", "ranked.run.json").read_text())
    assert not {"smiles_column", "name_column", "delimiter"} & record["options"].keys()
    plan = json.loads(path.read_text())
    assert plan.pop("columns") is None
    path.write_text(json.dumps(plan))
    assert run("screen", "report", "run").status == 0
    assert run(*words).status == 0
    for damaged in ("mol", {"smiles_column": 3}, {"delimiter": "ab"}):
        path.write_text(json.dumps({**plan, "columns": damaged}))
        run("screen", "status", "run").assert_refused("plan.json is damaged")
