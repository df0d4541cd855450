import csv
import json
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from rdkit import Chem
from started import started

import moldiff
import moldiff.datasets.relax as module
from moldiff.chem.io.records import read_records
from moldiff.chem.io.tables import Columns
from moldiff.chem.relax import Relaxed, relax
from moldiff.chem.relax import _changed as module_changed
from moldiff.choices import EnergyMethod
from moldiff.datasets.relax import relax_files
from moldiff.errors import MoldiffError
from moldiff.extras import XTB
from moldiff.processes import pool_of

DRUGS = Path(__file__).parents[1] / "fixtures" / "drugs.sdf"


def distorted(path: Path) -> Path:
    """Write the drugs with every atom moved a little, and three records that cannot be relaxed."""
    writer, random = [], np.random.default_rng(0)
    for record in read_records(DRUGS):
        mol = Chem.Mol(record.mol)
        conformer = mol.GetConformer()
        for index, point in enumerate(conformer.GetPositions() + random.normal(0, 0.05, (mol.GetNumAtoms(), 3))):
            conformer.SetAtomPosition(index, point.tolist())
        mol.SetProp("_Name", record.name)
        writer.append(Chem.MolToMolBlock(mol) + "> <mine>\nkept\n\n$$$$\n")
    path.write_text("".join(writer))
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    smiles = tmp_path / "more.smi"
    smiles.write_text("CCO ethanol\nC[CH2] radical\nnone nothing\n[Na+].[Cl-] salt\nOCC[2H] heavy\n")
    return [distorted(tmp_path / "in.sdf"), smiles]


@pytest.mark.parametrize("kind", [str, Path])
def test_one_file_is_a_list_of_one(tmp_path: Path, kind: type) -> None:
    (tmp_path / "a.smi").write_text("CCO ethanol\n")
    report = relax_files(kind(tmp_path / "a.smi"), str(tmp_path / "out.sdf"), method="mmff94s")
    assert (report.read, report.relaxed) == (1, 1)
    with pytest.raises(MoldiffError, match="files must be a path or a list of paths, not 3"):
        relax_files(3, tmp_path / "other.sdf", method="mmff94s")  # type: ignore[arg-type]


