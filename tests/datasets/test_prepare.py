"""What is stored is what was read, the same on any number of workers, and bad input leaves nothing behind."""

import csv
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.chem.convert import decode
from moldiff.chem.identity import canonical_smiles, inchikey_block, text_key
from moldiff.chem.io.embed import embed
from moldiff.datasets.prepare import kind_of, prepare
from moldiff.datasets.prepared import PreparedDataset
from moldiff.datasets.properties import tag_unit
from moldiff.datasets.splits import split_of
from moldiff.errors import MoldiffError
from moldiff.vocabulary import Vocabulary

BLOCK = """{name}
     by hand        3D

  {n}  {m}  0  0  0  0  0  0  0  0999 V2000
{rows}M  END
{tags}$$$$
"""


def sdf_record(name: str, atoms: list[tuple], bonds: list[tuple[int, int, int]], tags: str = "") -> str:
    """Write a V2000 record by hand, so that anything can be wrong with it; at most 9 atoms and bonds."""
    rows = "".join(f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:<3} 0  0\n" for symbol, x, y, z in atoms)
    rows += "".join(f"{i:3d}{j:3d}{order:3d}  0\n" for i, j, order in bonds)
    return BLOCK.format(name=name, n=len(atoms), m=len(bonds), rows=rows, tags=tags)


WATER = [("O", 0.0, 0.0, 0.0), ("H", 0.96, 0.0, 0.0), ("H", -0.24, 0.93, 0.0)]
OH = [(1, 2, 1), (1, 3, 1)]


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_what_is_stored_is_what_was_read(sample_sdf: Path, sample: PreparedDataset) -> None:
    """Each row decodes to the molecule of the file: same graph, same stereo, same geometry."""
    molecules = list(Chem.SDMolSupplier(str(sample_sdf), removeHs=False))
    assert len(molecules) == len(sample) == 200
    for row, mol in enumerate(molecules):
        Chem.AssignStereochemistryFrom3D(mol)
        conversion = decode(sample.molecule(row), sample.vocabulary)
        assert conversion.mol is not None
        assert canonical_smiles(conversion.mol, stereo=True) == canonical_smiles(mol, stereo=True)
        exact = mol.GetConformer().GetPositions()
        assert np.abs(sample.molecule(row).pos - (exact - exact.mean(0))).max() < 0.00051
        assert sample.name(row) == mol.GetProp("_Name")
        flat, full = (text_key(canonical_smiles(mol, stereo=stereo)) for stereo in (False, True))
        assert sample.arrays["keys"][row].tolist() == [flat, full]
        assert ("train", "validation", "test")[sample.arrays["split"][row]] == split_of(inchikey_block(mol))
        logp, gap, heavy = sample.arrays["properties"][row].tolist()
        assert gap == np.float32(mol.GetProp("gfn2_gap_eV"))
        assert heavy == mol.GetNumHeavyAtoms()
        assert logp == pytest.approx(Chem.Crippen.MolLogP(mol), abs=1e-5)


def test_the_split_does_not_depend_on_the_other_molecules(
    sample: PreparedDataset, sample_sdf: Path, tmp_path: Path
) -> None:
    records = sample_sdf.read_text().split("$$$$\n")[:-1]
    path = tmp_path / "reversed.sdf"
    path.write_text("".join(f"{record}$$$$\n" for record in records[:50][::-1]))
    prepare([path], tmp_path / "out")
    assert PreparedDataset.open(tmp_path / "out").arrays["split"].tolist() == sample.arrays["split"][:50][::-1].tolist()
    counts = Counter(sample.arrays["split"].tolist())
    assert counts[0] > 160
    assert counts[1] > 0
    assert counts[2] > 0


