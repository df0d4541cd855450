"""Targets against what came out: values and errors of each result, and the sums over all of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from rdkit.Chem import MolFromSmiles

from moldiff.datasets.statistics import PropertyStatistics
from moldiff.generation.entries import from_entry, to_entry
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.generation.target_report import TargetResult, TargetTracker, measured_values
from moldiff.scoring.network import HeldOutError
from moldiff.scoring.targets import parse_target
from moldiff.status import Status

KNOWN = {name: PropertyStatistics("", 0.0, 2.0, -9.0, 90.0, -4.0, 4.0, 60) for name in ("logp", "tpsa", "colour")}


def tracker(*texts: str, pursued: tuple[str, ...] = ()) -> TargetTracker:
    return TargetTracker([parse_target(text) for text in texts], KNOWN, ["tpsa", "logp"], pursued)


def result(number: int, status: Status = Status.VALID, **properties: float) -> MoleculeResult:
    return MoleculeResult(number, status, properties=properties)


def condition(tpsa: float, logp: float) -> np.ndarray:
    return np.array([tpsa, logp], dtype=np.float32)


def test_a_result_carries_target_value_and_signed_error() -> None:
    made = tracker("logp=1.5", "tpsa=20..40")
    assert made.columns == ("target_logp", "error_logp", "target_tpsa", "error_tpsa")
    below = made.measure(result(0, logp=1.0, tpsa=10.0), condition(25.0, 1.5)).targets
    assert below == {
        "target_logp": 1.5, "logp": 1.0, "error_logp": -0.5, "target_tpsa": 25.0, "tpsa": 10.0, "error_tpsa": -10.0,
    }  # fmt: skip
    above = made.measure(result(1, logp=2.0, tpsa=30.0), condition(25.0, 1.5)).targets
    assert (above["error_logp"], above["error_tpsa"]) == (0.5, 0.0), "within a range there is no error"


def test_all_draws_count_and_only_valid_ones_are_measured() -> None:
    made = tracker("logp=1", "tpsa<40")
    for number, (status, logp, tpsa) in enumerate(
        [
            (Status.VALID, 1.2, 39.0), (Status.VALID, 4.0, 44.0), (Status.INVALID, 1.0, 10.0),
            (Status.VALID, math.nan, 20.0), (Status.FAILED, math.nan, math.nan),
        ]
    ):  # fmt: skip
        measured = made.measure(result(number, status, logp=logp, tpsa=tpsa), condition(40.0, 1.0))
        made.note(measured, status == Status.VALID)
    logp, tpsa = made.results()
    assert (logp.draws, logp.measured, logp.in_band) == (5, 2, 1)
    assert logp.mean_absolute_error == pytest.approx((0.2 + 3.0) / 2)
    assert logp.mean_distance_from_range is None
    assert (tpsa.draws, tpsa.measured, tpsa.in_band, tpsa.band) == (5, 3, 2, (None, 40.0))
    assert tpsa.mean_distance_from_range == pytest.approx(4.0 / 3)
    assert tpsa.mean_absolute_error is None


def test_the_end_of_a_strict_bound_misses_and_its_error_prints_as_nothing() -> None:
    for text, met, reason in (("tpsa>0", 1, "tpsa: 0, must be >0"), ("tpsa>=0", 2, "")):
        made = tracker(text)
        flat, polar = (
            made.measure(result(number, tpsa=tpsa), condition(0.0, 1.0)) for number, tpsa in enumerate((0.0, 9.2))
        )
        for drawn in (flat, polar):
            made.note(drawn, True)
        assert (made.missed(flat), made.missed(polar)) == (reason, "")
        assert flat.targets["error_tpsa"] == polar.targets["error_tpsa"] == 0
        assert (made.distances(flat) == (0.0,)) == (not reason)
        assert made.distances(polar) == (0.0,)
        (found,) = made.results()
        assert (made.met, found.in_band, found.band, found.mean_distance_from_range) == (met, met, (0.0, None), 0)
        assert f"mean distance from the range 0 over 2 valid molecules; {met} of 2 draws" in found.line()
        assert found.line().endswith("valid and within 0..")


def test_a_range_that_a_network_pursues_has_no_value_of_its_own() -> None:
    made = tracker("logp=1..2", pursued=("logp",))
    assert made.measure(result(0, logp=5.0), condition(math.nan, math.nan)).targets["target_logp"] == 2.0
    assert made.measure(result(1, logp=1.5), condition(math.nan, math.nan)).targets["target_logp"] == 1.5
    assert "target_logp" not in made.measure(result(2), condition(math.nan, math.nan)).targets


def test_what_moldiff_cannot_measure_says_so() -> None:
    made = tracker("colour=3")
    assert made.columns == ("target_colour", "colour", "error_colour")
    (found,) = made.results()
    assert found.line() == "colour=3: not measured, moldiff has no calculator of it"


def test_a_line_for_the_terminal() -> None:
    made = TargetResult("logp", "=1.5", True, (1.26, 1.74), 12, 10, 0.875, None, 3)
    assert made.line() == (
        "logp=1.5: mean absolute error 0.875 over 10 valid molecules; 3 of 12 draws (25.0%) valid and within 1.26..1.74"
    )
    none = TargetResult("tpsa", "<40", False, (None, 40.0), 0, 0, None, None, 0)
    assert "mean distance from the range - over 0 valid molecules; 0 of 0 draws (0.0%)" in none.line()


def test_properties_are_those_of_the_result() -> None:
    assert measured_values(result(0, logp=1.0), ["logp", "gfn2_gap_eV"]) == {"logp": 1.0}


def test_distances_are_in_standard_deviations_and_of_what_can_be_told() -> None:
    made = tracker("logp=1", "tpsa<40", "colour=3")
    assert [target.name for target in made.known] == ["logp", "tpsa"], "nothing measures colours"
    far = made.distances(result(0, logp=2.0, tpsa=44.0))
    assert far == (pytest.approx(0.5), pytest.approx(2.0))
    assert made.distances(result(0, logp=1.0, tpsa=30.0)) == (0.0, 0.0)
    assert made.distances(result(0, logp=math.nan, tpsa=30.0)) is None
    assert made.distances(result(0)) is None


def test_an_estimator_tells_what_no_calculator_does() -> None:
    made = tracker("logp=1", "colour=3")
    made.estimators = {"colour": lambda mol: float(mol.GetNumAtoms()), "logp": lambda mol: 9.0}
    assert [target.name for target in made.known] == ["logp", "colour"]
    methanol = MoleculeResult(0, Status.VALID, mol=MolFromSmiles("CO"), properties={"logp": 2.0})
    assert made.distances(methanol) == (0.5, 0.5), "a calculator comes before an estimator"
    made.estimators = {"colour": lambda mol: math.nan}
    assert made.distances(methanol) is None


def test_what_is_estimated_counts_and_says_by_what_and_how_well() -> None:
    made = tracker("colour=3", pursued=("colour",))
    made.estimators, made.errors = {"colour": lambda mol: float(mol.GetNumAtoms())}, {"colour": HeldOutError(0.25)}
    for number, smiles in enumerate(("CCO", "CCCCO")):
        mol = MolFromSmiles(smiles)
        drawn = made.measure(
            MoleculeResult(number, Status.VALID, mol=mol, properties={"logp": 2.0}), condition(3.0, 0.0)
        )
        made.note(drawn, True)
        assert drawn.targets["colour"] == mol.GetNumAtoms()
    assert made.met == 1
    (found,) = made.results()
    assert (found.measured, found.in_band, found.mean_absolute_error) == (2, 1, 1.0)
    end = "; values as the property network estimates them, its error: "
    assert found.line().endswith(end + "0.25 on average for held-out molecules")
    for error, words in (
        (HeldOutError(0.25, 12, 1.5), "0.25 on average for 12 held-out molecules (1.5 by the mean alone)"),
        (HeldOutError(None, 0), "not known"),
    ):
        made.errors = {"colour": error}
        assert made.results()[0].line().endswith(end + words)
    made.errors = {}
    assert made.results()[0].line().endswith(end + "not on record")


def test_draws_that_meet_every_target_are_counted() -> None:
    made = tracker("logp=1", "tpsa<40")
    for logp, tpsa, sound in ((1.1, 30.0, True), (1.1, 50.0, True), (3.0, 30.0, True), (1.1, 30.0, False)):
        made.note(made.measure(result(0, logp=logp, tpsa=tpsa), condition(40.0, 1.0)), sound)
    assert made.met == 1


def test_copies_among_those_that_met_are_one_molecule_in_a_resumed_run_too() -> None:
    made, resumed = tracker("logp=1"), tracker("logp=1")
    told = []
    for number, (smiles, logp) in enumerate(
        [("CC", 3.0), ("CC", 1.0), ("CO", 1.0), ("CC", 1.0), ("CN", 3.0), ("C=C", 1.0)]
    ):
        drawn = made.measure(replace(result(number, logp=logp), smiles=smiles), condition(0.0, 1.0))
        made.note(drawn, True)
        resumed.note(from_entry(to_entry(drawn, confidence=False)), True)
        told.append((made.met, made.met_different))
    assert told == [(0, 0), (1, 1), (2, 2), (3, 2), (3, 2), (4, 3)], "what missed and what met may be of one SMILES"
    assert (resumed.met, resumed.met_different) == (4, 3)
