"""Molecules that RDKit sanitises and that are none."""

import re
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.arrays import MolArrays
from moldiff.chem.convert import decode
from moldiff.chem.io.inputs import file_of, records_of
from moldiff.chem.io.records import parse, read_block, read_records
from moldiff.chem.io.text_records import TextRecord
from moldiff.errors import MoldiffError
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


def drawn(mol: Chem.Mol, v3000: bool, *, flat: bool = True) -> str:
    mol = Chem.Mol(mol) if flat else Chem.AddHs(mol)
    if flat:
        AllChem.Compute2DCoords(mol)
    else:
        assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
    return str(Chem.MolToMolBlock(mol, forceV3000=v3000))


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("v3000", [True, False])
@pytest.mark.parametrize(
    ("extension", "reason"),
    [
        ("Sg:n:0,1::ht", "polymer: a group of type SRU, not one molecule"),
        ("Sg:any:0,1::ht", "polymer: a group of type ANY, not one molecule"),
        ("Sg:mon:0,1::", "polymer: a group of type MON, not one molecule"),
        ("Sg:co:0,1::", "polymer: a group of type COP, not one molecule"),
        ("Sg:alt:0,1::", "polymer: a group of type COP, not one molecule"),
        ("Sg:mer:0,1::", "polymer: a group of type MER, not one molecule"),
        ("Sg:xl:0,1::", "polymer: a group of type CRO, not one molecule"),
        ("Sg:mod:0,1::", "polymer: a group of type MOD, not one molecule"),
        ("Sg:grf:0,1::", "polymer: a group of type GRA, not one molecule"),
        ("Sg:mix:0,1::", "mixture: a group of type MIX, not one molecule"),
        ("Sg:f:0,1::", "mixture: a group of type FOR, not one molecule"),
        ("Sg:c:0,1::", "mixture: a group of type COM, not one molecule"),
        ("LN:1:1.3", "link node: chains of several lengths, not one molecule"),
    ],
)
def test_polymers_and_mixtures_are_refused_by_name(extension: str, reason: str, v3000: bool, flat: bool) -> None:
    smiles = f"CCO |{extension}|"
    mol = Chem.MolFromSmiles(smiles)
    block = drawn(mol, v3000, flat=flat)
    if extension.startswith("LN") and not v3000:  # which RDKit reads and does not write
        block = block.replace("M  END", "M  LIN  1   2   3   1   3\nM  END")
    (given,) = records_of([mol])
    for record in (parse(TextRecord(0, "smiles", "", smiles)), parse(TextRecord(0, "sdf", "", block)), given):
        assert (record.mol, record.reason) == (None, reason)
    assert read_block(TextRecord(0, "sdf", "", block)) == (None, reason), "what evaluate judges"


@pytest.mark.parametrize("smiles", ["CO.c1ccccc1 |m:0:2.3.4|", "CN.c1ccncc1 |m:1:2.3|", "CC.[Fe] |m:1:0.1|"])
def test_a_bond_to_one_of_several_atoms_is_no_molecule(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    (given,) = records_of([mol])
    block = TextRecord(0, "sdf", "", drawn(mol, True))
    assert "ENDPTS" in block.text
    for record in (parse(TextRecord(0, "smiles", "", smiles)), parse(block), given):
        assert record.mol is None and record.reason.startswith("variable attachment: a bond to one of several atoms")
    with pytest.raises(MoldiffError, match="variable attachment"):
        file_of(smiles, "fragment")


@pytest.mark.parametrize("kind", ["DAT", "SUP", "MUL", "GEN"])
@pytest.mark.parametrize("v3000", [True, False])
def test_groups_that_change_no_molecule_are_read(kind: str, v3000: bool) -> None:
    mol = Chem.MolFromSmiles("CCO")
    group = Chem.CreateMolSubstanceGroup(mol, kind)
    group.AddAtomWithIdx(1)
    block = drawn(mol, v3000)
    assert kind in block
    for record in (parse(TextRecord(0, "sdf", "", block)), *records_of([mol])):
        assert Chem.MolToSmiles(record.mol) == "CCO"
    data = parse(TextRecord(0, "smiles", "", "CCO |SgD:0:a:b::::|"))
    assert Chem.MolToSmiles(data.mol) == "CCO"


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("*CO |Sg:n:1,2::ht|", "polymer: a group of type SRU"),
        ("*CO |Sg:mix:1,2::|", "mixture: a group of type MIX"),
        ("*CCO |LN:2:1.3|", "link node: chains of several lengths"),
        ("*C[C@H](F)O |o1:2|", r"stereo: .* means a mixture"),
        ("C1CC", "neither a SMILES that RDKit can read nor a molecule file"),
    ],
)
def test_a_single_smiles_that_is_none_is_refused_by_name(smiles: str, reason: str) -> None:
    with pytest.raises(MoldiffError, match=reason):
        file_of(smiles, "fragment")
    assert file_of("*CO |a:1|", "fragment") is None


