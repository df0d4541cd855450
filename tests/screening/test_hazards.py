"""The gate at the exit of filter, screen and evaluate: of what is withheld a table tells where it stood, and nothing
else; the sums add up; an override marks all that it lets out."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from canaries import CAUGHT, NEAR_MISSES
from rdkit import Chem

import moldiff
from moldiff.chem.filters.hazard_list import hazard_list_of
from moldiff.chem.filters.hazards import STANDARD_GATE
from moldiff.chem.io.embed import embed
from moldiff.cli.main import main
from moldiff.errors import MoldiffError
from moldiff.evaluation.evaluate import evaluate
from moldiff.screening.screen import screening_of

ALL_CAUGHT = [smiles for members in CAUGHT.values() for smiles in members]
NAMES = [f"secret{place}" for place in range(len(ALL_CAUGHT))]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Canaries between near misses, and one that RDKit does not accept."""
    monkeypatch.chdir(tmp_path)
    lines = [f"{smiles} {name}" for smiles, name in zip(ALL_CAUGHT, NAMES, strict=True)]
    lines += [f"{smiles} fine{place}" for place, smiles in enumerate(NEAR_MISSES.values())]
    lines += ["CC(C)OP(=O)(F)(OC(C)C)N(C)(C)(C)C secret-and-wrong"]
    Path("library.smi").write_text("\n".join(lines) + "\n")
    return Path("library.smi")


