"""Results as objects: molecules with numbers, a table with a row for every draw, the summary, the files."""

import csv
import json
import logging
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from methane import METHANE, METHYL, SQUEEZED
from rdkit import Chem

import moldiff
from moldiff.arrays import RawSample
from moldiff.errors import MoldiffError
from moldiff.generation.molecule_result import COLUMNS, MoleculeResult
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.status import Status


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws 0, 3, 6, ... are methane, 1, 4, ... a methyl radical, 2 never finite, 5, 8, ... squeezed methane."""

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        for number in range(first, first + count):
            arrays = None if number == 2 else [METHANE, METHYL, SQUEEZED][number % 3]
            yield RawSample(number, arrays, 1 if number == 2 else -1)

    monkeypatch.setattr(MoleculeSampler, "draw", draw)


def test_a_result_is_a_sequence_of_its_molecules(scripted: None, model: Path) -> None:
    result = moldiff.generate(9, model=model)
    assert isinstance(result, moldiff.Result)
    assert len(result) == len(result.molecules) == 3
    assert [mol is one for mol, one in zip(result, result.molecules, strict=True)] == [True] * 3
    assert result[0] is result.molecules[0]
    assert result[1:] == result.molecules[1:]
    assert result[-1] in result
    first, *_ = result
    assert first is result[0]
    with pytest.raises(IndexError):
        result[3]


def test_properties_of_molecules_are_numbers(scripted: None, packed: Path) -> None:
    (mol,) = moldiff.generate(2, model=packed, targets=["logp=0.5"])
    found = mol.GetPropsAsDict(autoConvertStrings=False)
    assert found["draw"] == 0
    assert (found["status"], found["reason"]) == ("valid", "")
    assert found["target_logp"] == 0.5
    assert found["error_logp"] == pytest.approx(found["logp"] - 0.5)
    assert isinstance(found["n_atoms"], int)
    assert isinstance(found["qed"], float)
    assert "duplicate_of" not in found


def test_the_table_has_a_row_for_each_draw_with_numbers(scripted: None, model: Path) -> None:
    result = moldiff.generate(9, model=model)
    table = result.table
    assert list(table.columns) == list(COLUMNS)
    assert list(table["draw"]) == list(range(9))
    assert sum(table["status"] == "valid") == 3
    numbers = [name for name in table.columns if pd.api.types.is_numeric_dtype(table[name])]
    assert set(table.columns) - set(numbers) == {
        "moldiff_id", "status", "reason", "decoding", "smiles", "duplicate_of",
    }  # fmt: skip
    assert list(result.failed["draw"]) == [1, 2, 4, 5, 7, 8]
    assert all(result.failed["reason"] != "")


def test_the_files_are_those_of_the_command(
    run: Callable[..., Any], scripted: None, packed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "command.sdf"
    run("generate", "-n", 9, "--model", packed, "-o", out, "--target", "logp=0.5")
    result = moldiff.generate(9, model=packed, targets=["logp=0.5"])
    assert result.save(tmp_path / "python.sdf") == tmp_path / "python.sdf"
    for suffix in (".sdf", ".csv", ".targets.png"):
        assert (tmp_path / f"python{suffix}").read_bytes() == out.with_suffix(suffix).read_bytes(), suffix
    one, other = (json.loads((tmp_path / f"{name}.run.json").read_text()) for name in ("command", "python"))
    assert one.keys() == other.keys()
    for key in one.keys() - {"command", "seconds", "output", "beside"}:
        assert one[key] == other[key], key
    assert [entry["sha256"] for entry in one["beside"]] == [entry["sha256"] for entry in other["beside"]]
    read = pd.read_csv(tmp_path / "python.csv", keep_default_na=True)
    for name in ("logp", "error_logp", "evaluations"):
        assert read[name].tolist() == pytest.approx(result.table[name].astype(float).tolist(), abs=0, nan_ok=True)
    with pytest.raises(MoldiffError, match="exists already"):
        result.save(tmp_path / "python.sdf")
    result.save(tmp_path / "python.sdf", overwrite=True)
    with pytest.raises(MoldiffError, match=r"must end in one of \.csv, .*, \.sdf, .*, \.smi") as caught:
        result.save(tmp_path / "python.pdb")
    assert caught.value.argument == "path"


def test_kept_ones_are_among_the_molecules_and_in_the_file(scripted: None, model: Path, tmp_path: Path) -> None:
    result = moldiff.generate(9, model=model, keep_invalid=True)
    assert len(result) == 8
    assert sum(mol.GetProp("status") == "valid" for mol in result) == 3
    result.save(tmp_path / "m.sdf")
    assert len((tmp_path / "m.sdf").read_text().split("$$$$\n")) == 9
    assert len(list(csv.DictReader((tmp_path / "m.csv").open()))) == 9


def test_fewer_valid_molecules_than_asked_for_are_said(
    scripted: None, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = moldiff.generate(9, model=model)
    (said,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert said.getMessage().startswith("3 valid molecules of 9 that were asked for; ")
    assert result.summary.requested == 9
    assert result.summary.counts["valid"] == 3
    assert sum(result.summary.counts.values()) == 9
    assert result.summary.evaluations == result.table["evaluations"].sum()
    assert result.summary.line() in repr(result)
    assert "written" not in result.summary.line()


def test_nothing_is_said_if_all_are_valid(scripted: None, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(moldiff.generate(1, model=model)) == 1
    assert caplog.text == ""


def test_a_notebook_sees_a_table_and_pictures(scripted: None, model: Path) -> None:
    page = moldiff.generate(9, model=model)._repr_html_()
    assert page.count("<svg") == 3
    assert "<table" in page
    assert "9 requested" in page
    assert "<?xml" not in page
    assert moldiff.generate(2, model=model, keep_invalid=True)._repr_html_().count("<svg") <= 2


def test_values_and_rows_agree() -> None:
    result = MoleculeResult(3, Status.VALID, smiles="C", properties={"logp": 1 / 3, "qed": float("nan")})
    assert (result.values()["logp"], result.row()["logp"]) == (1 / 3, "0.333333")
    assert (result.values()["qed"], result.row()["qed"]) == (None, "")
    assert (result.values(("nothing",)), result.row(("nothing",))) == ({"nothing": None}, {"nothing": ""})


def test_molecules_survive_pickling_with_their_numbers(scripted: None, model: Path) -> None:
    kept = Chem.GetDefaultPickleProperties()
    Chem.SetDefaultPickleProperties(Chem.PropertyPickleOptions.AllProps)
    try:
        mol = pickle.loads(pickle.dumps(moldiff.generate(1, model=model)[0]))
    finally:
        Chem.SetDefaultPickleProperties(kept)
    assert mol.GetIntProp("draw") == 0
    assert mol.GetDoubleProp("logp") == pytest.approx(mol.GetPropsAsDict()["logp"])


def test_a_pickled_result_keeps_the_properties_of_its_molecules(model: Path) -> None:
    """Also where they were looked at before: RDKit pickles a molecule without them."""
    result = moldiff.generate(2, model=model, evaluations=2, keep_invalid=True)
    before = [mol.GetPropsAsDict() for mol in result.molecules]
    copied = pickle.loads(pickle.dumps(result))
    assert [mol.GetPropsAsDict() for mol in copied] == before
    assert copied._repr_html_() == result._repr_html_()
