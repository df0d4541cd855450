"""Conditions as users write them: what they hold for, how they are written back, and what is none."""

import math
import re

import pytest

from moldiff.conditions import (
    Condition,
    holds_number,
    holds_whole_number,
    number_text,
    parse_condition,
    read_conditions,
)
from moldiff.errors import MoldiffError


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("mw<450", [449.999, -1e9], [450, 451, math.nan]),
        ("mw<=450", [450, 0], [450.001, math.nan]),
        ("qed>0.5", [0.51], [0.5, 0.1, math.nan]),
        ("qed >= .5", [0.5, 9], [0.499, math.nan]),
        ("logp=1..4", [1, 2.5, 4], [0.999, 4.001, math.nan]),
        ("logp=-2 .. -.5", [-2, -0.5], [-2.1, 0]),
        ("rings=2", [2], [1, 3, math.nan]),
    ],
)
def test_what_holds(text: str, inside: list[float], outside: list[float]) -> None:
    condition = parse_condition(text)
    assert all(map(condition.holds, inside))
    assert not any(map(condition.holds, outside))
    assert parse_condition(str(condition)) == condition


@pytest.mark.parametrize(
    "text",
    [
        "", "mw", "mw=", "<450", "mw<", "mw==2", "mw<nan", "1<mw<2", "mw=4..", "mw=<3", " -2 = a = 3", "1<2<3",
        "0.1<=qed<=0.9", "37=", "37", "37==1", "3=a b>2", "1e3>x>=1", "37<=>5",
    ],
)  # fmt: skip
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(MoldiffError, match=r"where '.*': expected"):
        parse_condition(text, "where")


@pytest.mark.parametrize(
    ("text", "name", "limit"),
    [
        ("Melting point=150", "Melting point", "=150"),
        ("  Melting  point  <= 150 ", "Melting  point", "<=150"),
        ("a b=2", "a b", "=2"),
        ("a=b=2", "a=b", "=2"),
        ("a = b = 1 .. 2", "a = b", "=1..2"),
        ("x<y>=3", "x<y", ">=3"),
        ("Bond,type>3", "Bond,type", ">3"),
        ("x..y=1", "x..y", "=1"),
        ("tag:IC50 nM<100", "tag:IC50 nM", "<100"),
        ("tag:a=b<1e2", "tag:a=b", "<100"),
        ("pIC50 (Å)>6", "pIC50 (Å)", ">6"),
        ("2 theta=3", "2 theta", "=3"),
        ("37>0.5", "37", ">0.5"),
        (" 37 <= .5 ", "37", "<=0.5"),
        ("1e3=-2..2", "1e3", "=-2..2"),
        ("-5.5>=1", "-5.5", ">=1"),
        ("1<2", "1", "<2"),
        ("37 nM=2", "37 nM", "=2"),
        ("tag:37=2", "tag:37", "=2"),
        ("x=37>2", "x=37", ">2"),
        ("mw<=450", "mw", "<=450"),
    ],
)
def test_the_name_is_what_stands_before_the_last_operator(text: str, name: str, limit: str) -> None:
    condition = parse_condition(text)
    assert (condition.name, condition.limit) == (name, limit)
    assert parse_condition(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.1<qed", "qed>0.1"), ("450>=mw", "mw<=450"), ("-2 > logp", "logp<-2"), ("3=ring count", "ring count=3"),
        ("1e3 <= x", "x>=1e3"), ("2=a,b", "a,b=2"), ("5<é", "é>5"),
    ],
)  # fmt: skip
def test_a_condition_the_wrong_way_round_is_told_the_right_one(text: str, said: str) -> None:
    with pytest.raises(MoldiffError, match=rf"where '.*': expected .*; the name comes first: {re.escape(said)}$"):
        parse_condition(text, "where")
    parse_condition(said)


@pytest.mark.parametrize("text", ["1<mw<2", "mw<", "37=", "1<", "<qed", "1 mw", "1..2=mw", "1<2<3"])
def test_what_cannot_be_turned_has_no_such_hint(text: str) -> None:
    with pytest.raises(MoldiffError, match=r"expected name=2.5, name=6..8, name<60 or name>60$"):
        parse_condition(text)


