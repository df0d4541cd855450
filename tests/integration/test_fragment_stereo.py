"""Built-in models give back the stereoisomer that a fragment states, judged by RDKit's own match of stereo."""

import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

import moldiff


def has(mol: Chem.Mol, smiles: str) -> bool:
    """Return whether a molecule holds a fragment with its stereo, anything in the place of each `*`."""
    found = Chem.RemoveHs(mol)
    Chem.AssignStereochemistryFrom3D(found)
    how = Chem.AdjustQueryParameters.NoAdjustments()
    how.makeDummiesQueries = True
    query = Chem.AdjustQueryProperties(Chem.MolFromSmiles(smiles), how)
    return bool(found.HasSubstructMatch(query, useChirality=True))


def grew_another(mol: Chem.Mol, smiles: str) -> bool:
    """Return whether a molecule holds another stereoisomer: not where a hydrogen grew, and no centre is left."""
    return has(mol, smiles.replace("@", "").replace("/", "").replace("\\", "")) and not has(mol, smiles)


@pytest.mark.parametrize(
    "smiles", ["*[C@H]1CO1", "*[C@@H]1CO1", "O=C1N[C@H](*)CC1", "C[C@@H](O)*", "C/C=C\\*", "*/C=C\\C"]
)
def test_the_small_model_grows_the_stereoisomer_that_is_asked_for(smiles: str) -> None:
    result = moldiff.generate(12, model="qm9_fast", fragment=smiles, n_atoms="10..18")
    assert len(result) >= 3
    assert not any("stereocentre" in reason for reason in result.table["reason"].dropna()), "the right hydrogen went"
    assert not any(grew_another(mol, smiles) for mol in result)


@pytest.mark.parametrize("smiles", ["CC(=O)N[C@H](*)c1ccccc1", "CC(=O)N[C@@H](*)c1ccccc1", "c1ccccc1/C=C\\*"])
def test_a_model_of_heavy_atoms_hands_out_no_other_one(smiles: str) -> None:
    result = moldiff.generate(16, model="drugs", fragment=moldiff.Fragment(smiles, grow=(7, 12)))
    assert len(result) >= 3
    assert not any(grew_another(mol, smiles) for mol in result)


def test_a_pose_keeps_its_hand_where_a_bond_is_cut() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CC(=O)N[C@@H](CCl)c1ccccc1"))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=3) == 0
    fragment = moldiff.Fragment(mol, fixed_atoms="0-4,7-12", grow="7..12")
    result = moldiff.generate(10, model="drugs", fragment=fragment)
    assert len(result) >= 3
    assert not any(grew_another(mol, "CC(=O)N[C@@H](*)c1ccccc1") for mol in result)
