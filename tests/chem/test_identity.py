"""Identity: one molecule, one text, one key, one side of the split, whatever the atom order, hydrogens or geometry."""

import random
from collections import Counter
from pathlib import Path

import pytest
from rdkit import Chem

from moldiff.chem.filters.validity import mark_duplicates
from moldiff.chem.identity import canonical_smiles, inchikey_block, parent_block, text_key
from moldiff.chem.io.embed import embed
from moldiff.chem.io.records import read_records
from moldiff.datasets.splits import split_of

SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"


def test_atom_order_and_hydrogens_do_not_matter() -> None:
    rng = random.Random(0)
    for record in list(read_records(SAMPLE))[:60]:
        order = list(range(record.mol.GetNumAtoms()))
        rng.shuffle(order)
        shuffled = Chem.RenumberAtoms(record.mol, order)
        for stereo in (True, False):
            assert canonical_smiles(shuffled, stereo=stereo) == canonical_smiles(record.mol, stereo=stereo)
        assert inchikey_block(shuffled) == inchikey_block(record.mol)
        bare = Chem.MolFromSmiles(record.tags["smiles"])
        assert canonical_smiles(bare, stereo=True) == canonical_smiles(record.mol, stereo=True)
        assert inchikey_block(bare) == inchikey_block(record.mol)


@pytest.mark.parametrize(
    "smiles", ["CCO", "C[C@H](N)C(=O)O", "F/C=C/Cl", "[2H]OC", "c1cc[nH]c1", "[H][H]", "C[N+](C)(C)C"]
)
def test_numbers_of_atoms_are_no_part_of_a_molecule(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    mapped = Chem.Mol(mol)
    for atom in mapped.GetAtoms():
        atom.SetAtomMapNum(mapped.GetNumAtoms() - atom.GetIdx())
    for one in (mapped, Chem.MolFromSmiles(Chem.MolToSmiles(mapped)), Chem.AddHs(mapped)):
        numbers = [atom.GetAtomMapNum() for atom in one.GetAtoms()]
        for stereo in (True, False):
            assert canonical_smiles(one, stereo=stereo) == canonical_smiles(mol, stereo=stereo)
        assert numbers == [atom.GetAtomMapNum() for atom in one.GetAtoms()], "the caller's molecule is as it was"


def test_stereo_is_kept_or_left_out() -> None:
    left, right = Chem.MolFromSmiles("C[C@H](N)C(=O)O"), Chem.MolFromSmiles("C[C@@H](N)C(=O)O")
    assert canonical_smiles(left, stereo=True) != canonical_smiles(right, stereo=True)
    assert canonical_smiles(left, stereo=False) == canonical_smiles(right, stereo=False) == "CC(N)C(=O)O"
    assert inchikey_block(left) == inchikey_block(right)


def test_flat_smiles_of_an_imine_does_not_depend_on_its_geometry() -> None:
    """RDKit keeps the hydrogen that defines C=N-H stereo; without stereo it must go."""
    mol, _ = embed(Chem.MolFromSmiles("[H]/N=C(/C)CC"), seed=1, timeout_s=10)
    assert canonical_smiles(mol, stereo=True) == "[H]/N=C(/C)CC"
    assert canonical_smiles(mol, stereo=False) == "CCC(C)=N"


def test_arguments_are_left_alone() -> None:
    mol, _ = embed(Chem.MolFromSmiles("C/C=C/[C@H](O)F"), seed=1, timeout_s=10)
    before = canonical_smiles(mol, stereo=True)
    canonical_smiles(mol, stereo=False)
    inchikey_block(mol)
    assert canonical_smiles(mol, stereo=True) == before and mol.GetNumAtoms() == 13


def test_published_keys() -> None:
    """InChIKeys as in the literature; SHA-256 of "abc" as in FIPS 180-2."""
    assert inchikey_block(Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")) == "BSYNRYMUTXBXSQ"
    assert inchikey_block(Chem.MolFromSmiles("Cn1cnc2c1c(=O)n(C)c(=O)n2C")) == "RYYVLZVUVIJVGH"
    assert text_key("abc") == 0xBA7816BF8F01CFEA
    with pytest.raises(ValueError, match="inchi"):
        inchikey_block(Chem.MolFromSmiles("*C"))


def test_split_is_fixed_and_90_5_5() -> None:
    assert [split_of(block) for block in ("BSYNRYMUTXBXSQ", "RYYVLZVUVIJVGH", "VNWKTOKETHGBQD")] == [
        "train", "train", "train"
    ]  # fmt: skip
    counts = Counter(split_of(f"BLOCK{number}") for number in range(20_000))
    assert abs(counts["train"] - 18_000) < 150 and abs(counts["validation"] - 1000) < 100
    assert sum(counts.values()) == 20_000 and set(counts) == {"train", "validation", "test"}


def test_duplicates_point_to_their_first_occurrence() -> None:
    assert mark_duplicates(["C", "CC", "C", None, None, "C", "CC"]) == [None, None, 0, None, None, 0, 1]


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
def test_a_salt_has_the_block_of_its_parent(salt: str, parent: str) -> None:
    read = Chem.SmilesParserParams()
    read.removeHs = False
    assert parent_block(Chem.MolFromSmiles(salt, read)) == inchikey_block(Chem.MolFromSmiles(parent))


def test_of_equal_parts_the_order_does_not_matter() -> None:
    one, other = (parent_block(Chem.MolFromSmiles(text)) for text in ("CCO.CCN", "CCN.CCO"))
    assert one == other == min(inchikey_block(Chem.MolFromSmiles(text)) for text in ("CCO", "CCN"))


@pytest.mark.parametrize("smiles", ["CCO", "CC(=O)[O-]", "[Na+]", "C[C@H](N)C(=O)O", "[H][H]"])
def test_a_molecule_of_one_part_goes_by_its_own_block(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    assert parent_block(mol) == inchikey_block(mol)


@pytest.mark.parametrize(
    ("acid", "salt"),
    [
        ("CC(=O)Nc1nnc(S(N)(=O)=O)s1", "CC(=O)Nc1nnc(S([NH-])(=O)=O)s1.[Na+]"),
        ("Cc1nnn[nH]1", "Cc1nn[n-]n1.[K+]"),
        ("CCO", "CC[O-].[Na+]"),
        ("C#N", "[C-]#N.[K+]"),
        ("c1c[nH]cn1", "c1c[n-]cn1.[Li+]"),
    ],
)
def test_an_acid_that_inchi_does_not_know_has_the_block_of_its_salt(acid: str, salt: str) -> None:
    assert parent_block(Chem.MolFromSmiles(salt)) == inchikey_block(Chem.MolFromSmiles(acid))


def test_without_a_key_the_smiles_decides() -> None:
    assert parent_block(Chem.MolFromSmiles("*CC")) == "*CC"
    assert parent_block(Chem.MolFromSmiles("*CCC.O")) == "*CCC"
