"""Standard forms: what changes, and that the cheap look never overlooks a change."""

from pathlib import Path

import numpy as np
import pytest
from chembl_structure_pipeline import standardizer
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.chem.coordinates import coordinates_problem
from moldiff.chem.hydrogens import relax_hydrogens
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.records import read_records
from moldiff.chem.standardise import is_standard, standardised

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("smiles", "standard"),
    [
        ("CCc1ccc(cc1)C(=O)[O-].[Na+]", "CCc1ccc(cc1)C(=O)O"),
        ("CC(=O)[O-].[Na+]", "CC(=O)[O-].[Na+]"),  # nothing but salts: all of it stays,
        ("C[NH3+].[Cl-]", "CN"),
        ("CCCCCCO.O", "CCCCCCO"),
        ("[2H]C([2H])O", "CO"),
        ("CS(C)=O", "C[S+](C)[O-]"),
        ("CC(O)=NC", "CNC(C)=O"),
        ("C[N+](C)(C)CC(=O)[O-]", "C[N+](C)(C)CC(=O)[O-]"),
        ("OC(=O)[C@H](O)[C@@H](O)C(=O)O", "O=C(O)C(O)C(O)C(=O)O"),
    ],
)
def test_what_the_pipeline_does(smiles: str, standard: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    found, reason = standardised(mol)
    assert reason == ""
    assert canonical_smiles(found, stereo=True) == Chem.CanonSmiles(standard)
    assert not is_standard(mol) or Chem.CanonSmiles(smiles) == Chem.CanonSmiles(standard)


def test_where_the_cheap_look_sees_nothing_to_do_there_is_nothing() -> None:
    seen = 0
    for path in (ROOT / "data" / "sample.sdf", ROOT / "tests" / "fixtures" / "drugs.sdf"):
        for record in read_records(path):
            for mol in (record.mol, Chem.RemoveHs(record.mol)):
                if not is_standard(mol):
                    continue
                flat = Chem.Mol(mol)
                flat.RemoveAllConformers()
                parent, _ = standardizer.get_parent_mol(standardizer.standardize_mol(flat))
                Chem.SanitizeMol(parent)
                assert canonical_smiles(parent, stereo=True) == canonical_smiles(mol, stereo=True)
                assert standardised(mol)[0] is mol
                seen += 1
    assert seen > 300


def test_metals_are_left_alone() -> None:
    mol = Chem.MolFromSmiles("C[Hg]C")
    assert standardised(mol) == (mol, "")
    assert not is_standard(mol)


MOVED = [
    ("C[NH3+].[Cl-]", "CN"),
    ("CCS(=O)c1ccncc1", "CC[S+]([O-])c1ccncc1"),
    ("C[S@](=O)CCC", "CCC[S@+](C)[O-]"),
    ("CC(O)=NCC(O)=NC.Cl", "CNC(=O)CNC(C)=O"),
    ("C[NH2+]CC([O-])=O", "CNCC(=O)O"),
    ("N=C(C)/C=C/c1ccc(C(=O)[O-])cc1.[Na+]", None),
    ("[2H]C([2H])(F)[C@H](O)CC", "CC[C@@H](O)CF"),
    ("CC(=O)O.CCO", "CC(=O)O"),
    ("C#CCC(CCC)(CC=C)CS(=O)CC(CC#C)(CC=C)CCC", None),
    ("OC(=O)[C@H](O)[C@@H](O)C(=O)O", "O=C(O)C(O)C(O)C(=O)O"),
]


def in_space(smiles: str, hydrogens: bool) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=3) == 0
    Chem.AssignStereochemistryFrom3D(mol)
    return mol if hydrogens else Chem.RemoveHs(mol)


