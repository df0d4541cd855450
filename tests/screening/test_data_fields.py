"""Data fields of records as numbers: conditions and ranks by SDF tags, columns and properties of molecules."""

from pathlib import Path

import pyarrow.parquet
import pytest
from rdkit import Chem

import moldiff
from moldiff.cli.main import main
from moldiff.errors import MoldiffError

TABLE = "smiles,IC50 nM,batch\nCCO,12.5,1\nCCN,300,2\nCCC,>1000,2\nCCF,,1\nCCCl,inf,2\nCCBr,80,\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "assay.csv"
    path.write_text(TABLE)
    return path


def test_a_condition_on_a_column(table: Path) -> None:
    found = moldiff.filter(table, where="tag:IC50 nM < 100").table
    assert list(found["status"]) == ["valid", *["filtered"] * 4, "valid"]
    assert list(found["reason"]) == [
        "",
        "tag:IC50 nM: 300, must be <100",
        "tag:IC50 nM: not known ('>1000' is no number), must be <100",
        "tag:IC50 nM: not known ('' is no number), must be <100",
        "tag:IC50 nM: not known ('inf' is no number), must be <100",
        "",
    ]
    assert list(moldiff.filter(table, where=["tag:batch=2", "tag:IC50 nM=200..400"]).table["status"]) == [
        "filtered", "valid", *["filtered"] * 4,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["1_000", "1,000", "１０"])
def test_what_nobody_means_as_a_number_is_none(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "a.csv").write_text(f'smiles,dose\nCCO,"{text}"\n', encoding="utf-8")
    (reason,) = moldiff.filter(path, where="tag:dose>1").table["reason"]
    assert reason == f"tag:dose: not known ('{text}' is no number), must be >1"


def test_of_each_record_its_own_fields(tmp_path: Path) -> None:
    """In an SDF records need not have the same fields; molecules in memory have theirs as properties."""
    molecules = [Chem.MolFromSmiles(smiles) for smiles in ("CCO", "CCN")]
    molecules[0].SetProp("dose", "1.5")
    molecules[0].SetProp("_Name", "a")
    with Chem.SDWriter(str(tmp_path / "two.sdf")) as writer:
        for mol in molecules:
            writer.write(mol)
    for given in (tmp_path / "two.sdf", molecules):
        found = moldiff.filter(given, where="tag:dose>1").table
        assert list(found["status"]) == ["valid", "filtered"]
        assert found["reason"][1] == "tag:dose: not known (the record has no such field), must be >1"


@pytest.mark.parametrize(
    ("rank", "first"), [("tag:IC50 nM:low", "CCO"), ("tag:IC50 nM=90", "CCBr"), ("tag:batch", "CCN")]
)
def test_ranks_by_a_column(table: Path, rank: str, first: str) -> None:
    result = moldiff.filter(table, rank=rank, n=1)
    assert [Chem.MolToSmiles(mol) for mol in result] == [first]


def test_a_screen_takes_them_too(table: Path, tmp_path: Path) -> None:
    words = ["screen", str(table), "--where", "tag:batch>=1", "--rank", "tag:IC50 nM : min : 10..400", "-o", "run"]
    assert main([*words[:-1], str(tmp_path / "run"), "--top", "2", "--workers", "1"]) == 0
    ranked = pyarrow.parquet.read_table(tmp_path / "run" / "ranked.parquet").to_pylist()
    assert [row["smiles"] for row in ranked[:2]] == ["CCO", "CCN"]


@pytest.mark.parametrize("words", [{"where": "tag:IC50 nm>5"}, {"rank": "tag:IC50 nm"}, {"rank": "tag:IC50 nm=5"}])
def test_a_field_that_no_record_has_is_said(
    table: Path, words: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    told = "tag:IC50 nm: no record has a data field 'IC50 nm' (did you mean 'IC50 nM'?)"
    moldiff.filter(table, **words)  # type: ignore[arg-type]
    assert caplog.messages == [told]
    with pytest.raises(MoldiffError) as caught:
        moldiff.screen(table, table.with_name("run"), **words)  # type: ignore[arg-type]
    assert str(caught.value) == told
    assert not table.with_name("run").exists()


def test_a_field_that_some_records_have_is_not_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (first := tmp_path / "a.csv").write_text("smiles,x\nCCO,1\n")
    (second := tmp_path / "b.csv").write_text("smiles,dose\nCCN,5\n")
    result = moldiff.filter([first, second], where="tag:dose>1")
    assert [str(status) for status in result.table["status"]] == ["filtered", "valid"]
    assert caplog.messages == []


def test_what_is_drawn_has_none() -> None:
    with pytest.raises(MoldiffError, match="where 'tag:dose<1': what is drawn has no data fields"):
        moldiff.generate(1, where="tag:dose<1")
    with pytest.raises(MoldiffError, match="unknown property 'tag:'"):
        moldiff.filter(["CCO"], where="tag:<1")
