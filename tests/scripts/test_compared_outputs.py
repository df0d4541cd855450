"""Two outputs are the same, or the table says in what they differ."""

import math
from pathlib import Path

import numpy as np
import pytest
from script import load_script

compared_outputs = load_script("compared_outputs")
Case, Output, compare, deviations, numbers, read_molecules, read_output = (
    compared_outputs.Case, compared_outputs.Output, compared_outputs.compare, compared_outputs.deviations,
    compared_outputs.numbers, compared_outputs.read_molecules, compared_outputs.read_output,
)  # fmt: skip
SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"


def output(
    shift: float = 0.0, smiles: str = "C", state: str = "valid", value: float = 2.0, symbol: str = "C"
) -> Output:
    return Output([smiles], [state], [([symbol], np.full((1, 3), shift))], {"x": [value]}, 1.0)


@pytest.mark.parametrize(
    ("new", "verdict"),
    [
        (output(), "same"),
        (output(shift=1e-4), "same"),
        (output(shift=3e-4), "DIFFERENT: coordinates"),
        (output(symbol="N"), "DIFFERENT: atoms"),
        (output(smiles="N"), "DIFFERENT: SMILES"),
        (output(state="invalid"), "DIFFERENT: states"),
        (output(value=2.0001), "same"),
        (output(value=2.001), "DIFFERENT: values"),
        (output(value=math.nan), "DIFFERENT: missing values"),
        (Output([], [], [], {"x": [2.0]}, 1.0), "DIFFERENT: number of records, SMILES, states"),
    ],
)
def test_a_difference_is_named(new: Output, verdict: str) -> None:
    assert compare(output(), new).verdict == verdict


def test_values_without_a_counterpart_differ_and_two_blanks_do_not() -> None:
    assert list(deviations({"x": [1.0, math.nan]}, {"x": [1.0, math.nan]})) == [0.0, 0.0]
    assert list(deviations({"x": [1.0]}, {})) == [math.inf]


def test_files_are_read_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("smiles,status,x\nCC,filtered,\nC,valid,3\n")
    (tmp_path / "out.sdf").write_bytes(SAMPLE.read_bytes())
    found = read_output(Case("generate", numbers=True), tmp_path, 2.5)
    assert (found.smiles, found.states, found.seconds) == (["CC", "C"], ["invalid", "valid"], 2.5)
    assert list(found.values) == ["x"] and math.isnan(found.values["x"][0])
    assert len(found.molecules) == 200
    assert found.molecules[0][1].shape == (len(found.molecules[0][0]), 3)
    assert numbers([{"a": "1", "b": "x"}]) == {"a": [1.0]}
    (tmp_path / "bad.sdf").write_text("no molecule\n\n\n$$$$\n")
    with pytest.raises(ValueError, match=r"record 0 of bad\.sdf"):
        read_molecules(tmp_path / "bad.sdf")
