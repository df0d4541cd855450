"""Desirability (Derringer and Suich, J. Qual. Technol. 1980, 12, 214): several wishes about numbers as one number
from 0 to 1, their weighted geometric mean."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from moldiff.arguments import repeated
from moldiff.chem.filters.checks import Measure
from moldiff.chem.filters.measures import measure_named
from moldiff.errors import MoldiffError, blaming
from moldiff.foreign_text import number_in
from moldiff.screening.ranking import Ranking, parse_rank
from moldiff.screening.rows import Row

COLUMN = "desirability"
"""Column of tables of ranked molecules."""

_INF = math.inf
_MOST_WEIGHT, _MOST_SPAN = 1e6, 1e100
_FORM = re.compile(
    r"\s*(?P<name>.*\S)\s*:\s*(?P<shape>max|min|target|range)\s*:(?P<numbers>[^*]+)(?:\*(?P<weight>.+))?"
)
_SHAPE = re.compile(r":\s*(max|min|target|range)\s*:")
_NUMBERS = {"max": 2, "min": 2, "target": 3, "range": 4}
_ENDS: dict[str, Callable[[list[float]], tuple[tuple[float, float], tuple[float, float]]]] = {
    "max": lambda n: ((n[1], _INF), (n[0], _INF)),
    "min": lambda n: ((-_INF, n[0]), (-_INF, n[1])),
    "target": lambda n: ((n[1], n[1]), (n[0], n[2])),
    "range": lambda n: ((n[1], n[2]), (n[0], n[3])),
}
"""From the numbers of a shape to the ends of what is good and of what is bad."""


@dataclass(frozen=True)
class Wish:
    """A wish about one number. Its desirability is 1 from ``good[0]`` to ``good[1]``, falls to 0 at ``bad[0]`` and
    ``bad[1]`` in straight lines, and is 0 where the number is not known.

    Attributes:
        text: of the user.
        measure: knows the number.
        good, bad: both ends, low and high; infinite = there is none on that side.
        weight: in the geometric mean.
    """

    text: str
    measure: Measure
    good: tuple[float, float]
    bad: tuple[float, float]
    weight: float = 1.0

    def of(self, value: object) -> float:
        """Return the desirability of a value, from 0 to 1."""
        if not isinstance(value, int | float) or math.isnan(value):
            return 0.0
        if self.good[0] <= value <= self.good[1]:
            return 1.0
        side = 0 if value < self.good[0] else 1
        return max(0.0, (value - self.bad[side]) / (self.good[side] - self.bad[side]))


@dataclass(frozen=True)
class Desirability:
    """The order of molecules by their desirability.

    Attributes:
        wishes: each about another number.
    """

    wishes: tuple[Wish, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(wish.text for wish in self.wishes)

    @property
    def measures(self) -> tuple[Measure, ...]:
        return tuple(wish.measure for wish in self.wishes)

    def of(self, row: Row) -> float:
        """Return the weighted geometric mean of the desirabilities of a row's numbers."""
        total = 0.0
        for wish in self.wishes:
            one = wish.of(row.values.get(wish.measure.name))
            if one == 0.0:
                return 0.0
            total += wish.weight * math.log(one)
        return math.exp(total / sum(wish.weight for wish in self.wishes))


def parse_wish(text: str, others: Iterable[Measure] = ()) -> Wish:
    """Read ``qed:max:0.2..0.9`` (0 at 0.2, 1 from 0.9 up), ``sa:min:2..6`` (1 up to 2, 0 from 6 up),
    ``logp:target:0..2.5..5`` (1 at 2.5) or ``mw:range:200..300..450..550`` (1 from 300 to 450). Behind a ``*`` stands a
    weight.

    Args:
        text: of a user.
        others: measures that the user brought along.

    Raises:
        MoldiffError: it is none of these, or no such number is known.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise MoldiffError(
            f"rank '{text}': expected NAME:max:0.2..0.9, NAME:min:2..6, NAME:target:0..2.5..5 or "
            "NAME:range:200..300..450..550, and behind a * a weight",
            argument="rank",
        )
    numbers = [_number(one, text) for one in match["numbers"].split("..")]
    if len(numbers) != _NUMBERS[match["shape"]] or any(a >= b for a, b in itertools.pairwise(numbers)):
        raise MoldiffError(
            f"rank '{text}': {match['shape']} takes {_NUMBERS[match['shape']]} numbers that rise", argument="rank"
        )
    weight = _number(match["weight"] or "1", text)
    if weight <= 0:
        raise MoldiffError(f"rank '{text}': the weight must be positive", argument="rank")
    if not 1 / _MOST_WEIGHT <= weight <= _MOST_WEIGHT or numbers[-1] - numbers[0] > _MOST_SPAN:
        raise MoldiffError(
            f"rank '{text}': too large or too small to compute with: weights go from {1 / _MOST_WEIGHT:g} to "
            f"{_MOST_WEIGHT:g}, numbers lie within {_MOST_SPAN:g} of each other",
            argument="rank",
        )
    good, bad = _ENDS[match["shape"]](numbers)
    return Wish(text, measure_named(match["name"], others, argument="rank"), good, bad, weight)


def _number(text: str, wish: str) -> float:
    try:
        value = number_in(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise MoldiffError(f"rank '{wish}': '{text}' is no number", argument="rank")
    return value


@blaming("rank")
def read_ranking(texts: Iterable[str], others: Iterable[Measure] = ()) -> Ranking | None:
    """Return the order that a user's words mean: one rank of `moldiff.screening.ranking.parse_rank`, or any number of
    wishes about different numbers; None = no words.

    Args:
        texts: of a user.
        others: measures that the user brought along.

    Raises:
        MoldiffError: a text that is neither, two ranks, or two wishes about one number.
    """
    words, brought = list(texts), tuple(others)
    if not words:
        return None
    if len(words) == 1 and _SHAPE.search(words[0]) is None:
        return parse_rank(words[0], brought)
    plain = next((word for word in words if _SHAPE.search(word) is None), None)
    if plain is not None:
        raise MoldiffError(
            f"rank '{plain}' stands alone, not beside others; several become one number as wishes, such as "
            "NAME:max:0.2..0.9 or NAME:min:2..6",
            argument="rank",
        )
    wishes = tuple(parse_wish(word, brought) for word in words)
    if (twice := repeated([wish.measure.name for wish in wishes])) is not None:
        raise MoldiffError(f"rank: there are two wishes about '{twice}'", argument="rank")
    return Desirability(wishes)
