"""Wanted values as users write them, and what is refused or warned of."""

import math
from typing import Any

import numpy as np
import pandas
import pytest

from moldiff.conditions import parse_condition
from moldiff.datasets.statistics import LARGEST, PropertyStatistics
from moldiff.errors import MoldiffError
from moldiff.scoring.targets import VALUE_BAND, Target, check_targets, parse_target, read_targets, scaled_distances

KNOWN = {
    "logp": PropertyStatistics("1", 0.5, 1.0, -3.0, 4.0, -2.25, 2.75, 60),
    "gfn2_gap_eV": PropertyStatistics("eV", 5.0, 2.0, 0.2, 17.0, 1.7, 11.0, 60),
}


@pytest.mark.parametrize(
    ("text", "name", "low", "high"),
    [
        ("logp=2.5", "logp", 2.5, 2.5),
        ("logp = -1e-1 ", "logp", -0.1, -0.1),
        ("gfn2_gap_eV=6..8", "gfn2_gap_eV", 6, 8),
        ("logp=-2 .. -.5", "logp", -2, -0.5),
        ("tpsa<60", "tpsa", -math.inf, 60),
        ("tpsa<=60.", "tpsa", -math.inf, 60),
        ("tpsa>6e1", "tpsa", 60, math.inf),
        ("tpsa >= 60", "tpsa", 60, math.inf),
        ("37=0.5", "37", 0.5, 0.5),
        ("37 > -2", "37", -2, math.inf),
        ("A_factor=1e13", "A_factor", 1e13, 1e13),
    ],
)
def test_values_ranges_and_bounds(text: str, name: str, low: float, high: float) -> None:
    target = parse_target(text)
    assert (target.name, target.low, target.high) == (name, low, high)
    assert target.is_value == (low == high)
    assert name + target.text == text.replace(" ", "")


@pytest.mark.parametrize(
    "text",
    ["", "logp", "logp=", "=2", "logp=2..", "logp=..2", "logp==2", "logp=nan", "logp=inf", "logp=1,2", "2<logp<3"],
)
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(MoldiffError, match=r"expected name=2\.5, name=6\.\.8, name<60 or name>60"):
        parse_target(text)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("rings>1", 2, math.inf),
        ("rings>=1", 1, math.inf),
        ("rings>0.5", 1, math.inf),
        ("rings<2", -math.inf, 1),
        ("rings<1.5", -math.inf, 1),
        ("rings<=2", -math.inf, 2),
        ("aromatic_rings > 0", 1, math.inf),
        ("formal_charge>-1", 0, math.inf),
        ("formal_charge<-0.5", -math.inf, -1),
        ("hbd<=2.5", -math.inf, 2.5),
    ],
)
def test_a_count_beyond_a_bound_is_the_next_one_inside(text: str, low: float, high: float) -> None:
    target = parse_target(text)
    assert (target.low, target.high, target.strict) == (low, high, False)
    assert target.name + target.text == text.replace(" ", ""), "as the user wrote it"
    assert not target.is_value
    for count in range(-4, 5):
        held = parse_condition(text).holds(count)
        assert bool(target.is_met(np.array(count), 1.0)) == held
        assert (target.distance(count) == 0) == held


@pytest.mark.parametrize(
    ("text", "inside", "end", "outside"),
    [
        ("tpsa>0", 1e-6, 0, -1),
        ("tpsa<60", 59.999, 60, 61),
        ("fsp3<1", 0.99, 1, 1.5),
        ("logp>-2.5", -2.499, -2.5, -3),
        ("gfn2_gap_eV<8", 7.9, 8, 9),
        ("Kd uM<1e-9", 9e-10, 1e-9, 2e-9),
        ("Kd uM>2e11", 2.1e11, 2e11, 1e11),
    ],
)
def test_the_end_of_a_strict_bound_is_not_as_wanted(text: str, inside: float, end: float, outside: float) -> None:
    strict = parse_target(text)
    open_one = parse_target(text.replace("<", "<=").replace(">", ">="))
    values = np.array([inside, end, outside, math.nan])
    assert strict.strict and not open_one.strict
    assert (strict.low, strict.high) == (open_one.low, open_one.high), "as the user wrote it"
    assert strict.is_met(values, 2.0).tolist() == [True, False, False, False]
    assert open_one.is_met(values, 2.0).tolist() == [True, True, False, False]
    for std in (1e-3, 1.0, 1e6):
        strict_far, open_far = scaled_distances([strict, open_one], np.stack([values, values], 1), np.array([std, std]))
        assert open_far[:2].tolist() == [0, 0]
        assert strict_far[0] == 0 < strict_far[1] < 1e-5 * (abs(end) or 1.0) / std
        assert strict_far[2] == open_far[2] == abs(outside - end) / std
        assert np.isnan(strict_far[3])
    assert strict.distance(end) > 0 == open_one.distance(end)
    assert strict.nearest(end) == strict.nearest(outside) == end
    assert f"{end - strict.nearest(end):.6g}" == "0"


