"""Molecule files: every kind read, every record accounted for, every bad file one clear line."""

import bz2
import contextlib
import gzip
import io
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from rdkit import Chem, rdBase

from moldiff.chem.convert import EncodingError, decode, encode
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io import records as module
from moldiff.chem.io.capped import smiles_record
from moldiff.chem.io.embed import embed
from moldiff.chem.io.records import mol_to_sdf_record, parse, read_block, read_records, read_texts, write_sdf
from moldiff.chem.io.text_records import MAX_RECORD, QM9_TAGS, TextRecord
from moldiff.chem.topology import topology_of
from moldiff.datasets.rows import RowOptions, make_part, wide_vocabulary
from moldiff.errors import MoldiffError

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "data" / "sample.sdf"
DRUGS = ROOT / "tests" / "fixtures" / "drugs.sdf"

# dsgdb9nsd_000001.xyz of the original archive, as it is
METHANE = """5
gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t0.044749\t-40.47893\t-40.476062\t\
-40.475117\t-40.498597\t6.469\t
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 0.002150416\t-0.0060313176\t 0.0019761204\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 0.0002765748\t 0.133922
H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923
1341.307\t1341.3284\t1341.365\t1562.6731\t1562.7453\t3038.3205\t3151.6034\t3151.6788\t3151.7078
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""


def qm9_text(mol: Chem.Mol, number: int, smiles: str) -> str:
    """A molecule in the archive's own format."""
    pos = mol.GetConformer().GetPositions()
    rows = [f"{a.GetSymbol()}\t{x}\t{y}\t{z}\t-0.1" for a, (x, y, z) in zip(mol.GetAtoms(), pos, strict=True)]
    header = f"gdb {number}\t" + "\t".join(str(value / 2) for value in range(15)) + "\t"
    return "\n".join([str(len(rows)), header, *rows, "1.0\t2.0", f"{smiles}\t{smiles}\t", "InChI=1S/x\tInChI=1S/x", ""])


def archive(path: Path, members: dict[str, str]) -> Path:
    with tarfile.open(path, "w:bz2") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


def test_sdf_records_have_names_tags_hydrogens_and_stereo() -> None:
    records = list(read_records(SAMPLE))
    assert [record.index for record in records] == list(range(len(records)))
    assert all(record.name.startswith("gdb_") and record.reason == "" for record in records)
    for record in records:
        assert canonical_smiles(record.mol, stereo=True) == record.tags["smiles"]
        assert float(record.tags["gfn2_gap_eV"]) > 0
        assert all(atom.GetTotalNumHs() == 0 for atom in record.mol.GetAtoms())


def test_double_bonds_marked_either_take_their_stereo_from_the_geometry() -> None:
    """Twelve drugs, some with a crossed double bond in the file: reading, writing and reading again agrees."""
    for record in read_records(DRUGS):
        assert not any(bond.GetStereo() == Chem.BondStereo.STEREOANY for bond in record.mol.GetBonds())
        vocabulary = wide_vocabulary(aromatic=True, explicit_hydrogens=True)
        decoded = decode(encode(record.mol, vocabulary), vocabulary).mol
        assert canonical_smiles(decoded, stereo=True) == canonical_smiles(record.mol, stereo=True)


def test_gzip_and_plain_give_the_same(tmp_path: Path) -> None:
    packed = tmp_path / "a.SDF.GZ"
    packed.write_bytes(gzip.compress(DRUGS.read_bytes()))
    assert list(read_texts(packed)) == list(read_texts(DRUGS))


def test_windows_line_ends_and_a_missing_last_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "a.sdf"
    path.write_bytes(DRUGS.read_bytes().rstrip().removesuffix(b"$$$$").replace(b"\n", b"\r\n"))
    assert [text.tags for text in read_texts(path)] == [text.tags for text in read_texts(DRUGS)]
    assert all(record.mol is not None for record in read_records(path))


