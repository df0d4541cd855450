"""A result is saved whenever its user likes: what it says of its input is what was read, whatever lies there then."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import moldiff
from moldiff.reading import sha256_of

FILES = {
    "filter": (".csv", ".records.csv", ".run.json"),
    "vary": (".sdf", ".csv", ".run.json"),
    "conformers": (".csv", ".run.json"),
    "likelihood": (".csv", ".json"),
}


@pytest.fixture
def made(packed: str, sample_texts: list[str], tmp_path: Path) -> Callable[[str], tuple[Path, Any]]:
    """What makes the result of a function from a file of two records with data fields."""

    def make(task: str) -> tuple[Path, Any]:
        path = tmp_path / "given.sdf"
        path.write_text("".join(sample_texts[:2]), encoding="utf-8")
        match task:
            case "filter":
                return path, moldiff.filter(path, where="mw<1000")
            case "likelihood":
                return path, moldiff.likelihood(path, model=packed, chain_steps=4, evaluations=2, repeats=2)
            case "vary":
                return path, moldiff.vary(path, 1, model=packed, evaluations=2, keep_invalid=True)
        return path, moldiff.conformers(path, 1, model=packed, evaluations=2, keep_invalid=True)

    return make


def saved(result: Any, folder: Path, endings: tuple[str, ...]) -> list[bytes]:
    """Return what was written."""
    result.save((folder / "out").with_suffix(endings[0]))
    return [(folder / "out").with_suffix(end).read_bytes() for end in endings]


@pytest.mark.parametrize("task", FILES)
def test_a_result_is_saved_the_same_when_its_input_has_changed_or_is_gone(
    made: Callable[[str], tuple[Path, Any]], task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, result = made(task)
    later = time.monotonic() + 60.0
    monkeypatch.setattr(time, "monotonic", lambda: later)
    sha256 = sha256_of(path)
    first = saved(result, tmp_path / "first", FILES[task])
    assert sha256.encode() in first[-1] or task in ("vary", "conformers")  # whose records hold the hash of a request
    path.write_text("CCO\n", encoding="utf-8")
    changed = saved(result, tmp_path / "changed", FILES[task])
    path.unlink()
    gone = saved(result, tmp_path / "gone", FILES[task])
    for other in (changed, gone):
        assert other[:-1] == first[:-1]
        one, two = json.loads(first[-1]), json.loads(other[-1])
        assert {key for key in one if one[key] != two[key]} <= {"date"}
    assert json.loads(first[-1])["seconds"] < 60  # of the work