def test_one_end_can_be_excluded_in_python_too() -> None:
    assert Target("tpsa", high=60, strict=True) == parse_target("tpsa<60") != Target("tpsa", high=60)
    assert Target("rings", low=1, strict=True) == parse_target("rings>1")
    assert Target("rings", low=1, strict=True).low == 2
    assert (Target("tpsa", high=60).text, Target("rings", low=1).text) == ("<=60", ">=1")
    for ends in ({"value": 2}, {"low": 1, "high": 2}):
        with pytest.raises(MoldiffError, match="target of 'logp': strict is for one low or high"):
            Target("logp", strict=True, **ends)
    with pytest.raises(MoldiffError, match="give a finite value"):
        Target("logp", strict=True)


@pytest.mark.parametrize(("text", "words"), [("logp=3..2", "3 is more than 2"), ("logp<1e999", "too large")])
def test_ranges_that_hold_nothing(text: str, words: str) -> None:
    with pytest.raises(MoldiffError, match=words):
        parse_target(text)


def test_an_unknown_property_lists_the_known_ones_with_units_and_ranges() -> None:
    with pytest.raises(MoldiffError) as caught:
        check_targets(read_targets(["logq=2"]), ["logp", "gfn2_gap_eV"], KNOWN)
    message = str(caught.value)
    assert "did you mean 'logp'?" in message
    assert "logp (-2.25 to 2.75), gfn2_gap_eV (1.7 to 11 eV)" in message


def test_a_property_that_the_model_was_not_trained_for_is_unknown() -> None:
    with pytest.raises(MoldiffError, match="knows no property 'gfn2_gap_eV'"):
        check_targets(read_targets(["gfn2_gap_eV=2"]), ["logp"], KNOWN)


@pytest.mark.parametrize("name", ["a b", "a=b", "Bond,type", "x..y", "x<y"])
def test_any_name_of_a_column_can_be_asked_for(name: str) -> None:
    (target,) = wanted = read_targets([f"{name} = 1..2"])
    assert (target.name, target.low, target.high, target.text) == (name, 1.0, 2.0, "=1..2")
    assert read_targets({name: "1..2"}) == read_targets({name: "=1..2"}) == wanted
    check_targets(wanted, [name], {name: KNOWN["logp"]})
    with pytest.raises(MoldiffError, match=r"knows no property 'A b.?' \(did you mean 'a b'\?\)"):
        check_targets(read_targets(["A bc=2"]), ["a b"], {"a b": KNOWN["logp"]})


def test_two_targets_of_a_property() -> None:
    with pytest.raises(MoldiffError, match=r"'logp' has two targets; write a range as logp=1\.\.3"):
        check_targets(read_targets(["logp>1", "logp<3"]), ["logp"], KNOWN)


def test_scaled_distances_are_those_of_each_target() -> None:
    targets = [parse_target(text) for text in ("p=2", "q=2..3", "r<2", "s>1")]
    values = np.random.default_rng(0).normal(2, 2, (50, 4))
    values[7, 1] = math.nan
    std = np.array([1.0, 2.0, 0.5, 3.0])
    found = scaled_distances(targets, values, std)
    expected = [
        [max(low - value, value - high, 0.0) / own for value in column]
        for (low, high), column, own in zip([(2, 2), (2, 3), (-math.inf, 2), (1, math.inf)], values.T, std, strict=True)
    ]
    assert np.array_equal(found, np.array(expected), equal_nan=True)


def test_distance_and_band() -> None:
    value, wanted_range, bound = (parse_target(text) for text in ("p=2", "p=2..3", "p<2"))
    assert [value.distance(x) for x in (1.5, 2, 4)] == [0.5, 0, 2]
    assert [wanted_range.distance(x) for x in (1.5, 2, 2.5, 4)] == [0.5, 0, 0, 1]
    assert value.band(2.0) == (2 - 2 * VALUE_BAND, 2 + 2 * VALUE_BAND)
    assert wanted_range.band(2.0) == (2, 3)
    assert bound.band(2.0) == (-math.inf, 2)