def test_kekule_and_implicit_hydrogens(sample_sdf: Path, sample: PreparedDataset, tmp_path: Path) -> None:
    prepare([sample_sdf], tmp_path / "kekule", bonds="kekule")
    kekule = PreparedDataset.open(tmp_path / "kekule")
    assert kekule.vocabulary.bonds == ("none", "single", "double", "triple")
    assert np.array_equal(kekule.arrays["keys"], sample.arrays["keys"])
    prepare([sample_sdf], tmp_path / "heavy", hydrogens="implicit")
    heavy = PreparedDataset.open(tmp_path / "heavy")
    assert "H" not in heavy.vocabulary.elements
    assert not heavy.vocabulary.explicit_hydrogens
    assert np.array_equal(heavy.sizes, sample.arrays["properties"][:, 2])
    assert np.array_equal(heavy.arrays["keys"], sample.arrays["keys"])
    assert np.array_equal(heavy.arrays["split"], sample.arrays["split"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            {"hydrogens": "implicit"},
            "hydrogens implicit: the vocabulary that is to be used has explicit ones",
        ),
        ({"bonds": "aromatic"}, "bonds aromatic: the vocabulary that is to be used has kekule ones"),
        ({"bonds": "none"}, "bonds must be aromatic or kekule, not 'none'"),
        ({"hydrogens": ""}, "hydrogens must be explicit or implicit, not ''"),
    ],
)
def test_words_against_a_vocabulary_are_refused(tmp_path: Path, words: dict[str, str], told: str) -> None:
    vocabulary = Vocabulary(("H", "C", "N", "O"), (0,), ("none", "single", "double"))
    with pytest.raises(MoldiffError, match=told):
        prepare([tmp_path / "not there.sdf"], tmp_path / "out", vocabulary=vocabulary, **words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"vocabulary": "qm9"}, "vocabulary must be a moldiff.vocabulary.Vocabulary, such as .*, not 'qm9'"),
        ({"vocabulary": ("H", "C")}, "vocabulary must be a moldiff"),
        ({"columns": "smiles"}, "columns must be a moldiff.chem.io.tables.Columns, not 'smiles'"),
        ({"properties": 3}, "properties must be a text or a list of texts, not 3"),
        ({"properties": [3]}, "properties must be a text or a list of texts"),
        ({"properties": "logp, tpsa,logp"}, "property 'logp' is asked for twice"),
        ({"workers": 1.5}, "workers must be a whole number, not 1.5"),
        ({"timeout_s": "20"}, "timeout_s must be a number, not '20'"),
        ({"timeout_s": 1.5}, "timeout_s must be a whole number, not 1.5"),
        ({"overwrite": "no"}, "overwrite must be True or False, not 'no'"),
        ({"fragments": 1}, "fragments must be True or False, not 1"),
        ({"out": None}, "out must be a path or a text, not None"),
        ({"out": ""}, "out must be a path or a text, not ''"),
        ({"files": 7}, "files must be a path or a list of paths, not 7"),
        ({"files": [7]}, "files must be a path or a text, not 7"),
    ],
)
def test_arguments_of_another_kind_are_refused_before_the_work(
    tmp_path: Path, sample_sdf: Path, arguments: dict[str, object], told: str
) -> None:
    given: dict[str, object] = {"files": [sample_sdf], "out": tmp_path / "out", **arguments}
    with pytest.raises(MoldiffError, match=told):
        prepare(**given)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_one_text_is_one_name_or_several_with_commas(tmp_path: Path) -> None:
    (tmp_path / "few.smi").write_text("CCO\nCCC\nCNC\n")
    for given, names in (("logp", ("logp",)), ("logp, tpsa", ("logp", "tpsa"))):
        out = tmp_path / given
        assert prepare(str(tmp_path / "few.smi"), str(out), properties=given).out == out
        assert PreparedDataset.open(out).property_names == names


def test_words_with_a_vocabulary_may_say_what_it_says(sample_sdf: Path, tmp_path: Path) -> None:
    heavy = Vocabulary(("C", "N", "O"), (-1, 0, 1), ("none", "single", "double", "triple", "aromatic"), False)
    report = prepare([sample_sdf], tmp_path / "out", vocabulary=heavy, bonds="aromatic", hydrogens="implicit")
    assert report.vocabulary == heavy


def test_two_workers_write_the_same_bytes(sample_sdf: Path, tmp_path: Path) -> None:
    big = tmp_path / "big.sdf"
    bad = sdf_record("bad", [("C", 0.0, 0.0, 0.0)], [(1, 2, 9)])
    big.write_text((sample_sdf.read_text() + bad) * 4)  # several chunks
    done: list[int] = []
    one = prepare([big], tmp_path / "one", properties=["logp"], workers=1)
    two = prepare([big], tmp_path / "two", properties=["logp"], workers=2, progress=done.append)
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "two")
    assert one.read == two.read == done[-1] == 804
    assert done == sorted(done)


