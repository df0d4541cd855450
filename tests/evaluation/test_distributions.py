"""Reference distributions: exact where they claim to be, and the floor."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from moldiff.evaluation.distributions import MAX_CELLS, Distribution, Floor, summarise, total_variation, wasserstein

NORMAL = np.random.default_rng(0).normal(1.5, 0.03, size=20000)


def test_cells_keep_mean_count_and_order() -> None:
    found = summarise(NORMAL)
    assert len(found.cells) == MAX_CELLS
    assert found.count == 20000
    assert (np.diff(found.cells) >= 0).all()
    assert found.cells.mean() == pytest.approx(NORMAL.mean(), abs=1e-6)
    assert found.std == pytest.approx(NORMAL.std())


def test_few_values_are_kept_as_they_are() -> None:
    assert summarise(np.array([3.0, 1.0, 2.0])).cells.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("shift", [0.0, 0.001, 0.01, 0.2])
def test_distance_of_a_shifted_sample_is_the_shift(shift: float) -> None:
    assert wasserstein(NORMAL + shift, summarise(NORMAL)) == pytest.approx(shift, abs=5e-4)


def test_distance_agrees_with_the_raw_values() -> None:
    generator = np.random.default_rng(1)
    for sample in (generator.normal(1.51, 0.05, 500), generator.uniform(1.4, 1.6, 300), np.array([1.2, 1.9])):
        assert wasserstein(sample, summarise(NORMAL)) == pytest.approx(wasserstein_distance(sample, NORMAL), rel=0.02)


def test_an_outlier_counts_with_its_full_distance() -> None:
    sample = np.concatenate([NORMAL[:-1], [1001.5]])
    assert wasserstein(sample, summarise(NORMAL)) == pytest.approx(0.05, rel=0.01)  # 1000 angstrom / 20,000 values


@pytest.mark.parametrize("values", [NORMAL, np.repeat([0.0, 1.0, 2.0], 500), np.array([1.0, 5.0]), np.array([4.0])])
def test_density_holds_all_mass(values: np.ndarray) -> None:
    edges = np.linspace(values.min() - 5, values.max() + 5, 61)
    mass = summarise(values).density(edges)
    assert mass.sum() == pytest.approx(1.0)
    assert (mass >= 0).all()


def test_density_follows_the_values() -> None:
    edges = np.linspace(1.4, 1.6, 21)
    expected = np.histogram(NORMAL, edges)[0] / len(NORMAL)
    assert np.abs(summarise(NORMAL).density(edges) - expected).max() < 0.01


def test_counts_stay_on_their_value() -> None:
    values = np.repeat([0.0, 1.0, 2.0], [1000, 600, 400])
    mass = summarise(values).density(np.array([-0.5, 0.5, 1.5, 2.5]))
    assert mass == pytest.approx([0.5, 0.3, 0.2], abs=0.01)


@pytest.mark.parametrize("values", [np.array([]), np.array([1.0, np.nan]), np.array([np.inf])])
def test_nothing_or_not_finite_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        summarise(values)


def test_json_round_trip() -> None:
    found = summarise(NORMAL)
    back = Distribution.from_json(json.loads(json.dumps(found.to_json(4))))
    assert back.cells == pytest.approx(found.cells, abs=5e-5)
    assert (back.count, back.mean) == (found.count, pytest.approx(found.mean, abs=1e-6))


@pytest.mark.parametrize("cells", [[], [1.0, float("nan")], [[1.0]]])
def test_damaged_cells_are_refused(cells: list[float]) -> None:
    with pytest.raises(ValueError, match="cells"):
        Distribution.from_json({"cells": cells, "count": 3, "mean": 0.0, "std": 1.0})


def test_floor_between_below_and_above_the_measured_sizes() -> None:
    floor = Floor((100, 10000), (0.1, 0.01), 10**12)
    assert floor.at(100) == pytest.approx(0.1)
    assert floor.at(1000) == pytest.approx(0.0316228, rel=1e-5)  # halfway in log-log
    assert floor.at(25) == pytest.approx(0.2)  # 1/sqrt(n)
    assert floor.at(10**6) == pytest.approx(0.001)
    assert floor.at(0) is None
    few = Floor((100, 300), (0.2, 0.1), 300)  # next to which the held-out molecules count as well
    assert [few.at(n) for n in (100, 300)] == pytest.approx([0.2, 0.1])
    assert few.at(50) == pytest.approx(0.2 * math.sqrt((1 / 50 + 1 / 300) / (1 / 100 + 1 / 300)))
    assert few.at(10**9) == pytest.approx(0.1 / math.sqrt(2), rel=1e-6)


def test_floor_skips_sizes_without_a_value() -> None:
    floor = Floor((100, 300, 1000), (None, 0.2, 0.1), 10**12)
    assert floor.at(300) == pytest.approx(0.2)
    assert floor.at(75) == pytest.approx(0.4)
    assert Floor((100,), (None,), 1).at(100) is None
    assert Floor((), (), 1).at(100) is None
    assert Floor.from_json(json.loads(json.dumps(floor.to_json(4))), 7) == floor
    assert Floor.from_json({"sizes": [100], "values": [0.2]}, 7) == Floor((100,), (0.2,), 7)  # as it was at first
    for wrong in ({"sizes": [0]}, {"against": 0}):
        with pytest.raises(ValueError, match="at least one molecule"):
            Floor.from_json(floor.to_json(4) | wrong, 7)


def test_total_variation() -> None:
    assert total_variation({"C": 3, "H": 1}, {"C": 6, "H": 2}) == 0.0
    assert total_variation({"C": 1}, {"N": 5}) == 1.0
    assert total_variation({"C": 1, "N": 1}, {"C": 4}) == 0.5
    assert total_variation({}, {"C": 1}) is None
    assert total_variation({"C": 1}, {}) is None
