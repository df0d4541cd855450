"""Wishes about numbers: their shapes, their geometric mean, the order that they make."""

import math

import pytest

from moldiff.errors import MoldiffError
from moldiff.screening.desirability import Desirability, parse_wish, read_ranking
from moldiff.screening.ranking import Rank
from moldiff.screening.rows import Row
from moldiff.status import Status


def row(**values: float) -> Row:
    return Row(0, "", "", Status.VALID, values=values)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("qed:max:0.2..0.6", {0.1: 0, 0.2: 0, 0.3: 0.25, 0.6: 1, 0.9: 1}),
        ("sa:min:2..6", {1: 1, 2: 1, 3: 0.75, 6: 0, 7: 0}),
        ("logp:target:0..2..6", {-1: 0, 0: 0, 1: 0.5, 2: 1, 3: 0.75, 6: 0}),
        ("mw:range:200..300..400..500", {200: 0, 250: 0.5, 300: 1, 400: 1, 475: 0.25, 500: 0, 900: 0}),
    ],
)
def test_shapes(text: str, values: dict[float, float]) -> None:
    wish = parse_wish(text)
    assert {value: wish.of(value) for value in values} == pytest.approx(values)
    assert wish.of(None) == wish.of(math.nan) == 0


def test_the_whole_is_the_weighted_geometric_mean() -> None:
    order = read_ranking(["qed:max:0..1*3", "sa:min:0..10"])
    assert isinstance(order, Desirability)
    assert order.of(row(qed=0.5, sa=9.0)) == pytest.approx((0.5**3 * 0.1) ** (1 / 4))
    assert order.of(row(qed=0.5, sa=10.0)) == 0
    assert order.of(row(qed=0.5)) == 0  # what is not known is not wanted
    assert [measure.name for measure in order.measures] == ["qed", "sa"]


def test_one_plain_word_is_a_rank_and_none_is_none() -> None:
    assert isinstance(read_ranking(["sa:low"]), Rank)
    assert isinstance(read_ranking(["qed:max:0..1"]), Desirability)
    assert read_ranking([]) is None


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["qed", "sa:low"], "^rank 'qed' stands alone, not beside others; several become one number as wishes"),
        (["mw:max:0..1", "sa:low"], "^rank 'sa:low' stands alone"),
        (["qed:max:0..1*1e308", "sa:min:2..6*1e308"], "too large or too small to compute with: weights go from 1e-06"),
        (["qed:max:0..1*1e-320"], "too large or too small"),
        (["logp:max:-1e308..1e308"], r"numbers lie within 1e\+100 of each other"),
        (["qed:max"], "^rank 'qed:max': expected qed:high, qed:low, qed=VALUE, or a wish such as qed:max:LOW..HIGH"),
        (["qed:max:0.9..0.2"], "2 numbers that rise"),
        (["logp:target:0..5"], "3 numbers that rise"),
        (["qed:max:0..x"], "'x' is no number"),
        (["mw:max:0..1_0"], "'1_0' is no number"),
        (["qed:max:0..1*0"], "weight must be positive"),
        (["qde:max:0..1"], "unknown property 'qde'"),
        (["qed:max:0..1", "qed:min:0..1"], "two wishes about 'qed'"),
    ],
)
def test_what_means_nothing_is_told(texts: list[str], message: str) -> None:
    with pytest.raises(MoldiffError, match=message) as error:
        read_ranking(texts)
    assert error.value.argument == "rank"
