"""A molecule falls on one side, as a salt too."""

import pytest
from rdkit import Chem

from moldiff.chem.identity import inchikey_block
from moldiff.datasets.splits import block_of


@pytest.mark.parametrize(
    ("salt", "parent"),
    [
        ("CCO.Cl", "CCO"),
        ("CC(=O)[O-].[Na+]", "CC(=O)O"),
        ("[Na+].CC(=O)[O-]", "CC(=O)O"),
        ("CC[NH3+].[Cl-]", "CCN"),
        ("Cl.Cl.NCCN", "NCCN"),
        ("C[N+](C)(C)CCO.[OH-]", "C[N+](C)(C)CCO"),
        ("O.O.O.c1ccccc1", "c1ccccc1"),
        ("[Br-].[H][N+]([H])([H])C([H])([H])[H]", "CN"),
    ],
)
def test_a_salt_falls_on_the_side_of_its_parent(salt: str, parent: str) -> None:
    read = Chem.SmilesParserParams()
    read.removeHs = False
    assert block_of(Chem.MolFromSmiles(salt, read)) == inchikey_block(Chem.MolFromSmiles(parent))


def test_of_equal_parts_the_order_does_not_matter() -> None:
    one, other = (block_of(Chem.MolFromSmiles(text)) for text in ("CCO.CCN", "CCN.CCO"))
    assert one == other == min(inchikey_block(Chem.MolFromSmiles(text)) for text in ("CCO", "CCN"))


@pytest.mark.parametrize("smiles", ["CCO", "CC(=O)[O-]", "[Na+]", "C[C@H](N)C(=O)O", "[H][H]"])
def test_a_molecule_of_one_part_goes_by_its_own_block(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    assert block_of(mol) == inchikey_block(mol)


def test_without_a_key_the_smiles_decides() -> None:
    assert block_of(Chem.MolFromSmiles("*CC")) == "*CC"
    assert block_of(Chem.MolFromSmiles("*CCC.O")) == "*CCC"
