"""What the pictures show: bins that suit the values, distances with their unit."""

from __future__ import annotations

import numpy as np
import pytest

from moldiff.evaluation.compare import Distance
from moldiff.evaluation.distributions import Floor, summarise
from moldiff.evaluation.histograms import bin_edges
from moldiff.evaluation.plots import _distance_text, _panels, _png
from moldiff.evaluation.reference import Entry

NOTHING = np.zeros(0)


def entry(values: np.ndarray) -> Entry:
    return Entry(summarise(values), Floor((), (), 1))


def test_whole_numbers_get_a_bar_each() -> None:
    edges = bin_edges(np.array([1.0, 2.0, 2.0, 4.0]), entry(np.array([0.0, 3.0])))
    assert edges.tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5]


@pytest.mark.parametrize(("count", "bins"), [(3, 16), (400, 40), (10_000, 60)])
def test_few_values_get_few_bins(count: int, bins: int) -> None:
    values = np.random.default_rng(0).normal(size=count)
    edges = bin_edges(values, None)
    assert len(edges) == bins + 1
    assert edges[0] < np.quantile(values, 0.002)
    assert edges[-1] > np.quantile(values, 0.998)


def test_the_range_holds_both_sides() -> None:
    edges = bin_edges(np.array([1.5, 1.6]), entry(np.array([1.2, 1.4])))
    assert edges[0] < 1.2
    assert edges[-1] > 1.6
    assert np.all(np.diff(bin_edges(NOTHING, entry(np.array([2.0])))) > 0), "one value alone still has a width"
    assert np.all(np.diff(bin_edges(NOTHING, None)) > 0)
    for value in (3e-8, -3e-8):  # by its own size, whatever its unit
        low, *_, high = bin_edges(np.array([value, value]), None)
        assert 0 < high - low < 1e-8


def test_distances_carry_floor_and_unit() -> None:
    assert _distance_text(Distance(9, 1.5, 1.5, 0.0123, 0.0045), "Å") == "$W_1$ 0.012 (floor 0.0045) Å"
    assert _distance_text(Distance(9, 1.5, 1.5, 2.0, None), "degrees") == "$W_1$ 2 °"
    assert _distance_text(Distance(9, 1.5, 1.5, 0.5, 0.25), "") == "$W_1$ 0.5 (floor 0.25)"
    assert _distance_text(Distance(0, None, 1.5, None, None), "Å") == ""
    assert _distance_text(None, "Å") == ""


def test_headings_are_no_formulas() -> None:
    figure, axes = _panels(1, "against r$^$.sdf")
    assert len(_png(figure, axes)) > 0