def test_every_record_is_accounted_for(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "relaxed.sdf"
    report = relax_files(files, out, method="mmff94s")
    with open(report.table) as handle:
        rows = list(csv.DictReader(handle))
    sources = [record for file in files for record in read_records(file)]
    assert [row["name"] for row in rows] == [record.name for record in sources]
    assert report.read == len(rows) == report.relaxed + sum(report.dropped.values())
    reasons = {row["name"]: row["reason"] for row in rows}
    assert reasons["radical"] == "radical: 1 unpaired electrons"
    assert reasons["nothing"].startswith("smiles")
    assert reasons["ethanol"] == ""
    relaxed = list(read_records(out))
    assert [record.name for record in relaxed] == [row["name"] for row in rows if row["status"] == "relaxed"]
    assert relaxed[0].tags["mine"] == "kept"
    assert float(relaxed[0].tags["relaxed_by_kcal_mol"]) > 1
    again, _ = (relax(relaxed[0].mol, EnergyMethod.MMFF94S), None)
    assert again.values["relaxed_by_kcal_mol"] < 0.01
    assert not (tmp_path / "relaxed.sdf.unfinished").exists()


@pytest.mark.parametrize("suffix", [".sdf", ".sdf.gz", ".parquet"])
def test_the_same_file_comes_out_for_any_number_of_workers(files: list[Path], tmp_path: Path, suffix: str) -> None:
    first, second = (tmp_path / f"{name}{suffix}" for name in ("first", "second"))
    relax_files(files, first, method="mmff94s")
    relax_files(files, second, method="mmff94s", workers=2)
    assert first.read_bytes() == second.read_bytes()


def test_the_compact_file_holds_the_same_molecules(files: list[Path], tmp_path: Path) -> None:
    plain, compact = tmp_path / "plain.sdf", tmp_path / "compact.parquet"
    relax_files(files, plain, method="mmff94s")
    relax_files(files, compact, method="mmff94s")
    for first, second in zip(read_records(plain), read_records(compact), strict=True):
        assert first.name == second.name and second.reason == ""
        assert Chem.MolToSmiles(Chem.RemoveHs(first.mol)) == Chem.MolToSmiles(Chem.RemoveHs(second.mol))
        assert float(first.tags["relaxed_by_kcal_mol"]) == pytest.approx(float(second.tags["relaxed_by_kcal_mol"]))


def test_a_run_goes_on_after_a_kill(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, killed = tmp_path / "whole.sdf", tmp_path / "killed.sdf"
    relax_files(files, whole, method="mmff94s")

    def stop(done: int) -> None:
        if done == 4:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        relax_files(files, killed, method="mmff94s", progress=stop)
    assert not killed.exists()
    with pytest.raises(MoldiffError, match=r"killed\.sdf\.unfinished holds 4 results of a run that was cut short"):
        relax_files(files, killed, method="mmff94s")
    with pytest.raises(MoldiffError, match=r"holds 4 results of another run \(seed 0, now 3\)"):
        relax_files(files, killed, method="mmff94s", seed=3, resume=True)
    asked: list[str] = []
    original = module._guarded
    monkeypatch.setattr(module, "_guarded", lambda text, options: asked.append(text.name) or original(text, options))
    monkeypatch.setattr(module, "pool_of", lambda workers, ready: pool_of(workers, isolated=False, ready=ready))
    relax_files(files, killed, method="mmff94s", resume=True)
    names = [record.name for file in files for record in read_records(file)]
    assert asked == names[4:], "what was done is taken over"
    assert killed.read_text() == whole.read_text()
    assert not list(tmp_path.glob("*.unfinished"))


def test_a_file_that_grows_meanwhile_shifts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "growing.smi"
    file.write_text("CCO a\nCCN b\n")
    write = module.write_sdf

    def late(path: Path, contents: Iterable[str]) -> None:
        write(path, contents)
        file.write_text("CCCC first\n" + file.read_text())

    monkeypatch.setattr(module, "write_sdf", late)
    report = relax_files([file], tmp_path / "o.sdf", method="mmff94s")
    rows = report.table.read_text().splitlines()[1:]
    assert [row.split(",")[:4] for row in rows] == [
        ["growing.smi", "0", "a", "relaxed"], ["growing.smi", "1", "b", "relaxed"]
    ]  # fmt: skip


def test_results_of_other_libraries_are_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Energies of two versions do not stand in one file."""
    file = tmp_path / "m.smi"
    file.write_text("CCO a\nCCN b\n")
    first = relax_files([file], tmp_path / "o.sdf", method="mmff94s")
    assert relax_files([file], tmp_path / "o.sdf", method="mmff94s", resume=True).ended_before and first.relaxed == 2
    monkeypatch.setattr(module, "version", lambda name: "2019.9.1")
    with pytest.raises(MoldiffError, match="exists already"):
        relax_files([file], tmp_path / "o.sdf", method="mmff94s", resume=True)


def test_sigterm_keeps_what_is_finished(tmp_path: Path) -> None:
    big = tmp_path / "big.smi"
    big.write_text("".join(f"{'C' * (6 + number % 20)}O m{number}\n" for number in range(4000)))
    command = [sys.executable, "-m", "moldiff", "data", "relax", str(big), "-o", str(tmp_path / "o.sdf")]
    first = tmp_path / "o.sdf.unfinished"
    with started([*command, "--method", "mmff94s", "--workers", "1"]) as process:
        deadline = time.monotonic() + 120
        while not first.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
    assert first.exists() and not (tmp_path / "o.sdf").exists()


def test_a_molecule_that_becomes_another_is_refused() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    conformer = Chem.Conformer(mol.GetNumAtoms())
    for index in range(mol.GetNumAtoms()):
        conformer.SetAtomPosition(index, (3.0 * index, 0.0, 0.0))
    mol.AddConformer(conformer)
    assert module.relax(mol, EnergyMethod.MMFF94S).mol is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "dft"}, "unknown method 'dft'; known are mmff94s, gfn2"),
        ({"out": "x.xyz"}, "must end in .sdf, .sdf.gz, .parquet"),
    ],
)
def test_bad_arguments_are_refused(files: list[Path], tmp_path: Path, arguments: dict, message: str) -> None:
    out = tmp_path / arguments.pop("out", "o.sdf")
    with pytest.raises(MoldiffError, match=message):
        relax_files(files, out, **arguments)
    assert not list(tmp_path.glob("*.unfinished"))


@pytest.mark.skipif(not XTB.is_installed(), reason="needs the extra xtb")
def test_gfn2_relaxes_to_its_own_minimum(tmp_path: Path) -> None:
    smiles = tmp_path / "a.smi"
    smiles.write_text("CCO ethanol\nCC(=O)[O-] acetate\n")
    report = relax_files([smiles], tmp_path / "o.sdf", method="gfn2")
    assert report.relaxed == 2
    for record in read_records(tmp_path / "o.sdf"):
        again = relax(record.mol, EnergyMethod.GFN2)
        assert isinstance(again, Relaxed) and abs(again.values["relaxed_by_kcal_mol"]) < 0.2
        assert again.values["gfn2_energy_Eh"] == pytest.approx(float(record.tags["gfn2_energy_Eh"]), abs=3e-4)
        assert float(record.tags["gfn2_gap_eV"]) > 1


def test_what_is_hazardous_leaves_no_structure(tmp_path: Path) -> None:
    (tmp_path / "two.smi").write_text("CCO ethanol\nClCCSc1ccccc1 secret\n")
    report = relax_files([tmp_path / "two.smi"], tmp_path / "out.sdf", method="mmff94s")
    assert report.dropped == {"hazard": 1}
    for name in ("out.sdf", "out.csv"):
        text = (tmp_path / name).read_text()
        assert "ethanol" in text and "secret" not in text and "Cl" not in text


def test_a_run_that_has_ended_is_not_done_again(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "r.sdf"
    first = relax_files(files, out, method="mmff94s", resume=True)
    before = out.stat().st_mtime_ns
    again = relax_files(files, out, method="mmff94s", resume=True)
    assert again == replace(first, ended_before=True) and not first.ended_before
    assert out.stat().st_mtime_ns == before
    with pytest.raises(MoldiffError, match=r"r\.sdf exists already"):
        relax_files(files, out, method="mmff94s", seed=1, resume=True)
    out.write_text("mine")
    with pytest.raises(MoldiffError, match=r"r\.sdf exists already"):
        relax_files(files, out, method="mmff94s", resume=True)
    assert out.read_text() == "mine"


@pytest.mark.parametrize("content", [None, "x"])
def test_a_run_whose_table_is_lost_has_not_ended_whole(files: list[Path], tmp_path: Path, content: str | None) -> None:
    out, table = tmp_path / "r.sdf", tmp_path / "r.csv"
    relax_files(files, out, method="mmff94s")
    before = table.read_bytes()
    table.unlink()
    if content is not None:
        table.write_text(content)
    with pytest.raises(MoldiffError, match=r"r\.sdf is whole, but .*r\.csv is not .*; pass overwrite"):
        relax_files(files, out, method="mmff94s", resume=True)
    relax_files(files, out, method="mmff94s", resume=True, overwrite=True)
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    "method", ["mmff94s", pytest.param("gfn2", marks=pytest.mark.skipif(not XTB.is_installed(), reason="extra xtb"))]
)
def test_salts_are_relaxed_from_where_their_parts_stand_apart(tmp_path: Path, method: str) -> None:
    texts = ["[Na+].[Cl-]", "CC(=O)[O-].[Na+]", "CCO.O", "C.C", "Cl.CC"]
    texts = texts if method == "gfn2" else texts[:4]  # of HCl, the force field knows nothing
    path = tmp_path / "salts.smi"
    path.write_text("".join(f"{text}\n" for text in texts))
    report = relax_files([path], tmp_path / "out.sdf", method=method)
    assert report.dropped == {}
    relaxed = [record.mol for record in read_records(tmp_path / "out.sdf")]
    assert [len(Chem.GetMolFrags(mol)) for mol in relaxed] == [2] * len(texts)


def pair(first: str, second: str, distance: float) -> Chem.Mol:
    mol = Chem.MolFromSmiles(f"{first}.{second}")
    conformer = Chem.Conformer(2)
    conformer.SetAtomPosition(1, [distance, 0.0, 0.0])
    mol.AddConformer(conformer)
    return mol


@pytest.mark.parametrize("ions", [("[Na+]", "[Cl-]"), ("[K+]", "[F-]"), ("[Mg+2]", "[O-2]")])
def test_ions_in_contact_are_not_bonded(ions: tuple[str, str]) -> None:
    contact = pair(*ions, 2.2)
    assert module_changed(contact, contact) == ""
    argon = pair("[Ar]", "[Ar]", 2.0)
    assert module_changed(argon, argon) == "bonds changed: Ar0-Ar1"


def far_apart(path: Path, distance: float, count: int = 2) -> Path:
    """Write methane, and records of two waters so far from each other."""
    water = np.array([[0.0, 0.0, 0.1], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    mol = Chem.AddHs(Chem.MolFromSmiles("O.O"))
    owner = [0, 1, 0, 0, 1, 1]
    places = [water[0], water[0], water[1], water[2], water[1], water[2]]
    conformer = Chem.Conformer(mol.GetNumAtoms())
    for index, (place, which) in enumerate(zip(places, owner, strict=True)):
        conformer.SetAtomPosition(index, (place[0] + distance * which, *place[1:].tolist()))
    mol.AddConformer(conformer)
    mol.SetProp("_Name", "waters")
    path.write_text(f"{Chem.MolToMolBlock(mol)}$$$$\n" * count)
    return path


@pytest.mark.parametrize(("distance", "bits"), [(64.0, 16), (67.5, 32), (3000.0, 32)])
def test_a_molecule_of_any_extent_goes_into_the_compact_file(tmp_path: Path, distance: float, bits: int) -> None:
    small, plain, out = tmp_path / "small.smi", tmp_path / "plain.sdf", tmp_path / "out.parquet"
    small.write_text("C methane\n")
    files = [small, far_apart(tmp_path / "far.sdf", distance)]
    report = relax_files(files, out, method="mmff94s", resume=True)
    assert (report.read, report.relaxed) == (3, 3)
    assert pyarrow.parquet.read_schema(out).field("coordinates_mA").type.value_type.bit_width == bits
    relax_files(files, plain, method="mmff94s")
    for one, other in zip(read_records(out), read_records(plain), strict=True):
        assert one.reason == other.reason == ""
        lengths = [np.sort(Chem.Get3DDistanceMatrix(record.mol), axis=None) for record in (one, other)]
        np.testing.assert_allclose(*lengths, atol=0.004)


def test_what_no_file_can_hold_costs_its_record_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a minimiser that flies apart leaves it."""

    def apart(mol: Chem.Mol, method: EnergyMethod) -> Relaxed:
        found = relax(mol, method)
        if found.mol is not None and found.mol.GetNumAtoms() == 5:
            found.mol.GetConformer().SetAtomPosition(0, (1e8, 0.0, 0.0))
        return found

    monkeypatch.setattr(module, "relax", apart)
    monkeypatch.setattr(module, "pool_of", lambda workers, ready: pool_of(workers, isolated=False, ready=ready))
    (tmp_path / "in.smi").write_text("C methane\nCC ethane\n")
    for name in ("o.parquet", "o.sdf"):
        report = relax_files([tmp_path / "in.smi"], tmp_path / name, method="mmff94s")
        assert (report.relaxed, report.dropped) == (1, {"output": 1})
        with open(report.table) as handle:
            assert next(csv.DictReader(handle))["reason"] == "output: coordinates out of range: beyond 9999 angstrom"
        report.table.unlink()
        (tmp_path / "o.run.json").unlink()


def table_of_two(path: Path) -> Path:
    path.write_text("a,b,id,title\nCCO,CCN,1,uno\nCC=O,CCC,2,dos\nCCF,COC,3,tres\n")
    return path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Columns("a"), Columns("b")),
        (Columns("a", "id"), Columns("a", "title")),
        (Columns("a", "id"), Columns("a")),
        (Columns("a"), Columns("a", delimiter="comma")),
    ],
)
def test_a_table_read_by_other_columns_is_another_request(tmp_path: Path, one: Columns, other: Columns) -> None:
    table, out = table_of_two(tmp_path / "t.csv"), tmp_path / "o.sdf"

    def stop(done: int) -> None:
        if done == 2:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        relax_files([table], out, method="mmff94s", columns=one, progress=stop)
    with pytest.raises(MoldiffError, match="holds 2 results of another run"):
        relax_files([table], out, method="mmff94s", columns=other, resume=True)
    relax_files([table], out, method="mmff94s", columns=one, resume=True)
    made = out.read_bytes()
    with pytest.raises(MoldiffError, match=r"o\.sdf exists already"):
        relax_files([table], out, method="mmff94s", columns=other, resume=True)
    assert out.read_bytes() == made
    assert relax_files([table], out, method="mmff94s", columns=one, resume=True).ended_before


