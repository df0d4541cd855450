"""Options of a screening run: the words of `moldiff filter`, and those about ranking, shards and limits. They travel in
the plan of a run as they were written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, overload

from pydantic import BeforeValidator, Field

from moldiff.arguments import check_flag, count, mebibytes, number, seconds, seed_number
from moldiff.chem.filters.hazards import HazardGate
from moldiff.errors import MoldiffError
from moldiff.screening.filter_run import FilterOptions
from moldiff.sections import Section, validate

_FUNCTION = re.compile(r"\s*(?!/)[^:]*\.py:")  # of a file, in a condition or a rank


def _count(name: str, *, optional: bool = False) -> BeforeValidator:
    """Return the check of a number of things, or of None if it is optional, which names the argument of Python."""
    return BeforeValidator(lambda value: None if optional and value is None else count(value, name))


def _flag(name: str) -> BeforeValidator:
    """Return the check of a True or False, which names the argument of Python."""

    def checked(value: object) -> object:
        check_flag(value, name)
        return value

    return BeforeValidator(checked)


class ScreenOptions(Section):
    """Options of a screening run, checked.

    Attributes:
        where, rules, alerts, smarts: see `moldiff.chem.filters.criteria.Criteria.of`; none = every property is
            computed, and everything passes.
        similar_to, shape_of, known: files; commands: name -> template; see there.
        dock, dock_box: files, or the box as a text; exhaustiveness: of docking; see there.
        standardise: bring molecules into ChEMBL's standard form first.
        hazard_lists, release_hazards: see `moldiff.chem.filters.hazards.HazardGate.of`.
        rank: see `moldiff.screening.desirability.read_ranking`; none = the order of the records.
        ranked: the best so many stand in the tables of ranked molecules.
        top: so many of them are given 3D coordinates and written to top.sdf.gz.
        diverse: each of the top differs from every better one by more than this Tanimoto distance of Morgan
            fingerprints (ECFP4), 0 to below 1; 0 = they are simply the first.
        reference: whose distributions stand behind those of what passed on the page, see
            `moldiff.evaluation.load_reference`; None = the records themselves, or those of the model that draws.
        all_checks: ask every check of every molecule, not up to the first that fails.
        dedup: of molecules with the same InChIKey, the first that passes every check is kept, in the order of the
            inputs.
        shard_size: records of a shard, the unit of work that is written at once.
        timeout: seconds for one molecule.
        memory: MiB for the data of a worker process.
        seed: of coordinates that are given.
    """

    where: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    smarts: tuple[str, ...] = ()
    similar_to: str | None = None
    shape_of: str | None = None
    known: str | None = None
    commands: Mapping[str, str] = {}
    dock: str | None = None
    dock_box: str | None = None
    exhaustiveness: Annotated[int | None, _count("exhaustiveness", optional=True)] = None
    standardise: Annotated[bool, _flag("standardise")] = False
    hazard_lists: tuple[str, ...] = ()
    release_hazards: str | None = None
    rank: tuple[str, ...] = ()
    ranked: Annotated[int, _count("ranked")] = 10_000
    top: Annotated[int, _count("top")] = 100
    diverse: Annotated[float, BeforeValidator(partial(number, name="diverse")), Field(ge=0, lt=1)] = 0.0
    reference: str | None = None
    all_checks: Annotated[bool, _flag("all_checks")] = False
    dedup: Annotated[bool, _flag("dedup")] = True
    shard_size: Annotated[int, _count("shard_size")] = 2_000
    timeout: Annotated[float, BeforeValidator(seconds)] = 60.0
    memory: Annotated[int, BeforeValidator(mebibytes)] = 4_096
    seed: Annotated[int, BeforeValidator(seed_number)] = 0

    def filter_options(self, folder: Path | None = None) -> FilterOptions:
        """Return what is asked of each molecule.

        Args:
            folder: that names of files are seen from; None = the one at hand.

        Raises:
            MoldiffError: words that mean nothing, or a file that cannot be read; or a function of a file, of which
                tables have the name, would have to be looked for in another folder.
        """
        if folder is not None and (word := next(filter(_FUNCTION.match, (*self.where, *self.rank)), None)):
            raise MoldiffError(f"'{word}' names a file that is seen from {folder}: go on from there")
        seen = partial(_seen, folder)
        found = FilterOptions.of(
            where=self.where,
            rules=self.rules,
            alerts=self.alerts,
            smarts=[Path(seen(file)) for file in self.smarts],
            similar_to=_path(seen(self.similar_to)),
            shape_of=_path(seen(self.shape_of)),
            known=_path(seen(self.known)),
            commands=self.commands,
            dock=_path(seen(self.dock)),
            dock_box=self.dock_box if self.dock_box is None or "," in self.dock_box else seen(self.dock_box),
            exhaustiveness=self.exhaustiveness,
            standardise=self.standardise,
            hazard_lists=[seen(file) for file in self.hazard_lists],
            release_hazards=self.release_hazards,
            rank=self.rank,
            n=self.ranked,
            all_checks=self.all_checks,
            dedup=self.dedup,
            seed=self.seed,
            timeout_s=self.timeout,
        )
        # patterns are known by the name that the user gave, wherever they are seen from
        own = zip(found.criteria.smarts, self.smarts, strict=True)
        patterns = tuple(replace(check, source=str(Path(file))) for check, file in own)
        return replace(found, criteria=replace(found.criteria, smarts=patterns))

    def gate(self, folder: Path | None = None) -> HazardGate:
        """Return the gate of what a model makes, which nobody releases; see `filter_options`."""
        return HazardGate.of([_seen(folder, file) for file in self.hazard_lists])


def _path(file: str | None) -> Path | None:
    return None if file is None else Path(file)


@overload
def _seen(folder: Path | None, file: str) -> str: ...


@overload
def _seen(folder: Path | None, file: None) -> None: ...


@overload
def _seen(folder: Path | None, file: str | None) -> str | None: ...


def _seen(folder: Path | None, file: str | None) -> str | None:
    """Return the path of a file that is seen from a folder."""
    return file if file is None or folder is None else str(folder / file)


def screen_options(values: Mapping[str, Any]) -> ScreenOptions:
    """Return the options of a run.

    Raises:
        MoldiffError: an unknown key, a value of another kind, words that mean nothing, or a file of patterns that
            cannot be read.
    """
    try:
        options = validate(ScreenOptions, dict(values), "screen")
    except MoldiffError as error:
        key = str(error).removeprefix("screen: ").partition(" ")[0]
        if not error.argument and key in values:
            error.argument = key
        raise
    options.filter_options()
    return options
