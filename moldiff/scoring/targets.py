"""Wanted property values as users write them: ``logp=2.5``, ``gfn2_gap_eV=6..8``, ``tpsa<60``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from moldiff.arguments import check_text, number, refusal
from moldiff.conditions import TAG, Condition, parse_condition
from moldiff.datasets.statistics import LARGEST, PropertyStatistics
from moldiff.errors import MoldiffError, blaming, nearest_name

FARTHEST = 1e12  # standard deviations of the training data from their mean: in float32, the square is still finite
_AT_END = 1e-9  # how far out an end is that is excluded, relative to its size: next to nothing, and kept in sums
VALUE_BAND = 0.25  # a molecule is as wanted within this many standard deviations of the training data around a value


@dataclass(frozen=True, init=False)
class Target:
    """A wanted value (``low`` = ``high``), range or one-sided bound (an infinite end) of one property, natural units.

    >>> Target("logp", 2.5), Target("tpsa", high=60), Target("gfn2_gap_eV", low=6, high=8)
    (Target('logp', '=2.5'), Target('tpsa', '<=60'), Target('gfn2_gap_eV', '=6..8'))
    >>> parse_target("rings>1").low, parse_target("tpsa<60").distance(60) > 0
    (2.0, True)

    Args:
        name: the property.
        value: the one that is wanted; or else
        low, high: inclusive ends of what is wanted; None = open.
        strict: the only end is excluded. Of a whole number, the next one inside takes its place, and is included.
        text: what the user wrote after the name, without blanks; by default, what says the same.

    Raises:
        MoldiffError: no value and no end, both, an empty range, two ends of which one is excluded, or what is no
            number.
    """

    name: str
    low: float
    high: float
    strict: bool
    text: str

    def __init__(
        self,
        name: str,
        value: float | None = None,
        *,
        low: float | None = None,
        high: float | None = None,
        strict: bool = False,
        text: str = "",
    ) -> None:
        check_text(name, "name")
        if value is not None and (low is not None or high is not None):
            raise MoldiffError(f"target of '{name}': give a value, or low and high, not both", argument="value")
        if value is not None:
            low = high = value
        told = f"target of '{name}'"
        with blaming("low" if value is None else "value"):
            least = -math.inf if low is None else number(low, told)
        with blaming("high"):
            most = math.inf if high is None else number(high, told)
        if any(math.isfinite(end) and abs(end) > LARGEST for end in (least, most)):
            raise MoldiffError(f"target of '{name}': beyond {LARGEST:.3g} there is no property", argument="value")
        if not any(map(math.isfinite, (least, most))):
            raise MoldiffError(f"target of '{name}': give a finite value, low or high", argument="value")
        if not least <= most:
            raise MoldiffError(
                f"target of '{name}': the range is empty, {least:g} is more than {most:g}", argument="low"
            )
        if strict and all(map(math.isfinite, (least, most))):
            raise MoldiffError(f"target of '{name}': strict is for one low or high", argument="strict")
        text = text or Condition(name, least, most, strict).limit
        if strict and _is_whole(name):
            least = float(math.floor(least) + 1) if math.isfinite(least) else least
            most = float(math.ceil(most) - 1) if math.isfinite(most) else most
            strict = False
        for field, own in (("name", name), ("low", least), ("high", most), ("strict", strict), ("text", text)):
            object.__setattr__(self, field, own)

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self.text!r})"

    @property
    def is_value(self) -> bool:
        """One value is wanted, not a range."""
        return self.low == self.high

    def distance(self, value: float) -> float:
        """Return how far a value lies outside; 0 inside, and next to nothing on an end that is excluded."""
        return float(self.distances(np.array(value, dtype=float)))

    def distances(self, values: np.ndarray) -> np.ndarray:
        """Return the `distance` of each value."""
        far: np.ndarray = np.maximum(np.maximum(self.low - values, values - self.high), 0.0)
        if self.strict:
            end = self.low if math.isfinite(self.low) else self.high
            far = np.where(values == end, _AT_END * (abs(end) or 1.0), far)
        return far

    def nearest(self, value: float) -> float:
        """Return the wanted value nearest to a value; the end of a bound, included or not, for one outside."""
        return min(max(value, self.low), self.high)

    def band(self, std: float) -> tuple[float, float]:
        """Return the ends within which a molecule is as wanted: of the range, or `VALUE_BAND` ``std`` to both sides."""
        margin = VALUE_BAND * std if self.is_value else 0.0
        return self.low - margin, self.high + margin

    def is_met(self, values: np.ndarray, std: float) -> np.ndarray:
        """Return which values lie within the `band`; NaN never does."""
        low, high = self.band(std)
        return (low < values) & (values < high) if self.strict else (low <= values) & (values <= high)


def _is_whole(name: str) -> bool:
    """Return whether a property is a count."""
    from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES  # here alone: the check of a device has no RDKit

    return name in PROPERTIES and PROPERTIES[name].whole


def scaled_distances(targets: Sequence[Target], values: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return how far molecules lie from targets (T, R): `Target.distance` in standard deviations.

    Args:
        targets: T.
        values: (R, T) of R molecules, natural units.
        std: (T,) of the properties.
    """
    columns = zip(targets, values.T, std, strict=True)
    return np.array([target.distances(column) / own for target, column, own in columns])