def test_ranges_that_hold_nothing() -> None:
    with pytest.raises(MoldiffError, match="3 is more than 2"):
        parse_condition("logp=3..2")
    with pytest.raises(MoldiffError, match="too large"):
        parse_condition("logp<1e999")


def test_one_or_several_texts_or_conditions() -> None:
    condition = Condition("mw", high=450, strict=True)
    assert read_conditions("mw<450", "where") == read_conditions([condition], "where") == (condition,)
    assert len(read_conditions(["mw<450", "mw>100"], "where")) == 2
    with pytest.raises(MoldiffError, match="where must be a text"):
        read_conditions(3, "where")  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", [["mw<100", "mw>200"], ["hbd<2", "logp=1", "hbd>=2"], ["qed=0.1..0.2", "qed=0.3"]])
def test_conditions_that_nothing_can_meet_together_are_refused(wanted: list[str]) -> None:
    with pytest.raises(MoldiffError, match=rf"where {re.escape(wanted[-1])} and where .* contradict each other"):
        read_conditions(wanted, "where")
    assert len(read_conditions(["mw<=100", "mw>=100", "logp>1", "logp<3"], "where")) == 4


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("rings=2", "rings>1", True),
        ("rings=2", "rings<3", True),
        ("logp=-0.5", "logp<0", True),
        ("logp=1..2", "logp>1", True),
        ("qed>0.5", "qed<0.6", True),
        ("rings=2", "rings<2", False),
        ("mw=5", "mw<5", False),
        ("mw=5", "mw>5", False),
        ("mw=5", "mw>7", False),
        ("hbd>=2", "hbd<2", False),
        ("hbd>2", "hbd<2", False),
        ("logp=1..2", "logp>2", False),
    ],
)
def test_a_bound_agrees_with_what_lies_inside_of_it(one: str, other: str, agree: bool) -> None:
    first, second = parse_condition(one), parse_condition(other)
    assert holds_number((each.low, each.high, each.strict) for each in (first, second)) == agree
    for wanted in ([one, other], [other, one]):
        if agree:
            assert len(read_conditions(wanted, "where")) == 2
        else:
            with pytest.raises(MoldiffError, match="contradict each other"):
                read_conditions(wanted, "where")


@pytest.mark.parametrize(
    ("ranges", "holds"),
    [
        ([], True),
        ([(2, 2, False)], True),
        ([(1, 3, False), (-math.inf, 3, True), (3, math.inf, False)], False),
        ([(1, 3, False), (-math.inf, 4, True), (3, math.inf, False)], True),
        ([(-math.inf, 2, True), (1, math.inf, True)], True),
        ([(2, 2, False), (2, math.inf, False), (-math.inf, 2, True)], False),
    ],
)
def test_ranges_hold_a_number_or_none(ranges: list[tuple[float, float, bool]], holds: bool) -> None:
    assert holds_number(ranges) == holds == holds_number(reversed(ranges))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567.0, "1234567"), (-20000001.0, "-20000001"), (999999.0, "999999"), (3.0, "3"), (1e16, "1e+16"),
        (1234567.5, "1234567.5"), (-102.46281212, "-102.462812"), (-0.0, "0"), (7.1234567, "7.12346"),
        (0.00012345678, "0.000123457"), (math.inf, "inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_whole_numbers_are_written_with_all_of_their_digits(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("ranges", "holds"),
    [
        ([], True),
        ([(2, 2, False)], True),
        ([(1.5, 1.5, False)], False),
        ([(1.2, 1.8, False)], False),
        ([(1.2, 2.0, False)], True),
        ([(-math.inf, 0.5, True)], True),
        ([(1, math.inf, True), (-math.inf, 2, True)], False),
        ([(1, math.inf, True), (-math.inf, 2, False)], True),
        ([(1, math.inf, False), (-math.inf, 2, True)], True),
        ([(-1.5, -1.1, False)], False),
        ([(-1.5, -1, False)], True),
    ],
)
def test_ranges_hold_a_whole_number_or_none(ranges: list[tuple[float, float, bool]], holds: bool) -> None:
    assert holds_whole_number(ranges) == holds
