"""Records as other programs write them: labels, names in capitals, extended SMILES; and ours, as others read them."""

import csv
import gzip
import itertools
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

import moldiff
from moldiff.chem.convert import EncodingError, encode
from moldiff.chem.descriptors.score_functions import SimilarityScore
from moldiff.chem.fragment_smiles import placed_fragment
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io import encodings
from moldiff.chem.io.embed import embed
from moldiff.chem.io.inputs import fields_of, kept, records_of
from moldiff.chem.io.records import mol_to_sdf_record, parse, read_block, read_records
from moldiff.chem.io.text_records import TextRecord
from moldiff.chem.topology import topology_of
from moldiff.datasets.rows import wide_vocabulary
from moldiff.errors import MoldiffError

WIDE = wide_vocabulary(True, True)


def in_3d(smiles: str) -> Chem.Mol:
    return embed(Chem.MolFromSmiles(smiles), seed=1, timeout_s=20)[0]


def xyz(mol: Chem.Mol, label: str, scale: float = 1.0) -> str:
    rows = [
        " ".join(
            (label.format(s=a.GetSymbol(), z=a.GetAtomicNum(), u=a.GetSymbol().upper(), i=a.GetIdx()), *map(str, p))
        )
        for a, p in zip(mol.GetAtoms(), (mol.GetConformer().GetPositions() * scale).tolist(), strict=True)
    ]
    return "\n".join([str(len(rows)), "comment", *rows, ""])


@pytest.mark.parametrize("label", ["{s}", "{z}", "{s}{i}"])
@pytest.mark.parametrize("name", ["a.xyz", "a.xyz.gz"])
def test_labels_of_xyz_files(tmp_path: Path, label: str, name: str) -> None:
    path = tmp_path / name
    text = xyz(in_3d("CC(=O)NCCl"), label).encode()
    path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    (record,) = read_records(path)
    assert Chem.MolToSmiles(Chem.RemoveHs(record.mol)) == "CC(=O)NCCl"


def test_an_xyz_in_bohr_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(xyz(in_3d("CCO"), "{s}", 1.8897))
    (record,) = read_records(path)
    assert record.reason.startswith("unit: looks like bohr")


@pytest.mark.parametrize("v3000", [False, True])
def test_names_of_protein_atoms_are_no_elements(v3000: bool) -> None:
    mol = in_3d("CCO")
    block = Chem.MolToMolBlock(mol, forceV3000=v3000)
    wrong = block.replace(" C ", " CA ", 1) if v3000 else block.replace(" C   0", " CA  0", 1)
    assert wrong != block
    assert (
        parse(TextRecord(0, "sdf", "", wrong)).reason == "element: 'CA' in capitals is Ca or a name of C; write which"
    )
    chlorine = Chem.MolToMolBlock(in_3d("CCl")).replace(" Cl ", " CL ")
    assert parse(TextRecord(0, "sdf", "", chlorine)).mol is not None


@pytest.mark.parametrize("group", ["o1:1", "&1:1"])
def test_mixtures_of_stereoisomers_are_refused_by_name(group: str, tmp_path: Path) -> None:
    path = tmp_path / "a.smi"
    path.write_text(f"C[C@H](O)F |{group}| mixed\nC[C@H](O)F |a:1| pure\nC[C@H](O)F plain\n")
    mixed, pure, plain = read_records(path)
    assert mixed.reason == f"stereo: 'C[C@H](O)F |{group}|' means a mixture; write one of its stereoisomers"
    assert (mixed.name, pure.name, plain.name) == ("mixed", "pure", "plain")
    assert Chem.MolToSmiles(pure.mol) == Chem.MolToSmiles(plain.mol) == "C[C@H](O)F"


@pytest.mark.parametrize("group", ["o1:1", "&1:1"])
def test_so_are_those_that_are_drawn_and_coordinates_show_one(group: str) -> None:
    drawing, pure = (Chem.MolFromSmiles(f"C[C@H](O)F |{text}|") for text in (group, "a:1"))
    for mol in (drawing, pure):
        AllChem.Compute2DCoords(mol)
    mixed, one = (parse(TextRecord(0, "sdf", "", Chem.MolToV3KMolBlock(mol))) for mol in (drawing, pure))
    reason = "means a mixture; write one of its stereoisomers"
    assert (mixed.mol, mixed.reason) == (None, f"stereo: the drawing (STERAC or STEREL) {reason}")
    assert Chem.MolToSmiles(one.mol) == "C[C@H](O)F"
    (given,) = records_of([drawing])
    assert (given.mol, given.reason) == (None, f"stereo: the molecule (with stereo groups) {reason}")
    placed = Chem.AddHs(drawing)
    assert AllChem.EmbedMolecule(placed, randomSeed=1) == 0
    (there,) = records_of([placed])
    shown = parse(TextRecord(0, "sdf", "", Chem.MolToV3KMolBlock(placed)))
    assert Chem.MolToSmiles(Chem.RemoveHs(shown.mol)) == Chem.MolToSmiles(Chem.RemoveHs(there.mol)) == "C[C@H](O)F"
    written = mol_to_sdf_record(shown.mol, "x", {}).splitlines()
    assert written[3].endswith("V2000") and written[3].split()[4] == "1", "one isomer, and said so"