def test_every_record_is_accounted_for(tmp_path: Path) -> None:
    far = [("O", 0.0, 0.0, 0.0), ("H", 0.96, 0.0, 0.0), ("H", 0.0, 70.0, 0.0)]
    records = [
        sdf_record("fine", WATER, OH, ">  <x>\n1.5\n\n"),
        sdf_record("no tag", WATER, OH),
        sdf_record("text tag", WATER, OH, ">  <x>\nunknown\n\n"),
        sdf_record("infinite tag", WATER, OH, ">  <x>\ninf\n\n"),
        sdf_record("not finite", [("O", float("nan"), 0.0, 0.0), *WATER[1:]], OH),
        sdf_record("hydrogens missing", WATER[:2], OH[:1]),
        sdf_record("six bonds", [("C", 0.0, 0.0, 0.1), *WATER[1:] * 3], [(1, k, 1) for k in range(2, 8)]),
        sdf_record("two fragments", WATER + [(s, x + 5, y, z) for s, x, y, z in WATER], [*OH, (4, 5, 1), (4, 6, 1)]),
        sdf_record("far", far, OH),
        sdf_record("a point", [(symbol, 0.0, 0.0, 0.001 * k) for k, (symbol, *_) in enumerate(WATER)], OH),
        sdf_record("dummy", [("*", 0.0, 0.0, 0.5), *WATER[1:2]], [(1, 2, 1)]),
        "garbage\n\n\nnot a block\n$$$$\n",
    ]
    path = tmp_path / "mixed.sdf"
    path.write_text("".join(records))
    report = prepare([path], tmp_path / "out", properties=["x"])
    dataset = PreparedDataset.open(tmp_path / "out")
    assert dataset.names() == ["fine", "no tag", "text tag", "infinite tag"]
    assert np.array_equal(dataset.arrays["properties"][:, 0], [1.5, np.nan, np.nan, np.nan], equal_nan=True)
    assert report.statistics.properties["x"].known == 1
    rows = list(csv.DictReader((tmp_path / "out" / "dropped.csv").open()))
    assert [row["name"] for row in rows][:7] == [
        "not finite", "hydrogens missing", "six bonds", "two fragments", "far", "a point", "dummy",
    ]  # fmt: skip
    assert [int(row["index"]) for row in rows] == list(range(4, 12))
    assert all(row["reason"] and row["source"] == "mixed.sdf" for row in rows)
    assert report.read == report.kept + sum(report.dropped.values()) == 12
    assert Counter(kind_of(row["reason"]) for row in rows) == report.dropped
    assert dataset.info["dropped"] == report.dropped


def test_salts_are_kept_or_refused_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "salts.smi"
    path.write_text("[Na+].[Cl-]\nCCO.CC\nCC(=O)[O-].[Na+]\nCl.CCN\nCCO.O\nC.C\nCCO\n")
    report = prepare(path, tmp_path / "with", fragments=True)
    assert (report.kept, report.dropped) == (7, {})
    again = prepare(tmp_path / "salts.smi", tmp_path / "two", fragments=True, workers=2)
    assert folder_bytes(tmp_path / "with") == folder_bytes(again.out)
    monkeypatch.setattr(
        "moldiff.datasets.rows.embed",
        lambda mol, *_: (None, "embedded") if "." in Chem.MolToSmiles(mol) else embed(mol, 0, 20),
    )
    report = prepare(path, tmp_path / "without")
    assert (report.kept, report.dropped) == (1, {"more than one fragment": 6})


def test_a_salt_is_on_the_side_of_its_parent(tmp_path: Path) -> None:
    acids = [f"{'C' * n}C(=O)" for n in range(1, 30)]
    for name, end in (("salts", "[O-].[Na+]"), ("acids", "O")):
        (tmp_path / f"{name}.smi").write_text("".join(f"{acid}{end}\n" for acid in acids))
        prepare(tmp_path / f"{name}.smi", tmp_path / name, fragments=True)
    salts, parents = (PreparedDataset.open(tmp_path / name).arrays["split"].tolist() for name in ("salts", "acids"))
    assert salts == parents
    assert len(set(salts)) > 1


def test_a_models_vocabulary_drops_what_it_does_not_know(
    sample_sdf: Path, sample: PreparedDataset, tmp_path: Path
) -> None:
    model = Vocabulary(("H", "C", "O", "F"), (-1, 0, 1), ("none", "single", "double", "triple"))
    report = prepare([sample_sdf], tmp_path / "out", vocabulary=model)
    assert report.vocabulary == model
    assert 0 < report.kept < 200
    assert list(report.dropped) == ["element N is outside the vocabulary"]
    dataset = PreparedDataset.open(tmp_path / "out")
    assert dataset.vocabulary == model
    assert dataset.info["options"]["bonds"] == "kekule"


def test_more_than_256_atoms(tmp_path: Path) -> None:
    """Atom indices no longer fit a byte; the bonds come back as they were."""
    chain = Chem.AddHs(Chem.MolFromSmiles("C" * 90))
    assert AllChem.EmbedMolecule(chain, useRandomCoords=True, randomSeed=1) == 0
    path = tmp_path / "chain.sdf"
    path.write_text(Chem.MolToMolBlock(chain) + "$$$$\n")
    prepare([path], tmp_path / "out")
    dataset = PreparedDataset.open(tmp_path / "out")
    assert dataset.arrays["bonds"].dtype == np.uint16
    bonds = {frozenset(row[:2]) for row in dataset.molecule(0).bonds.tolist()}
    assert bonds == {frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in chain.GetBonds()}


