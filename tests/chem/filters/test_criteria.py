"""Criteria: what a user's words become, cheapest first, and what of them does not go together."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from moldiff.chem.filters.criteria import Criteria
from moldiff.errors import MoldiffError


def test_checks_come_in_order_of_cost_and_each_number_once() -> None:
    criteria = Criteria.of(
        where=["posebusters=0", "mw<450", "mw>100"],
        alerts="pains",
        rules="veber",
        similar_to=["CCO"],
        smarts={"a": "N"},
    )
    checks = criteria.checks()
    names = [check.name for check in checks]
    assert names.count("mw") == 1
    assert names[-1] == "posebusters"
    assert {"mw", "pains", "veber", "similarity", "posebusters"} <= set(names)
    assert [check.cost for check in checks] == sorted(check.cost for check in checks)
    assert criteria.docking is None
    assert criteria
    assert not Criteria.of(similar_to=["CCO"])  # a column is no condition


@pytest.mark.parametrize(
    ("words", "argument", "message"),
    [
        ({"dock": "r.pdbqt"}, "dock", "dock needs a box"),
        ({"dock_box": "0,0,0,9,9,9"}, "dock_box", "dock_box needs a receptor"),
        ({"exhaustiveness": 3}, "exhaustiveness", "exhaustiveness needs a receptor"),
        ({"alerts": "pains,pains"}, "alerts", "'pains' is named twice"),
        ({"commands": {"mw": "cat {sdf}"}}, "commands", "a property has that name"),
        ({"commands": {"vina_kcal_mol": "cat {sdf}"}}, "commands", "a property has that name"),
        (
            {"where": "vina_kcal_mol<-5"},
            "where",
            "'vina_kcal_mol' needs the argument dock, which filter and screen take",
        ),
    ],
)
def test_words_that_mean_nothing_together(words: dict[str, Any], argument: str, message: str) -> None:
    with pytest.raises(MoldiffError, match=message) as caught:
        Criteria.of(**words)
    assert caught.value.argument == argument


def test_docking_names_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("vina", "gemmi") else find(name))
    with pytest.raises(
        MoldiffError, match=r"^dock needs vina and gemmi: pip install 'moldiff\[dock\]', on Python 3\.11"
    ):
        Criteria.of(dock="receptor.pdbqt", dock_box="0,0,0,9,9,9")


@pytest.mark.parametrize(
    "name", ["inchikey", "coordinates", "known", "hazards_released", "smarts", "lipinski", "pains", "tag:x", "smarts:a"]
)
def test_a_command_has_no_name_of_our_columns(name: str) -> None:
    with pytest.raises(MoldiffError, match=re.escape(f"commands '{name}': ")) as caught:
        Criteria.of(commands={name: "echo 5 {smiles}"})
    assert caught.value.argument == "commands"
    assert [check.name for check in Criteria.of(commands={"lipinski_like": "echo 5 {smiles}"}).checks()] == [
        "lipinski_like"
    ]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("no_such_program_here", "there is no such program here"),
        ("/no/such/program", "there is no such program here"),
        ("/tmp", "there is no such program here"),
        ("./mine.sh", "give the whole path"),
        ("'a b/mine.sh'", "give the whole path"),
    ],
)
def test_a_program_that_is_not_there_is_refused_before_the_work(
    program: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "mine.sh"
    script.write_text("#!/bin/sh\necho 5\n")
    script.chmod(0o755)
    criteria = Criteria.of(commands={"k": f"{program} {{smiles}}"})  # whoever looks at a run needs no programs
    with pytest.raises(MoldiffError, match=message) as caught:
        criteria.refuse_missing_programs()
    assert caught.value.argument == "commands"
    for there in ("echo", shlex.quote(str(script)), "{sdf}"):
        Criteria.of(commands={"k": f"{there} {{smiles}}"}).refuse_missing_programs()
