"""Means with errors over groups, and disjoint parts of a sample."""

import numpy as np
import pytest
from script import load_script

means = load_script("benchmarks/means")


def test_the_error_is_that_of_independent_values() -> None:
    mean, error = means.mean_and_error([1.0, 2.0, 6.0])
    assert mean == 3.0
    assert error == pytest.approx(np.std([1, 2, 6], ddof=1) / np.sqrt(3))


def test_copies_of_a_value_in_one_group_do_not_make_it_surer() -> None:
    once = means.mean_and_error([1.0, 2.0, 6.0])
    thrice = means.mean_and_error([1.0, 2.0, 6.0] * 3, groups=[7, 8, 9] * 3)
    assert thrice == pytest.approx(once)
    assert means.mean_and_error([1.0, 2.0, 6.0] * 3)[1] < 0.7 * once[1], "taken for nine molecules"


def test_too_few_have_no_error() -> None:
    assert np.isnan(means.mean_and_error([])).all()
    assert means.mean_and_error([1.0, 3.0], groups=[0, 0])[0] == 2.0
    assert np.isnan(means.mean_and_error([1.0, 3.0], groups=[0, 0])[1])


def test_parts_are_disjoint_in_order_and_never_split_a_group() -> None:
    assert means.means_of_parts([0, 0, 1, 1, 2, 2, 3, 3, 4, 6]) == [0, 1, 2, 3, 5]
    assert means.means_of_parts([5, 1, 1, 2, 3, 4], groups=[9, 1, 1, 2, 3, 4]) == [1, 2, 3, 4, 5]
    assert np.isnan(means.means_of_parts([1.0, 2.0])[2:]).all(), "fewer than there are parts"


def test_parts_scatter_as_the_error_has_it_unless_the_sample_drifts() -> None:
    values = np.random.default_rng(0).normal(size=(400, 100))
    fair = [means.scatter(means.means_of_parts(row), means.mean_and_error(row)[1]) for row in values]
    assert np.sqrt(np.mean(np.square(fair))) == pytest.approx(1, abs=0.08)
    assert 0.02 < np.mean(np.array(fair) > means.WIDEST) < 0.09
    drift = values[0] + np.repeat(np.arange(5), 20)
    assert means.scatter(means.means_of_parts(drift), means.mean_and_error(drift)[1]) > means.WIDEST


def test_the_table_has_the_parts_of_each_row() -> None:
    lines = means.parts_table([("one", [1, 2, 3, 4, 5], 0.5), ("exact", [1, 1, 1, 1, 1], 0.0)], 1)
    assert lines[0] == "| | part 1 | part 2 | part 3 | part 4 | part 5 | scatter / error bar |"
    assert lines[2] == "| one | 1.0 | 2.0 | 3.0 | 4.0 | 5.0 | 1.4 |", "sqrt(2.5 / 5) / 0.5"
    assert lines[3].endswith("| 1.0 | - |")