def test_dataset_json_names_files_without_folders(sample_folder: Path, sample_sdf: Path) -> None:
    text = (sample_folder / "dataset.json").read_text()
    assert str(sample_sdf.parent) not in text
    assert json.loads(text)["sources"][0]["file"] == "sample.sdf"


def test_units_of_tags() -> None:
    assert tag_unit("gfn2_gap_eV", qm9=False) == "eV"
    assert tag_unit("gap", qm9=True) == "Eh"
    assert tag_unit("gap", qm9=False) == ""
    assert tag_unit("d", qm9=False) == ""
    assert kind_of("3 hydrogens without coordinates") == "hydrogens without coordinates"


# Bad input: one clear line, and nothing left behind.


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.sdf", None, "cannot be read: No such file"),
        ("empty.sdf", "", "is empty"),
        ("prose.sdf", "This is not a molecule.\n" * 30, "not an SDF"),
        ("molecules.docx", "x", "unknown suffix; known are .sdf"),
        ("columns.csv", "a,b\n1,2\n", "no column 'smiles'"),
        ("empty.sdf.gz", "not gzip", "damaged"),
        ("table.parquet", "no parquet", "not a Parquet file"),
        ("blank.smi", "\n\n", "holds no molecules"),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_bad_files(sample_sdf: Path, tmp_path: Path, name: str, content: str | None, message: str, place: int) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir()
    if content is not None:
        path.write_text(content)
    files = [path] if place == 0 else [sample_sdf, path]
    with pytest.raises(MoldiffError, match=message) as caught:
        prepare(files, tmp_path / "out" / "set")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"properties": ["lopg"]}, "unknown property 'lopg' .did you mean 'logp'"),
        ({"properties": ["gfn2_gap_ev"]}, "did you mean 'gfn2_gap_eV'"),
        (
            {"properties": ["smiles"]},
            "'smiles' is a number in none of the molecules kept: \\d+ values, '.*' is no number; write plain",
        ),
        ({"properties": ["qed", "qed"]}, "asked for twice"),
        ({"bonds": "aromatics"}, "aromatic or kekule"),
        ({"hydrogens": "none"}, "explicit or implicit"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"seed": -1}, "seed must be in 0"),
        ({"timeout_s": 0}, "timeout_s must be at least 1"),
        ({"timeout_s": math.inf}, "timeout_s must be at least 1 and at most 31622400 seconds, not inf"),
    ],
)
def test_bad_arguments(sample_sdf: Path, tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(MoldiffError, match=message):
        prepare([sample_sdf], tmp_path / "out", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_what_stands_under_the_name_is_safe(sample_sdf: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare([sample_sdf], out)
    before = folder_bytes(out)
    with pytest.raises(MoldiffError, match="exists already"):
        prepare([sample_sdf], out)
    broken = tmp_path / "broken.smi"
    broken.write_text("C1CC\n")
    with pytest.raises(MoldiffError, match="could be kept"):
        prepare([broken], out, overwrite=True)
    assert folder_bytes(out) == before
    assert prepare([sample_sdf], out, bonds="kekule", overwrite=True).vocabulary.bonds[-1] == "triple"
    assert folder_bytes(out) != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.smi", "out"]


def test_a_set_survives_the_kill_of_the_run_that_replaces_it(sample_sdf: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare([sample_sdf], out)
    (out / "notes.txt").write_text("mine")
    before = folder_bytes(out)
    out.rename(tmp_path / ".out.old")
    (tmp_path / ".out.0123abcd.part").mkdir()
    assert len(PreparedDataset.open(out)) > 100
    prepare([sample_sdf], out, overwrite=True)
    assert folder_bytes(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_overwrite_replaces_nothing_but_prepared_sets(sample_sdf: Path, tmp_path: Path) -> None:
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.txt").write_text("years of work")
    for out in (precious, precious / "chapter.txt"):
        with pytest.raises(MoldiffError, match="is not replaced"):
            prepare([sample_sdf], out, overwrite=True)
    assert (precious / "chapter.txt").read_text() == "years of work"
    with pytest.raises(MoldiffError, match="is not a folder"):
        prepare([sample_sdf], precious / "chapter.txt" / "set")


def test_a_full_disk_leaves_nothing(sample_sdf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MoldiffError, match="No space left"):
        prepare([sample_sdf], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
