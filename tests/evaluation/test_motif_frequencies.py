"""How often motifs occur, against counts by hand and the sampling error of a mean."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from moldiff.evaluation.motif_frequencies import Frequency, Proportions, frequencies, proportions


def found(counts: list[dict[str, int]], reference: dict[str, Frequency], molecules: int = 100) -> Proportions:
    result = proportions(counts, reference, molecules)
    assert result is not None
    return result


def test_frequencies_by_hand() -> None:
    counts = [{"a": 2, "all": 1}, {"a": 1, "b": 4, "all": 1}, {"all": 1}, {"all": 1}]
    known = frequencies(counts)
    assert list(known) == ["a", "b"], "most frequent first; what occurs alike everywhere tells nothing"
    assert known["a"] == Frequency(0.75, pytest.approx(math.sqrt(5 / 4 - 0.75**2)))
    assert known["b"] == Frequency(1.0, pytest.approx(math.sqrt(3)))


def test_rare_motifs_are_left_out() -> None:
    counts = [{"rare": 1, "kept": 1}, {"kept": 1}, *({"other": 1} for _ in range(148))]
    assert set(frequencies(counts)) == {"kept", "other"}


def test_deviations_by_hand_most_deviant_first() -> None:
    reference = {"a": Frequency(1.0, 0.5), "b": Frequency(0.2, 0.4)}
    result = found([{"a": 1, "b": 1}, {"a": 2, "new": 9}], reference, 8)
    assert list(result.motifs) == ["a", "b"]
    assert result.motifs["a"] == pytest.approx((1.5, 1.0, 1.0))
    assert result.motifs["b"] == pytest.approx((0.5, 0.2, 0.75))
    assert result.deviation == pytest.approx(0.875)
    assert result.floor == pytest.approx(math.sqrt(2 / math.pi * (1 / 2 + 1 / 8)))
    fewer = found([{}], reference)
    assert list(fewer.motifs) == ["a", "b"]
    assert fewer.motifs["a"][2] == pytest.approx(-2.0)
    assert fewer.deviation == pytest.approx((2.0 + 0.5) / 2)


def test_molecules_of_the_same_distribution_deviate_by_the_floor() -> None:
    rng = np.random.default_rng(0)
    drawn = [{f"m{k}": int(n) for k, n in enumerate(row)} for row in rng.poisson(np.linspace(0.2, 3, 60), (1500, 60))]
    result = found(drawn[:500], frequencies(drawn[500:]), 1000)
    assert len(result.motifs) == 60
    assert result.deviation == pytest.approx(result.floor, rel=0.25)


def test_nothing_to_compare() -> None:
    assert proportions([], {"a": Frequency(1.0, 1.0)}, 5) is None
    assert proportions([{"a": 1}], {}, 5) is None


def test_plain_json() -> None:
    value = json.loads(json.dumps(found([{"a": 3}], {"a": Frequency(1.0, 2.0)}).to_json()))
    assert value["motifs"] == {"a": {"mean": 3.0, "reference_mean": 1.0, "deviation": 1.0}}
    assert set(value) == {"deviation", "floor", "motifs"}
