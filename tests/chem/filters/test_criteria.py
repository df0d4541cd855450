"""Criteria: what a user's words become, cheapest first, and what of them does not go together."""

from __future__ import annotations

import importlib.util
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
