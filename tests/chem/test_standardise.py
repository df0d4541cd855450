"""Standard forms: what changes, and that the cheap look never overlooks a change."""

from pathlib import Path

import pytest
from chembl_structure_pipeline import standardizer
from rdkit import Chem

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
