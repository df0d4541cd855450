"""Named numbers of a molecule, and conditions on them as checks: the words that users write into ``where``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.chem.descriptors.score_functions import Score, imported_score
from moldiff.chem.filters.checks import CheckResult, Measure, Measured, Subject
from moldiff.chem.filters.geometry_measures import GEOMETRY_MEASURES, check_installed
from moldiff.conditions import Condition
from moldiff.errors import MoldiffError, nearest_name


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

    def __call__(self, subject: Subject) -> Measured:
        (value,) = _function(self.name)([subject.mol])
        return Measured(math.nan, "the function gave it no number") if value is None else Measured(value)


@cache
def _function(name: str) -> Score:
    return Score(name, imported_score(name))


@dataclass(frozen=True)
class MeasureCheck:
    """Passes what has a number as wanted; without a condition everything passes, and has the number in its table.

    Attributes:
        measure: knows the number.
        condition: on it.
    """

    measure: Measure
    condition: Condition | None = None
    is_text = False

    @property
    def name(self) -> str:
        return self.measure.name

    @property
    def cost(self) -> float:
        return self.measure.cost

    def __call__(self, subject: Subject) -> CheckResult:
        """Return the result; its value is the number."""
        found = self.measure(subject)
        value = None if math.isnan(found.value) else found.value
        if self.condition is None:
            return CheckResult(self.name, True, value)
        limit = self.condition.limit
        if self.condition.holds(found.value):
            return CheckResult(self.name, True, value, "", limit)
        told = "not known" if value is None else f"{value:.6g}"
        more = f" ({found.detail})" if found.detail else ""
        return CheckResult(self.name, False, value, f"{told}{more}, must be {limit}", limit)


def measure_named(name: str, others: Iterable[Measure] = (), *, argument: str = "where") -> Measure:
    """Return the measure of a name: one of ``others``, of the table of properties, of `GEOMETRY_MEASURES`, or a user's
    function.

    Args:
        name: that a user wrote.
        others: that the user brought along.
        argument: where it was written, for messages.

    Raises:
        MoldiffError: there is none, it needs an extra that is not installed, or the function cannot be loaded.
    """
    known: dict[str, Measure] = {entry: Descriptor(entry) for entry in PROPERTIES}
    known |= {measure.name: measure for measure in (*GEOMETRY_MEASURES, *others)}
    if name in known:
        check_installed(name)
        return known[name]
    if ":" in name:
        _function(name)
        return FunctionMeasure(name)
    raise MoldiffError(
        f"unknown property '{name}'{nearest_name(name, known)}; known are {', '.join(known)} and module:function",
        argument=argument,
    )


def condition_check(condition: Condition, others: Iterable[Measure] = ()) -> MeasureCheck:
    """Return the check of a condition.

    Raises:
        MoldiffError: nothing of that name is known, or a number with decimals is wanted exactly.
    """
    measure = measure_named(condition.name, others)
    if condition.low == condition.high and not measure.whole:
        low, high = condition.low - 0.5, condition.low + 0.5
        raise MoldiffError(
            f"where '{condition}': hardly a molecule has exactly this {condition.name}; write a range such as "
            f"{condition.name}={low:g}..{high:g}",
            argument="where",
        )
    return MeasureCheck(measure, condition)