def test_without_columns_the_request_is_what_it_was(tmp_path: Path) -> None:
    (tmp_path / "in.smi").write_text("CCO\n")
    relax_files([tmp_path / "in.smi"], tmp_path / "o.sdf", method="mmff94s")
    request = json.loads((tmp_path / "o.run.json").read_text())["request"]
    assert set(request) == {"moldiff", "libraries", "method", "seed", "suffix", "sources"}


def test_patterns_name_files_and_none_of_these_is_written_over(tmp_path: Path) -> None:
    for name, smiles in (("b", "CCO"), ("a", "CCN"), ("c", "CCC")):
        (tmp_path / f"{name}.smi").write_text(f"{smiles} {name}\n")
    report = relax_files([str(tmp_path / "[ab].smi")], tmp_path / "o.sdf", method="mmff94s")
    assert [record.name for record in read_records(tmp_path / "o.sdf")] == ["a", "b"] and report.read == 2
    with pytest.raises(MoldiffError, match=r"o\.sdf would be written over, but it is an input"):
        relax_files([tmp_path / "*.sdf"], tmp_path / "o.sdf", method="mmff94s", overwrite=True)
    assert len(list(read_records(tmp_path / "o.sdf"))) == 2


@pytest.mark.parametrize("suffix", [".sdf", ".parquet"])
def test_data_fields_are_carried_on(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in.csv").write_text("smiles,IC50,smiles note,name\nCCO,1.5,salt,one\nCCN,2,,\nCCC,,,three\n")
    out = tmp_path / f"out{suffix}"
    relax_files(tmp_path / "in.csv", out, method="mmff94s")
    again = [record.tags for record in read_records(out)]
    assert [tags.get("IC50") or None for tags in again] == ["1.5", "2", None]
    assert [tags.get("smiles note") or None for tags in again] == ["salt", None, None]
    assert all(float(tags["mmff94s_energy_kcal_mol"]) < 100 for tags in again)
    made = moldiff.prepare([out], tmp_path / "set", properties=["IC50"])
    assert made.kept == 3
