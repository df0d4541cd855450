"""Conditions on named numbers as users write them: ``mw<450``, ``logp=1..4``, ``qed>=0.5``. One grammar for targets,
filters and screens."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from moldiff.arguments import refusal
from moldiff.errors import MoldiffError

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_MOST_WHOLE = 1e15  # beyond, a number's last digits are not its own
TAG = "tag:"  # before the name of a data field of a record
# The name is all that stands before the last operator: those of columns hold blanks, commas and operators.
_NAME = r"\s*(?P<name>(?:\S.*)?[^=<>\s])\s*"
_CHAIN = re.compile(rf"{_NUMBER}\s*[=<>].*", flags=re.ASCII)  # 1<mw<2 is no condition on a number "1<mw"
_TURNED = re.compile(
    rf"\s*(?P<number>{_NUMBER})\s*(?P<operator>[<>]=?|=)\s*(?P<name>[^=<>\s](?:[^=<>]*[^=<>\s])?)\s*", flags=re.ASCII
)
_MIRRORED = str.maketrans("<>", "><")
_FORMS = re.compile(
    rf"{_NAME}(?:=\s*(?P<low>{_NUMBER})\s*(?:\.\.\s*(?P<high>{_NUMBER})\s*)?"
    rf"|<(?P<most_equal>=?)\s*(?P<most>{_NUMBER})\s*|>(?P<least_equal>=?)\s*(?P<least>{_NUMBER})\s*)",
    flags=re.ASCII,
)


def number_text(value: float) -> str:
    """Return a number with six digits, from ten on with nine, since of energies the small differences count; a whole
    one with all of its own, since a record or a compound may be known by it."""
    if abs(value) < _MOST_WHOLE and value == int(value):
        return f"{value + 0.0:.0f}"  # no -0
    return f"{value:.9g}" if abs(value) >= 10 else f"{value:.6g}"


def holds_number(ranges: Iterable[tuple[float, float, bool]]) -> bool:
    """Return whether some number lies in all of some ranges.

    Args:
        ranges: two ends, infinite = open, and whether these are excluded.
    """
    own = list(ranges)
    least = max((low for low, _, _ in own), default=-math.inf)
    most = min((high for _, high, _ in own), default=math.inf)
    return least < most or (least == most and all(low < least < high for low, high, strict in own if strict))


def holds_whole_number(ranges: Iterable[tuple[float, float, bool]]) -> bool:
    """Return whether some whole number lies in all of some ranges.

    Args:
        ranges: two ends, infinite = open, and whether these are excluded.
    """
    least, most = -math.inf, math.inf
    for low, high, strict in ranges:
        if math.isfinite(low):
            least = max(least, math.floor(low) + 1 if strict else math.ceil(low))
        if math.isfinite(high):
            most = min(most, math.ceil(high) - 1 if strict else math.floor(high))
    return least <= most


@dataclass(frozen=True)
class Condition:
    """A value (``low`` = ``high``), an inclusive range or a bound of a named number, natural units.

    >>> parse_condition("hbd<=5").holds(5), parse_condition("hbd<5").holds(5)
    (True, False)

    Attributes:
        name: of the number.
        low, high: ends; infinite = open.
        strict: a bound excludes its end, as < and > do.
    """

    name: str
    low: float = -math.inf
    high: float = math.inf
    strict: bool = False

    @property
    def limit(self) -> str:
        """The text after the name: "<450", "=1..4"."""
        equal = "" if self.strict else "="
        if not math.isfinite(self.low):
            return f"<{equal}{self.high:.9g}"
        if not math.isfinite(self.high):
            return f">{equal}{self.low:.9g}"
        return f"={self.low:.9g}" if self.low == self.high else f"={self.low:.9g}..{self.high:.9g}"

    def __str__(self) -> str:
        return self.name + self.limit

    def holds(self, value: float) -> bool:
        """Return whether a value is as wanted; NaN never is."""
        return self.low < value < self.high if self.strict else self.low <= value <= self.high

    def meets(self, low: float, high: float) -> bool:
        """Return whether some value of an inclusive range is as wanted."""
        return holds_number([(self.low, self.high, self.strict), (low, high, False)])


def range_text(low: float, high: float) -> str:
    """Return an inclusive range in words."""
    if low == high:
        return f"{low:.6g}"
    if not math.isfinite(high):
        return f"{low:.6g} or more"
    return f"{low:.6g} to {high:.6g}" if math.isfinite(low) else f"{high:.6g} at most"


def parse_condition(text: str, what: str = "condition") -> Condition:
    """Read ``name=2.5`` (a value), ``name=6..8`` (a range) or ``name<60``, ``name<=60``, ``name>60``, ``name>=60``.

    The name is what stands before the last operator, without the blanks around it; any letters, a number too (37>0.5),
    but none of ``= < >`` at its end, and no number before the first of them (1<mw<2).

    Args:
        text: of a user.
        what: it is called in messages.

    Raises:
        MoldiffError: it is none of these, an empty range, or a number that is too large.
    """
    match = _FORMS.fullmatch(text)
    if match is None or _CHAIN.fullmatch(match["name"]):
        hint = ""
        if turned := _TURNED.fullmatch(text):
            said = f"{turned['name']}{turned['operator'].translate(_MIRRORED)}{turned['number']}"
            hint = f"; the name comes first: {said}"
        raise MoldiffError(f"{what} '{text}': expected name=2.5, name=6..8, name<60 or name>60{hint}")
    low, high, most, least = match["low"], match["high"], match["most"], match["least"]
    strict = False
    if most is not None:
        low, high, strict = "-inf", most, not match["most_equal"]
    elif least is not None:
        low, high, strict = least, "inf", not match["least_equal"]
    ends = float(low), float(low if high is None else high)
    if ends[0] > ends[1]:
        raise MoldiffError(f"{what} '{text}': the range is empty, {low} is more than {high}")
    if not any(map(math.isfinite, ends)):
        raise MoldiffError(f"{what} '{text}': the number is too large")
    return Condition(match["name"], *ends, strict)


Conditions = str | Condition | Iterable[str | Condition]
"""Texts or `Condition`s; several of the same number all hold."""


def read_conditions(wanted: Conditions, name: str) -> tuple[Condition, ...]:
    """Read conditions; MoldiffError, with the name of the argument, if one is none, or nothing can meet two of them."""
    found = [wanted] if isinstance(wanted, str | Condition) or not isinstance(wanted, Iterable) else list(wanted)
    if not all(isinstance(item, str | Condition) for item in found):
        raise refusal(name, 'a text such as "mw<450" or a list of them', wanted)
    conditions = tuple(parse_condition(item) if isinstance(item, str) else item for item in found)
    for place, one in enumerate(conditions):
        for other in conditions[:place]:
            if one.name == other.name and not holds_number((x.low, x.high, x.strict) for x in (one, other)):
                raise MoldiffError(f"{name} {one} and {name} {other} contradict each other", argument=name)
    return conditions
