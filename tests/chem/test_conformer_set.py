"""Conformers among each other: energies against RDKit's own, and which are the same molecule in the same shape."""

import math

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolTransforms

from moldiff.chem.conformer_set import relative_energies, repeats
from moldiff.choices import EnergyMethod


def embedded(smiles: str, seed: int = 1) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=seed)
    AllChem.MMFFOptimizeMolecule(mol, mmffVariant="MMFF94s")
    return mol


def turned(mol: Chem.Mol, degrees: float) -> Chem.Mol:
    copy = Chem.Mol(mol)
    rdMolTransforms.SetDihedralDeg(copy.GetConformer(), 0, 1, 2, 3, degrees)
    return copy


def test_energies_are_those_of_mmff94s_above_the_lowest() -> None:
    mols = [turned(embedded("CCCC"), angle) for angle in (60.0, 180.0, 0.0)]
    found = relative_energies(mols, EnergyMethod.MMFF94S)
    expected = []
    for mol in mols:
        properties = AllChem.MMFFGetMoleculeProperties(mol, mmffVariant="MMFF94s")
        expected.append(AllChem.MMFFGetMoleculeForceField(mol, properties).CalcEnergy())
    assert found == pytest.approx(np.array(expected) - min(expected))
    assert found[1] == 0.0 and found[2] > found[0] > 0.5


def test_what_the_force_field_does_not_know_has_no_energy() -> None:
    boron = Chem.AddHs(Chem.MolFromSmiles("OB(O)C"))
    AllChem.EmbedMolecule(boron, randomSeed=1)
    assert all(math.isnan(value) for value in relative_energies([boron, boron], EnergyMethod.MMFF94S))


def test_gfn2_energies_rank_alike() -> None:
    pytest.importorskip("tblite")
    anti, syn = (turned(embedded("CCCC"), angle) for angle in (180.0, 0.0))
    low, high = relative_energies([anti, syn], EnergyMethod.GFN2)
    assert low == 0.0 and 3.0 < high < 9.0  # the barrier of butane is near 5 kcal/mol


def test_where_the_hydrogen_of_an_imine_points_is_no_matter_of_heavy_atoms() -> None:
    one, other = (Chem.AddHs(Chem.MolFromSmiles("CC=N")) for _ in range(2))
    AllChem.EmbedMolecule(one, randomSeed=1)
    Chem.AssignStereochemistryFrom3D(one)
    other.AddConformer(one.GetConformer())
    rdMolTransforms.SetDihedralDeg(other.GetConformer(), 0, 1, 2, other.GetNumAtoms() - 1, 90.0)
    Chem.AssignStereochemistryFrom3D(other)
    assert repeats([one, Chem.Mol(one, False, 0)], 0.1) == [None, 0]
    assert repeats([one, other], 0.01) == [None, 0]


def test_repeats_are_found_whatever_their_place_and_numbering() -> None:
    anti, gauche = (turned(embedded("CCCC"), angle) for angle in (180.0, 60.0))
    moved = Chem.Mol(anti)
    pos = moved.GetConformer().GetPositions() @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]) + 7.0
    moved.GetConformer().SetPositions(pos)
    backwards = Chem.RenumberAtoms(gauche, [3, 2, 1, 0, *range(4, gauche.GetNumAtoms())])
    assert repeats([anti, gauche, moved, backwards], 0.3) == [None, None, 0, 1]
    assert repeats([anti, gauche], 5.0) == [None, 0]
    between = turned(embedded("CCCC"), 120.0)  # 0.37 angstrom from anti, 0.36 from gauche, which are 0.70 apart
    assert repeats([anti, between, gauche], 0.5) == [None, 0, None], "a repeat stands for nothing"
    assert repeats([embedded("C"), embedded("C", 2)], 0.1) == [None, 0]
    assert repeats([], 0.5) == []
