"""The picture of what was wanted against what was measured."""

import dataclasses
import io
from collections.abc import Iterator

import matplotlib.axes
import numpy as np
import pytest
from matplotlib.image import imread

from moldiff.datasets.statistics import PropertyStatistics
from moldiff.generation.target_plot import draw_calibration
from moldiff.scoring.targets import Target, parse_target

STATISTICS = {
    name: PropertyStatistics(mean=1.0, std=2.0, minimum=-5.0, q01=-3.0, q99=6.0, maximum=8.0, known=100, unit=unit)
    for name, unit in (("logp", "1"), ("gfn2_gap_eV", "eV"))
}
DRAWN = ("plot", "hist", "axvspan", "axhspan", "set_title", "set_xlabel", "set_ylabel")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, tuple]]]:
    """What is drawn: the names of the calls and their arguments."""
    calls: list[tuple[str, tuple]] = []
    for name in DRAWN:
        original = getattr(matplotlib.axes.Axes, name)

        def watched(self, *arguments, _name=name, _original=original, **more):
            calls.append((_name, arguments))
            return _original(self, *arguments, **more)

        monkeypatch.setattr(matplotlib.axes.Axes, name, watched)
    return calls


def test_a_range_shows_every_molecule_over_its_own_target(drawn: list) -> None:
    pairs = [(6.0, 6.5), (7.0, 6.8), (8.0, 9.5)]
    picture = draw_calibration([parse_target("gfn2_gap_eV=6..8")], {"gfn2_gap_eV": pairs}, STATISTICS)
    assert picture is not None
    assert imread(io.BytesIO(picture)).shape[2] == 4
    wanted, found, _ = next(arguments for name, arguments in drawn if name == "plot" and len(arguments) == 3)
    np.testing.assert_array_equal(np.stack([wanted, found], 1), pairs)
    assert ("axhspan", (6.0, 8.0)) in drawn
    assert ("set_title", ("gfn2_gap_eV=6..8",)) in drawn
    assert ("set_xlabel", ("wanted, eV",)) in drawn
    assert ("set_ylabel", ("measured, eV",)) in drawn


def test_one_value_shows_a_histogram_around_it(drawn: list) -> None:
    assert draw_calibration([parse_target("logp=2.5")], {"logp": [(2.5, 2.0), (2.5, 4.0)]}, STATISTICS)
    (values,) = next(arguments for name, arguments in drawn if name == "hist")
    assert values.tolist() == [2.0, 4.0]
    assert ("axvspan", (2.0, 3.0)) in drawn  # a quarter of the standard deviation to both sides
    assert ("set_xlabel", ("measured",)) in drawn


def test_names_and_units_are_no_formulas() -> None:
    statistics = {"a$^$": dataclasses.replace(STATISTICS["logp"], unit="$_$")}
    assert draw_calibration([Target("a$^$", 1.0)], {"a$^$": [(1.0, 1.5)]}, statistics)


def test_a_bound_is_open_at_one_end(drawn: list) -> None:
    assert draw_calibration([parse_target("logp<2")], {"logp": [(1.0, 1.5), (0.0, 3.0)]}, STATISTICS)
    low, high = next(arguments for name, arguments in drawn if name == "axhspan")
    assert low < 0.0
    assert high == 2.0


def test_what_lies_on_an_end_counts_only_where_that_is_included(drawn: list) -> None:
    pairs = [(1.0, 2.0), (0.0, 1.5)]
    for text, count in (("logp<2", 1), ("logp<=2", 2)):
        assert draw_calibration([parse_target(text)], {"logp": pairs}, STATISTICS)
        assert ("set_title", (f"{count} of 2 as wanted",)) in drawn


def test_a_range_that_no_draw_had_a_value_in_shows_a_histogram(drawn: list) -> None:
    """Then the nearest wanted value stands for the wanted one, and points would lie on a line."""
    pairs = [(2.0, 3.0), (1.5, 1.5), (-1.0, -1.0)]
    assert draw_calibration([parse_target("logp<2")], {"logp": pairs}, STATISTICS)
    (values,) = next(arguments for name, arguments in drawn if name == "hist")
    assert values.tolist() == [3.0, 1.5, -1.0]
    low, high = next(arguments for name, arguments in drawn if name == "axvspan")
    assert low < -1.0
    assert high == 2.0
    assert ("set_xlabel", ("measured",)) in drawn
    assert ("set_ylabel", ("molecules",)) in drawn


def test_the_same_molecules_give_the_same_bytes_and_none_give_no_picture() -> None:
    targets = [parse_target("logp=2.5"), parse_target("gfn2_gap_eV=6..8")]
    found = {"logp": [(2.5, 2.5)], "gfn2_gap_eV": [(6.0, 7.0)]}
    assert draw_calibration(targets, found, STATISTICS) == draw_calibration(targets, found, STATISTICS)
    assert draw_calibration(targets, {"logp": []}, STATISTICS) is None


def test_one_value_alone_is_shown_in_its_own_size(drawn: list) -> None:
    assert draw_calibration([parse_target("logp<2e-8")], {"logp": [(2e-8, 2e-8)]}, STATISTICS)
    low, high = next(arguments for name, arguments in drawn if name == "axvspan")
    assert 0 < high - low < 1e-8
