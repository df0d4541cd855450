"""Code is asked about where it is loaded, whichever words lead there."""

from collections.abc import Callable
from pathlib import Path

import pytest

import moldiff
from moldiff.chem.descriptors.score_functions import imported_score
from moldiff.chem.filters.commands import command_measures
from moldiff.chem.filters.criteria import Criteria
from moldiff.chem.filters.measures import measure_named
from moldiff.errors import MoldiffError
from moldiff.foreign_code import code_asks, may_run
from moldiff.scoring.named import named_score
from moldiff.screening.desirability import read_ranking


def refused(code: str) -> bool:
    raise MoldiffError(f"asked about {code}")


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a function whose file leaves a mark when it is loaded."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.py"
    path.write_text("open('ran', 'w')\n\ndef f(molecules):\n    return [1.0 for _ in molecules]\n")
    return f"{path}:f"


WAYS: dict[str, Callable[[str], object]] = {
    "where": lambda code: Criteria.of(where=f"{code}>0"),
    "where of filter": lambda code: moldiff.filter(["CCO"], where=f"{code}>0"),
    "rank": lambda code: read_ranking([f"{code}:low"]),
    "wish": lambda code: read_ranking([f"{code}:max:0..1*2", "qed:max:0..1"]),
    "score": named_score,
    "function": imported_score,
    "command": lambda code: command_measures({"x": f"{code} {{smiles}}"}, 1.0),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_no_words_lead_around_the_gate(way: Callable[[str], object], code: str) -> None:
    with code_asks(refused), pytest.raises(MoldiffError, match=r"^asked about .*evil\.py:f"):
        way(code)
    assert not Path("ran").exists()
    way(code)
    assert may_run(code)


def test_a_function_that_was_loaded_before_is_asked_about(code: str) -> None:
    measure_named(code)
    with code_asks(refused), pytest.raises(MoldiffError, match="asked about"):
        measure_named(code)


def test_what_is_not_needed_is_not_loaded(code: str) -> None:
    with code_asks(lambda code: False):
        assert measure_named(code).name == code
        with pytest.raises(MoldiffError, match="code is not run here"):
            imported_score(code)
    assert not Path("ran").exists()