def test_bad_records_are_rows_with_a_reason(tmp_path: Path) -> None:
    good = next(read_texts(DRUGS))
    five = "\n     RDKit          3D\n\n  6  5  0  0  0  0  0  0  0  0999 V2000\n"
    five += "".join(f"{i:10.4f}    0.0000    0.5000 {'C' if i == 0 else 'H'}   0  0\n" for i in range(6))
    five += "".join(f"  1{i:3d}  1  0\n" for i in range(2, 7)) + "M  END\n"
    lines = good.text.split("\n")
    # RDKit refuses NaN in V2000 and accepts it in V3000
    v3000 = Chem.MolToMolBlock(Chem.MolFromMolBlock(good.text, removeHs=False), forceV3000=True)
    v3000 = v3000.replace("M  V30 1 N 4.217400", "M  V30 1 N nan")
    nan = "\n".join([*lines[:4], "       nan       0.0       0.0" + lines[4][30:], *lines[5:]])
    records = [
        ("garbage\n\n\nnot a counts line\nM  END\n", "mol block"),
        (good.text, ""),
        ("five" + five, "valence: C with 5 bonds"),
        ("x" * (MAX_RECORD + 10) + "\n", "too large"),
        (nan, "non-finite coordinates: 1 atoms"),
        (v3000, "non-finite coordinates: 1 atoms"),
        (good.text, ""),
    ]
    path = tmp_path / "mixed.sdf"
    path.write_text("$$$$\n".join(text for text, _ in records) + "$$$$\n")
    found = list(read_records(path))
    assert [record.index for record in found] == list(range(7))
    for record, (_, reason) in zip(found, records, strict=True):
        assert (record.mol is None) == bool(reason)
        assert record.reason.startswith(reason)
    assert found[2].raw is not None and found[2].raw.GetNumAtoms() == 6


def test_missing_hydrogen_in_a_file_is_an_implicit_one(tmp_path: Path) -> None:
    mol, _ = embed(Chem.MolFromSmiles("CO"), seed=1, timeout_s=10)
    path = tmp_path / "heavy.sdf"
    write_sdf(path, [mol_to_sdf_record(Chem.RemoveHs(mol), "heavy", {})])
    (record,) = read_records(path)
    assert record.mol.GetNumAtoms() == 2 and record.mol.GetAtomWithIdx(0).GetTotalNumHs() == 3


def test_a_flat_drawing_keeps_its_wedges(tmp_path: Path) -> None:
    from rdkit.Chem import rdDepictor

    mol = Chem.MolFromSmiles("C[C@H](N)C(=O)O")
    rdDepictor.Compute2DCoords(mol)
    path = tmp_path / "flat.sdf"
    path.write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
    (record,) = read_records(path)
    assert canonical_smiles(record.mol, stereo=True) == "C[C@H](N)C(=O)O"


def test_smiles_files(tmp_path: Path) -> None:
    path = tmp_path / "a.smi"
    path.write_text("smiles name\nCCO ethanol one\n\n# remark\nc1ccccc1\nC1CC bad\n" + "C" * 20_000 + " long\n")
    records = list(read_records(path))
    assert [record.name for record in records] == ["ethanol one", "", "bad", "long"]
    assert [record.mol is not None for record in records] == [True, True, False, False]
    assert records[2].reason.startswith("smiles") and records[3].reason.startswith("too large")


def test_csv_and_parquet_find_their_columns_and_keep_the_others_as_tags(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text('\ufeffID,SMILES,pIC50,note\nm1,CCO,5.5,"a, b"\nm2,,1.0,\nm3,CN(C)(C)C,2,x\n', encoding="utf-8")
    rows = {"Smiles": ["CCO", None], "Name": ["a", "b"], "gap": [1.5, None]}
    columns = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table(rows), columns)
    records = list(read_records(table))
    assert [record.name for record in records] == ["m1", "m2", "m3"]
    assert records[0].tags == {"pIC50": "5.5", "note": "a, b"}
    assert [record.reason for record in records] == ["", "empty: no SMILES", "valence: N with 4 bonds"]
    records = list(read_records(columns))
    assert [(record.name, record.tags) for record in records] == [("a", {"gap": "1.5"}), ("b", {})]


