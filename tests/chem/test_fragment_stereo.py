"""Stereo that a fragment states holds in what is grown: new neighbours stand in the places of the bonds it lacks."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from moldiff.chem.fragment_stereo import NEW, AskedStereo
from moldiff.chem.fragments import MolFragment, block_of, cut_fragment
from moldiff.generation.options.fragment import Fragment
from moldiff.vocabulary import Vocabulary

BONDS = ("none", "single", "double", "triple", "aromatic")
WHOLE = Vocabulary(("H", "C", "N", "O", "S"), (-1, 0, 1), BONDS)
HEAVY = Vocabulary(("C", "N", "O", "S"), (-1, 0, 1), BONDS, False)
NEW_ATOM = "[14CH3]"

STATED = (
    "*[C@H]1CO1", "*[C@@H]1CCC(=O)N1", "O=C1N[C@H](*)CC1", "C[C@H](O)*", "C[C@](O)(N)*", "C[S@](=O)*", "C/C=C/*",
    "C/C=C\\*", "*/C=C\\C", "C/C(N)=C/*", "*C/C=C/C", "C[C@H](O)C*", "*[C@@H]1CC[C@H](O)CC1", "*[C@H](O)C*",
)  # fmt: skip


def mirrored(smiles: str) -> str:
    """Return the SMILES with every centre inverted, or with its double bond the other way."""
    swapped = smiles.replace("@@", "!").replace("@", "@@").replace("!", "@")
    return swapped if swapped != smiles else smiles.replace("/C=", "\\C=").replace("/C(N)=", "\\C(N)=")


def grown(smiles: str) -> Chem.Mol:
    """Return a fragment's SMILES with a methyl for each `*`, embedded; the fragment's atoms and hydrogens first."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles.replace("*", NEW_ATOM)))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    rdForceFieldHelpers.MMFFOptimizeMolecule(mol)  # versions of RDKit differ in how odd a start is
    added = {atom.GetIdx() for atom in mol.GetAtoms() if atom.GetIsotope()}
    added |= {other.GetIdx() for index in added for other in mol.GetAtomWithIdx(index).GetNeighbors()
              if other.GetAtomicNum() == 1}  # fmt: skip
    return Chem.RenumberAtoms(mol, [i for i in range(mol.GetNumAtoms()) if i not in added] + sorted(added))


def heavy_first(mol: Chem.Mol, n: int) -> Chem.Mol:
    """Return a grown molecule with the fragment's n heavy atoms, the new ones, and then all hydrogens."""
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1]
    return Chem.RenumberAtoms(mol, heavy + [i for i in range(mol.GetNumAtoms()) if i not in heavy])


def change(smiles: str, molecule: str, vocabulary: Vocabulary) -> str:
    fragment, mol = Fragment(smiles).cut(vocabulary), grown(molecule)
    return fragment.change(mol if vocabulary.explicit_hydrogens else heavy_first(mol, len(fragment)))


@pytest.mark.parametrize("vocabulary", [WHOLE, HEAVY], ids=["hydrogens", "heavy"])
@pytest.mark.parametrize("smiles", STATED)
def test_what_a_smiles_states_must_hold(smiles: str, vocabulary: Vocabulary) -> None:
    assert change(smiles, smiles, vocabulary) == ""
    assert any(word in change(smiles, mirrored(smiles), vocabulary) for word in ("inverted", "other configuration"))


@pytest.mark.parametrize("vocabulary", [WHOLE, HEAVY], ids=["hydrogens", "heavy"])
@pytest.mark.parametrize(
    ("smiles", "molecules"),
    [
        ("*C1CO1", ("*[C@H]1CO1", "*[C@@H]1CO1")),
        ("CC=C*", ("C/C=C/*", "C/C=C\\*")),
        ("C[C@](*)(O)*", ("C[C@](*)(O)C[14CH3]", "C[C@@](*)(O)C[14CH3]")),  # which of the two stands where is open
        ("CC(O)C[C@H](N)*", ("C[C@H](O)C[C@H](N)*", "C[C@@H](O)C[C@H](N)*")),
    ],
)
def test_what_it_leaves_open_is_free(smiles: str, molecules: tuple[str, ...], vocabulary: Vocabulary) -> None:
    fragment = Fragment(smiles).cut(vocabulary)
    for molecule in molecules:
        mol = grown(molecule)
        if not vocabulary.explicit_hydrogens:
            mol = heavy_first(mol, len(fragment))
        assert fragment.stereo.change(mol, len(fragment), vocabulary.explicit_hydrogens) == ""


