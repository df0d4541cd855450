"""Which built-in model a file asks for: by elements, charges and sizes of its first molecules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem

import moldiff
from moldiff.chem.makeup import Makeup
from moldiff.errors import MoldiffError
from moldiff.generation.fitting_model import fitting_model

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"  # 13 heavy atoms of C and O, 21 atoms: too heavy for QM9, not too large


def test_a_makeup_counts_atoms_however_hydrogens_are_written() -> None:
    bare = Chem.MolFromSmiles("C[NH3+]")
    found = Makeup.of(bare)
    assert found == Makeup.of(Chem.AddHs(bare)) == Makeup(frozenset({"C", "N"}), frozenset({0, 1}), 2, 6)
    assert found.is_within(["C", "N", "H"], [0, 1], 8, 2)
    assert found.is_within(["C", "N"], [0, 1], 2, 2)  # hydrogens are no atoms of such a model
    for elements, charges, most, heavy in (
        (["C", "H"], [0, 1], 8, 2), (["C", "N", "H"], [0], 8, 2), (["C", "N", "H"], [0, 1], 7, 2),
        (["C", "N", "H"], [0, 1], 8, 1),
    ):  # fmt: skip
        assert not found.is_within(elements, charges, most, heavy)


@pytest.mark.parametrize(
    ("molecules", "model"),
    [
        (["CCO", "CC=O"], "qm9"),
        ([ASPIRIN], "drugs"),
        (["CCO", ASPIRIN], "drugs"),
        (["CCO", "CCCl"], "qm9"),  # both are small for the other one, which would know both
        (["CCCl"], "drugs"),
        (["CCCl", ASPIRIN, "CCO"], "drugs"),
        (["[Pt]", "CCO"], "qm9"),  # neither knows platinum
        (["[Pt]"], "qm9"),
        (["no molecule", "CCO"], "qm9"),
        ("CCCl", "drugs"),
    ],
)
def test_the_model_is_the_one_that_more_molecules_fit(molecules: list[str] | str, model: str) -> None:
    assert fitting_model(molecules) == model


def test_what_can_be_read_once_is_left_alone() -> None:
    given = iter([ASPIRIN])
    assert fitting_model(given) == "qm9"
    assert list(given) == [ASPIRIN]


def test_a_run_takes_it_and_says_so(run: Callable[..., Any], tmp_path: Path) -> None:
    library = tmp_path / "library.smi"
    library.write_text(f"CCO ethanol\n{ASPIRIN} aspirin\n")
    files = (library, "-n", "1", "--evaluations", "4", "-o", tmp_path / "c.sdf")
    told = run("conformers", *files)
    assert "model drugs: 2 of the first 2 molecules are of its elements and no larger" in told.err
    assert json.loads((tmp_path / "c.run.json").read_text())["options"]["model"] == "drugs"
    assert "model drugs" not in run("conformers", *files, "--model", "qm9", "--overwrite").err
    assert json.loads((tmp_path / "c.run.json").read_text())["options"]["model"] == "qm9"


def test_python_takes_it_too() -> None:
    found = moldiff.conformers([ASPIRIN], 1, evaluations=4, keep_invalid=True)
    (mol,) = found
    assert mol.GetNumAtoms() == 21
    assert found.table["moldiff_id"][0].startswith("drugs-")
    with pytest.raises(MoldiffError):
        moldiff.vary(7)  # type: ignore[arg-type]
