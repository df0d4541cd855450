"""Targets through the whole of generation: columns, tags, summaries, refusals; what is measured and what counts."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from generating import generate_files, wishes
from methane import METHANE, METHYL, SQUEEZED
from rdkit import Chem

import moldiff
from moldiff.arrays import RawSample
from moldiff.datasets.statistics import PropertyStatistics
from moldiff.errors import MoldiffError
from moldiff.extras import Extra
from moldiff.generation import target_report
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.generation.options.property_guide import PropertyGuide
from moldiff.generation.options.steering import steer
from moldiff.generation.options.steering_options import SteeringOptions
from moldiff.generation.summary import Summary
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.property_model import PropertyModel
from moldiff.randomness import NoiseSource
from moldiff.sampling import partial_walks
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.scoring.targets import parse_target
from moldiff.status import Status

METHANE_LOGP = 0.6361


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws 0, 3, 6, ... are methane, 1, 4, ... a methyl radical, 2, 5, ... squeezed methane."""

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        return (
            RawSample(number, [METHANE, METHYL, SQUEEZED][number % 3], -1) for number in range(first, first + count)
        )

    monkeypatch.setattr(MoleculeSampler, "draw", draw)


def aims(summary: Summary) -> list[SimpleNamespace]:
    """Return what the run record tells of targets."""
    return [SimpleNamespace(**{**target, "band": tuple(target["band"])}) for target in summary.extra["targets"]]


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.with_suffix(".csv").open()))


