"""What each command answers to a drawing, another unit, coincident atoms; and to hydrogens in part."""

import csv
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor

import moldiff
from moldiff.chem.io.embed import embed
from moldiff.models.folder import pretrained_folder
from moldiff.run_record import is_output

SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"

ALCOHOL = "CC(O)C#N"
STATES = {"flat": "flat drawing", "bohr": "looks like bohr", "point": "coincident atoms", "sound": ""}
SHORT = ("--evaluations", "2")


def in_3d() -> Chem.Mol:
    return embed(Chem.MolFromSmiles(ALCOHOL), seed=1, timeout_s=10)[0]


def state(name: str) -> str:
    mol = in_3d()
    if name == "flat":
        rdDepictor.Compute2DCoords(mol)
        mol.GetConformer().Set3D(True)
    factor = {"bohr": 1.8897, "point": 0.0}.get(name, 1.0)
    mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() * factor)
    return Chem.MolToMolBlock(mol) + "$$$$\n"


def part(name: str) -> str:
    mol = Chem.RWMol(in_3d())
    gone = {"all": [], "none": ["H"], "polar": ["C"]}[name]
    mol.BeginBatchEdit()
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 1 and (gone == ["H"] or atom.GetNeighbors()[0].GetSymbol() in gone):
            mol.RemoveAtom(atom.GetIdx())
    mol.CommitBatchEdit()
    plain = Chem.MolFromMolBlock(Chem.MolToMolBlock(mol), sanitize=False, removeHs=False)
    for atom in plain.GetAtoms():
        atom.SetNumRadicalElectrons(0)
    return Chem.MolToMolBlock(plain) + "$$$$\n"


@pytest.mark.parametrize("name", STATES)
def test_the_gate_is_the_same_for_every_command(
    run: Callable[..., Any], model: Path, tmp_path: Path, name: str
) -> None:
    word, path = STATES[name], tmp_path / f"{name}.sdf"
    path.write_text(state(name))
    prepared = run("data", "prepare", path, "-o", tmp_path / "set", "--workers", "1")
    varied = run("vary", path, "-n", "1", *SHORT, "-o", tmp_path / "v.sdf", "--model", model)
    scored = run("likelihood", path, *SHORT, "-o", tmp_path / "s.csv", "--model", model)
    judged = run("evaluate", path, "--posebusters", "0")
    grown = run("generate", "-n", "1", "--fragment", path, "--attach-at", "0", *SHORT, "-o", tmp_path / "g.sdf", "--model", model)  # fmt: skip # noqa: E501
    placed = run("conformers", path, "-n", "1", *SHORT, "-o", tmp_path / "c.sdf", "--model", model)
    assert placed.status == 0, "the graph alone counts"
    if not word:
        assert [result.status for result in (prepared, varied, scored, judged, grown)] == [0] * 5
        assert "1 kept" in prepared.out and "1 valid" in judged.out and "1 scored" in scored.out
        return
    for refused in (prepared, varied, grown):
        refused.assert_refused(word)
    assert "0 valid" in judged.out and word in " ".join(judged.out.split())
    assert "0 scored" in scored.out and word in scored.out


