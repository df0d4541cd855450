"""`evaluate` from file to folder: truth on real molecules, zero valid ones, accounting, and files that stay whole."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rich.console import Console

from moldiff.chem.relax import relax
from moldiff.choices import EnergyMethod
from moldiff.cli.show_report import render
from moldiff.errors import MoldiffError
from moldiff.evaluation import write_report as module
from moldiff.evaluation.assess import assess_file
from moldiff.evaluation.evaluate import evaluate
from moldiff.evaluation.load_reference import reference_from_sdf
from moldiff.evaluation.reference import Reference
from moldiff.evaluation.report import EvaluationReport
from moldiff.evaluation.write_report import COLUMNS, PICTURES, check_output, write_report

GARBAGE = "garbage\n\n\nnot a molecule\n$$$$\n"
KEYS = {
    "format", "version", "file", "sha256", "hydrogens", "counts", "failures", "metrics", "geometry", "properties",
    "composition", "motifs", "posebusters", "relaxation", "fcd", "memorisation", "rarity", "generation", "reference",
    "versions",
    "command", "date", "commit", "platform", "hardware", "seconds",
}  # fmt: skip
WITH_A_DATA_SET = {"similarity.png", "rarity.png"}  # they need training molecules, not an SDF
METRICS = [
    "valid_connected", "valid", "sanitised",
    "atom_stability", "molecule_stability", "edm_atom_stability", "edm_molecule_stability",
    "unique", "novel", "valid_unique_novel", "unique_stereo", "novel_stereo", "valid_unique_novel_stereo",
    "posebusters", "posebusters_of_valid",
]  # fmt: skip
MARKS = (b"\x89PNG", b"IEND\xaeB`\x82")


@pytest.fixture(scope="module")
def halves(sample_texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("halves")
    for k in (0, 1):
        (folder / f"{k}.sdf").write_text("".join(sample_texts[k::2]))
    return folder / "0.sdf", folder / "1.sdf"


@pytest.fixture(scope="module")
def reference(halves: tuple[Path, Path]) -> Reference:
    return reference_from_sdf(halves[1])


@pytest.fixture(scope="module")
def real(halves: tuple[Path, Path], reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> EvaluationReport:
    """100 real molecules against 100 others, written to ``report`` next to the file's folder."""
    return evaluate(halves[0], reference, halves[0].parent / "report", posebusters=40)


def table(report: EvaluationReport) -> str:
    console = Console(file=io.StringIO(), width=140, markup=False, highlight=False)
    render(report, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_real_molecules_get_the_marks_they_deserve(real: EvaluationReport) -> None:
    metrics = real.metrics
    assert metrics["valid_connected"].value == 1.0
    assert metrics["atom_stability"].value == 1.0
    assert metrics["molecule_stability"].value == 1.0
    assert metrics["unique"].value == 1.0
    assert metrics["edm_atom_stability"].value > 0.98
    assert metrics["edm_molecule_stability"].value > 0.9
    assert metrics["posebusters"].value > 0.85
    assert metrics["posebusters"].n == 40
    assert metrics["novel"].value > 0.95
    geometry = real.to_json()["geometry"]
    assert geometry["bond"]["w1"] < 0.01
    assert geometry["angle"]["w1"] < 3
    assert geometry["torsion"]["w1"] < 15
    motifs = real.to_json()["motifs"]
    assert motifs["deviation"] < 1.5 * motifs["floor"]
    assert "most deviant motifs" in table(real)


def test_report_json_is_what_is_documented(real: EvaluationReport, halves: tuple[Path, Path]) -> None:
    text = (halves[0].parent / "report" / "report.json").read_text()
    value = json.loads(text)
    assert "NaN" not in text
    assert set(value) == KEYS
    assert list(value["metrics"]) == METRICS
    assert all(set(m) == {"value", "standard_error", "interval95", "count", "n"} for m in value["metrics"].values())
    assert (value["format"], value["version"], value["file"]) == ("moldiff-evaluation", 1, "0.sdf")
    assert set(value["counts"]) == {"requested", "in_file", "unparsable", "valid", "invalid"}
    for kind, unit in {"bond": "angstrom", "angle": "degree", "torsion": "degree"}.items():
        found = value["geometry"][kind]
        assert set(found) == {"unit", "w1", "floor", "measured", "unknown", "types"}
        assert found["unit"] == unit
        assert all(set(t) == {"n", "mean", "reference_mean", "w1", "floor"} for t in found["types"].values())
    assert set(value["properties"]["logp"]) == {"unit", "n", "mean", "std", "reference_mean", "w1", "floor"}
    assert set(value["composition"]) == {"size", "element", "charge", "bond"}
    assert set(value["motifs"]) == {"deviation", "floor", "motifs"}
    assert value["motifs"]["motifs"]["bond C-C"]["reference_mean"] > 3
    assert sum(value["composition"]["size"]["counts"].values()) == 100
    assert set(value["posebusters"]) == {"version", "config", "sampled", "checked", "not_checked", "failures"}
    assert set(value["seconds"]) == {"chemistry", "reference", "geometry", "posebusters"}
    assert str(halves[0].parent) not in text


def test_folder_holds_whole_pictures_and_a_row_per_record(real: EvaluationReport, halves: tuple[Path, Path]) -> None:
    folder = halves[0].parent / "report"
    assert {path.name for path in folder.iterdir()} == {
        "report.json", "report.html", "molecules.csv", *set(PICTURES) - WITH_A_DATA_SET,
    }  # fmt: skip
    for name in set(PICTURES) - WITH_A_DATA_SET:
        content = (folder / name).read_bytes()
        assert content.startswith(MARKS[0])
        assert content.endswith(MARKS[1])
    rows = list(csv.DictReader(io.StringIO((folder / "molecules.csv").read_text())))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["index"] for row in rows] == [str(k) for k in range(100)]
    assert all(row["valid"] == row["stable"] == "1" and row["reason"] == "" for row in rows)
    assert sum(row["posebusters"] != "" for row in rows) == 40
    assert sum(row["edm_stable"] == "1" for row in rows) == real.metrics["edm_molecule_stability"].count
    assert sum(row["novel"] == "1" for row in rows) == real.metrics["novel"].count