def test_a_chiral_flag_of_0_is_no_racemate() -> None:
    """By the letter of the format it is; nearly every file has it."""
    mol = Chem.MolFromSmiles("C[C@H](O)F")
    AllChem.Compute2DCoords(mol)
    block = Chem.MolToMolBlock(mol)
    assert block.splitlines()[3].split()[4] == "0"
    assert Chem.MolToSmiles(parse(TextRecord(0, "sdf", "", block)).mol) == "C[C@H](O)F"


def test_what_is_written_says_that_its_stereo_is_absolute() -> None:
    chiral = mol_to_sdf_record(in_3d("C[C@H](O)F"), "x", {}).splitlines()[3]
    flat = mol_to_sdf_record(in_3d("CCO"), "x", {}).splitlines()[3]
    assert (chiral.split()[4], flat.split()[4]) == ("1", "0")


@pytest.mark.parametrize("smiles", ["C[C@H](O)F", r"C/C=C\C(=O)O", "C[C@@H]1C[C@H](N)C1", "C[N+](C)(C)CC(=O)[O-]"])
def test_another_toolkit_reads_the_same_molecule(smiles: str) -> None:
    indigo = pytest.importorskip("indigo").Indigo()
    written = mol_to_sdf_record(in_3d(smiles), "x", {}).partition("M  END\n")
    read = indigo.loadMolecule(written[0] + written[1])
    back = Chem.MolFromSmiles(read.canonicalSmiles())
    assert canonical_smiles(back, stereo=True) == canonical_smiles(Chem.MolFromSmiles(smiles), stereo=True)


def test_causes_are_named_in_order() -> None:
    """Bonds before parts, parts before charges, charges before hydrogens; isotopes and radicals in every command."""
    dative = Chem.RWMol(Chem.RemoveHs(in_3d("CN")))
    dative.GetBondBetweenAtoms(0, 1).SetBondType(Chem.BondType.DATIVE)
    atoms = Chem.RWMol(in_3d("CN"))
    for bond in list(atoms.GetBonds()):
        atoms.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    salt = Chem.CombineMols(in_3d("CC(=O)[O-]"), in_3d("C[NH3+]"))
    salt.GetConformer().SetPositions(
        salt.GetConformer().GetPositions() + [[0.0, 0.0, 9.0 * (k > 6)] for k in range(salt.GetNumAtoms())]
    )
    for mol, reason in ((dative, "DATIVE bond"), (atoms.GetMol(), "no bonds"), (salt, "more than one fragment")):
        with pytest.raises(EncodingError, match=reason):
            encode(mol, WIDE, fragments=False)
    isotope, radical = in_3d("CCO"), in_3d("CCO")
    isotope.GetAtomWithIdx(0).SetIsotope(13)
    radical.GetAtomWithIdx(0).SetNumRadicalElectrons(2)
    for mol, reason in ((isotope, "isotope 13C"), (radical, "radical electrons")):
        with pytest.raises(EncodingError, match=reason):
            encode(mol, WIDE)
    with pytest.raises(EncodingError, match="radical electrons"):
        topology_of(Chem.MolFromSmiles("C[CH2]"), WIDE)
    assert topology_of(Chem.MolFromSmiles("[13CH3]O"), WIDE).mol.GetAtomWithIdx(0).GetIsotope() == 13


BROKEN = "smiles: a line break stands in it"
CUT = [
    ("CC\nO", BROKEN),
    ("c1ccccc1\r\nCCO", BROKEN),
    ("CC\rO", BROKEN),
    ("CC\n\n|$_AP1;$|", BROKEN),
    ("CC\x0bO", BROKEN),
    ("CC\u2028O", BROKEN),
    ("CC O", "smiles: 'O' stands behind it"),
    ("CC\t O", "smiles: 'O' stands behind it"),
    ("CC\u00a0ethane (gas)", "smiles: 'ethane (gas)' stands behind it"),
    ("CC |$_AP1;$| ethane", "smiles: 'ethane' stands behind it"),
    ("CC |$_AP1;$|O", "smiles: 'O' stands behind it"),
    ("CC 0 0 0", "smiles: '0 0 0' stands behind it"),
    ("CC ||| |", "smiles: '| |' stands behind it"),
]


