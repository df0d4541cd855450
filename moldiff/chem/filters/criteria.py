"""Criteria that molecules must meet: the words ``where``, ``alerts``, ``rules`` and ``smarts``, read once and the same
everywhere; and what a user brings along for them: references, known molecules, commands."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from moldiff.arguments import choice, name_list, repeated
from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.chem.filters.alerts import AlertCheck
from moldiff.chem.filters.checks import Check, Measure, by_cost
from moldiff.chem.filters.commands import PLACES, CommandMeasure, command_measures
from moldiff.chem.filters.docking import EXHAUSTIVENESS, Docking, docking_of
from moldiff.chem.filters.geometry_measures import GEOMETRY_MEASURES
from moldiff.chem.filters.hazards import ReleaseCheck
from moldiff.chem.filters.measures import BROUGHT, MeasureCheck, condition_checks
from moldiff.chem.filters.patterns import PatternCheck, Patterns, pattern_check
from moldiff.chem.filters.preparation import CoordinatesCheck, InchikeyCheck
from moldiff.chem.filters.reference_measures import KnownCheck, known_check, overlays_on, similarity_to
from moldiff.chem.filters.rules import RuleCheck
from moldiff.chem.io.inputs import Molecules
from moldiff.choices import AlertFamily, RuleName
from moldiff.conditions import Condition, Conditions, read_conditions
from moldiff.errors import MoldiffError, blaming

COMMAND_S = 50.0  # a little less than a molecule has in a worker
_CHECKS = (InchikeyCheck, CoordinatesCheck, KnownCheck, ReleaseCheck)
_COLUMNS = (*(check.name for check in _CHECKS), "smarts", *RuleName, *AlertFamily)


class BroughtMeasure(Measure, Protocol):
    """A measure that a user brought along."""

    def record(self) -> dict[str, object]:
        """Return what it is, by the name of the argument, plain JSON types."""
        ...


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """Criteria that molecules must meet. Build it with `of`.

    Attributes:
        where: conditions on named numbers.
        rules: presets that are obeyed.
        alerts: families of alerts none of which is found.
        smarts: patterns none of which matches.
        measures: that the user brought along; those without a condition are columns.
        known: leaves out what is known.
    """

    where: tuple[Condition, ...] = ()
    rules: tuple[RuleName, ...] = ()
    alerts: tuple[AlertFamily, ...] = ()
    smarts: tuple[PatternCheck, ...] = ()
    measures: tuple[BroughtMeasure, ...] = ()
    known: KnownCheck | None = None

    @classmethod
    def of(
        cls,
        *,
        where: Conditions = (),
        rules: str | Iterable[str] = (),
        alerts: str | Iterable[str] = (),
        smarts: Patterns | Iterable[Patterns] = (),
        similar_to: Molecules | None = None,
        shape_of: Molecules | None = None,
        known: Molecules | None = None,
        commands: Mapping[str, str] = MappingProxyType({}),
        command_s: float = COMMAND_S,
        dock: str | Path | None = None,
        dock_box: object = None,
        exhaustiveness: int | None = None,
    ) -> Criteria:
        """Return what a user's words mean; names may stand in one text with commas.

        Args:
            where, rules, alerts, smarts: what molecules must be like.
            similar_to: references of the number ``similarity``.
            shape_of: references of the numbers ``shape`` and ``colour``.
            known: molecules that are left out.
            commands: name of a number -> template of the command that prints it.
            command_s: longest time of a command.
            dock, dock_box, exhaustiveness: receptor, box and search of the number ``vina_kcal_mol``, see
                `moldiff.chem.filters.docking.docking_of`.

        Raises:
            MoldiffError: no condition, an unknown name, a name twice, a pattern or a molecule that RDKit cannot read.
        """
        sources = [smarts] if isinstance(smarts, str | Path | Mapping) or not isinstance(smarts, Iterable) else smarts
        with blaming("smarts"):
            checks = tuple(pattern_check(source) for source in sources)
        _no_repeats([check.name for check in checks], "smarts")
        if dock is None and (dock_box is not None or exhaustiveness is not None):
            argument = "dock_box" if dock_box is not None else "exhaustiveness"
            raise MoldiffError(f"{argument} needs a receptor (dock)", argument=argument)
        if dock is not None and dock_box is None:
            raise MoldiffError("dock needs a box: where to look (dock_box)", argument="dock")
        search = EXHAUSTIVENESS if exhaustiveness is None else exhaustiveness
        criteria = cls(
            where=blaming("where")(read_conditions)(where, "where"),
            rules=tuple(choice(name, RuleName, "rules") for name in _no_repeats(name_list(rules, "rules"), "rules")),
            alerts=tuple(
                choice(name, AlertFamily, "alerts") for name in _no_repeats(name_list(alerts, "alerts"), "alerts")
            ),
            smarts=checks,
            measures=(
                *(() if similar_to is None else (blaming("similar_to")(similarity_to)(similar_to),)),
                *(() if shape_of is None else blaming("shape_of")(overlays_on)(shape_of)),
                *command_measures(commands, command_s),
                *(() if dock is None else (docking_of(dock, dock_box, search),)),
            ),
            known=None if known is None else blaming("known")(known_check)(known),
        )
        own = (*(measure.name for measure in GEOMETRY_MEASURES), *BROUGHT)
        criteria.refuse_names({*PROPERTIES, *own}, "a property")
        criteria.refuse_names(_COLUMNS, "a column of the tables")
        with blaming("where"):
            criteria.checks()  # whatever is unknown shows now
        return criteria

    @property
    def docking(self) -> Docking | None:
        """The docking that is asked for, if any."""
        return next((measure for measure in self.measures if isinstance(measure, Docking)), None)

    @property
    def commands(self) -> tuple[CommandMeasure, ...]:
        """The commands that are asked for."""
        return tuple(measure for measure in self.measures if isinstance(measure, CommandMeasure))

    def refuse_names(self, taken: Iterable[str], owner: str) -> None:
        """Raise MoldiffError if a command has a name that is taken, or that of a data field or of patterns, which have
        a colon.

        Args:
            taken: the names.
            owner: has them, in words.
        """
        names = set(taken)
        for command in self.commands:
            if command.name in names:
                raise MoldiffError(f"commands '{command.name}': {owner} has that name", argument="commands")
            if ":" in command.name:
                raise MoldiffError(f"commands '{command.name}': a plain name has no colon", argument="commands")

    def refuse_missing_programs(self) -> None:
        """Raise MoldiffError if the program of a command is not on this machine."""
        for command in self.commands:
            program = command.words[0]
            if any(place in program for place in PLACES):
                continue
            if os.path.dirname(program) and not os.path.isabs(program):
                why = "it runs in a folder of its own: give the whole path of its program"
            elif shutil.which(program) is None:
                why = "there is no such program here"
            else:
                continue
            raise MoldiffError(f"commands '{command.name}': '{program[:60]}': {why}", argument="commands")

    def __bool__(self) -> bool:
        return bool(self.where or self.rules or self.alerts or self.smarts or self.known)

    def checks(self) -> tuple[Check, ...]:
        """Return the checks, the cheapest first."""
        named = {condition.name for condition in self.where}
        return by_cost(
            [
                *condition_checks(self.where, self.measures),
                *(MeasureCheck(measure) for measure in self.measures if measure.name not in named),
                *(() if self.known is None else (self.known,)),
                *map(RuleCheck, self.rules),
                *map(AlertCheck, self.alerts),
                *self.smarts,
            ]
        )

    def record(self) -> dict[str, object]:
        """Return the words by their public names, and all that was brought along."""
        brought: dict[str, object] = {}
        for one in (*self.measures, *(() if self.known is None else (self.known,))):
            brought |= one.record()
        return {
            "where": [str(condition) for condition in self.where],
            "rules": [str(name) for name in self.rules],
            "alerts": [str(name) for name in self.alerts],
            "smarts": [{"source": check.source, "patterns": dict(check.patterns)} for check in self.smarts],
            **brought,
        }


def _no_repeats(names: Iterable[str], argument: str) -> tuple[str, ...]:
    found = tuple(names)
    if (twice := repeated(found)) is not None:
        raise MoldiffError(f"{argument}: '{twice}' is named twice", argument=argument)
    return found
