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


def test_pyg_raw_folder_itself(pyg_folder: Path) -> None:
    assert find_sources([pyg_folder / "raw"])[0].path == pyg_folder / "raw" / "gdb9.sdf"


def test_pyg_files_that_do_not_belong_together(pyg_folder: Path, tmp_path: Path) -> None:
    table = pyg_folder / "raw" / "gdb9.sdf.csv"
    whole = table.read_text()
    for text in (whole.rsplit("gdb_6", 1)[0], whole.replace("gdb_3", "gdb_4"), whole + "gdb_7,1,1,1\n"):
        table.write_text(text)
        with pytest.raises(MoldiffError, match="same molecules in the same order"):
            prepare([pyg_folder], tmp_path / "out")
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
    with pytest.raises(MoldiffError, match="no input file"):
        find_sources([])
    with pytest.raises(MoldiffError, match="given twice"):
        find_sources([sample_sdf, sample_sdf.parent / ".." / "data" / "sample.sdf"])
