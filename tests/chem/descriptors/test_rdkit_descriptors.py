"""Properties: values of known drugs, the same with and without explicit hydrogens, never NaN."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from rdkit import Chem

from moldiff.chem.descriptors import rdkit_descriptors
from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES, describe
from moldiff.chem.io.records import read_records

DRUGS = Path(__file__).parents[2] / "fixtures" / "drugs.sdf"

# tpsa, mw, hbd as in PubChem (hba 3 by RDKit's definition); logp of Crippen, qed of Bickerton et al.
ASPIRIN = {"logp": 1.31, "tpsa": 63.6, "qed": 0.55, "mw": 180.16, "hbd": 1, "hba": 3, "rings": 1, "fsp3": 1 / 9,
           "heavy_atom_count": 13, "sa": 1.58}  # fmt: skip


def test_names_are_those_that_users_type() -> None:
    names = "logp tpsa qed mw hbd hba rotatable_bonds rings fsp3 sa heavy_atom_count"
    assert list(PROPERTIES) == names.split()
    assert all(name == entry.name and entry.unit and entry.cost > 0 for name, entry in PROPERTIES.items())


def test_aspirin() -> None:
    values = describe(Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O"), ASPIRIN)
    assert values == pytest.approx(ASPIRIN, abs=0.006)


def test_rotatable_bonds_do_not_count_methyl_groups_with_hydrogens() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CCCC"))
    assert describe(mol, ["rotatable_bonds"]) == {"rotatable_bonds": 1.0}


def test_explicit_hydrogens_change_nothing() -> None:
    for record in read_records(DRUGS):
        with_hydrogens = describe(record.mol, PROPERTIES)
        without = describe(Chem.MolFromSmiles(record.tags["smiles"]), PROPERTIES)
        assert with_hydrogens == pytest.approx(without, abs=1e-9)
        assert all(math.isfinite(value) for value in with_hydrogens.values())


def test_order_and_choice_follow_the_request() -> None:
    assert list(describe(Chem.MolFromSmiles("CCO"), ["rings", "logp"])) == ["rings", "logp"]
    with pytest.raises(KeyError):
        describe(Chem.MolFromSmiles("CCO"), ["logP"])


def test_molecules_without_heavy_atoms_have_what_there_is_to_have() -> None:
    for smiles in ("[H][H]", "[Na+].[Cl-]"):
        values = describe(Chem.MolFromSmiles(smiles))
        assert list(values) == list(PROPERTIES)
        assert math.isfinite(values["mw"])


@pytest.mark.parametrize("answer", [ValueError("no"), KeyError("no"), TypeError("no"), math.nan, math.inf, "much"])
def test_a_calculator_that_fails_gives_nan_and_leaves_the_others_alone(
    answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(mol: Chem.Mol) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    entries = dict(PROPERTIES) | {"qed": replace(PROPERTIES["qed"], function=broken)}  # type: ignore[arg-type]
    monkeypatch.setattr(rdkit_descriptors, "PROPERTIES", entries)
    values = describe(Chem.MolFromSmiles("CCO"), ["logp", "qed", "mw"])
    assert math.isnan(values["qed"])
    assert values["logp"] == pytest.approx(-0.0014)
    assert values["mw"] == pytest.approx(46.07, abs=0.01)