@pytest.mark.parametrize("name", ["all", "none", "polar", "mixed"])
def test_hydrogens_are_told_of_each_record(run: Callable[..., Any], model: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.sdf"
    path.write_text(part(name) if name != "mixed" else "".join(map(part, ("all", "none", "polar"))))
    total, whole = (3, 1) if name == "mixed" else (1, int(name == "all"))
    judged = run("evaluate", path, "--posebusters", "0")
    assert f"{total} molecules = {whole + (name in ('none', 'mixed'))} valid" in judged.out
    words = {"all": "explicit", "none": "implicit", "polar": "partial", "mixed": "1 explicit, 1 implicit, 1 partial"}
    assert f"{words[name]} hydrogens" in judged.out
    completed = run("evaluate", path, "--posebusters", "0", "--add-hydrogens")
    assert f"{total} molecules = {total} valid" in completed.out

    commands = {
        "prepare": ("data", "prepare", path, "--workers", "1", "-o", tmp_path / "set"),
        "vary": ("vary", path, "-n", "1", *SHORT, "--model", model, "-o", tmp_path / "v.sdf"),
        "likelihood": ("likelihood", path, *SHORT, "--model", model, "-o", tmp_path / "s.csv"),
    }
    for command, arguments in commands.items():
        plain = run(*arguments)
        told = plain.out + plain.err
        assert ("hydrogens without coordinates" in told) == (name != "all" and command != "vary") or command == "vary"
        full = run(*arguments, "--add-hydrogens", "--overwrite")
        assert full.status == 0 and "hydrogens without coordinates" not in full.out + full.err


def test_missing_hydrogens_say_who_places_them(
    run: Callable, model: Path, sample_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words of whoever asks: the command line or Python."""
    monkeypatch.chdir(tmp_path)
    with Chem.SDMolSupplier(str(sample_path)) as molecules:
        bare = list(itertools.islice(molecules, 3))
    with Chem.SDWriter("bare.sdf") as file:
        for mol in bare:
            file.write(mol)
    asked = [*SHORT, "--model", model]
    run("vary", "bare.sdf", "-n", "1", *asked, "-o", "v.sdf").assert_refused("(--add-hydrogens places them)\n")
    told = run("likelihood", "bare.sdf", *asked, "-o", "s.csv")
    assert told.out.count("hydrogens without coordinates (--add-hydrogens places them)\n") >= 1
    assert "add_hydrogens" not in told.out + told.err
    assert "hydrogens without coordinates (add_hydrogens places them)" in Path("s.csv").read_text()
    for work in (moldiff.likelihood, moldiff.vary):
        with pytest.raises(moldiff.MoldiffError, match=r"coordinates \(add_hydrogens places them\)$") as caught:
            work(bare, model=model, evaluations=2)  # type: ignore[operator]
        assert caught.value.argument == "add_hydrogens"


def test_names_that_are_no_text_are_shown_with_a_question_mark(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every table with a column of files, of every command."""
    monkeypatch.chdir(tmp_path)
    names = (b"caf\xe9.smi", b"s\xe9.sdf", b"p\xe9.smarts", b"w\xe9.xyz")
    latin, sdf, patterns, xyz = map(os.fsdecode, names)
    Path(xyz).write_text("3\n\nO 0 0 0.12\nH 0 0.76 -0.48\nH 0 -0.76 -0.48\n" * 2)
    Path(latin).write_text("CCO a\nCCN b\nCCC c\n")
    Path("x.smi").write_text("CO d\n")
    Path(patterns).write_text("CCO ethanol\n")
    records = SAMPLE.read_text().split("$$$$\n")
    Path(sdf).write_text(f"{records[0]}$$$$\n")
    Path("b.sdf").write_text(f"{records[1]}$$$$\n")
    words = ["--known", latin, "--smarts", patterns]
    fast = ["--model", "qm9_fast", "--evaluations"]
    for command in (
        ["filter", latin, "x.smi", "-o", "f.csv"],
        ["filter", xyz, "-o", "x.csv"],
        ["filter", xyz, "-o", "y.sdf"],
        ["filter", xyz, "-o", "z.parquet"],
        ["data", "prepare", xyz, "-o", "waters"],
        ["filter", latin, "x.smi", "-o", "g.parquet", *words],
        ["likelihood", sdf, "b.sdf", "-o", "l.csv", "--repeats", "2", *fast, "2"],
        ["likelihood", sdf, "b.sdf", "-o", "m.parquet", "--repeats", "2", *fast, "2"],
        ["data", "relax", latin, "x.smi", "-o", "r.sdf", "--method", "mmff94s", "--workers", "1"],
        ["data", "prepare", latin, sdf, "-o", "set"],
        ["conformers", latin, "x.smi", "-n", "1", "-o", "c.sdf", *fast, "4"],
        ["screen", latin, "x.smi", "-o", "run", *words],
        ["screen", "resume", "run"],
        ["screen", latin, "x.smi", "-o", "run", *words],
        ["screen", "report", "run"],
    ):
        done = run(*command)
        assert done.status == 0, (command, done.err)
    for table, column, name in (
        ("f.records.csv", "file", "caf?.smi"), ("l.csv", "file", "s?.sdf"), ("r.csv", "source", "caf?.smi"),
        ("c.csv", "file", "caf?.smi"),
    ):  # fmt: skip
        with open(table, newline="") as handle:
            assert next(csv.DictReader(handle))[column] == name, table
    assert Path("y.sdf").read_text().startswith("w?\n")
    assert pyarrow.parquet.read_table("run/records.parquet")["file"].to_pylist() == ["caf?.smi"] * 3 + ["x.smi"]
    assert {path.name for path in tmp_path.glob("r.*")} == {"r.sdf", "r.csv", "r.run.json"}


def test_an_output_whose_name_is_no_text_is_known_as_ours(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, page = os.fsdecode(b"g\xe9.sdf"), os.fsdecode(b"g\xe9.html")
    command = ["generate", "-n", "1", "--model", "qm9_fast", "-o", out, "--report", page]
    assert run(*command).status == 0
    assert is_output(Path(out))
    folder = os.fsdecode(b"m\xe9")
    shutil.copytree(pretrained_folder() / "qm9_fast", folder)
    for words in (["generate", "-n", "1", "--model", folder], ["screen", "--from-model", folder, "-n", "2"]):
        assert run(*words, "-o", f"{words[0]}.sdf").status == 0
    assert "\nm?\n" in Path("generate.sdf").read_text(), "the model's name"
    assert "nothing is left to do" in run(*command, "--resume").out