@pytest.mark.parametrize(("smiles", "reason"), CUT)
def test_a_smiles_is_read_to_its_end_wherever_it_comes_from(tmp_path: Path, smiles: str, reason: str) -> None:
    """RDKit stops at a line break, a tab or a blank without a word."""
    table, packed, placed = tmp_path / "a.csv", tmp_path / "a.parquet", tmp_path / "b.parquet"
    with open(table, "w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([["smiles", "name"], ["CCO", "a"], [smiles, "b"], ["CCN", "c"]])
    column = ["CCO", smiles, "CCN"]
    pyarrow.parquet.write_table(pyarrow.table({"smiles": column}), packed)
    pyarrow.parquet.write_table(pyarrow.table({"smiles": column, "coordinates_mA": [[0] * 3] * 3}), placed)
    for found in (list(read_records(table)), list(read_records(packed)), list(records_of(column))):
        assert [record.mol is not None for record in found] == [True, False, True]
        assert found[1].reason == reason
    assert [record.reason for record in read_records(placed)][1] == reason
    text = TextRecord(0, "smiles", "", smiles)
    assert parse(text).reason == read_block(text)[1] == reason
    with pytest.raises(MoldiffError, match="stand"):
        placed_fragment(text, "fragment")
    with pytest.raises(MoldiffError, match="stand"):
        SimilarityScore(smiles)


def test_lines_of_smiles_that_are_given_as_one_are_none() -> None:
    with pytest.raises(MoldiffError, match=r"^molecules 'CCO CCN CCC ': smiles: a line break stands in it$"):
        records_of("CCO\nCCN\nCCC\n")
    with pytest.raises(MoldiffError, match=r"'CC O': not a SMILES alone \(smiles: 'O' stands behind it\); a list"):
        records_of("CC O")
    with pytest.raises(MoldiffError, match="neither a SMILES"):
        records_of("my molecules")


@pytest.mark.parametrize("smiles", ["CCO\n", "\r\nCCO", " CCO\t", "OCC |$_AP1;;$|", "OCC\t|$_AP1;;$|", "OCC  ||\n"])
def test_what_stands_around_a_smiles_and_its_extension_are_read_as_before(smiles: str) -> None:
    (record,) = records_of([smiles])
    assert record.reason == "" and Chem.MolToSmiles(record.mol) == "CCO"


def test_a_line_of_another_end_within_a_line_is_no_name(tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_bytes(b"CCO a\r\r\nCCN\rCCC b\r\r\nCC c d\r\r\n")
    found = list(read_records(tmp_path / "a.smi"))
    assert [(record.name, record.reason) for record in found] == [("a", ""), ("", BROKEN), ("c d", "")]


def latin(tmp_path: Path, *records: str) -> Chem.SDMolSupplier:
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO")).removeprefix("\n")
    text = "".join(f"{title}\n{block}{tags}$$$$\n" for title, tags in (record.split("|") for record in records))
    path = tmp_path / "old.sdf"
    path.write_bytes(text.encode("latin-1"))
    return Chem.SDMolSupplier(str(path))


def test_texts_that_are_no_utf_8_cost_themselves_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As an old file has them, which RDKit hands on byte by byte."""
    encodings._told.clear()
    tags = ">  <code>\n007\n\n>  <dose>\n5 µM\n\n>  <Größe>\n1\n\n>  <last>\n1.50\n\n"
    found = list(records_of(latin(tmp_path, f"plain|{tags}", f"café|{tags.replace('µ', 'u').replace('ö', 'o')}", "c|")))
    assert [record.reason for record in found] == ["", "", ""]
    assert [record.name for record in found] == ["plain", "", "c"]
    assert found[0].tags == {"code": "007", "last": "1.50"}
    assert found[1].tags["dose"] == "5 uM" and len(found[1].tags) == 3
    assert not found[1].mol.HasProp("_Name"), "or whoever asks for it stumbles"
    (told,) = (message for message in caplog.messages if "no UTF-8" in message)
    assert told.startswith("molecules: titles and properties that are no UTF-8 are left out; the file, given by its ")
    (record,) = itertools.islice(records_of(tmp_path / "old.sdf"), 1)
    assert record.tags["dose"] == "5 µM" and record.tags["Größe"] == "1"


def test_so_they_do_where_fields_are_counted_and_molecules_filtered(tmp_path: Path) -> None:
    molecules = kept(latin(tmp_path, "a|>  <dose>\n5 µM\n\n>  <x>\n1\n\n", "é|>  <y>\n2\n\n"))
    assert fields_of(molecules) == ("x", "y")
    for given, kept_ones in ((molecules, [("a", 1)]), (molecules[1:], [("", None)])):
        found = moldiff.filter(given)
        assert [(mol.GetProp("_Name"), mol.GetPropsAsDict().get("x")) for mol in found] == kept_ones


def test_other_properties_are_texts_as_before() -> None:
    mol = Chem.MolFromSmiles("CCO")
    mol.SetDoubleProp("half", 0.1)
    mol.SetProp("code", "007")
    (record,) = records_of([mol])
    assert record.tags == {"half": "0.1", "code": "007"} and record.mol is mol