def test_printed_table_names_every_rate_and_floor(real: EvaluationReport) -> None:
    text = table(real)
    assert "100 molecules = 100 valid + 0 invalid" in text
    for words in (
        "valid & connected",
        "EDM distance table",
        "PoseBusters",
        "floor",
        "bonds",
        "torsions",
        "logp",
        "± s.e.",
    ):
        assert words in text


def test_the_same_file_gives_the_same_report(
    real: EvaluationReport, halves: tuple[Path, Path], reference: Reference
) -> None:
    again = evaluate(halves[0], reference, posebusters=40).to_json()
    assert {**again, "seconds": 0, "date": ""} == {**real.to_json(), "seconds": 0, "date": ""}


@pytest.mark.parametrize("with_reference", [False, True])
def test_no_valid_molecule_at_all(
    with_reference: bool, reference: Reference, record: Callable[..., str], write: Callable[..., Path], tmp_path: Path
) -> None:
    lone = record("lone", [("C", 0.0, 0.0, 0.0), ("H", 9.0, 0.0, 0.0)], [])
    path, out = write(GARBAGE, lone, GARBAGE), tmp_path / "report"
    report = evaluate(path, reference if with_reference else None, out)
    value = json.loads((out / "report.json").read_text())
    assert value["counts"] == {"requested": 3, "in_file": 3, "unparsable": 2, "valid": 0, "invalid": 3}
    assert value["failures"] == {
        "mol block": {"mol block: RDKit cannot read it": 2},
        "one_fragment": {"one_fragment: 2 fragments": 1},
    }
    assert value["metrics"]["valid_connected"]["value"] == 0.0
    assert value["metrics"]["unique"]["value"] is None
    assert value["metrics"]["posebusters"] == value["metrics"]["valid_connected"]
    assert value["properties"]["logp"]["n"] == 0
    if with_reference:
        assert value["geometry"]["bond"]["w1"] is None
        assert value["geometry"]["bond"]["types"]["C-C"] | {"reference_mean": 0} == {
            "n": 0, "mean": None, "reference_mean": 0, "w1": None, "floor": None,
        }  # fmt: skip
    assert {found.name for found in out.iterdir()} == {"report.json", "report.html", "molecules.csv"}
    assert "0 valid + 3 invalid (2 unparsable, 0 not in the file)" in table(report)


def test_every_requested_molecule_is_accounted_for(water: str, write: Callable[..., Path]) -> None:
    report = evaluate(write(water, GARBAGE, water), requested=10, posebusters=0)
    assert report.counts() == {"requested": 10, "in_file": 3, "unparsable": 1, "valid": 2, "invalid": 8}
    assert sum(n for details in report.to_json()["failures"].values() for n in details.values()) == 8
    assert report.metrics["valid_connected"].n == 10
    assert report.metrics["molecule_stability"].n == 10
    assert "posebusters" not in report.metrics
    assert report.posebusters is None
    assert "7 not in the file" in table(report)