def test_original_qm9_archive(tmp_path: Path) -> None:
    sample = list(read_records(SAMPLE))[:40]
    members = {"dsgdb9nsd_000001.xyz": METHANE, "readme.txt": "no molecule"}
    members |= {f"dsgdb9nsd_{i:06d}.xyz": qm9_text(r.mol, i, r.tags["smiles"]) for i, r in enumerate(sample, start=2)}
    records = list(read_records(archive(tmp_path / "dsgdb9nsd.xyz.tar.bz2", members)))
    assert [record.name for record in records] == [f"gdb_{i}" for i in range(1, 42)]
    methane = records[0]
    assert list(methane.tags) == list(QM9_TAGS)
    expected = {"a": 157.7118, "mu": 0.0, "alpha": 13.21, "homo": -0.3877, "gap": 0.5048, "u0": -40.47893, "cv": 6.469}
    assert {name: float(methane.tags[name]) for name in expected} == expected
    assert canonical_smiles(methane.mol, stereo=True) == "C"
    for record, source in zip(records[1:], sample, strict=True):
        assert canonical_smiles(record.mol, stereo=True) == source.tags["smiles"]


def test_xyz_numbers_with_a_star_and_broken_files(tmp_path: Path) -> None:
    path = tmp_path / "one.xyz"
    path.write_text(METHANE.replace("0.0002765748", "2.765748*^-4"))
    (record,) = read_records(path)
    assert record.mol.GetConformer().GetAtomPosition(2).z == pytest.approx(2.765748e-4)
    for text, reason in (
        ("5\nx\nC 0 0 0\n", "xyz"),
        ("nonsense", "xyz"),
        ("-1\n\n", "xyz"),
        ("1\n\nQq 0 0 0\n", "perception"),
    ):
        path.write_text(text)
        (record,) = read_records(path)
        assert record.mol is None and record.reason.startswith(f"{reason}: ")


