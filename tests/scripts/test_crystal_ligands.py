"""Ligands in crystals, from the columns of the dictionary; the dictionary itself is not there."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem
from script import load_script

ligands = load_script("benchmarks/crystal_ligands")
ORDERS = {1.0: "SING", 2.0: "DOUB", 3.0: "TRIP"}


def component(smiles: str) -> tuple[dict[str, int], list[str], list[int], np.ndarray, list[tuple[str, str, str]]]:
    """The columns of a molecule with hydrogens, as the dictionary has them: Kekule orders, hydrogens placed or not."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=3)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    names = [f"{atom.GetSymbol()}{atom.GetIdx()}" for atom in mol.GetAtoms()]
    bonds = [
        (names[bond.GetBeginAtomIdx()], names[bond.GetEndAtomIdx()], ORDERS[bond.GetBondTypeAsDouble()])
        for bond in mol.GetBonds()
    ]
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
    charges = [atom.GetFormalCharge() for atom in mol.GetAtoms()]
    pos = mol.GetConformer().GetPositions()
    return {name: place for place, name in enumerate(names)}, symbols, charges, pos, bonds


@pytest.mark.parametrize("smiles", ["C[C@H](O)c1ccccc1", "C[C@@H](O)c1ccccc1", "OC(=O)/C=C/c1cc[nH]c1", "C[N+](C)(C)C"])
def test_a_component_is_the_molecule_whose_stereo_its_coordinates_tell(smiles: str) -> None:
    index, symbols, charges, pos, bonds = component(smiles)
    pos[[place for place, symbol in enumerate(symbols) if symbol == "H"]] = np.nan
    mol = ligands._molecule(index, symbols, charges, pos, bonds)
    assert Chem.MolToSmiles(mol) == Chem.CanonSmiles(smiles)
    heavy = [place for place, symbol in enumerate(symbols) if symbol != "H"]
    assert np.allclose(mol.GetConformer().GetPositions(), pos[heavy])


def test_what_is_no_placed_molecule_is_left_out() -> None:
    index, symbols, charges, pos, bonds = component("CCO")
    far = pos.copy()
    far[2] += 5.0
    missing = pos.copy()
    missing[1] = np.nan
    assert ligands._molecule(index, symbols, charges, pos, bonds) is not None
    assert ligands._molecule(index, symbols, charges, far, bonds) is None
    assert ligands._molecule(index, symbols, charges, missing, bonds) is None
    assert ligands._molecule(index, symbols, charges, pos, bonds[1:]) is None  # two fragments
    assert ligands._molecule(index, symbols, charges, pos, [(*bonds[0][:2], "QUAD"), *bonds[1:]]) is None
    assert ligands._molecule(index, symbols, charges, pos, [(*bonds[0][:2], "TRIP"), *bonds[1:]]) is None  # five bonds


def test_rows_of_a_component_stand_together() -> None:
    places = ligands._places(np.array(["A", "A", "B", "C", "C", "C"]))
    assert places == {"A": slice(0, 2), "B": slice(2, 3), "C": slice(3, 6)}
