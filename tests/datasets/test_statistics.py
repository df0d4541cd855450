"""Statistics against figures worked out by hand."""

import logging

import numpy as np
import pytest

from moldiff.datasets.layout import Arrays
from moldiff.datasets.prepared import PreparedDataset
from moldiff.datasets.statistics import (
    LARGEST,
    DatasetStatistics,
    PropertyStatistics,
    compute_statistics,
    tell_useless,
)
from moldiff.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("H", "C", "O"), (-1, 0), ("none", "single", "double"))


@pytest.fixture
def arrays() -> Arrays:
    """Molecules: H-H on the x axis, 2 angstrom apart; O=C=O at 1 angstrom; a single O; H-H again, 4 angstrom apart."""
    return {
        "positions": np.array(
            [
                [-1000, 0, 0],
                [1000, 0, 0],
                [0, -1000, 0],
                [0, 0, 0],
                [0, 1000, 0],
                [0, 0, 0],
                [0, 0, -2000],
                [0, 0, 2000],
            ],
            dtype=np.int16,
        ),
        "atom_type": np.array([0, 0, 2, 1, 2, 2, 0, 0], dtype=np.uint8),
        "charge": np.array([1, 1, 1, 1, 1, 0, 1, 1], dtype=np.uint8),
        "bonds": np.array([[0, 1, 1], [0, 1, 2], [1, 2, 2], [0, 1, 1]], dtype=np.uint8),
        "atom_offsets": np.array([0, 2, 5, 6, 8]),
        "bond_offsets": np.array([0, 1, 3, 3, 4]),
        "properties": np.array([[1.0, 5.0], [3.0, np.nan], [np.nan, 5.0], [2.0, 5.0]], dtype=np.float32),
    }


def test_by_hand(arrays: Arrays) -> None:
    statistics = compute_statistics(arrays, np.arange(4), VOCABULARY, ["a", "b"], ["eV", "1"])
    assert statistics.size_counts == {1: 1, 2: 2, 3: 1}
    assert statistics.marginals["atom_type"] == [4 / 8, 1 / 8, 3 / 8]
    assert statistics.marginals["charge"] == [1 / 8, 7 / 8]
    assert statistics.marginals["bond_type"] == [1 / 5, 2 / 5, 2 / 5]  # 1 + 3 + 0 + 1 pairs, one of them without a bond
    # 2 atoms have 3 degrees of freedom, 3 have 6: (2 + 8) / 2 / 3 and 2 / 6
    assert statistics.position_std == pytest.approx({2: np.sqrt(5 / 3), 3: np.sqrt(1 / 3)})
    a, b = statistics.properties["a"], statistics.properties["b"]
    assert (a.unit, a.mean, a.minimum, a.maximum, a.known) == ("eV", 2.0, 1.0, 3.0, 3)
    assert a.std == pytest.approx(np.sqrt(2 / 3))
    assert (b.mean, b.std, b.known) == (5.0, 1.0, 3)  # a constant divides by one, not by zero


def test_only_the_chosen_molecules_count(arrays: Arrays) -> None:
    statistics = compute_statistics(arrays, np.array([1]), VOCABULARY, ["a", "b"], ["", ""])
    assert statistics.size_counts == {3: 1}
    assert statistics.marginals["atom_type"] == [0, 1 / 3, 2 / 3]
    assert statistics.marginals["bond_type"] == [1 / 3, 0, 2 / 3]
    assert statistics.position_std == pytest.approx({3: np.sqrt(1 / 3)})
    assert statistics.properties["b"] == PropertyStatistics("", 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0)


def test_single_atoms_only(arrays: Arrays) -> None:
    statistics = compute_statistics(arrays, np.array([2]), VOCABULARY, ["a", "b"], ["", ""])
    assert statistics.marginals["bond_type"] == [1.0, 0.0, 0.0]
    assert statistics.position_std == {}


