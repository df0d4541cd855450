"""A machine on which no picture can be drawn: long work is kept, without one."""

from pathlib import Path
from typing import Any

import pytest

Run = Any


pytestmark = pytest.mark.usefixtures("no_pictures")


def test_draws_towards_a_target(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--target", "logp=0.5", "--target-method", "condition"]
    done = run("generate", "-n", "2", "--model", "qm9_fast", *words, "-o", "m.sdf")
    assert "warning: no picture of the targets (ModuleNotFoundError: " in done.err
    assert {path.name for path in tmp_path.iterdir()} == {"m.sdf", "m.csv", "m.run.json"}


def test_a_report(run: Run, sample_path: Path, tmp_path: Path) -> None:
    done = run("evaluate", sample_path, "--posebusters", "0", "-o", tmp_path / "report")
    assert done.status == 0 and "warning: no pictures in the report (ModuleNotFoundError: " in done.err
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"report.json", "molecules.csv"} <= names and not [name for name in names if name.endswith(".png")]
