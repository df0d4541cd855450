"""Force fields work on copies: a molecule that met one is the molecule that it was."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.chem.conformer_set import relative_energies
from moldiff.chem.force_field import mmff94s, mmff94s_energy, uff
from moldiff.chem.hydrogens import relax_hydrogens, with_all_hydrogens
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.embed import embed
from moldiff.chem.isomers import placed
from moldiff.chem.relax import relax
from moldiff.choices import EnergyMethod

UNLIKE = [
    "Cc1ccc[nH]c1=O",
    "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "O=c1cccc[nH]1.Cl",
    "CC(O)Cn1cnc2c(=O)[nH]c(N)nc21",
    "c1ccoc1",
]
"""Rings that MMFF94 takes for other than aromatic, or may."""


@pytest.mark.parametrize("smiles", UNLIKE)
def test_a_molecule_that_met_a_force_field_is_what_it_was(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    for found, reason in (embed(mol, 0, 20), placed(mol, 0, 20)):
        assert found is not None, reason
        assert canonical_smiles(found, stereo=False) == canonical_smiles(mol, stereo=False)
        before = Chem.Mol(found)
        mmff94s_energy(found), uff(found)
        relative_energies([found, found], EnergyMethod.MMFF94S)
        made = [relax_hydrogens(found)[0], with_all_hydrogens(Chem.RemoveAllHs(found))]
        if len(Chem.GetMolFrags(mol)) == 1:
            made.append(relax(found, EnergyMethod.MMFF94S).mol)
        for one in (*made, found):
            assert canonical_smiles(one, stereo=False) == canonical_smiles(mol, stereo=False)
        assert Chem.MolToMolBlock(found) == Chem.MolToMolBlock(before)
        assert [bond.GetIsAromatic() for bond in found.GetBonds()] == [
            bond.GetIsAromatic() for bond in before.GetBonds()
        ]


def test_the_fields_are_those_of_rdkit() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    properties = AllChem.MMFFGetMoleculeProperties(mol, mmffVariant="MMFF94s")
    assert mmff94s_energy(mol) == AllChem.MMFFGetMoleculeForceField(mol, properties).CalcEnergy()
    universal = uff(mol)
    assert universal is not None
    assert universal.field.CalcEnergy() == AllChem.UFFGetMoleculeForceField(mol).CalcEnergy()
    universal.field.Minimize()
    here = mol.GetConformer().GetPositions()
    assert not np.allclose(universal.positions(), here), "the copy moves"
    assert np.array_equal(mol.GetConformer().GetPositions(), here), "and the molecule stays"


def test_what_a_field_does_not_know_has_no_energy() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CCB(O)O"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    assert mmff94s(mol) is None and math.isnan(mmff94s_energy(mol))
    assert uff(mol) is not None
    strange = Chem.MolFromSmiles("[U]")
    strange.AddConformer(Chem.Conformer(1))
    assert mmff94s(strange) is None
