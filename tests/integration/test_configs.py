"""What the README names works from an empty folder: configuration files come with the package."""

import re
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


def named_in(text: str) -> set[str]:
    """Return what a text says about files of the source tree, and its names of configuration files that none has."""
    places = set(
        re.findall(r"\b(?:docs|scripts|tests|configs|data/sample\.)[\w/.-]*", text.replace("moldiff configs", ""))
    )
    names = re.findall(r"([\w/-]+)\.yaml\b", text) + re.findall(r"moldiff (?:train|configs) (\w+)\b(?!\.)", text)
    return {place for place in places if "/" in place or "." in place} | {name for name in names if name not in NAMES}


def test_what_is_told_holds_without_the_source_tree(run: Callable) -> None:
    told = {path.name: path.read_text() for path in CONFIGS.glob("*.yaml")}
    told["list"] = run("configs").out
    for command in ("train", "generate", "vary", "screen", "configs", "conformers"):
        told[f"{command} --help"] = " ".join(
            run(command, "--help").out.replace("│", " ").replace("./NAME.yaml", "").split()
        )
    package = CONFIGS.parent / "moldiff"
    sources = [path for path in package.rglob("*.py") if path.name != "sections.py"]  # which finds configs/qm9.yaml too
    told |= {path.name: "\n".join(re.findall("configs/.*", path.read_text("utf-8"))) for path in sources}
    assert {name: found for name, text in told.items() if (found := named_in(text))} == {}
    assert named_in("moldiff train qm8, see docs/a.md") == {"qm8", "docs/a.md"}


@pytest.mark.parametrize("name", NAMES)
def test_the_first_line_says_what_a_file_is_for(name: str, run: Callable) -> None:
    line = next(line for line in run("configs").out.splitlines() if line.split()[0] == name)
    assert re.fullmatch(r"\w+ +[A-Z].*[.:]", line)