def test_bonds_that_are_too_long_show_in_the_distance(
    halves: tuple[Path, Path], reference: Reference, tmp_path: Path
) -> None:
    """Every coordinate stretched by 2 %: valid as before, C-C bonds 0.03 angstrom off, angles unchanged."""
    texts = []
    for text in halves[0].read_text().split("$$$$\n")[:-1]:
        lines = text.split("\n")
        for k in range(4, 4 + int(lines[3][:3])):
            xyz = 1.02 * np.array([float(lines[k][c : c + 10]) for c in (0, 10, 20)])
            lines[k] = "".join(f"{x:10.4f}" for x in xyz) + lines[k][30:]
        texts.append("\n".join(lines) + "$$$$\n")
    path = tmp_path / "stretched.sdf"
    path.write_text("".join(texts))
    report = evaluate(path, reference, posebusters=0)
    assert report.metrics["valid_connected"].value == 1.0
    geometry = report.to_json()["geometry"]
    assert geometry["bond"]["types"]["C-C"]["w1"] == pytest.approx(0.0305, abs=0.004)
    assert geometry["bond"]["w1"] > 5 * geometry["bond"]["floor"]
    assert geometry["angle"]["w1"] < 2 * geometry["angle"]["floor"]


def test_empty_file_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    path, out = tmp_path / "empty.sdf", tmp_path / "report"
    path.write_text("")
    with pytest.raises(MoldiffError, match="is empty"):
        evaluate(path, None, out)
    assert not out.exists()


def test_an_existing_report_is_only_replaced_when_asked(water: str, write: Callable[..., Path], tmp_path: Path) -> None:
    path, out = write(water), tmp_path / "report"
    evaluate(path, None, out, posebusters=0)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(MoldiffError, match="pass overwrite"):
        evaluate(path, None, out, posebusters=0)
    worse = evaluate(
        write(GARBAGE, water[:30] + "$$$$\n", water.replace("O ", "C ")), None, out, posebusters=0, overwrite=True
    )
    assert worse.counts()["valid"] == 0
    assert {found.name for found in out.iterdir()} == {"report.json", "report.html", "molecules.csv", "notes.txt"}


def test_a_foreign_folder_or_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_text("cat")
    (tmp_path / "file").write_text("text")
    for name, message in (("photos", "not replaced"), ("file", "is a file")):
        with pytest.raises(MoldiffError, match=message):
            check_output(tmp_path / name, overwrite=True)


