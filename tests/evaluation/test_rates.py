"""Shares and their errors against hand-computed values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from moldiff.evaluation.rates import Rate, clustered, distinct_share


def test_binomial_standard_error() -> None:
    rate = Rate(80, 100)
    assert rate.value == 0.8
    assert rate.standard_error == pytest.approx(0.04)  # sqrt(0.8 * 0.2 / 100)


def test_wilson_interval_of_a_textbook_case() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I: 81 of 263 -> 0.2553 to 0.3662; 0 of 20 -> 0 to 0.1611
    assert Rate(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert Rate(0, 20).interval == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_full_agreement_still_has_an_interval() -> None:
    rate = Rate(1000, 1000)
    assert rate.standard_error == 0.0
    assert rate.interval is not None
    assert 0.996 < rate.interval[0] < 0.997
    assert rate.interval[1] == 1.0


def test_nothing_measured_is_none_not_zero() -> None:
    rate = Rate(0, 0)
    assert (rate.value, rate.standard_error, rate.interval) == (None, None, None)
    assert rate.to_json() == {"value": None, "standard_error": None, "interval95": None, "count": 0, "n": 0}


@pytest.mark.parametrize(("count", "n"), [(2, 1), (-1, 3)])
def test_impossible_counts_are_refused(count: int, n: int) -> None:
    with pytest.raises(ValueError, match="count"):
        Rate(count, n)


def test_clusters_of_one_are_binomial() -> None:
    counts = [1] * 70 + [0] * 30
    rate = clustered(counts, [1] * 100)
    assert rate.value == 0.7
    assert rate.standard_error == pytest.approx(math.sqrt(0.7 * 0.3 / 99))


def test_fully_dependent_atoms_carry_the_error_of_their_molecules() -> None:
    rate = clustered([10] * 70 + [0] * 30, [10] * 100)
    assert (rate.count, rate.n) == (700, 1000)
    assert rate.standard_error == pytest.approx(math.sqrt(0.7 * 0.3 / 99))  # not the atoms' 0.0145


def test_cluster_error_is_the_spread_over_repetitions() -> None:
    generator = np.random.default_rng(0)
    shares, errors = [], []
    for _ in range(400):
        sizes = generator.integers(5, 25, size=60)
        quality = generator.beta(8, 2, size=60)
        counts = generator.binomial(sizes, quality)
        rate = clustered(counts.tolist(), sizes.tolist())
        shares.append(rate.value)
        errors.append(rate.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(shares), rel=0.1)


def test_where_all_succeed_the_interval_is_that_of_the_clusters() -> None:
    rate = clustered([20] * 100, [20] * 100)
    assert (rate.n, rate.standard_error) == (2000, 0.0)
    assert rate.interval == pytest.approx(Rate(100, 100).interval)
    assert clustered([7], [10]).interval == pytest.approx(Rate(7, 10, effective=1.0).interval)


def test_clusters_without_trials() -> None:
    assert clustered([], []).value is None
    assert clustered([0, 0], [0, 0]).value is None


@pytest.mark.parametrize(
    ("kinds", "n", "most"), [(200, 200, 1.7), (200, 1000, 3.5), (10_000, 300, 1.3), (60, 400, 5.5)]
)
def test_the_error_of_a_share_of_different_things_covers_their_scatter(kinds: int, n: int, most: float) -> None:
    """Uniform draws: the error that is told is at least the scatter of the share, and not many times as large."""
    generator = np.random.default_rng(3)
    rates = []
    for _ in range(600):
        _, counts = np.unique(generator.integers(0, kinds, n), return_counts=True)
        rates.append(distinct_share(counts.tolist(), n))
    scatter = np.std([rate.value for rate in rates])
    told = np.sqrt(np.mean([rate.standard_error**2 for rate in rates]))
    assert scatter * 0.95 < told < most * scatter
    known = kinds * (1 - (1 - 1 / kinds) ** n) / n  # the share that is expected
    covered = np.mean([rate.interval[0] <= known <= rate.interval[1] for rate in rates])
    assert covered >= 0.94


def test_things_that_all_differ_and_things_that_never_do() -> None:
    assert distinct_share([1] * 50, 50) == Rate(50, 50)
    assert distinct_share([], 0) == Rate(0, 0)
    assert distinct_share([], 9) == Rate(0, 9)
    assert distinct_share([100], 100).standard_error == pytest.approx(0.01, abs=1e-3)
    assert distinct_share([20] * 5, 100).standard_error == pytest.approx(0.01, abs=1e-3), "binomial: 0.022"
    assert distinct_share([1, 2], 50).count == 2, "draws of other things count too"
