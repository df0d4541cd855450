"""Parts that commands share: options in messages."""

import ast
import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import moldiff
from moldiff.cli.main import in_options, options_by_argument
from moldiff.cli.shared import LogFormatter
from moldiff.datasets.prepare import prepare
from moldiff.datasets.relax import relax_files
from moldiff.errors import MoldiffError
from moldiff.nll.files import score_file

PACKAGE = Path(moldiff.__file__).parent


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