def test_json_round_trip(sample: PreparedDataset) -> None:
    assert DatasetStatistics.from_json(sample.info["statistics"]) == sample.statistics
    assert sample.statistics.to_json() == sample.info["statistics"]


def test_statistics_are_those_of_the_training_split(sample: PreparedDataset) -> None:
    train = sample.indices("train")
    assert 0 < len(train) < len(sample)
    molecules = [sample.molecule(int(row)) for row in train]
    assert sum(sample.statistics.size_counts.values()) == len(train)
    assert sample.statistics.size_counts == {
        n: sum(len(m.pos) == n for m in molecules) for n in sorted({len(m.pos) for m in molecules})
    }
    hydrogens = sum(int((m.atom_type == 0).sum()) for m in molecules) / sum(len(m.pos) for m in molecules)
    assert sample.statistics.marginals["atom_type"][0] == pytest.approx(hydrogens)
    logp = sample.arrays["properties"][train, 0].astype(np.float64)
    assert sample.statistics.properties["logp"].mean == pytest.approx(logp.mean())
    assert sample.statistics.properties["logp"].q99 == pytest.approx(np.quantile(logp, 0.99))


def described(*values: float) -> PropertyStatistics:
    return PropertyStatistics.of(np.array(values, dtype=np.float32), "")


@pytest.mark.parametrize("unit", [1e-25, 3e-9, 1e-3, 1.0, 7e5, 1e25])
def test_what_varies_does_so_in_any_unit(unit: float) -> None:
    row = described(*(unit * np.array([1.0, 2.0, 4.0])))
    assert row.std == pytest.approx(unit * np.std([1.0, 2.0, 4.0]), rel=1e-6, abs=0)
    assert not row.is_constant
    shifted = described(*(unit * np.array([1000.0, 1000.5, 1001.0])))
    assert shifted.std == pytest.approx(unit * np.std([0.0, 0.5, 1.0]), rel=1e-3, abs=0)
    assert not shifted.is_constant


@pytest.mark.parametrize(
    "values",
    [
        (0.0, 0.0, 0.0),
        (3e-9, 3e-9),
        (5.0,),
        (0.1 + 0.2, 0.3, 0.3),
        (1e9, np.nextafter(np.float32(1e9), np.float32(2e9))),  # single precision holds nothing between: rounding
        (-7e12, -7e12),
        (1e-40, 3e-40),  # by such a spread single precision cannot divide
        (2e6, 2e6, 2e6),
    ],
)
def test_what_is_the_same_but_for_rounding_is_constant(values: tuple[float, ...]) -> None:
    row = described(*values)
    assert (row.std, row.is_constant) == (1.0, True)


def test_one_that_nobody_knows_is_not_constant() -> None:
    assert not described(np.nan).is_constant


def test_a_constant_is_told_once_for_each_that_is_used(caplog: pytest.LogCaptureFixture) -> None:
    known = {"a": described(2.5, 2.5), "b": described(1e-9, 2e-9), "c": described(0.0)}
    with caplog.at_level(logging.WARNING):
        tell_useless(known, ["a", "b"], "; prepare it again")
    assert caplog.messages == [
        "property 'a' counts as constant, 2.5 to 2.5 in the training molecules: nothing can be learnt from it; "
        "prepare it again"
    ]


def test_a_set_of_before_whose_small_spread_was_overlooked_counts_as_constant() -> None:
    assert PropertyStatistics("", 5e-8, 1.0, 1e-9, 2e-7, 1e-9, 2e-7, 30).is_constant


def test_the_largest_values_are_described_and_read_again(arrays: Arrays) -> None:
    arrays["properties"][:, 0] = [LARGEST, -LARGEST, LARGEST, 0.0]
    statistics = compute_statistics(arrays, np.arange(4), VOCABULARY, ["a", "b"], ["", ""])
    assert DatasetStatistics.from_json(statistics.to_json()) == statistics  # type: ignore[arg-type]