def test_every_frame_of_an_xyz_is_a_record(tmp_path: Path) -> None:
    path = tmp_path / "many.xyz"
    water = "3\nwater\nO 0 0 0.12\nH 0 0.76 -0.48\nH 0 -0.76 -0.48\n"
    path.write_text(f"{water}\n{METHANE} \n0\n\n{water}2\n\nH 0 0 0\n{water}")
    records = list(read_records(path))
    assert [record.name for record in records] == ["many", "gdb_1", "many_2", "many_3", "many_4", "many_5"]
    assert records[4].reason == "xyz: not an atom count followed by that many atoms"
    sizes = [record.mol.GetNumAtoms() if record.mol is not None else record.reason[:4] for record in records]
    # the cut frame ends where the next one begins
    assert sizes == [3, 5, "xyz:", 3, "xyz:", 3]
    path.write_text(f"{water}{10**6}\n\n" + "H 0 0 0\n" * 10**6 + water)
    assert [record.reason[:9] for record in read_records(path)] == ["", "too large", ""]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.sdf", b"", "is empty"),
        ("a.sdf", b"hello\nworld\n", "is not an SDF"),
        ("a.sdf", b"\n \n", "holds no molecules"),
        ("a.sdf", b"x\n$$$$\n" * 300, "is not an SDF"),
        ("a.sdf.gz", b"plain text", "is damaged"),
        ("a.sdf.gz", gzip.compress(DRUGS.read_bytes(), mtime=0)[:-2000], "is damaged after"),
        ("a.mol3", b"x", "unknown suffix; known are .sdf, .sd, .mol, .smi"),
        ("a.csv", b"name,mass\na,1\n", "no column 'smiles'; its columns are name, mass"),
        ("a.parquet", b"PAR0", "is not a Parquet file"),
        ("a.tar.bz2", b"no archive at all", "is damaged"),
        ("a.tar.bz2", bz2.compress(b"x" * 2000), "is damaged"),
        ("a.smi", b"# only a remark\n", "holds no molecules"),
    ],
)
def test_bad_files_are_one_clear_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MoldiffError, match=message) as caught:
        list(read_records(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(MoldiffError, match="cannot be read: No such file"):
        read_records(tmp_path / "none.sdf")
    (tmp_path / "folder.sdf").mkdir()
    with pytest.raises(MoldiffError, match="is a folder"):
        read_records(tmp_path / "folder.sdf")


def test_text_records_travel_between_processes() -> None:
    for text in list(read_texts(SAMPLE))[:3]:
        copy = pickle.loads(pickle.dumps(text))
        assert copy == text and parse(copy).mol is not None


def test_written_records_read_back_and_cannot_be_broken_by_their_tags(tmp_path: Path) -> None:
    mol, _ = embed(Chem.MolFromSmiles("C[N+](C)(C)CC(=O)[O-]"), seed=3, timeout_s=10)
    tags = {"a": "two\nlines\n\n$$$$\nmore", "b<x>\n": "", "logp": "1.5"}
    path = tmp_path / "out.sdf"
    assert write_sdf(path, [mol_to_sdf_record(mol, "na\nme $$$$", tags)] * 2) == 2
    first, second = read_records(path)
    assert first.name == "na me $$$" and first.tags == {"a": "two lines $$$ more", "bx": "", "logp": "1.5"}
    assert canonical_smiles(second.mol, stereo=True) == "C[N+](C)(C)CC(=O)[O-]"
    supplier = Chem.SDMolSupplier(str(path), removeHs=False)
    assert [m.GetProp("logp") for m in supplier] == ["1.5", "1.5"]
    assert abs(first.mol.GetConformer().GetPositions() - mol.GetConformer().GetPositions()).max() < 6e-5


def test_aromatic_rings_are_written_in_kekule_form() -> None:
    mol, _ = embed(Chem.MolFromSmiles("c1ccccc1"), seed=3, timeout_s=10)
    bonds = [line for line in mol_to_sdf_record(mol, "", {}).splitlines() if len(line) == 12]
    assert sorted(line[8] for line in bonds[:6]) == ["1", "1", "1", "2", "2", "2"]
    assert mol.GetBondWithIdx(0).GetIsAromatic(), "the argument was changed"


def test_coordinates_that_cannot_be_written_are_refused() -> None:
    mol, _ = embed(Chem.MolFromSmiles("CO"), seed=3, timeout_s=10)
    for value in (float("nan"), float("inf"), 123456.0):
        broken = Chem.Mol(mol)
        broken.GetConformer().SetAtomPosition(1, (0.0, value, 0.0))
        with pytest.raises(ValueError, match="coordinates"):
            mol_to_sdf_record(broken, "x", {})
    with pytest.raises(ValueError, match="no conformer"):
        mol_to_sdf_record(Chem.MolFromSmiles("CO"), "x", {})


def test_writing_is_reproducible_and_all_or_nothing(tmp_path: Path) -> None:
    text = mol_to_sdf_record(next(iter(read_records(DRUGS))).mol, "a", {})
    write_sdf(tmp_path / "a.sdf.gz", [text])
    write_sdf(tmp_path / "b.sdf.gz", [text])
    assert (tmp_path / "a.sdf.gz").read_bytes() == (tmp_path / "b.sdf.gz").read_bytes()

    def failing() -> object:
        yield text
        raise MoldiffError("stopped")

    with pytest.raises(MoldiffError, match="stopped"):
        write_sdf(tmp_path / "c.sdf", failing())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.sdf.gz", "b.sdf.gz"]


HOSTILE = (
    "[#119]", "[#150]C", "Cc1~ccccc1", "C~C", "C$C", "[CH3]->[Fe]", "*", "[Pb+80]", "[H+]", "[99999C]", "C1CC",
    "[C@AL5](F)F", "[Xe]", "[2H]C", "C:C", "N#N~[Mo]", "c1ccccc1.[#119]", "[te]1cccc1", "[C@@SP1](F)(Cl)(Br)I",
)  # fmt: skip


@pytest.mark.parametrize("smiles", HOSTILE)
def test_whatever_rdkit_raises_is_a_reason(tmp_path: Path, smiles: str) -> None:
    """From the text to the classes of a model with hydrogens and of one without, and to a row of a data set."""
    path = tmp_path / "a.smi"
    path.write_text(f"CCO good\n{smiles} bad\nCCN good\n")
    records = list(read_records(path))
    assert [record.name for record in records] == ["good", "bad", "good"]
    for explicit in (True, False):
        for record in records:
            assert (record.mol is None) == bool(record.reason)
            options = RowOptions(wide_vocabulary(True, explicit), {}, {"logp": 0, "sa": 1}, 0, 3, True)
            part = make_part([("a.smi", record)], options)
            assert len(part.names) + len(part.dropped) == 1
            assert all(entry.reason and "#" not in entry.reason.split(":")[0] for entry in part.dropped)
            if record.mol is not None:
                with contextlib.suppress(EncodingError):
                    topology_of(record.mol, wide_vocabulary(True, explicit))


def dense(atoms: int, bonds: int, form: str) -> str:
    """A mol block of uranium atoms with so many bonds; RDKit's ring search does not survive many of them."""
    pairs = [(i, j) for i in range(1, atoms + 1) for j in range(i + 1, atoms + 1)][:bonds]
    if form == "V2000":
        lines = [f"{atoms:3d}{bonds:3d}  0  0  0  0  0  0  0  0999 V2000"]
        lines += [f"{i:10.4f}{i % 7:10.4f}{i % 3:10.4f} U   0  0" for i in range(atoms)]
        lines += [f"{i:3d}{j:3d}  1  0" for i, j in pairs]
    else:
        says = "M  V30 COU-\nM  V30 NTS" if form == "continued" else "M  V30 COUNTS"
        lines = ["  1  0  0  0  0  0  0  0  0  0999 V3000", "M  V30 BEGIN CTAB", f"{says} {atoms} {bonds} 0 0 0"]
        lines += ["M  V30 BEGIN ATOM", *(f"M  V30 {i} U {i}.5 {i % 7} {i % 3} 0" for i in range(1, atoms + 1))]
        lines += ["M  V30 END ATOM", "M  V30 BEGIN BOND"]
        lines += [*(f"M  V30 {k} 1 {i} {j}" for k, (i, j) in enumerate(pairs, 1)), "M  V30 END BOND", "M  V30 END CTAB"]
    return "\n".join(["dense", "", "", *lines, "M  END", ""])


@pytest.mark.parametrize("form", ["V2000", "V3000", "continued"])
def test_a_dense_graph_never_comes_to_rdkits_reader(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks for rings whether it is to sanitise or not, and crashes on 100 atoms with 2000 bonds."""

    def seen(*arguments: object, **options: object) -> None:
        raise AssertionError("RDKit sees the block")

    monkeypatch.setattr(Chem, "MolFromMolBlock", seen)
    for atoms, bonds, reason in (
        (60, 860, "too many bonds: 860 among 60 atoms"),
        (200, 600, "too many rings: at least 401"),
        (0, 0, "empty: no atoms"),
        (1000, 0, "too large: 1000 atoms"),
    ):
        if (atoms == 1000) if form == "V2000" else (atoms == 0):
            continue  # the format cannot say so; the other line of counts says one atom
        assert parse(TextRecord(0, "sdf", "", dense(atoms, bonds, form))).reason == reason
    assert "RDKit sees the block" in parse(TextRecord(0, "sdf", "", dense(60, 80, form))).reason


def test_bonds_of_no_known_order_in_an_sdf_are_a_reason() -> None:
    """Type 8, any: RDKit reads it, and then finds too many bonds on a carbon."""
    text = next(read_texts(DRUGS))
    lines = text.text.split("\n")
    bond = next(k for k, line in enumerate(lines[4:], 4) if len(line.split()) in (4, 7) and "." not in line)
    lines[bond] = lines[bond][:6] + "  8" + lines[bond][9:]
    record = parse(replace(text, text="\n".join(lines)))
    for explicit in (True, False):
        part = make_part([("a.sdf", record)], RowOptions(wide_vocabulary(True, explicit), {}, {}, 0, 3, True))
        assert len(part.dropped) == 1


def test_judging_and_parsing_read_a_block_alike() -> None:
    good = next(read_texts(DRUGS))
    lines = good.text.split("\n")
    nan = "\n".join([*lines[:4], "       nan       0.0       0.0" + lines[4][30:], *lines[5:]])
    for text in (good.text, nan, "garbage\n", good.text.replace(" C  ", " Xx ", 1)):
        record = replace(good, text=text)
        mol, reason = read_block(record)
        assert reason == parse(record).reason
        assert (mol is None) == bool(reason)


ODD = (
    "C[N+2]", "[H+]", "[2H]O", "C[*+]", "C1CC", "c1cccc1", "C(C)(C)(C)(C)C", "[Na+].[Cl-]", "F/C=C/F", "C[C@H](O)N",
    "[H]C([H])([H])[H]", "[H][H]", "CN(=O)=O", "N->[Fe]", "[U](F)(F)(F)(F)(F)F", "C[CH2]", "C[C@H](O)N |o1:1|",
    "[U]" + "(F)" * 16 + "F", "[He+3]",
)  # fmt: skip


def test_the_short_way_to_a_smiles_ends_where_the_long_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = [Chem.MolToSmiles(mol) for mol in Chem.SDMolSupplier(str(SAMPLE))]
    texts = [smiles_record(index, smiles, "name", {}) for index, smiles in enumerate((*sample, *ODD))]
    quick = [module.parse(text) for text in texts]
    monkeypatch.setattr(module, "_SHORT", 0)
    for text, one in zip(texts, quick, strict=True):
        other = module.parse(text)
        assert (one.name, one.tags, one.reason) == (other.name, other.tags, other.reason)
        assert (one.raw is None) == (other.raw is None)
        assert (one.mol is None) == (other.mol is None), text.text
        if one.mol is not None:
            assert Chem.MolToCXSmiles(one.mol) == Chem.MolToCXSmiles(other.mol)


def test_what_breaks_before_a_molecule_is_sanitised_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(mol: Chem.Mol) -> str:
        raise RuntimeError("an odd molecule")

    monkeypatch.setattr(module, "mol_refusal", broken)
    record = parse(smiles_record(0, "CCO", "name", {}))
    assert (record.mol, record.reason) == (None, "rdkit: an odd molecule")


def test_rdkits_log_is_as_before_once_its_words_are_a_reason(capfd: pytest.CaptureFixture[str]) -> None:
    Chem.MolFromSmiles("C1CC")
    said, before = capfd.readouterr().err.partition("] ")[2], rdBase.LogStatus()
    assert "unclosed ring" in parse(TextRecord(0, "smiles", "", "C1CC")).reason
    assert rdBase.LogStatus() == before
    assert capfd.readouterr().err == "", "nothing of it is said a second time"
    Chem.MolFromSmiles("C1CC")
    assert capfd.readouterr().err.partition("] ")[2] == said, "as before, whatever other code made of it"
