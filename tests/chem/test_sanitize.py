"""Molecules that RDKit sanitises and that are none."""

import re
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.arrays import MolArrays
from moldiff.chem.convert import decode
from moldiff.chem.io.inputs import records_of
from moldiff.chem.io.records import parse, read_records
from moldiff.chem.io.text_records import TextRecord
from moldiff.vocabulary import BOND_ORDERS, Vocabulary


@pytest.mark.parametrize(("order", "reason"), [(0, "bond type"), (4, "kekulize"), (5, "bond type"), (8, "bond type")])
@pytest.mark.parametrize("end", ["C", "H"])
def test_a_bond_without_an_order_is_not_given_one(order: int, reason: str, end: str) -> None:
    """Query bonds, and aromatic ones outside rings: RDKit sanitises them, and takes one to a hydrogen for a bond."""
    block = (
        "query\n  test    3D\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n"
        "    0.0000    0.0000    0.3000 C   0  0\n"
        f"    1.2000    0.0000    0.0000 {end}   0  0\n  1  2  {order}  0\nM  END\n"
    )
    record = parse(TextRecord(0, "sdf", "query", block))
    assert record.mol is None
    assert record.reason.startswith(reason)
    whole = parse(TextRecord(0, "sdf", "query", block.replace(f"  1  2  {order}", "  1  2  1")))
    assert whole.mol is not None


@pytest.mark.parametrize("kind", ["HYDROGEN", "ZERO", "UNSPECIFIED"])
@pytest.mark.parametrize("flat", [True, False])
def test_a_bond_that_no_smiles_says_is_refused(kind: str, flat: bool) -> None:
    """Its SMILES has a ~, which is refused itself: CO~CO."""
    mol = Chem.AddHs(Chem.MolFromSmiles("CO.CO"))
    assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
    if flat:
        AllChem.Compute2DCoords(mol)
    bound = Chem.RWMol(mol)
    bound.AddBond(1, 2, getattr(Chem.BondType, kind))
    Chem.SanitizeMol(bound)
    (given,) = records_of([bound.GetMol()])
    assert (given.mol, given.reason) == (None, f"bond type: {kind.lower()}")
    if kind != "ZERO":  # V3000 has none
        block = Chem.MolToV3KMolBlock(bound)
        assert f" {10 if kind == 'HYDROGEN' else 8} 2 3" in block or kind == "UNSPECIFIED"
        read = parse(TextRecord(0, "sdf", "", block))
        assert (read.mol, read.reason) == (None, f"bond type: {kind.lower()}")
    assert parse(TextRecord(0, "sdf", "", Chem.MolToV3KMolBlock(mol))).mol is not None


def test_a_dative_bond_has_a_smiles() -> None:
    mol = parse(TextRecord(0, "smiles", "", "[NH3]->[Cu]")).mol
    AllChem.Compute2DCoords(mol)
    read = parse(TextRecord(0, "sdf", "", Chem.MolToV3KMolBlock(mol)))
    assert Chem.MolToSmiles(read.mol) == "[NH3]->[Cu]"


@pytest.mark.parametrize("smiles", ["CC~C", "CC:C", "CCO |H:1.1|"])
def test_a_smiles_with_a_bond_without_an_order_is_refused(smiles: str) -> None:
    record = parse(TextRecord(0, "smiles", "", smiles))
    assert record.mol is None
    assert record.reason.startswith(("bond type", "kekulize"))
    assert parse(TextRecord(0, "smiles", "", "c1ccccc1-c1ccccc1")).mol is not None
    assert parse(TextRecord(0, "smiles", "", "C1:C:C:C:C:C1")).mol is not None


@pytest.mark.parametrize("smiles", ["[I-16]", "[Br-98].CCO", "C[I-99]", "[Og+16]"])
def test_a_charge_that_no_file_holds_is_refused(smiles: str, tmp_path: Path) -> None:
    """RDKit takes some of them for sound, and then cannot write them."""
    path = tmp_path / "a.smi"
    path.write_text(f"{smiles} a\n[Cl-15] b\nCCO c\n", encoding="utf-8")
    first, *others = read_records(path)
    assert first.mol is None
    assert re.fullmatch(r"charge: [A-Z][a-z]?[+-]\d+ is beyond the 15 that a mol file holds", first.reason)
    assert [record.name for record in others if record.mol is not None] == ["b", "c"]


def test_so_is_that_of_a_drawn_molecule() -> None:
    vocabulary = Vocabulary(("C", "I"), (-99, 0), BOND_ORDERS)
    drawn = MolArrays(np.zeros((1, 3)), np.array([1]), np.array([0]), np.zeros((0, 3), dtype=np.int64))
    assert decode(drawn, vocabulary).reason == "charge: I-99 is beyond the 15 that a mol file holds"


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C[H-]", "H-1 with 1"),
        ("[H+]N(C)C", "H+1 with 1"),
        ("C[H-]C", "H-1 with 2"),
        ("CO[H-]", "H-1"),
        ("Cl[H+]", "H+1"),
    ],
)
def test_an_ion_of_hydrogen_has_no_bond_to_carbon(smiles: str, reason: str) -> None:
    records = list(records_of([smiles, "CCO"]))
    assert records[0].mol is None
    assert records[0].reason.startswith(f"valence: {reason}")
    given = Chem.MolFromSmiles(smiles, sanitize=False)
    Chem.SanitizeMol(given)
    assert next(iter(records_of(given))).reason == records[0].reason


@pytest.mark.parametrize("smiles", ["[H-].[Na+]", "[H+].[Cl-]", "[H-][Pd]", "[2H]C", "C[NH3+]"])
def test_ions_of_hydrogen_alone_or_on_metals_are_read(smiles: str) -> None:
    (record,) = records_of(smiles)
    assert record.mol is not None, record.reason


def test_a_drawn_hydride_on_carbon_is_invalid() -> None:
    vocabulary = Vocabulary(("H", "C"), (-1, 0, 1), ("none", "single"))
    pos = np.array([[0.0, 0, 0], [1.09, 0, 0], [-0.4, 1.0, 0], [-0.4, -0.5, 0.9], [-0.4, -0.5, -0.9]])
    atoms, bonds = np.array([1, 0, 0, 0, 0]), np.array([[0, end, 1] for end in range(1, 5)])
    assert decode(MolArrays(pos, atoms, np.ones(5, dtype=np.int64), bonds), vocabulary).mol is not None
    found = decode(MolArrays(pos, atoms, np.array([1, 0, 1, 1, 1]), bonds), vocabulary)
    assert (found.mol, found.reason) == (None, "valence: H-1 with 1 bonds")
