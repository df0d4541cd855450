"""Criteria that molecules must meet: the words ``where``, ``alerts``, ``rules`` and ``smarts``, read once and the same
everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from moldiff.arguments import choice, name_list
from moldiff.chem.filters.alerts import AlertCheck
from moldiff.chem.filters.checks import Check, by_cost
from moldiff.chem.filters.measures import condition_check
from moldiff.chem.filters.patterns import PatternCheck, Patterns, pattern_check
from moldiff.chem.filters.rules import RuleCheck
from moldiff.choices import AlertFamily, RuleName
from moldiff.conditions import Condition, Conditions, read_conditions
from moldiff.errors import MoldiffError

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """Criteria that molecules must meet. Build it with `of`.

    Attributes:
        where: conditions on named numbers.
        rules: presets that are obeyed.
        alerts: families of alerts none of which is found.
        smarts: patterns none of which matches.
    """

    where: tuple[Condition, ...] = ()
    rules: tuple[RuleName, ...] = ()
    alerts: tuple[AlertFamily, ...] = ()
    smarts: tuple[PatternCheck, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        where: Conditions = (),
        rules: str | Iterable[str] = (),
        alerts: str | Iterable[str] = (),
        smarts: Patterns | Iterable[Patterns] = (),
    ) -> Criteria:
        """Return what a user's words mean; names may stand in one text with commas.

        Raises:
            MoldiffError: no condition, an unknown name, a name twice, or a pattern that RDKit cannot read.
        """
        sources = [smarts] if isinstance(smarts, str | Path | Mapping) or not isinstance(smarts, Iterable) else smarts
        checks = tuple(pattern_check(source) for source in sources)
        _no_repeats([check.name for check in checks], "smarts")
        criteria = cls(
            where=read_conditions(where, "where"),
            rules=tuple(choice(name, RuleName, "rules") for name in _no_repeats(name_list(rules, "rules"), "rules")),
            alerts=tuple(
                choice(name, AlertFamily, "alerts") for name in _no_repeats(name_list(alerts, "alerts"), "alerts")
            ),
            smarts=checks,
        )
        criteria.checks()  # whatever is unknown shows now
        return criteria

    def __bool__(self) -> bool:
        return bool(self.where or self.rules or self.alerts or self.smarts)

    def checks(self) -> tuple[Check, ...]:
        """Return the checks, the cheapest first."""
        return by_cost(
            [
                *map(condition_check, self.where),
                *map(RuleCheck, self.rules),
                *map(AlertCheck, self.alerts),
                *self.smarts,
            ]
        )

    def record(self) -> dict[str, object]:
        """Return the words by their public names; of patterns, the file and how many it has."""
        return {
            "where": [str(condition) for condition in self.where],
            "rules": [str(name) for name in self.rules],
            "alerts": [str(name) for name in self.alerts],
            "smarts": [{"source": check.source, "patterns": dict(check.patterns)} for check in self.smarts],
        }


def _no_repeats(names: Iterable[str], argument: str) -> tuple[str, ...]:
    found = tuple(names)
    twice = next((name for place, name in enumerate(found) if name in found[:place]), None)
    if twice is not None:
        raise MoldiffError(f"{argument}: '{twice}' is named twice", argument=argument)
    return found