def test_a_mapping_says_the_same_as_texts() -> None:
    wanted = {"logp": 2.5, "tpsa": (None, 60), "gfn2_gap_eV": (6, 8), "qed": [0.5, None], "mw": "<100", "hbd": "1..2"}
    texts = ["logp=2.5", "tpsa<=60", "gfn2_gap_eV=6..8", "qed>=0.5", "mw<100", "hbd=1..2"]
    assert read_targets(wanted) == read_targets(texts)
    assert read_targets({"logp": Target("logp", 2.5)}) == read_targets(Target("logp", 2.5)) == read_targets("logp=2.5")
    assert read_targets([Target("tpsa", high=60), "logp=2.5"]) == read_targets(["tpsa<=60", "logp=2.5"])
    assert read_targets({}) == read_targets(()) == ()


def test_an_array_of_two_is_a_pair() -> None:
    assert read_targets({"logp": np.array([1, 2])}) == read_targets(["logp=1..2"])
    assert read_targets({"logp": np.array(1.5)}) == read_targets(["logp=1.5"])
    with pytest.raises(MoldiffError, match="targets must be a number, a pair or a text for 'logp'"):
        read_targets({"logp": np.array([1, 2, 3])})


def test_a_row_of_pandas_is_a_mapping() -> None:
    row = pandas.DataFrame({"logp": [1.0, 2.5], "mw": [90, 120]}).iloc[1]
    assert read_targets(row) == read_targets(["logp=2.5", "mw=120"])
    with pytest.raises(MoldiffError, match="target of 'mw': give a finite value"):
        read_targets(pandas.Series({"logp": 2.5, "mw": float("nan")}))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"logp": None}, "a number, a pair or a text for 'logp', not None"),
        ({"logp": (1, 2, 3)}, "not \\(1, 2, 3\\)"),
        ({"logp": (None, None)}, "give a finite value, low or high"),
        ({"logp": (3, 2)}, "the range is empty, 3 is more than 2"),
        ({"logp": math.nan}, "give a finite value"),
        ({"logp": True}, "must be a number, not True"),
        ({"logp": Target("tpsa", 1)}, "'logp' has a target of 'tpsa'"),
        ({3: 1.0}, "targets must be a text, not 3"),
        ([3], "a mapping of names to values, not \\[3\\]"),
        (["logp=1", Target("logp", 2)], "'logp' has two targets"),
    ],
    ids=str,
)
def test_what_is_no_target_is_refused(wanted: object, words: str) -> None:
    with pytest.raises(MoldiffError, match=words):
        read_targets(wanted)  # type: ignore[arg-type]


def test_a_target_is_a_value_or_a_range() -> None:
    with pytest.raises(MoldiffError, match="not both"):
        Target("logp", 1, low=0)
    with pytest.raises(MoldiffError, match="give a finite value"):
        Target("logp")


@pytest.mark.parametrize("wanted", ["logp=1e39", "tpsa<-1e300", "logp=0..1.3e30", {"logp": (None, -1e39)}])
def test_values_that_no_number_of_the_network_can_hold_are_refused(wanted: Any) -> None:
    with pytest.raises(MoldiffError, match=r"beyond 1.27e\+30 there is no property"):
        read_targets(wanted)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e13, 1e29])
def test_what_was_trained_on_can_be_asked_for_and_nonsense_beside_it_cannot(scale: float) -> None:
    row = PropertyStatistics("", 3 * scale, scale, scale, 9 * scale, 1.1 * scale, 8.9 * scale, 60)
    for wanted in (1.0, 9.0, -5.0, 1e6):
        if wanted * scale < LARGEST:
            ends = ({"value": wanted * scale}, {"low": wanted * scale}, {"high": wanted * scale})
            check_targets([Target("rate", **end) for end in ends], ["rate"], {"rate": row})
    for end in (-2e12, 2e12):
        if abs(end) * scale < LARGEST:
            for far in (Target("rate", end * scale), Target("rate", low=end * scale), Target("rate", high=end * scale)):
                with pytest.raises(MoldiffError, match=r"target rate.*: this far from rate \(.* to .*\) there is no"):
                    check_targets([Target("rate", scale), far], ["rate"], {"rate": row})


@pytest.mark.parametrize(
    ("asked", "conditions", "near"),
    [
        ("tag:37=0.5", ["37"], "37"),
        ("tag:logp=1", ["logp", "tag_logp"], "tag_logp"),
        ("tag:logp=1", ["tpsa", "logp"], "logp"),
        ("logp=1", ["tag_logp", "tpsa"], "tag_logp"),
    ],
)
def test_a_tag_is_asked_for_by_its_name_in_the_set(asked: str, conditions: list[str], near: str) -> None:
    with pytest.raises(MoldiffError, match=rf"knows no property '.*' \(did you mean '{near}'\?\)"):
        check_targets([parse_target(asked)], conditions, dict.fromkeys(conditions, KNOWN["logp"]))
    check_targets([parse_target(f"{near}=1")], conditions, dict.fromkeys(conditions, KNOWN["logp"]))