def parse_target(text: str) -> Target:
    """Read one target; MoldiffError if it is none.

    ``name=2.5`` is a value, ``name=6..8`` a range, ``name<60`` and ``name>60`` are bounds that exclude their ends,
    ``name<=60`` and ``name>=60`` bounds that include them.
    """
    found = parse_condition(text, "target")
    said = "".join(text.strip()[len(found.name) :].split())
    return Target(found.name, low=found.low, high=found.high, strict=found.strict, text=said)


Targets = Mapping[str, object] | Sequence["str | Target"] | str | Target
"""Texts, `Target`s, or property -> value, pair (inclusive ends, None = open), or a text such as "6..8" or "<60"."""


@blaming("targets")
def read_targets(wanted: Targets) -> tuple[Target, ...]:
    """Read targets; MoldiffError if one is none, or a second one of the same property."""
    if hasattr(wanted, "items"):  # a mapping, or a row of pandas
        return _distinct([_target_of(name, value) for name, value in wanted.items()])
    found = [wanted] if isinstance(wanted, str | Target) or not isinstance(wanted, Iterable) else list(wanted)
    if not all(isinstance(item, str | Target) for item in found):
        raise refusal("targets", "a text or a list of texts or targets, or a mapping of names to values", wanted)
    return _distinct([parse_target(item) if isinstance(item, str) else item for item in found])


def _target_of(name: object, value: object) -> Target:
    """Return the target of one entry of a mapping."""
    check_text(name, "targets")
    if isinstance(value, Target):
        if value.name != name:
            raise MoldiffError(f"targets: '{name}' has a target of '{value.name}'", argument="targets")
        return value
    if isinstance(value, str):
        return parse_target(f"{name}{value}" if value.strip()[:1] in ("=", "<", ">") else f"{name}={value}")
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, tuple | list) and len(value) == 2:
        return Target(str(name), low=value[0], high=value[1])
    if value is None or isinstance(value, tuple | list):
        raise refusal("targets", f"a number, a pair or a text for '{name}'", value)
    return Target(str(name), number(value, f"target of '{name}'"))


def _distinct(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Return the targets; MoldiffError if two are of the same property."""
    for place, target in enumerate(targets):
        if any(target.name == earlier.name for earlier in targets[:place]):
            raise MoldiffError(f"'{target.name}' has two targets; write a range as {target.name}=1..3")
    return tuple(targets)


@blaming("targets")
def check_targets(
    targets: Sequence[Target], conditions: Sequence[str], statistics: Mapping[str, PropertyStatistics]
) -> None:
    """Check targets against what a model can be asked for.

    Args:
        targets: of the run.
        conditions: properties that the model knows.
        statistics: of these properties in the training data.

    Raises:
        MoldiffError: a target is of an unknown property, or farther from all that is known than can be computed with.
    """
    for target in targets:
        check_known(target.name, conditions, statistics)
        row = statistics[target.name]
        if any(math.isfinite(end) and abs(end - row.mean) > FARTHEST * row.std for end in (target.low, target.high)):
            raise MoldiffError(
                f"target {target.name}{target.text}: this far from {_describe(target.name, row)} there is no property",
                argument="targets",
            )


def check_known(name: str, conditions: Sequence[str], statistics: Mapping[str, PropertyStatistics]) -> None:
    """Raise MoldiffError for a property that the model cannot be asked for; it lists those that it can."""
    if name in conditions:
        return
    known = ", ".join(_describe(known, statistics[known]) for known in conditions)
    tag = name.removeprefix(TAG)  # a set has a tag under its own name, or as tag_<name> beside RDKit's
    near = next((own for own in (f"tag_{tag}", tag) if own in conditions), name)
    raise MoldiffError(
        f"the model knows no property '{name}'{nearest_name(near, conditions)}; "
        f"it can be asked for (1 to 99 % of its training data): {known or 'none'}"
    )


def _describe(name: str, row: PropertyStatistics) -> str:
    if not row.known:
        return name
    unit = "" if row.unit in ("", "1") else f" {row.unit}"
    return f"{name} ({row.q01:.4g} to {row.q99:.4g}{unit})"
