"""Hydrogens are told of every record: all, none, or only some."""

import pytest
from rdkit import Chem

from moldiff.chem.hydrogen_state import Hydrogens, hydrogens_of, partial_problem
from moldiff.chem.hydrogens import with_all_hydrogens
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.embed import embed


def in_3d(smiles: str) -> Chem.Mol:
    return embed(Chem.MolFromSmiles(smiles), seed=1, timeout_s=20)[0]


def without(mol: Chem.Mol, pattern: str) -> Chem.Mol:
    """A molecule whose hydrogens on atoms of a pattern are no atoms, as a file would have it."""
    copy = Chem.RWMol(mol)
    Chem.Kekulize(copy, clearAromaticFlags=True)
    found = {match[0] for match in mol.GetSubstructMatches(Chem.MolFromSmarts(pattern))}
    copy.BeginBatchEdit()
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 1 and atom.GetNeighbors()[0].GetIdx() in found:
            copy.RemoveAtom(atom.GetIdx())
    copy.CommitBatchEdit()
    return Chem.MolFromMolBlock(Chem.MolToMolBlock(copy), sanitize=False, removeHs=False)


@pytest.mark.parametrize("smiles", ["NCC(=O)O", "CC(C)O", "c1cc[nH]c1", "OC[C@H](N)C#N"])
def test_three_states_and_completion(smiles: str) -> None:
    mol = in_3d(smiles)
    assert hydrogens_of(mol) == Hydrogens.EXPLICIT
    assert hydrogens_of(Chem.RemoveHs(mol)) == Hydrogens.IMPLICIT
    polar = without(mol, "[#6]")
    assert hydrogens_of(polar) == Hydrogens.PARTIAL
    assert partial_problem(polar).endswith("adding hydrogens places the others)"), "of whatever calls it, no option"
    for stripped in (Chem.RemoveHs(mol), polar):
        full = with_all_hydrogens(stripped)
        Chem.SanitizeMol(full)
        assert hydrogens_of(full) == Hydrogens.EXPLICIT
        assert canonical_smiles(full, stereo=False) == canonical_smiles(mol, stereo=False)
        assert full.GetNumConformers() == 1


def test_a_single_missing_hydrogen_is_an_open_valence() -> None:
    mol = Chem.RWMol(in_3d("CCC"))
    mol.RemoveAtom(mol.GetNumAtoms() - 1)
    radical = Chem.MolFromMolBlock(Chem.MolToMolBlock(mol), sanitize=False, removeHs=False)
    assert hydrogens_of(radical) == Hydrogens.EXPLICIT
    assert partial_problem(radical) == ""


def test_what_has_no_hydrogens_is_explicit() -> None:
    assert hydrogens_of(Chem.MolFromSmiles("FC(F)(F)C#N")) == Hydrogens.EXPLICIT


def test_an_amine_that_lacks_its_own_hydrogens_is_no_docked_pose() -> None:
    """Hydrogens of carbons are there, one of nitrogen is not."""
    mol = Chem.RWMol(in_3d("CN"))
    last = next(atom for atom in reversed(list(mol.GetAtoms())) if atom.GetAtomicNum() == 1)
    mol.RemoveAtom(last.GetIdx())
    assert hydrogens_of(mol) == Hydrogens.EXPLICIT
