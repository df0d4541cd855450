"""What the README names works from an empty folder: configuration files come with the package."""

from collections.abc import Callable
from pathlib import Path

import pytest

from moldiff.config import load_training
from moldiff.errors import MoldiffError
from moldiff.sections import CONFIGS

NAMES = [path.stem for path in sorted(CONFIGS.glob("*.yaml"))]


def test_every_file_is_listed_and_can_be_copied(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = run("configs")
    assert [line.split()[0] for line in listed.out.splitlines()] == NAMES and "qm9" in NAMES
    assert run("configs", "qm9").status == 0
    assert (tmp_path / "qm9.yaml").read_text() == (CONFIGS / "qm9.yaml").read_text()
    run("configs", "qm9").assert_refused("exists already")
    run("configs", "qm8").assert_refused("no config 'qm8'", "did you mean 'qm9'")
    assert run("configs", "steer", "-o", "mine.yaml").status == 0


def test_names_and_paths_of_the_readme_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = load_training(CONFIGS / "smoke.yaml", [])
    for spelling in ("smoke", "smoke.yaml", "configs/smoke.yaml"):
        assert load_training(Path(spelling), []) == wanted
    with pytest.raises(MoldiffError, match=r"elsewhere/smoke\.yaml cannot be read"):
        load_training(Path("elsewhere/smoke.yaml"), [])
    own = (CONFIGS / "smoke.yaml").read_text().replace("data: data/sample", "data: data/mine")
    Path("smoke.yaml").write_text(own)  # a file of one's own goes first
    assert load_training(Path("smoke.yaml"), []).data == Path("data/mine")