@pytest.mark.parametrize("hydrogens", [True, False])
@pytest.mark.parametrize(
    "smiles",
    ["O=[N+]([O-])c1ccc(N)cc1", "C[C@H](N)Cc1ccccc1", "CCB(O)O", "C[S+]([O-])CC", "CC(=O)[O-].[Na+]", "C[N+](C)(C)C",
     "CN=[N+]=[N-]", "C/C=C/[C@H](F)CCCCC"],
)  # fmt: skip
def test_what_the_pipeline_leaves_the_same_is_the_molecule_itself(smiles: str, hydrogens: bool) -> None:
    mol = in_space(smiles, hydrogens)
    assert standardised(mol)[0] is mol


@pytest.mark.parametrize("hydrogens", [True, False])
@pytest.mark.parametrize(("smiles", "standard"), MOVED)
def test_the_atoms_that_stay_keep_their_coordinates(smiles: str, standard: str | None, hydrogens: bool) -> None:
    mol = in_space(smiles, hydrogens)
    before = mol.GetConformer().GetPositions()
    found, reason = standardised(mol)
    assert reason == ""
    assert found is not None and found is not mol
    if standard is not None:
        assert canonical_smiles(found, stereo=standard.count("@") > 0) == Chem.CanonSmiles(standard)
    after = found.GetConformer().GetPositions()
    distances = np.linalg.norm(after[:, None] - before[None], axis=-1)
    more = 0
    for atom in found.GetAtoms():
        nearest = int(distances[atom.GetIdx()].argmin())
        old = mol.GetAtomWithIdx(nearest)
        kept = distances[atom.GetIdx(), nearest] < 1e-6 and old.GetAtomicNum() == atom.GetAtomicNum()
        if atom.GetAtomicNum() > 1:
            assert kept
            ends = {
                int(distances[other.GetIdx()].argmin()) for other in atom.GetNeighbors() if other.GetAtomicNum() > 1
            }
            for other in atom.GetNeighbors():
                if atom.GetAtomicNum() == other.GetAtomicNum() == 6:  # its bonds are written one way only
                    bond = mol.GetBondBetweenAtoms(nearest, int(distances[other.GetIdx()].argmin()))
                    assert bond.GetBondType() == found.GetBondBetweenAtoms(atom.GetIdx(), other.GetIdx()).GetBondType()
            assert ends <= {other.GetIdx() for other in old.GetNeighbors()}
        more += not kept
    assert more <= (2 if hydrogens else found.GetNumAtoms() - found.GetNumHeavyAtoms())
    assert coordinates_problem(found) == ""
    if "@" in (standard or ""):
        Chem.AssignStereochemistryFrom3D(found)
        assert canonical_smiles(found, stereo=True) == Chem.CanonSmiles(standard)


@pytest.mark.parametrize("hydrogens", [True, False])
def test_hydrogens_as_atoms_change_no_form(hydrogens: bool) -> None:
    acid = in_space("OC(=O)[C@H](O)[C@@H](O)C(=O)O", hydrogens)
    found, _ = standardised(acid)
    assert canonical_smiles(found, stereo=True) == "O=C(O)C(O)C(O)C(=O)O"


@pytest.mark.parametrize("smiles", ["[Na+].CCc1ccc(cc1)C(=O)[O-]", "CC(=O)NC(C)C(=O)[O-].[Na+]", "[O-]c1ccccc1F.[Na+]"])
def test_hydrogens_that_a_standard_form_adds_are_relaxed(smiles: str) -> None:
    mol = in_space(smiles, True)
    found, reason = standardised(mol)
    assert reason == ""
    before, after = mol.GetConformer().GetPositions(), found.GetConformer().GetPositions()
    added = [k for k in range(len(after)) if np.linalg.norm(before - after[k], axis=1).min() > 1e-6]
    assert [found.GetAtomWithIdx(k).GetAtomicNum() for k in added] == [1]
    again = relax_hydrogens(found, added)[0].GetConformer().GetPositions()
    assert np.abs(again - after).max() < 0.02, "it lies at a minimum already"
