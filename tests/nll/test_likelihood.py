"""Bounds from Python: the numbers of the command line, from molecules as well as from a file."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rdkit import Chem

import moldiff
from moldiff.errors import MoldiffError

SETTINGS = {"chain_steps": 8, "evaluations": 3, "repeats": 2}


def test_a_file_and_its_molecules_have_the_same_bounds(
    model: Path, write: Callable[..., Path], sample_texts: list[str], tmp_path: Path
) -> None:
    path = write(*sample_texts[:3])
    molecules = list(Chem.SDMolSupplier(str(path), removeHs=False))
    loaded = moldiff.load(model, device="cpu", precision="bfloat16")
    of_file = moldiff.likelihood(path, model=model, **SETTINGS)
    for given in (molecules, (mol for mol in molecules), pd.Series(molecules)):
        found = loaded.likelihood(given, **SETTINGS)
        own = [name for name in found.table.columns if not str(name).startswith("gfn2_")]  # texts there, numbers here
        pd.testing.assert_frame_equal(found.table[own], of_file.table[own])
    assert len(of_file) == 3
    assert of_file.table["nats"].dtype == float
    assert of_file.summary.scored == 3
    assert "3 records" in repr(of_file)
    assert "<table" in of_file._repr_html_()


def test_the_files_are_those_of_the_command(
    run: Callable[..., Any], model: Path, write: Callable[..., Path], sample_texts: list[str], tmp_path: Path
) -> None:
    path = write(*sample_texts[:2])
    from moldiff.nll.files import score_file

    score_file(path, tmp_path / "command.csv", model=str(model), evaluations=3, repeats=2)
    result = moldiff.likelihood(path, model=model, evaluations=3, repeats=2)
    result.save(tmp_path / "python.csv")
    assert (tmp_path / "python.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()
    one, other = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("command", "python"))
    for key in one.keys() - {"output", "seconds", "date", "request_sha256"}:
        assert one[key] == other[key], key
    with pytest.raises(MoldiffError, match="exists already"):
        result.save(tmp_path / "python.csv")


def test_a_field_named_as_a_z_score_is_never_taken_for_one(
    run: Callable[..., Any], model: Path, sample_path: Path, tmp_path: Path
) -> None:
    first = next(iter(Chem.SDMolSupplier(str(sample_path), removeHs=False)))
    first.SetProp("z_pos", "3.0")
    found = moldiff.likelihood([first], model=model, evaluations=3, repeats=2)
    assert found.summary.z_scores.startswith("none")
    assert list(found.table["input_z_pos"]) == ["3.0"]
    assert "z_pos" not in found.table
    assert "written" not in repr(found)
    with Chem.SDWriter(str(tmp_path / "m.sdf")) as writer:
        writer.write(first)
    words = ["likelihood", tmp_path / "m.sdf", "-o", tmp_path / "l.csv", "--model", model, "--evaluations", "3"]
    assert run(*words).status == 0
    assert {"input_z_pos"} <= set((tmp_path / "l.csv").read_text().splitlines()[0].split(","))


def test_molecules_without_coordinates_are_refused(
    model: Path, sample_path: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with pytest.raises(MoldiffError, match="none of 1 molecules has a bound; the first: no 3D conformer") as told:
        moldiff.likelihood("CCO", model=model, **SETTINGS)
    assert told.value.argument == "molecules"
    first = next(iter(Chem.SDMolSupplier(str(sample_path), removeHs=False)))
    mixed = moldiff.likelihood([first, "CCO"], model=model, **SETTINGS)
    assert mixed.table["status"].tolist() == ["scored", "not scored"]
    assert "1 of 2 molecules have no bound" in caplog.text
    mixed.save(tmp_path / "s.csv")
    assert len(list(csv.DictReader((tmp_path / "s.csv").open()))) == 2
    with pytest.raises(MoldiffError, match="evaluations"):
        moldiff.likelihood(first, model=model, evaluations=0)
