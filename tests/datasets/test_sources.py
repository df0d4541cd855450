"""Inputs: several files in one set, PyG's QM9 folder, the original archive, tables of SMILES."""

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import PreparedDataset
from moldiff.datasets.sources import INCONSISTENT, chunks, find_sources, tag_names
from moldiff.errors import MoldiffError


def records_of(path: Path, count: int) -> list[str]:
    return path.read_text().split("$$$$\n")[:count]


@pytest.fixture
def pyg_folder(sample_sdf: Path, tmp_path: Path) -> Path:
    """PyG's raw files with six molecules, bond orders all spoilt, the second one on the list of inconsistent ones."""
    raw = tmp_path / "QM9" / "raw"
    raw.mkdir(parents=True)
    blocks = []
    with open(raw / "gdb9.sdf.csv", "w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["mol_id", "A", "gap", "u0_atom"])
        for number, record in enumerate(records_of(sample_sdf, 6), start=1):
            lines = record.splitlines()
            atoms, bonds = int(lines[3][:3]), int(lines[3][3:6])
            block = [f"gdb_{number}", *lines[1 : 4 + atoms]]
            block += [f"{line[:6]}  1{line[9:]}" for line in lines[4 + atoms : 4 + atoms + bonds]]
            blocks.append("\n".join([*block, "M  END", "$$$$", ""]))
            table.writerow([f"gdb_{number}", 100.0 + number, number / 8, ""])
    (raw / "gdb9.sdf").write_text("".join(blocks))
    (raw / "uncharacterized.txt").write_text("3054 is a number in prose of 1 line\n\n      2  CC  CC\n==\n")
    return raw.parent


def test_pyg_folder(pyg_folder: Path, sample_sdf: Path, tmp_path: Path) -> None:
    report = prepare([pyg_folder], tmp_path / "out", properties=["gap", "a"])
    assert (report.read, report.kept) == (6, 5)
    assert report.dropped == {INCONSISTENT: 1}
    dataset = PreparedDataset.open(tmp_path / "out")
    assert dataset.names() == ["gdb_1", "gdb_3", "gdb_4", "gdb_5", "gdb_6"]
    assert dataset.arrays["properties"][:, 0].tolist() == [1 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8]
    assert [entry.unit for entry in dataset.properties] == ["Eh", "GHz"]
    assert [source["file"] for source in dataset.info["sources"]] == ["gdb9.sdf", "gdb9.sdf.csv", "uncharacterized.txt"]

    # The bonds come from the geometry, not from the spoilt orders: the same molecules as in the sample.
    expected = tmp_path / "expected"
    six = tmp_path / "six.sdf"
    six.write_text("$$$$\n".join([*records_of(sample_sdf, 6), ""]))
    prepare([six], expected)
    keys = PreparedDataset.open(expected).arrays["keys"]
    assert np.array_equal(dataset.arrays["keys"], keys[[0, 2, 3, 4, 5]])


PYG_COLUMNS = "mol_id,A,B,C,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv,u0_atom,u298_atom,h298_atom,g298_atom"
PYG_TABLE = """
gdb_1,157.7118,157.70997,157.70699,0.0,13.21,-0.3877,0.1171,0.5048,35.3641,0.044749,-40.47893,-40.476062,-40.475117,\
-40.498597,6.469,-395.999594594,-398.643290011,-401.014646522,-372.471772148
gdb_2,293.60975,293.54111,191.39397,1.6256,9.46,-0.257,0.0829,0.3399,26.1563,0.034358,-56.525887,-56.523026,-56.522082,\
-56.544961,6.316,-276.861363327,-278.620271120,-280.399259105,-259.338802070
"""
PYG_SDF = """gdb_1
 -OEChem-03231823253D

  5  4  0     0  0  0  0  0  0999 V2000
   -0.0127    1.0858    0.0080 C   0  0  0  0  0  0  0  0  0  0  0  0
    0.0022   -0.0060    0.0020 H   0  0  0  0  0  0  0  0  0  0  0  0
    1.0117    1.4638    0.0003 H   0  0  0  0  0  0  0  0  0  0  0  0
   -0.5408    1.4475   -0.8766 H   0  0  0  0  0  0  0  0  0  0  0  0
   -0.5238    1.4379    0.9064 H   0  0  0  0  0  0  0  0  0  0  0  0
  1  2  1  0  0  0  0
  1  3  1  0  0  0  0
  1  4  1  0  0  0  0
  1  5  1  0  0  0  0
M  END
$$$$
gdb_2
 -OEChem-03231823253D

  4  3  0     0  0  0  0  0  0999 V2000
   -0.0404    1.0241    0.0626 N   0  0  0  0  0  0  0  0  0  0  0  0
    0.0173    0.0125   -0.0274 H   0  0  0  0  0  0  0  0  0  0  0  0
    0.9158    1.3587   -0.0288 H   0  0  0  0  0  0  0  0  0  0  0  0
   -0.5203    1.3435   -0.7755 H   0  0  0  0  0  0  0  0  0  0  0  0
  1  2  1  0  0  0  0
  1  3  1  0  0  0  0
  1  4  1  0  0  0  0
M  END
$$$$
"""


def test_pyg_files_as_they_are(tmp_path: Path) -> None:
    """Methane and ammonia as PyG unpacks them, with every column and its unit."""
    (tmp_path / "gdb9.sdf").write_text(PYG_SDF)
    (tmp_path / "gdb9.sdf.csv").write_text(PYG_COLUMNS + PYG_TABLE)
    (tmp_path / "uncharacterized.txt").write_text("prose\n" * 9 + "     21  C  C\n" + "prose\n")
    names = PYG_COLUMNS.lower().split(",")[1:]
    prepare([tmp_path], tmp_path / "out", properties=names)
    dataset = PreparedDataset.open(tmp_path / "out")
    assert dataset.names() == ["gdb_1", "gdb_2"]
    assert dataset.sizes.tolist() == [5, 4]
    values = dict(zip(names, dataset.arrays["properties"].T.tolist(), strict=True))
    assert values["gap"] == pytest.approx([0.5048, 0.3399])
    assert values["u0_atom"] == pytest.approx([-395.999594594, -276.861363327])
    units = {entry.name: entry.unit for entry in dataset.properties}
    assert "" not in units.values()
    assert (units["u298"], units["g298_atom"], units["mu"], units["r2"]) == ("Eh", "kcal/mol", "debye", "bohr^2")


def test_pyg_raw_folder_itself(pyg_folder: Path) -> None:
    assert find_sources([pyg_folder / "raw"])[0].path == pyg_folder / "raw" / "gdb9.sdf"


def test_pyg_files_that_do_not_belong_together(pyg_folder: Path, tmp_path: Path) -> None:
    table = pyg_folder / "raw" / "gdb9.sdf.csv"
    whole = table.read_text()
    for text in (whole.rsplit("gdb_6", 1)[0], whole.replace("gdb_3", "gdb_4"), whole + "gdb_7,1,1,1\n"):
        table.write_text(text)
        with pytest.raises(MoldiffError, match="same molecules in the same order"):
            prepare([pyg_folder], tmp_path / "out")
    table.write_text(whole.replace("gdb_3", f"gdb_3{'x' * 200_000}"))
    with pytest.raises(MoldiffError, match=r"gdb9\.sdf\.csv is damaged: field larger than"):
        prepare([pyg_folder], tmp_path / "out")
    table.write_text(whole)
    (pyg_folder / "raw" / "uncharacterized.txt").write_text(f"²\n{'9' * 5000}\n")
    prepare([pyg_folder], tmp_path / "odd")
    (pyg_folder / "raw" / "uncharacterized.txt").write_text("")
    table.write_text("a,b\n1,2\n")
    with pytest.raises(MoldiffError, match="no column mol_id"):
        prepare([pyg_folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_pygs(tmp_path: Path) -> None:
    with pytest.raises(MoldiffError, match="without PyG's QM9"):
        find_sources([tmp_path])


QM9_WATER = """3
gdb 3\t799.58812\t437.90386\t282.94545\t1.8511\t6.31\t-0.2928\t0.0687\t0.3615\t19.0002\t0.021375\t-76.404702\t\
-76.401867\t-76.400922\t-76.422349\t6.002\t
O\t-0.0343604951\t 0.9775395708\t 0.0076015923\t-0.589706
H\t 0.0647664923\t 0.0205721989\t 0.0015346341\t 0.294853
H\t 0.8717903737\t 1.3007924048\t 6.9*^-4\t 0.294853
1671.4222\t3803.6305\t3907.698
O\tO
InChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2
"""


def test_original_archive(tmp_path: Path) -> None:
    path = tmp_path / "dsgdb9nsd.xyz.tar.bz2"
    with tarfile.open(path, "w:bz2") as archive:
        for number in (3, 4):
            content = QM9_WATER.replace("gdb 3", f"gdb {number}").encode()
            member = tarfile.TarInfo(f"dsgdb9nsd_{number:06d}.xyz")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    prepare([path], tmp_path / "out", properties=["mu", "gap", "mw"])
    dataset = PreparedDataset.open(tmp_path / "out")
    assert dataset.names() == ["gdb_3", "gdb_4"]
    assert dataset.arrays["properties"][0] == pytest.approx([1.8511, 0.3615, 18.015], abs=1e-3)
    assert [entry.unit for entry in dataset.properties] == ["debye", "Eh", "g/mol"]
    water = dataset.molecule(0)
    assert [dataset.vocabulary.elements[k] for k in water.atom_type] == ["O", "H", "H"]
    assert water.bonds.tolist() == [[0, 1, 1], [0, 2, 1]]
    assert np.linalg.norm(water.pos[0] - water.pos[1]) == pytest.approx(0.962, abs=0.002)


def test_tables_of_smiles(tmp_path: Path) -> None:
    table = tmp_path / "library.csv"
    table.write_text(
        "id,SMILES,activity\nethanol,CCO,1.5\nbenzene,c1ccccc1,n/a\nbroken,C1CC,3\nsalt,CC(=O)[O-].[NH4+],4\n"
    )
    lines = tmp_path / "more.smi"
    lines.write_text("CC(=O)O acetic\nCCO again\n")
    report = prepare([table, lines], tmp_path / "out", properties=["activity", "logp"], seed=3)
    assert (report.read, report.kept, report.distinct) == (6, 4, 3)
    assert sum(report.dropped.values()) == 2
    dataset = PreparedDataset.open(tmp_path / "out")
    assert dataset.names() == ["ethanol", "benzene", "acetic", "again"]
    assert np.isnan(dataset.arrays["properties"][1:, 0]).all()
    assert dataset.arrays["properties"][0, 0] == 1.5
    assert dataset.sizes.tolist() == [9, 12, 8, 9]
    benzene = dataset.molecule(1)
    carbons = benzene.pos[benzene.atom_type == dataset.vocabulary.elements.index("C")]
    assert np.linalg.norm(carbons, axis=1) == pytest.approx(1.395, abs=0.02)
    rows = list(csv.DictReader((tmp_path / "out" / "dropped.csv").open()))
    assert [(row["source"], row["index"], row["name"]) for row in rows] == [
        ("library.csv", "2", "broken"),
        ("library.csv", "3", "salt"),
    ]
    assert rows[1]["reason"] == "more than one fragment"

    assert prepare([table], tmp_path / "salts", fragments=True).kept == 3


def test_tags_of_all_or_of_the_head(sample_sdf: Path, tmp_path: Path) -> None:
    record = records_of(sample_sdf, 1)[0]
    path = tmp_path / "late.sdf"
    path.write_text(f"{record}$$$$\n" * 1200 + f"{record}>  <late_eV>\n1.5\n\n$$$$\n")
    sources = find_sources([path])
    assert "late_eV" not in tag_names(sources, thorough=False)
    assert "late_eV" in tag_names(sources, thorough=True)
    assert [len(chunk.records) for chunk in chunks(sources)] == [256] * 4 + [177]
    assert [record.index for chunk in chunks(sources) for record in chunk.records] == list(range(1201))


def test_no_files_and_the_same_file_twice(sample_sdf: Path) -> None:
    with pytest.raises(MoldiffError, match="no molecule files"):
        find_sources([])
    with pytest.raises(MoldiffError, match=r"sample\.sdf is named twice"):
        find_sources([sample_sdf, sample_sdf.parent / ".." / "data" / "sample.sdf"])


def test_patterns_name_files_and_folders(pyg_folder: Path, tmp_path: Path) -> None:
    for name in ("b", "a", "[z]"):
        (tmp_path / f"{name}.smi").write_text("C\n")
    found = find_sources([tmp_path / "[z].smi", str(tmp_path / "[ab].smi"), tmp_path / "Q*"])
    assert [source.path.name for source in found] == ["[z].smi", "a.smi", "b.smi", "gdb9.sdf"]
    assert [path.name for path in found[3].files] == ["gdb9.sdf", "gdb9.sdf.csv", "uncharacterized.txt"]
    assert prepare(str(tmp_path / "?.smi"), tmp_path / "out").read == 2
    with pytest.raises(MoldiffError, match="no file matches"):
        find_sources([tmp_path / "*.sdf"])