def everything_in(folder: Path) -> str:
    """Return the text of all files below a folder, unpacked."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            found.append((gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace"))
    return "\n".join(found)


def leaks(text: str) -> list[str]:
    keys = [Chem.MolToInchiKey(Chem.MolFromSmiles(smiles)) for smiles in ALL_CAUGHT]
    canonical = [Chem.CanonSmiles(smiles) for smiles in ALL_CAUGHT]
    return [one for one in (*keys, *ALL_CAUGHT, *canonical, "secret") if one in text]


WRONG = "ClCCSc1ccccc1C(C)(C)(C)(C)C"  # a canary that RDKit does not accept


@pytest.mark.parametrize("given", ["file", "SMILES", "molecules"])
def test_one_that_rdkit_does_not_accept_is_withheld_whatever_it_comes_as(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.smi").write_text(f"CCO fine\n{WRONG} secret\nCC(C)(C)(C)(C)C wrong\n")
    molecules = [Chem.MolFromSmiles(smiles, sanitize=False) for smiles in ("CCO", WRONG, "CC(C)(C)(C)(C)C")]
    for mol, name in zip(molecules, ("fine", "secret", "wrong"), strict=True):
        mol.SetProp("_Name", name)
    ways: dict[str, Any] = {"file": Path("m.smi"), "SMILES": ["CCO", WRONG, "CC(C)(C)(C)(C)C"], "molecules": molecules}
    found = moldiff.filter(ways[given]).table
    assert list(found["status"]) == ["valid", "withheld", "invalid"]
    assert (found["name"][1], found["reason"][1], found["reason"][2]) == ("", "", "valence: C with 6 bonds")
    made = moldiff.conformers(ways[given], 1, evaluations=3, model="qm9_fast").table
    assert list(made["status"]) == ["valid", "withheld", "failed"]
    assert list(made["name"])[1] == ""
    odd = ["Cl[As](Cl)C=CCl", "CCO"]  # sound, of an element that no model knows
    made = moldiff.conformers(odd, 1, evaluations=3, model="qm9_fast").table
    assert list(made["status"]) == ["withheld", "valid"]
    if given != "file":  # which has no coordinates
        assert moldiff.evaluate(ways[given], posebusters=0).counts()["unparsable"] == 0
    else:
        assert main(["data", "relax", "m.smi", "-o", "relaxed.sdf", "--method", "mmff94s"]) == 0
        assert "secret" not in everything_in(Path()).replace(Path("m.smi").read_text(), "")


def test_filter_hands_out_no_structure(library: Path) -> None:
    Path("out").mkdir()
    for suffix in ("smi", "csv", "parquet"):
        assert main(["filter", str(library), "-o", f"out/kept.{suffix}", "--overwrite", "--keep-duplicates"]) == 0
        assert leaks(everything_in(Path("out"))) == []
        with open("out/kept.records.csv", newline="") as handle:
            rows = list(csv.DictReader(handle))
        withheld = [row for row in rows if row["status"] == "withheld"]
        assert [int(row["record"]) for row in withheld] == [*range(len(ALL_CAUGHT)), len(rows) - 1]
        told = {name for row in withheld for name, value in row.items() if value}
        assert told == {"record", "file", "status"}
        counts = json.loads(Path("out/kept.run.json").read_text())["counts"]
        assert (counts["withheld"], counts["valid"]) == (len(ALL_CAUGHT) + 1, len(NEAR_MISSES))
        assert sum(counts.values()) == len(rows)


def test_python_gives_none_back() -> None:
    result = moldiff.filter([*ALL_CAUGHT, "CCO"])
    assert [str(status) for status in result.table["status"]] == ["withheld"] * len(ALL_CAUGHT) + ["valid"]
    assert len(result) == 1
    assert leaks(result.table.to_csv() + repr(result)) == []


def test_screen_hands_out_no_structure_and_counts(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["screen", str(library), "--where", "mw<1000", "--rank", "mw", "--top", "2", "--shard-size", "9"]
    assert main([*words, "-o", "run", "--workers", "1"]) == 0
    told = capsys.readouterr().out
    assert f"hazards {len(NEAR_MISSES)} -{len(ALL_CAUGHT) + 1} " in " ".join(told.split())
    assert f"+ {len(ALL_CAUGHT) + 1} withheld +" in told
    assert leaks(everything_in(Path("run"))) == []
    run = screening_of("run")
    assert leaks(run.records.to_csv() + run.ranked.to_csv()) == []
    withheld = run.records[run.records["status"] == "withheld"]
    assert len(withheld) == len(ALL_CAUGHT) + 1
    assert not withheld[["name", "stage", "reason", "smiles", "inchikey"]].any().any()
    assert withheld["mw"].isna().all()
    # other options of the same run: nothing is withheld less
    assert main([*words, "--where", "logp<9", "-o", "run"]) == 0
    assert f"+ {len(ALL_CAUGHT) + 1} withheld +" in capsys.readouterr().out
    assert leaks(everything_in(Path("run"))) == []


def test_a_list_counts_from_the_moment_it_is_named(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("few.smi").write_text("NCc1ccccc1 a\n[NH3+]Cc1ccccc1.[Cl-] b\nCCO c\n")
    Path("members.smi").write_text("NCc1ccccc1\n")
    hazard_list_of(["members.smi"], "a test").write(Path("list.json"))
    assert main(["screen", "few.smi", "--keep-duplicates", "-o", "run"]) == 0
    assert "3 valid" in capsys.readouterr().out
    assert main(["screen", "few.smi", "--keep-duplicates", "--hazard-list", "list.json", "-o", "run"]) == 0
    assert "1 valid + 0 invalid + 0 filtered + 0 duplicate + 2 withheld" in capsys.readouterr().out
    result = moldiff.filter("few.smi", hazard_lists="list.json")
    assert result.summary.counts["withheld"] == 2
    Path("list.json").unlink()
    assert main(["screen", "resume", "run"]) == 2
    assert "error: --hazard-list list.json cannot be used" in capsys.readouterr().err
    assert main(["filter", "few.smi", "--hazard-list", "list.json", "-o", "out.smi"]) == 2
    assert not Path("out.smi").exists()


def test_a_release_marks_every_output(library: Path) -> None:
    reason = "licensed medicines of our own"
    words = ["filter", str(library), "--release-hazards", reason]
    Path("drug.smi").write_text(f"{CAUGHT['nitrogen mustards'][0]} own\n")
    assert main(["filter", "drug.smi", "--release-hazards", reason, "-o", "out.sdf"]) == 0
    (mol,) = Chem.SDMolSupplier("out.sdf")
    assert mol.GetProp("hazards_released") == reason
    for suffix in ("smi", "csv"):
        assert main([*words, "-o", f"out.{suffix}", "--overwrite"]) == 0
        lines = Path(f"out.{suffix}").read_text().splitlines()
        assert len(lines) > len(ALL_CAUGHT)
        assert all(reason in line for line in lines[suffix == "csv" :])
        rows = list(csv.DictReader(Path("out.records.csv").read_text().splitlines()))
        assert {row["hazards_released"] for row in rows if row["smiles"]} == {reason}
        assert json.loads(Path("out.run.json").read_text())["options"]["hazards"]["released"] == reason
    run = moldiff.screen("drug.smi", "run", release_hazards=reason, top=1)
    assert run is not None
    assert set(run.ranked["hazards_released"]) == {reason}
    with pytest.raises(MoldiffError, match="3 words or more"):
        moldiff.filter("drug.smi", release_hazards="no reason")


def test_standard_forms_are_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def gate(self: object, mol: Chem.Mol) -> str:
        seen.append(Chem.MolToSmiles(mol))
        return "hazard" if len(seen) == 2 else ""

    monkeypatch.setattr(type(STANDARD_GATE), "__call__", gate)
    result = moldiff.filter(["CC[NH3+].[Cl-]"], standardise=True)
    assert seen == ["CC[NH3+].[Cl-]", "CCN"]
    assert result.summary.counts["withheld"] == 1


def test_evaluate_tells_no_structure(tmp_path: Path) -> None:
    with Chem.SDWriter(str(tmp_path / "m.sdf")) as writer:
        for smiles in (ALL_CAUGHT[0], "CCO"):
            mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
            placed, reason = embed(mol, seed=1, timeout_s=20)
            assert placed is not None, reason
            placed.SetProp("_Name", "secret")
            writer.write(placed)
    report = evaluate(tmp_path / "m.sdf", posebusters=0)
    assert [(str(row.status), row.name, row.smiles) for row in report.rows] == [
        ("withheld", "", ""), ("valid", "secret", "CCO")
    ]  # fmt: skip
    assert report.counts() == {"requested": 2, "in_file": 2, "unparsable": 0, "valid": 1, "invalid": 1}
