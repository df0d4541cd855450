"""Parts that commands share: progress where there is no terminal, options in messages."""

import ast
import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import moldiff
from moldiff.cli.main import in_options, options_by_argument
from moldiff.cli.shared import LogFormatter, ProgressLines, progress_bar
from moldiff.datasets.prepare import prepare
from moldiff.datasets.relax import relax_files
from moldiff.errors import MoldiffError
from moldiff.nll.files import score_file

PACKAGE = Path(moldiff.__file__).parent


class Clock:
    """A clock that stands until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_progress_without_a_terminal_is_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    tell = ProgressLines("molecules", 1000, clock)
    for second in range(7200):
        clock.now = 100.0 + second
        tell(second // 10)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "6 of 1000 molecules in 1 min 00 s, 2 h 45 min left"
    assert lines[1].startswith("18 of 1000 molecules in 3 min 00 s")
    assert 10 <= len(lines) <= 16, "in two hours"


def test_progress_of_draws_that_move_is_a_share_of_the_work(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    tell = ProgressLines("molecules", 12, clock, shares=True)
    clock.now += 120
    tell(10)
    assert caplog.records[-1].getMessage() == "83 % of the work in 2 min 00 s, 24 s left"


def test_progress_towards_no_known_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    for total, done, message in ((None, 7, "7 records in 2 min 00 s"), (9, 0, "0 records in 2 min 00 s")):
        tell = ProgressLines("records", total, clock)
        clock.now += 120
        tell(done)
        assert caplog.records[-1].getMessage() == message


def test_a_short_run_says_nothing(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.INFO)
    with progress_bar("molecules", 3) as tell:
        for done in range(4):
            tell(done)
    assert not caplog.records
    assert capsys.readouterr() == ("", "")


SUBJECTS, PYTHON_ONLY = (
    {"molecules", "files", "path", "model_or_path", "value", "low"},
    {"progress", "isolated", "dedup"},
)
NO_OPTION = SUBJECTS | PYTHON_ONLY | {"vocabulary", "steps", "strict"}
"""Arguments of Python functions that are no option: what a command is about, what only Python has, old words."""


def test_every_argument_that_a_user_gives_has_its_option() -> None:
    """Those of the public functions, and those that errors blame."""
    functions = [getattr(moldiff, name) for name in ("generate", "vary", "conformers", "filter", "screen", "evaluate")]
    functions += [moldiff.likelihood, moldiff.load, relax_files, prepare, score_file]
    asked = {name for function in functions for name in inspect.signature(function).parameters}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            given = {one.arg: one.value for one in node.keywords} if isinstance(node, ast.Call) else {}
            told = given.get("word", given.get("argument"))  # of an error that blames another, what its message says
            if isinstance(told, ast.Constant):
                asked.add(told.value)
    options = options_by_argument()
    assert asked - options.keys() - NO_OPTION == {""} & asked
    assert {name: options[name] for name in ("n", "target_method", "property_scale", "timeout_s", "hazard_lists")} == {
        "n": "--number", "target_method": "--target-method", "property_scale": "--property-scale",
        "timeout_s": "--timeout", "hazard_lists": "--hazard-list",
    }  # fmt: skip
    assert options["calibration"] == "--calibrate", "as it is spelled, not as it could be"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("target_method mcmc meets them", "--target-method mcmc meets them"),
        ("a network (property_model), property_scale=3", "a network (--property-model), --property-scale=3"),
        ("'target_moves' is no column", "'target_moves' is no column"),
        ("data/add_hydrogens/x.sdf and add_hydrogens.sdf", "data/add_hydrogens/x.sdf and add_hydrogens.sdf"),
        ("on_policy.batch_size, my_n_atoms", "on_policy.batch_size, my_n_atoms"),
        ("score, targets and n stay", "score, targets and n stay"),
        ("resume=True goes on from there", "--resume goes on from there"),
        ("resume='auto' goes on, resume does not", "--resume auto goes on, resume does not"),
        ("x/resume=True, 'resume=True' and seed=1", "x/resume=True, 'resume=True' and seed=1"),
    ],
)
def test_a_line_of_the_log_speaks_of_options(text: str, shown: str) -> None:
    record = logging.LogRecord("moldiff", logging.INFO, "", 0, "%s", (text,), None)
    assert LogFormatter("%(message)s", options_by_argument()).format(record) == shown
    assert in_options(MoldiffError(f"{text}; pass overwrite", argument="overwrite")) == f"{shown}; pass --overwrite"


@pytest.mark.parametrize(
    ("text", "argument", "shown"),
    [
        ("bad.smarts:1: RDKit cannot read it", "smarts", "bad.smarts:1: RDKit cannot read it"),
        ("overwrite.sdf exists; pass overwrite", "overwrite", "overwrite.sdf exists; pass --overwrite"),
        ("out/score/known.csv of known", "known", "out/score/known.csv of --known"),
        ("'where' in where: no", "where", "'where' in --where: no"),
    ],
)
def test_a_file_that_is_called_as_an_option_keeps_its_name(text: str, argument: str, shown: str) -> None:
    assert in_options(MoldiffError(text, argument=argument)) == shown


def test_a_model_without_a_number_is_told_by_its_options(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("screen", "--from-model", "qm9").assert_refused("--number is missing: how many draws of --from-model?")
    run("screen", "x.smi", "-n", "3").assert_refused("--number goes with --from-model: ")


def test_the_log_of_a_command_speaks_of_options(run: Callable[..., Any], tmp_path: Path) -> None:
    asked = ["-n", "1", "--target", "logp=1", "--guidance", "2", "--model", "qm9_fast", "-o", tmp_path / "m.sdf"]
    assert "info: the model is told the targets, and no more; --target-method mcmc" in run("generate", *asked).err