@pytest.mark.parametrize("number", [1000, 1234, 9999])
@pytest.mark.parametrize("smiles", ["[{}CH4]", "CC[{}OH]", "[{}C@H](F)(Cl)Br", "[{}Fe]", "[13CH3][{}CH3]", "[{}2H]C"])
def test_an_isotope_that_no_file_holds_is_refused(smiles: str, number: int, tmp_path: Path) -> None:
    """An SDF has three digits for it: RDKit writes 100 for 1000."""
    text = smiles.format(number)
    given = Chem.MolFromSmiles(text)
    largest = max(atom.GetIsotope() for atom in given.GetAtoms())
    reason = rf"isotope: {largest}[A-Z][a-z]? is beyond the 999 that a mol file holds"
    (tmp_path / "a.smi").write_text(f"{text} a\n[999CH4] b\n[13CH4] c\n", encoding="utf-8")
    first, *others = read_records(tmp_path / "a.smi")
    assert first.mol is None and re.fullmatch(reason, first.reason)
    assert [record.name for record in others if record.mol is not None] == ["b", "c"]
    block = parse(TextRecord(0, "sdf", "", drawn(given, True)))  # V3000 says the number in full
    (own,) = records_of([given])
    assert block.reason == own.reason == first.reason
    assert block.mol is own.mol is None


def ethanol(symbol: str = "O", marks: str = "", bond: str = "1  0", properties: str = "") -> str:
    """Ethanol, with this for its oxygen, the bond to it, and the lines behind the bonds."""
    places = ["    0.0000    0.2000    0.0000 C  ", "    1.3000   -0.4000    0.1000 C  "]
    atoms = [*places, f"    2.5000    0.4000    0.3000 {symbol:<3}"]
    lines = [*(f"{atom} 0  0{marks * (atom is atoms[2])}" for atom in atoms), "  1  2  1  0", f"  2  3  {bond}"]
    head = ["query", "  test    3D", "", "  3  2  0  0  0  0  0  0  0  0999 V2000"]
    return "\n".join([*head, *lines, f"{properties}M  END\n"])


ATOM, BOND = "query: an atom of a pattern, not of one molecule", "query: a bond of a pattern, not of one molecule"
QUERIES = [
    ({"symbol": "L", "properties": "  3 F    2   7   8\n"}, ATOM),
    ({"symbol": "L", "properties": "  3 T    2   7   8\n"}, ATOM),
    ({"symbol": "N", "properties": "  3 F    2   7   8\n"}, ATOM),
    ({"properties": "M  SUB  1   2   2\n"}, ATOM),
    ({"properties": "M  UNS  1   2   1\n"}, ATOM),
    ({"properties": "M  RBC  1   2  -1\n"}, ATOM),
    ({"marks": "  0  2"}, ATOM),
    ({"properties": "M  RGP  1   3   1\n"}, ATOM),
    ({"bond": "1  0  0  1"}, BOND),
    ({"bond": "1  0  0  2"}, BOND),
]


@pytest.mark.parametrize(("options", "reason"), QUERIES, ids=str)
def test_a_query_is_no_molecule(options: dict[str, str], reason: str) -> None:
    """RDKit takes the first of several elements, and leaves conditions out."""
    text = TextRecord(0, "sdf", "query", ethanol(**options))
    assert parse(text).reason == read_block(text)[1] == reason
    (given,) = records_of([Chem.MolFromMolBlock(text.text, removeHs=False)])
    assert (given.mol, given.reason) == (None, reason)


@pytest.mark.parametrize("said", ["HCOUNT=1", "SUBST=2", "UNSAT=1", "RBCNT=2", "HCOUNT=-1"])
def test_nor_is_one_in_v3000(said: str) -> None:
    block = Chem.MolToV3KMolBlock(Chem.MolFromMolBlock(ethanol()))
    assert parse(TextRecord(0, "sdf", "", block)).reason == ""
    atom, bond = block.replace("0.300000 0", f"0.300000 0 {said}"), block.replace("2 1 2 3", "2 1 2 3 TOPO=1")
    assert [parse(TextRecord(0, "sdf", "", one)).reason for one in (atom, bond)] == [ATOM, BOND]


@pytest.mark.parametrize("smiles", ["CCO |s:1:2|", "CCO |rb:0:*|", "CC=O |u:1|"])
def test_nor_is_one_in_a_smiles(smiles: str, tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text(f"{smiles} query\nCCO\n")
    assert [record.reason for record in read_records(tmp_path / "a.smi")] == [ATOM, ""]
    with pytest.raises(MoldiffError, match=f": {ATOM}"):
        file_of(smiles)


@pytest.mark.parametrize("smarts", ["[CX4]O", "C-,=O", "[C;R0]~O"])
def test_nor_is_a_pattern_that_is_given_as_a_molecule(smarts: str) -> None:
    pattern = Chem.MolFromSmarts(smarts)
    pattern.UpdatePropertyCache(strict=False)
    (given,) = records_of([pattern])
    assert given.mol is None and given.reason.startswith(("query: ", "bond type: "))


@pytest.mark.parametrize(
    "smiles",
    ["[H]C([H])([H])[H]", "c1ccccc1", "c1ccncc1", "*CC", "C[C@H](O)F", "[NH3]->[Cu]", "[2H]O", "CC |$_AP1;$|"],
)
@pytest.mark.parametrize("kekulize", [True, False])
def test_a_molecule_is_no_query(smiles: str, kekulize: bool) -> None:
    mol = Chem.MolFromSmiles(smiles)
    AllChem.Compute2DCoords(mol)
    assert parse(TextRecord(0, "smiles", "", smiles)).reason == ""
    for block in (Chem.MolToMolBlock(mol, kekulize=kekulize), Chem.MolToV3KMolBlock(mol, kekulize=kekulize)):
        assert parse(TextRecord(0, "sdf", "", block)).reason == ""
    assert [record.reason for record in records_of([mol, Chem.AddHs(mol)])] == ["", ""]
