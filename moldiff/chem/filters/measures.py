"""Named numbers of a molecule, and conditions on them as checks: the words that users write into ``where``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.chem.descriptors.score_functions import Score, imported_score
from moldiff.chem.filters.checks import Check, CheckResult, Measure, Measured, Subject
from moldiff.chem.filters.geometry_measures import GEOMETRY_MEASURES, check_installed
from moldiff.conditions import TAG, Condition, holds_whole_number, number_text, range_text
from moldiff.errors import MoldiffError, nearest_name
from moldiff.foreign_code import may_run
from moldiff.foreign_text import number_in

BROUGHT = {"similarity": "similar_to", "shape": "shape_of", "colour": "shape_of", "vina_kcal_mol": "dock"}
"""Numbers against what a user brings along, and the argument that brings it."""

_SHOWN = 40  # characters of what is no number


@dataclass(frozen=True)
class Descriptor:
    """A property of the table `moldiff.chem.descriptors.rdkit_descriptors.PROPERTIES`.

    Attributes:
        name: in the table.
    """

    name: str

    @property
    def cost(self) -> float:
        return PROPERTIES[self.name].cost

    @property
    def whole(self) -> bool:
        return PROPERTIES[self.name].whole

    def __call__(self, subject: Subject) -> Measured:
        return Measured(subject.value(self.name))


@dataclass(frozen=True)
class FunctionMeasure:
    """A user's function of a list of molecules, which are as they were given: with coordinates if they have any.

    Attributes:
        name: ``package.module:function`` or ``folder/file.py:function``.
    """

    name: str
    cost = 10.0
    whole = False

    def prepare(self, subject: Subject) -> None:
        """Import the function."""
        _function(self.name)

    def __call__(self, subject: Subject) -> Measured:
        (value,) = _function(self.name)([subject.mol])
        return Measured(math.nan, "the function gave it no number") if value is None else Measured(value)


@cache
def _function(name: str) -> Score:
    # the folder stands in the name of the check already, and would push the cause out of its reason
    return Score(name.rpartition("/")[2], imported_score(name))


@dataclass(frozen=True)
class TagMeasure:
    """A data field of the record (an SDF tag, a column) that is a number.

    Attributes:
        name: `TAG` and the name of the field.
    """

    name: str
    cost = 0.001
    whole = True  # a field may be asked for exactly

    def __call__(self, subject: Subject) -> Measured:
        text = subject.tags.get(self.name.removeprefix(TAG))
        if text is None:
            return Measured(math.nan, "the record has no such field")
        try:
            value = number_in(text)
        except ValueError:
            value = math.nan
        return Measured(value) if math.isfinite(value) else Measured(math.nan, f"'{text[:_SHOWN]}' is no number")


@dataclass(frozen=True)
class MeasureCheck:
    """Passes what has a number as wanted; without a condition everything passes, and has the number in its table.

    Attributes:
        measure: knows the number.
        conditions: on it, which all hold; one check for each number, so that names tell checks apart.
    """

    measure: Measure
    conditions: tuple[Condition, ...] = ()
    is_text = False

    @property
    def name(self) -> str:
        return self.measure.name

    @property
    def cost(self) -> float:
        return self.measure.cost

    @cached_property
    def _limit(self) -> str:
        """All conditions."""
        return " and ".join(one.limit for one in self.conditions)

    def __call__(self, subject: Subject) -> CheckResult:
        """Return the result; its value is the number, its limit the condition that does not hold, or all of them."""
        found = self.measure(subject)
        name = self.measure.name
        if found.broken:
            return CheckResult(name, False, None, found.detail, self._limit, broken=True)
        value = None if math.isnan(found.value) else found.value
        broken = next((condition for condition in self.conditions if not condition.holds(found.value)), None)
        if broken is None:
            return CheckResult(name, True, value, "", self._limit)
        told = "not known" if value is None else number_text(value)
        more = f" ({found.detail})" if found.detail else ""
        return CheckResult(name, False, value, f"{told}{more}, must be {broken.limit}", broken.limit)


def fields_asked(checks: Iterable[Check]) -> tuple[str, ...]:
    """Return the names of the data fields that some checks ask for."""
    measures = (check.measure for check in checks if isinstance(check, MeasureCheck))
    return tuple(measure.name.removeprefix(TAG) for measure in measures if isinstance(measure, TagMeasure))


def unknown_field(name: str, known: Iterable[str]) -> str:
    """Return that no record has a data field, with the nearest of those that there are."""
    return f"{TAG}{name}: no record has a data field '{name}'{nearest_name(name, known)}"


def measure_named(name: str, others: Iterable[Measure] = (), *, argument: str = "where") -> Measure:
    """Return the measure of a name: one of ``others``, of the table of properties, of `GEOMETRY_MEASURES`, a
    data field, or a user's function.

    Args:
        name: that a user wrote.
        others: that the user brought along.
        argument: where it was written, for messages.

    Raises:
        MoldiffError: there is none, it needs an extra that is not installed, or the function cannot be loaded or may
            not run.
    """
    known: dict[str, Measure] = {entry: Descriptor(entry) for entry in PROPERTIES}
    known |= {measure.name: measure for measure in (*GEOMETRY_MEASURES, *others)}
    if name in known:
        check_installed(name)
        return known[name]
    if name.startswith(TAG) and name != TAG:
        return TagMeasure(name)
    if ":" in name and name != TAG:
        if may_run(name):  # asked here too: a function that was loaded before is not loaded again
            _function(name)
        return FunctionMeasure(name)
    if name in BROUGHT:
        raise MoldiffError(
            f"'{name}' needs the argument {BROUGHT[name]}, which filter and screen take", argument=argument
        )
    raise MoldiffError(
        f"unknown property '{name}'{nearest_name(name, known)}; known are {', '.join(known)}, "
        "tag:NAME of a data field and module:function",
        argument=argument,
    )


def condition_checks(conditions: Iterable[Condition], others: Iterable[Measure] = ()) -> tuple[MeasureCheck, ...]:
    """Return the checks of conditions, one for each number.

    Raises:
        MoldiffError: nothing of a name is known, a number with decimals is wanted exactly, no value lies where it is
            wanted, or no whole number does where there are no others.
    """
    brought = tuple(others)
    by_name: dict[str, list[Condition]] = {}
    for condition in conditions:
        if condition.low == condition.high and not measure_named(condition.name, brought).whole:
            low, high = condition.low - 0.5, condition.low + 0.5
            raise MoldiffError(
                f"where '{condition}': hardly a molecule has exactly this {condition.name}; write a range such as "
                f"{condition.name}={low:g}..{high:g}",
                argument="where",
            )
        limits = PROPERTIES.get(condition.name)
        if limits is not None and not condition.meets(limits.low, limits.high):
            ends = range_text(limits.low, limits.high)
            raise MoldiffError(
                f"where '{condition}': no molecule can have it, {condition.name} is {ends}", argument="where"
            )
        by_name.setdefault(condition.name, []).append(condition)
    checks = tuple(MeasureCheck(measure_named(name, brought), tuple(found)) for name, found in by_name.items())
    for check in checks:
        counts = check.measure.whole and not isinstance(check.measure, TagMeasure)
        if counts and not holds_whole_number((one.low, one.high, one.strict) for one in check.conditions):
            asked = " and ".join(map(str, check.conditions))
            raise MoldiffError(
                f"where '{asked}': no molecule can have it, {check.name} is a whole number", argument="where"
            )
    return checks