def test_target_measured_value_and_error_of_every_molecule(scripted: None, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    summary = generate_files(out, n=6, model=str(packed), targets="logp=0.5", batch_size=4)
    rows = rows_of(out)
    assert [row["target_logp"] for row in rows] == ["0.5"] * 6
    assert [row["error_logp"] for row in rows] == ["0.1361", "", "0.1361"] * 2
    assert [row["logp"] for row in rows] == ["0.6361", "", "0.6361"] * 2
    tags = next(Chem.SDMolSupplier(str(out), removeHs=False)).GetPropsAsDict()
    assert (tags["target_logp"], tags["error_logp"]) == (0.5, 0.1361)
    (aim,) = aims(summary)
    assert (aim.draws, aim.measured, aim.in_band) == (6, 2, 2), "invalid molecules do not count"
    assert aim.mean_absolute_error == pytest.approx(METHANE_LOGP - 0.5)
    assert aim.mean_distance_from_range is None
    assert aim.band == (0.25, 0.75)
    record = json.loads((tmp_path / "m.run.json").read_text())
    assert record["targets"][0]["mean_absolute_error"] == pytest.approx(METHANE_LOGP - 0.5)
    assert record["options"]["targets"] == ["logp=0.5"]
    assert "2 of 6 draws (33.3%) valid and within 0.25..0.75" in summary.details[0]
    assert (tmp_path / "m.targets.png").read_bytes().startswith(b"\x89PNG")
    for name in ("m.sdf", "m.csv", "m.run.json"):
        (tmp_path / name).unlink()
    with pytest.raises(MoldiffError, match=r"m\.targets\.png.*exists"):
        generate_files(out, n=6, model=str(packed), targets="logp=0.5")


def test_no_target_no_picture(scripted: None, packed: Path, tmp_path: Path) -> None:
    generate_files(tmp_path / "m.sdf", n=3, model=str(packed))
    assert not list(tmp_path.glob("*.png"))


def test_a_range_gives_each_draw_a_value_of_its_own(scripted: None, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    asked: dict[str, Any] = {"n": 30, "model": str(packed), "targets": "logp>0.8", "target_moves": 2}  # 24 take long
    summary = generate_files(out, **asked)
    wanted = {row["target_logp"] for row in rows_of(out)}
    assert wanted == {"0.9", "2", "2.5"}
    assert {row["error_logp"] for row in rows_of(out) if row["status"] == "valid"} == {"-0.1639"}, "from the bound"
    (aim,) = aims(summary)
    assert (aim.in_band, aim.band, aim.mean_absolute_error) == (0, (0.8, None), None)
    assert aim.mean_distance_from_range == pytest.approx(0.8 - METHANE_LOGP)
    assert summary.details[0].startswith(
        "logp>0.8: mean distance from the range 0.164 over 10 valid molecules; 0 of 30 draws"
    )
    record = json.loads((tmp_path / "m.run.json").read_text())["targets"][0]
    assert record["mean_distance_from_range"] == pytest.approx(0.8 - METHANE_LOGP)
    assert (record["mean_absolute_error"], record["is_value"]) == (None, False)
    other = generate_files(tmp_path / "o.sdf", **asked, batch_size=7)
    assert [row["target_logp"] for row in rows_of(tmp_path / "o.sdf")] == [row["target_logp"] for row in rows_of(out)]
    assert aims(other) == aims(summary)


def test_within_a_range_there_is_no_error(scripted: None, packed: Path, tmp_path: Path) -> None:
    """Draws have values of their own within the range, which are nobody's wish."""
    summary = generate_files(tmp_path / "m.sdf", n=30, model=str(packed), targets="logp = 0.6 .. 3", target_moves=2)
    rows = [row for row in rows_of(tmp_path / "m.sdf") if row["status"] == "valid"]
    assert len({row["target_logp"] for row in rows}) > 1
    assert {row["error_logp"] for row in rows} == {"0"}
    assert summary.details[0].startswith("logp=0.6..3: mean distance from the range 0 over 10 valid molecules; 10 of")


def test_a_range_without_a_molecule_has_no_distance(packed: Path) -> None:
    known = {"logp": PropertyStatistics("", 0.5, 1.0, -3.0, 4.0, -2.25, 2.75, 60)}
    meter = target_report.TargetTracker([parse_target("logp<1"), parse_target("logp=1")], known, ["logp"])
    lines = [result.line() for result in meter.results()]
    assert "logp<1: mean distance from the range - over 0" in lines[0]
    assert "logp=1: mean absolute error - over 0" in lines[1]


def test_conditions_reach_the_network(packed: Path, tiny_model: MoleculeModel) -> None:
    arguments: dict[str, Any] = {"n": 2, "model": packed, "evaluations": 3, "n_atoms": 9, "keep_invalid": True}
    free, asked, ignored, hard = (
        [mol.GetConformer().GetPositions() for mol in moldiff.generate(**arguments, **more)]
        for more in ({}, {"targets": ["logp=2"]}, {"targets": ["logp=2"], "guidance": 0},
                     {"targets": ["logp=2"], "guidance": {"logp": 1}})
    )  # fmt: skip
    assert np.array_equal(free, ignored), "scale 0 is unguided at the same sizes"
    assert np.array_equal(asked, hard)
    assert not np.array_equal(free, asked)


def test_attempts_are_made_under_the_condition(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, original = [], partial_walks.resample

    def spy(*arguments: Any) -> Any:
        seen.append(arguments[3].properties)
        return original(*arguments)

    monkeypatch.setattr(partial_walks, "resample", spy)
    moldiff.generate(2, model=packed, evaluations=4, targets=["logp=2"], guidance=2, renoise=1)
    assert seen
    assert all(bool((properties == 2).all()) for properties in seen)


def test_molecules_of_the_python_function_carry_target_and_error(scripted: None, packed: Path) -> None:
    (mol,) = moldiff.generate(n=2, model=packed, targets=["logp=0.5"])
    assert mol.GetProp("target_logp") == "0.5"
    assert mol.GetProp("error_logp") == "0.1361"


def test_electronic_properties_are_measured_or_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tblite")
    known = {"gfn2_gap_eV": PropertyStatistics("eV", 5.0, 2.0, 0.2, 17.0, 1.7, 11.0, 60)}
    block = Chem.MolFromSmiles("[H][H]")
    block.AddConformer(Chem.Conformer(2))
    block.GetConformer().SetAtomPosition(1, (0.74, 0, 0))
    condition = np.array([np.nan, 7.0])
    for installed in (True, False):
        monkeypatch.setattr(Extra, "is_installed", lambda extra, installed=installed: installed)
        meter = target_report.TargetTracker([parse_target("gfn2_gap_eV=7")], known, ["logp", "gfn2_gap_eV"])
        assert meter.columns == ("target_gfn2_gap_eV", "gfn2_gap_eV", "error_gfn2_gap_eV")
        measured = meter.measure(MoleculeResult(0, Status.VALID, "", block, properties={"mw": 2.0}), condition).targets
        assert measured["target_gfn2_gap_eV"] == 7
        assert (measured.get("error_gfn2_gap_eV", 0) > 5) == installed
        assert ("pip install 'moldiff[xtb]'" in meter.results()[0].line()) != installed


@pytest.fixture
def counting(tiny_model: MoleculeModel) -> MoleculeModel:
    """A model that knows logp and how many heavy atoms there are: 1 to 9."""
    heavy = PropertyStatistics("1", 6.0, 1.0, 1.0, 9.0, 4.0, 8.0, 60)
    statistics = replace(
        tiny_model.statistics, properties={**tiny_model.statistics.properties, "heavy_atom_count": heavy}
    )
    return replace(tiny_model, statistics=statistics, conditions=("logp", "heavy_atom_count"))


ROWS = {"condition_rows": torch.tensor([[9.0, 0.9, 3.0], [9.0, 1.1, 4.0], [12.0, 2.0, 5.0]])}


def condition_of(asked: SteeringOptions, model: MoleculeModel, guide: PropertyGuide | None = None) -> list[float]:
    """Return what every one of some draws is conditioned on."""
    steering = steer(asked, model, ROWS, "model", guide)
    conditions = steering.condition_sampler.draw(torch.arange(5), NoiseSource(0))[1]
    assert all(np.array_equal(row, conditions[0], equal_nan=True) for row in conditions)
    found: list[float] = conditions[0].tolist()
    return found


def test_the_model_is_told_how_many_heavy_atoms_a_formula_has(counting: MoleculeModel) -> None:
    free = wishes(formula="C2H6O")
    np.testing.assert_equal(condition_of(free, counting), [np.nan, 3])
    assert steer(free, counting, {}, "model").guidance is None, "plain conditioning: one evaluation"
    np.testing.assert_equal(condition_of(wishes(), counting), [np.nan, np.nan])
    np.testing.assert_equal(condition_of(wishes("heavy_atom_count=3", formula="C2H6O"), counting), [np.nan, 3])
    np.testing.assert_equal(condition_of(wishes("heavy_atom_count=2..6", formula="C2H6O"), counting), [np.nan, 3])
    np.testing.assert_equal(condition_of(wishes(formula="C9H2O"), counting), [np.nan, np.nan])


def test_targets_are_pursued_among_molecules_of_so_many_heavy_atoms(counting: MoleculeModel) -> None:
    for scale, terms in ((None, ((1, (True, True)),)), (2.0, ((-1, (False, True)), (2, (True, True))))):
        asked = wishes("logp=1", guidance=scale, formula="C2H6O")
        assert condition_of(asked, counting) == [1, 3]
        steering = steer(asked, counting, ROWS, "model")
        assert steering.guidance is not None
        assert steering.guidance.terms == terms
        assert steering.tracker.columns == ("target_logp", "error_logp")


def test_a_property_network_and_a_formula_go_together(
    counting: MoleculeModel, property_folder: Path, tiny_property_model: PropertyModel
) -> None:
    guide = PropertyGuide.load(str(property_folder), None, counting, "model", torch.device("cpu"))
    for target in ("logp=1", "colour=400"):
        asked = wishes(target, formula="C2H6O", property_model=str(property_folder))
        assert condition_of(asked, counting, guide)[1] == 3
        steering = steer(asked, counting, ROWS, "model", guide)
        assert steering.guidance is not None
        assert steering.guidance.terms == ((1, (False, True)),), "the gradient alone pursues the target"
        assert steering.gradient is not None


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"targets": "logq=1"}, "did you mean 'logp'"),
        ({"guidance": 2.0}, "guidance needs a target"),
        ({"targets": "logp=1", "guidance": {"tpsa": 1.0}}, "which has no target"),
    ],
)
def test_wishes_that_cannot_be_met(packed: Path, tmp_path: Path, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(MoldiffError, match=words):
        generate_files(tmp_path / "m.sdf", n=1, model=str(packed), **asked)
    assert list(tmp_path.glob("m.*")) == []


def test_a_model_without_training_rows_cannot_be_asked(model: Path, tmp_path: Path) -> None:
    with pytest.raises(MoldiffError, match=r"which targets need; 'moldiff models pack' adds them"):
        generate_files(tmp_path / "m.sdf", n=1, model=str(model), targets="logp=1")


def test_the_command_line(scripted: None, packed: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    command = ("generate", "-n", "3", "--model", packed, "-o", tmp_path / "m.sdf", "--overwrite")
    result = run(*command, "--target", "logp=0.5", "--guidance", "2.0", "--evaluations", "50")
    assert result.status == 0
    assert "logp=0.5: mean absolute error 0.136 over 1 valid molecules; 1 of 3 draws" in result.out
    assert rows_of(tmp_path / "m.sdf")[0]["evaluations"] == "50"
    run(*command, "--target", "logp").assert_refused("expected name=2.5")
    run(*command, "--target", "logp=1", "--guidance", "much").assert_refused("guidance 'much'")


@pytest.mark.parametrize(
    ("formula", "target", "words"),
    [
        ("C6H6", "heavy_atom_count=9", "and formula C6H6 contradict each other: heavy_atom_count is 6"),
        ("C6H6", "heavy_atom_count>7", "and formula C6H6 contradict each other: heavy_atom_count is 6"),
    ],
)
def test_what_a_formula_fixes_no_target_can_want_otherwise(formula: str, target: str, words: str) -> None:
    with pytest.raises(MoldiffError, match=words):
        moldiff.generate(1, model="qm9", formula=formula, targets=target)