@pytest.mark.parametrize("smiles", [one for one in STATED if "@" in one and "S" not in one])
def test_the_hydrogen_that_stood_for_the_star_goes(smiles: str) -> None:
    """What is left of a centre turns as the SMILES says, with the new atom opposite to its three other neighbours."""
    fragment = Fragment(smiles).cut(WHOLE)
    mol = Chem.RWMol(fragment.mol)
    for index, way in fragment.ways.items():
        place = mol.GetConformer().GetPositions()[index] + 1.5 * way
        new = mol.AddAtom(Chem.Atom(6))
        mol.AddBond(index, new, Chem.BondType.SINGLE)
        mol.GetConformer().SetAtomPosition(new, place.tolist())
    Chem.AssignStereochemistryFrom3D(mol)
    for index in fragment.ways:
        others = [other.GetIdx() for other in mol.GetAtomWithIdx(index).GetNeighbors()]
        pos = mol.GetConformer().GetPositions()
        nearest = min(np.linalg.norm(pos[others[-1]] - pos[other]) for other in others[:-1])
        assert nearest > 1.9, "the place is not one of a neighbour that stays"
    how = Chem.AdjustQueryParameters.NoAdjustments()
    how.makeDummiesQueries = True
    query = Chem.AdjustQueryProperties(Chem.MolFromSmiles(smiles), how)
    assert mol.HasSubstructMatch(query, useChirality=True)


def cut(mol: Chem.Mol, vocabulary: Vocabulary, fixed_atoms: list[int]) -> MolFragment:
    return cut_fragment([block_of(mol)], "f.sdf", vocabulary, fixed_atoms, None, [])


@pytest.mark.parametrize("vocabulary", [WHOLE, HEAVY], ids=["hydrogens", "heavy"])
@pytest.mark.parametrize("smiles", STATED)
def test_a_pose_states_all_that_it_shows_with_the_neighbour_that_is_cut_in_its_place(
    smiles: str, vocabulary: Vocabulary
) -> None:
    mol = grown(smiles)
    atoms = [atom.GetIdx() for atom in mol.GetAtoms() if not atom.GetIsotope() and atom.GetAtomicNum() != 1]
    for atom in mol.GetAtoms():
        atom.SetIsotope(0)
    fragment = cut(mol, vocabulary, atoms)
    for molecule, wrong in ((smiles, False), (mirrored(smiles), True)):
        other = grown(molecule)
        if not vocabulary.explicit_hydrogens:
            other = heavy_first(other, len(fragment))
        assert bool(fragment.change(other)) == wrong


def test_a_centre_that_comes_out_flat_is_none() -> None:
    fragment, mol = Fragment("C[C@H](O)*").cut(HEAVY), heavy_first(grown("C[C@H](O)*"), 3)
    pos = mol.GetConformer().GetPositions()
    pos[:, 2] = 0.0
    mol.GetConformer().SetPositions(pos)
    assert fragment.stereo.change(mol, 3, False) == "stereocentre 1 is flat"


def test_nitrogen_that_inverts_states_nothing() -> None:
    mol = grown("CN(O)*")
    for atom in mol.GetAtoms():
        atom.SetIsotope(0)
    assert cut(mol, HEAVY, [0, 1, 2]).stereo == AskedStereo()


def test_a_double_bond_that_is_cut_decides_no_centre() -> None:
    """What grows there may be two bonds."""
    mol = Chem.AddHs(Chem.MolFromSmiles("C[S@](=O)CC"))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    assert cut(mol, HEAVY, [0, 1, 3, 4]).stereo == AskedStereo()
    (centre,) = cut(mol, HEAVY, [0, 1, 2]).stereo.centres
    assert (centre.atom, centre.neighbours) == (1, (0, 2, NEW))


def test_isotopes_tell_stars_apart_and_are_gone() -> None:
    fragment = Fragment("[1*][C@H](O)C[2*]").cut(WHOLE)
    assert not fragment.has_isotopes
    assert fragment.open_valences.tolist()[:3] == [1, 0, 1]
    assert Fragment("*[C@H](O)[13CH2]*").cut(WHOLE).has_isotopes, "those of the input are told of"


def test_a_hydrogen_in_the_place_of_a_star_that_stays_is_a_plain_one() -> None:
    """An atom that is open anyway loses none for its `*`."""
    fragment = Fragment("*[C@H](O)CC", fixed_atoms=[0, 1]).cut(WHOLE)
    assert (fragment.has_isotopes, fragment.open_valences.tolist()[0]) == (False, 1)


def test_an_atom_that_loses_two_neighbours_may_get_one_by_a_double_bond() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("C[C@](O)(N)CC"))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    fragment = cut(mol, HEAVY, [0, 1, 2])
    enol = Chem.AddHs(Chem.MolFromSmiles("CC(O)=C"))
    assert rdDistGeom.EmbedMolecule(enol, randomSeed=1) == 0
    assert fragment.change(enol) == ""


def test_branches_that_go_on_differently_make_a_centre() -> None:
    """What is kept of both is the same: what is cut off is not."""
    mol = Chem.AddHs(Chem.MolFromSmiles("NC[C@H](S)CO"))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    (centre,) = cut(mol, HEAVY, [1, 2, 4]).stereo.centres
    assert (centre.atom, centre.neighbours) == (1, (0, 2, NEW))
