"""Records as other programs write them: labels, names in capitals, extended SMILES; and ours, as others read them."""

import gzip
from pathlib import Path

import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.chem.convert import EncodingError, encode
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.embed import embed
from moldiff.chem.io.inputs import records_of
from moldiff.chem.io.records import mol_to_sdf_record, parse, read_records
from moldiff.chem.io.text_records import TextRecord
from moldiff.chem.topology import topology_of
from moldiff.datasets.rows import wide_vocabulary

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