def test_a_failed_write_leaves_nothing_half_done(
    real: EvaluationReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: object) -> None:
        raise MoldiffError(f"{path} could not be written: No space left on device")

    monkeypatch.setattr(module, "draw", lambda *_: {"bonds.png": b"picture"})
    monkeypatch.setattr(module, "write_json", full)
    with pytest.raises(MoldiffError, match="No space left"):
        write_report(real, tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("numbers", [{"posebusters": -1}, {"relax": -1}, {"workers": 0}, {"requested": 0}])
def test_negative_counts_are_one_line(numbers: dict[str, int], water: str, write: Callable[..., Path]) -> None:
    (name,) = numbers
    with pytest.raises(MoldiffError, match=f"^{name} must be at least ") as caught:
        evaluate(write(water), **numbers)
    assert caught.value.argument == name


def test_progress_names_the_stages(water: str, write: Callable[..., Path]) -> None:
    seen: list[tuple[str, int]] = []
    evaluate(write(water, water), progress=lambda stage, done: seen.append((stage, done)))
    assert seen == [(stage, done) for stage in ("chemistry", "posebusters") for done in (1, 2)]


def test_molecules_are_evaluated_like_their_file(sample_path: Path, tmp_path: Path) -> None:
    supplier = Chem.SDMolSupplier(str(sample_path), removeHs=False)
    of_file = evaluate(str(sample_path), posebusters=0)
    report = evaluate(supplier, posebusters=0, requested=201)
    assert report.table[:200].equals(of_file.table)
    assert report.summary["counts"] == {"requested": 201, "in_file": 200, "unparsable": 0, "valid": 200, "invalid": 1}
    assert report.summary["failures"] == {"missing": {"missing: not in the file": 1}}
    assert report.summary["metrics"]["valid"] == pytest.approx(200 / 201)
    assert (report.sha256, report.generation) == ("", None)
    report.save(tmp_path / "report")
    assert json.loads((tmp_path / "report" / "report.json").read_text())["file"] == "molecules"
    assert (tmp_path / "report" / "molecules.csv").read_text() == module.molecules_csv(report)
    with pytest.raises(MoldiffError, match="pass overwrite"):
        report.save(tmp_path / "report")
    assert "200 valid + 1 invalid" in repr(report)
    assert "<table" in report._repr_html_()


def test_the_table_has_numbers_and_flags(water: str, write: Callable[..., Path]) -> None:
    found = evaluate(write(water, GARBAGE, water), posebusters=0).table
    assert found["valid"].tolist() == [True, False, True]
    assert found["duplicate_of"].isna().tolist() == [True, True, False]
    assert found["duplicate_of"][2] == 0
    assert found["reason"][0] == ""
    assert found["novel"].isna().all()


def test_the_references_own_values_stand_beside_the_samples(real: EvaluationReport, reference: Reference) -> None:
    assert reference.rates["edm_molecule_stability"].n == 100
    kept = Reference.from_json(json.loads(json.dumps(reference.to_json())))
    assert kept.rates == reference.rates
    text = table(real)
    line = next(line for line in text.splitlines() if "stable molecules (EDM" in line)
    assert line.split()[-1] == f"{reference.rates['edm_molecule_stability'].value:.2%}"
    line = next(line for line in text.splitlines() if line.strip().startswith("novel, of the unique"))
    assert line.split()[-1] == "0.00%", "an SDF is compared with itself"
    unknown = {name: rate for name, rate in reference.rates.items() if "novel" not in name}
    text = table(replace(real, reference=replace(reference, rates=unknown)))
    line = next(line for line in text.splitlines() if line.strip().startswith("novel, of the unique"))
    assert line.split()[-1] == "-", "what is not known is no number"
    early = replace(reference, rates={})
    assert "does not carry its own rates" in table(replace(real, reference=early))


def test_a_rule_that_real_molecules_fail_is_said_to_be_out_of_place(tmp_path: Path) -> None:
    drugs = Path(__file__).parents[1] / "fixtures" / "drugs.sdf"
    text = table(evaluate(drugs, drugs, posebusters=0))
    assert re.search(r"EDM's distance table is made for QM9: only \d+% of the reference's own molecules pass", text)


def test_a_figure_that_there_is_nothing_for_says_why(tmp_path: Path, reference: Reference) -> None:
    path = tmp_path / "none.sdf"
    path.write_text("broken\n\n\n  x\nM  END\n$$$$\n")
    text = table(evaluate(path, reference, posebusters=0))
    assert "none: no valid molecule" in text and "none: no atom could be read" in text
    assert "too few of any type" in text and "too few values" in text


def test_several_files_are_one_sample(halves: tuple[Path, Path], tmp_path: Path) -> None:
    both = evaluate(list(halves), posebusters=0)
    assert [len(both.rows), both.rows[150].index] == [200, 150]
    assert both.to_json()["file"] == "0.sdf, 1.sdf"
    assert both.summary["counts"]["valid"] == 200
    other = tmp_path / "x.smi"
    other.write_text("C\n")
    with pytest.raises(MoldiffError, match=r"x\.smi is not an SDF"):
        evaluate([halves[0], other], posebusters=0)
    with pytest.raises(MoldiffError, match="named twice"):
        evaluate([halves[0], halves[0]], posebusters=0)


@pytest.mark.parametrize("kept", ["none", "polar"])
def test_molecules_whose_hydrogens_are_placed_are_as_valid_as_before(
    sample_texts: list[str], tmp_path: Path, kept: str
) -> None:
    """A docked pose has its polar hydrogens alone; what was valid with its own is so with those that are placed."""
    path, whole = tmp_path / "bare.sdf", tmp_path / "whole.sdf"
    texts = sample_texts[::8]
    whole.write_text("".join(texts))
    bare = list[str]()
    for text in texts:
        mol = Chem.RWMol(Chem.MolFromMolBlock(text, removeHs=False))
        Chem.Kekulize(mol, clearAromaticFlags=True)
        for atom in reversed(list(mol.GetAtoms())):
            if atom.GetAtomicNum() == 1 and (kept == "none" or atom.GetNeighbors()[0].GetAtomicNum() == 6):
                mol.RemoveAtom(atom.GetIdx())
        bare.append(f"{Chem.MolToMolBlock(mol, kekulize=False)}$$$$\n")
    path.write_text("".join(bare))
    own, placed = (
        [relax(row.mol, EnergyMethod.MMFF94S).values["relaxed_by_kcal_mol"] for row in rows if row.mol is not None]
        for rows, _ in (assess_file(whole), assess_file(path, add_hydrogens=kept == "polar"))
    )
    assert len(own) == len(placed) and np.mean(placed) < np.mean(own) + 1.0, "kcal/mol"
    of_file = evaluate(path, add_hydrogens=True).metrics
    assert of_file["valid"].value == evaluate(whole).metrics["valid"].value == 1.0
    assert of_file["molecule_stability"].value == 1.0
    assert of_file["edm_atom_stability"].value > 0.95
