"""The table of mutants keeps up with the code: each has its place, and tests that there are."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "moldiff"
CHECK = runpy.run_path(str(TESTS / "mutants" / "check_mutants.py"))
read_mutants: Callable[[Path], list[Any]] = CHECK["read_mutants"]
MUTANTS = read_mutants(CHECK["MUTANTS"])


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_has_one_place_and_tests_that_there_are(mutant: Any) -> None:
    assert (PACKAGE / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1
    assert mutant.new != mutant.old
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert (TESTS / file).exists(), f"{file} is not there"
        if name:
            text = (TESTS / file).read_text(encoding="utf-8")
            assert re.search(rf"^ *def {re.escape(name.partition('[')[0])}\(", text, re.MULTILINE), f"no {test}"


def test_names_are_unique(tmp_path: Path) -> None:
    row = '[[mutant]]\nname = "a"\nfile = "b.py"\nold = "c"\nnew = "d"\ntests = ["e.py"]\n'
    (tmp_path / "twice.toml").write_text(row + row)
    with pytest.raises(ValueError, match="a name of its own"):
        read_mutants(tmp_path / "twice.toml")
