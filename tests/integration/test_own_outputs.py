"""What a command writes the next one reads: kinds of output, data fields that are carried on, empty results."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem

import moldiff
from moldiff.chem.io.inputs import texts_of
from moldiff.chem.io.outputs import KINDS, kind_of
from moldiff.chem.io.records import read_records
from moldiff.chem.io.tags import apart
from moldiff.errors import MoldiffError
from moldiff.run_record import record_path

Run = Callable[..., Any]
FAST = ["--model", "qm9_fast", "--device", "cpu", "--n-atoms", "12..16"]


@pytest.fixture(scope="module")
def drawn() -> moldiff.Result:
    return moldiff.generate(24, model="qm9_fast", n_atoms=(12, 16), device="cpu")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.suffix)
def test_every_kind_of_output_is_read_again(drawn: moldiff.Result, kind: Any, tmp_path: Path) -> None:
    out = drawn.save(tmp_path / f"m.v2{kind.suffix}")
    assert record_path(out) == tmp_path / "m.v2.run.json"
    record = json.loads(record_path(out).read_text())
    assert record["output"] == out.name
    beside = {path.name for path in tmp_path.iterdir()} - {out.name, "m.v2.run.json"}
    assert beside == (set() if kind.is_table else {"m.v2.csv"})
    valid = list(drawn.table[drawn.table["status"] == "valid"]["smiles"])
    assert len(valid) > 3
    found = [record for record in read_records(out) if record.mol is not None]
    assert [
        Chem.MolToSmiles(Chem.RemoveHs(one.mol)) for one in found if one.tags.get("status", "valid") == "valid"
    ] == [Chem.CanonSmiles(smiles) for smiles in valid]
    again = tmp_path / "again"
    again.mkdir()
    assert drawn.save(again / out.name).read_bytes() == out.read_bytes(), "the same bytes each time"
    with pytest.raises(MoldiffError, match="exists already"):
        drawn.save(out)


def test_a_packed_table_holds_what_the_plain_one_does(drawn: moldiff.Result, tmp_path: Path) -> None:
    plain, packed = (drawn.save(tmp_path / name / f"m{name}") for name in (".csv", ".csv.gz"))
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    assert plain.read_text().splitlines()[0].split(",")[:3] == ["moldiff_id", "draw", "status"]


@pytest.mark.parametrize("name", ["m.pdb", "m", ".sdf", "m.sdf.zip", "m.parquet.gz"])
def test_other_names_are_refused_with_those_that_are_known(run: Run, tmp_path: Path, name: str) -> None:
    run("generate", "-n", "1", *FAST, "-o", tmp_path / name).assert_refused(
        "must end in one of .csv, .csv.gz, .parquet"
    )
    with pytest.raises(MoldiffError):
        kind_of(Path(name))


def test_what_a_kind_cannot_hold_is_refused(run: Run, model: Path, tmp_path: Path) -> None:
    smiles = tmp_path / "a.smi"
    smiles.write_text("CCO\n")
    run("conformers", smiles, "--model", model, "-o", tmp_path / "c.csv").assert_refused("conformers are coordinates")
    run("generate", "-n", "1", *FAST, "--confidence", "-o", tmp_path / "c.smi").assert_refused(
        "confidence needs an SDF"
    )
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("c.")] == []


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def assay(tmp_path: Path, sample_texts: list[str]) -> Path:
    """Molecules with data fields of an assay, some with names of our own."""
    path = tmp_path / "assay.sdf"
    fields = ["> <IC50 (nM)>\n12,5\n\n> <status>\nactive\n\n", "> <Batch>\n=HYPERLINK(1)\n\n> <status>\ninactive\n\n"]
    path.write_text("".join(t[: -len("$$$$\n")] + f + "$$$$\n" for t, f in zip(sample_texts[:2], fields, strict=True)))
    return path


@pytest.mark.parametrize("command", [["vary", "-n", "1"], ["conformers", "-n", "1"]], ids=lambda command: command[0])
def test_data_fields_follow_the_molecule_into_table_and_sdf(
    run: Run, command: list[str], model: Path, assay: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o.sdf"
    options = ["--evaluations", "2", "--keep-invalid", "--model", model, "-o", out]
    assert run(*command, assay, *options).status == 0
    rows = rows_of(tmp_path / "o.csv")
    assert [row["IC50 (nM)"] for row in rows] == ["12,5", ""]
    assert [row["Batch"] for row in rows] == ["", "'=HYPERLINK(1)"], "no formula"
    assert [row["input_status"] for row in rows] == ["active", "inactive"]
    assert all(row["status"] not in ("active", "inactive") for row in rows)


def test_data_fields_follow_into_the_table_of_likelihoods(run: Run, model: Path, assay: Path, tmp_path: Path) -> None:
    smiles = tmp_path / "more.csv"
    smiles.write_text("smiles,dose,status\nCCO,3,none\n")
    out = tmp_path / "l.csv"
    settings = ["--chain-steps", "4", "--evaluations", "2", "--repeats", "1", "--model", model]
    assert run("likelihood", assay, smiles, *settings, "-o", out).status == 0
    rows = rows_of(out)
    assert [row["file"] for row in rows] == ["assay.sdf", "assay.sdf", "more.csv"]
    assert [row["index"] for row in rows] == ["0", "1", "2"]
    assert [row["input_status"] for row in rows] == ["active", "inactive", "none"]
    assert [row["dose"] for row in rows] == ["", "", "3"]
    assert rows[2]["status"] == "not scored" and "conformer" in rows[2]["reason"]
    assert run("likelihood", assay, *settings, "-o", tmp_path / "p.parquet").status == 0
    import pandas as pd

    table = pd.read_parquet(tmp_path / "p.parquet")
    assert table["nats_pos"].dtype == float and list(table["input_status"]) == ["active", "inactive"]


def test_names_that_are_taken_get_out_of_the_way() -> None:
    assert apart(["a", "status", "input_status"], {"status"}) == {
        "a": "a", "status": "input_status", "input_status": "input_input_status",
    }  # fmt: skip


def test_an_output_without_molecules_is_an_input_without_molecules(run: Run, model: Path, tmp_path: Path) -> None:
    empty, out = tmp_path / "empty.sdf", tmp_path / "next.sdf"
    made = run("generate", "-n", "3", "--evaluations", "2", "--model", model, "--where", "mw<1", "-o", empty)
    assert made.status == 0 and empty.read_bytes() == b""
    for command in ("vary", "conformers"):
        found = run(command, empty, "--model", model, "-o", out, "--overwrite")
        assert found.status == 0, found.err
        assert "0 requested = 0 valid" in found.out
        assert out.read_bytes() == b"" and len(rows_of(tmp_path / "next.csv")) == 0
    scored = run("likelihood", empty, "--model", model, "-o", tmp_path / "l.csv")
    assert scored.status == 0 and "0 records" in scored.out, scored.err
    for command in ("prepare", "relax"):
        run("data", command, empty, "-o", tmp_path / "d.sdf").assert_refused("there are no molecules in what was given")
    few, none = tmp_path / "few.smi", tmp_path / "none.smi"
    few.write_text("CCO a\nCCN b\n")
    assert run("filter", few, "-o", none, "--where", "mw<1").status == 0 and none.read_bytes() == b""
    screened = run("screen", few, none, "-o", tmp_path / "screen")
    assert screened.status == 0 and "2 requested = 2 valid" in screened.out, screened.err
    missed = []
    for name in ("empty.sdf", "packed.sdf.gz"):
        out = tmp_path / name
        words = ("--where", "mw<1", "--overwrite", "-o", out)
        assert run("generate", "-n", "3", "--evaluations", "2", "--model", model, *words).status == 0
        told = run("evaluate", out, "-o", tmp_path / f"{name}.report")
        missed.append(told.out.splitlines()[0].partition(name)[2])
        assert told.status == 0 and "3" in missed[-1], told.err
    assert missed[0] == missed[1]
    stranger = tmp_path / "stranger.sdf"
    stranger.write_bytes(b"")
    run("vary", stranger, "--model", model, "-o", tmp_path / "x.sdf").assert_refused("stranger.sdf is empty")


def test_files_that_follow_each_other_are_counted_through(tmp_path: Path) -> None:
    first, second = tmp_path / "1.smi", tmp_path / "2.smi"
    first.write_text("C a\nCC b\n")
    second.write_text("CCC c\n")
    assert [(path.name, text.index, text.name) for path, text in texts_of([first, second])] == [
        ("1.smi", 0, "a"), ("1.smi", 1, "b"), ("2.smi", 2, "c"),
    ]  # fmt: skip
    with pytest.raises(MoldiffError, match=r"no\.smi cannot be read"):
        texts_of([first, tmp_path / "no.smi"])
