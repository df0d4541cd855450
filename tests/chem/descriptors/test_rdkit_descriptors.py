"""Properties: values of known drugs, the same with and without explicit hydrogens, never NaN."""

import math
from pathlib import Path

import pytest
from rdkit import Chem

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES, calculate
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
    values = calculate(Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O"), ASPIRIN)
    assert values == pytest.approx(ASPIRIN, abs=0.006)


def test_rotatable_bonds_do_not_count_methyl_groups_with_hydrogens() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CCCC"))
    assert calculate(mol, ["rotatable_bonds"]) == {"rotatable_bonds": 1.0}


def test_explicit_hydrogens_change_nothing() -> None:
    for record in read_records(DRUGS):
        with_hydrogens = calculate(record.mol, PROPERTIES)
        without = calculate(Chem.MolFromSmiles(record.tags["smiles"]), PROPERTIES)
        assert with_hydrogens == pytest.approx(without, abs=1e-9)
        assert all(math.isfinite(value) for value in with_hydrogens.values())


def test_order_and_choice_follow_the_request() -> None:
    assert list(calculate(Chem.MolFromSmiles("CCO"), ["rings", "logp"])) == ["rings", "logp"]
    with pytest.raises(KeyError):
        calculate(Chem.MolFromSmiles("CCO"), ["logP"])


def test_molecules_without_heavy_atoms_or_atoms_are_no_nan() -> None:
    for mol in (Chem.MolFromSmiles("[H][H]"), Chem.MolFromSmiles("[Na+].[Cl-]")):
        for name in PROPERTIES:
            try:
                assert math.isfinite(calculate(mol, [name])[name])
            except ValueError as error:
                assert str(error).startswith(name)
