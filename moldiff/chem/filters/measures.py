"""Named numbers of a molecule, and conditions on them as checks: the words that users write into ``where``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.chem.filters.checks import CheckResult, Subject
from moldiff.conditions import Condition
from moldiff.errors import MoldiffError, nearest_name


@dataclass(frozen=True)
class Measured:
    """A number of a molecule.

    Attributes:
        value: NaN = it cannot be known.
        detail: what there is to say of it: why it is not known, what it counts.
    """

    value: float
    detail: str = ""


class Measure(Protocol):
    """The source of a number of a molecule; plain data like a `moldiff.chem.filters.checks.Check`.

    Attributes:
        name: that users write.
        cost: about how many milliseconds a drug-like molecule takes on one core.
        whole: values are whole numbers.
    """

    @property
    def name(self) -> str: ...

    @property
    def cost(self) -> float: ...

    @property
    def whole(self) -> bool: ...

    def __call__(self, subject: Subject) -> Measured: ...


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


def measure_named(name: str, others: Iterable[Measure] = ()) -> Measure:
    """Return the measure of a name: one of ``others``, or of the table of properties.

    Raises:
        MoldiffError: there is none.
    """
    known: dict[str, Measure] = {entry: Descriptor(entry) for entry in PROPERTIES}
    known |= {measure.name: measure for measure in others}
    if name not in known:
        raise MoldiffError(
            f"unknown property '{name}'{nearest_name(name, known)}; known are {', '.join(known)}", argument="where"
        )
    return known[name]


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
