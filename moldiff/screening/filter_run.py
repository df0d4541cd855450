"""A pass over a library: every record is read and checked, the best that pass are kept, all are counted."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from moldiff.arguments import check_flag, count, seconds, seed_number
from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.chem.filters.checks import Check, Measure, by_cost
from moldiff.chem.filters.criteria import Criteria
from moldiff.chem.filters.hazards import STANDARD_GATE, HazardGate, ReleaseCheck
from moldiff.chem.filters.measures import Descriptor, MeasureCheck, fields_asked, unknown_field
from moldiff.chem.filters.patterns import Patterns
from moldiff.chem.filters.preparation import CoordinatesCheck, InchikeyCheck
from moldiff.chem.io.inputs import Molecules
from moldiff.conditions import Conditions
from moldiff.processes import Lost, pool_of
from moldiff.reading import sha256_of
from moldiff.screening.desirability import COLUMN as DESIRABILITY
from moldiff.screening.desirability import Desirability, read_ranking
from moldiff.screening.entries import Entry, Library
from moldiff.screening.outputs import Sheet
from moldiff.screening.ranking import Ranking
from moldiff.screening.rows import COLUMNS, DUPLICATES, WHOLE, Row, RowCounts
from moldiff.screening.summary import FilterSummary
from moldiff.screening.worker import STAGES, FilterWork, Pack, lost, nothing

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]

TIMEOUT_S = 60.0
"""Longest time for one molecule in a worker."""
COMMAND_SHARE = 0.8  # of that time, for a command: it is ended before its worker is
CHUNK = 32  # records sent to a worker at once
KEPT_COLUMNS = ("record", "file", "name", "smiles", "inchikey")
_NAMES = frozenset(
    {*COLUMNS, *WHOLE, DESIRABILITY, DUPLICATES, *STAGES}
)  # of columns and stages, not of a user's numbers
_TEXTS = frozenset({"file", "name", "status", "stage", "reason", "value", "limit", "smiles", "inchikey"})


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """Options of a pass; see `moldiff.screening.filter.filter`. Of a user's words, build them with `of`.

    Attributes:
        criteria: none = every property is computed, and everything passes.
        rank, n: which molecules are kept.
        all_checks: ask every check of every molecule.
        dedup: of molecules with the same InChIKey, the first that passes every check is kept.
        standardise: bring molecules into their standard form first.
        seed: of coordinates that are given.
        hazards: what is withheld.
        workers, isolated, timeout_s: see `moldiff.processes`.
    """

    criteria: Criteria = field(default_factory=Criteria)
    rank: Ranking | None = None
    n: int | None = None
    all_checks: bool = False
    dedup: bool = True
    standardise: bool = False
    seed: int = 0
    hazards: HazardGate = STANDARD_GATE
    workers: int = 1
    isolated: bool = False
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        if self.n is not None:
            count(self.n, "n")
        seed_number(self.seed)
        count(self.workers, "workers")
        seconds(self.timeout_s)
        self.criteria.refuse_names(_NAMES, "a column of the tables")
        check_flag(self.all_checks, "all_checks")
        check_flag(self.dedup, "dedup")
        check_flag(self.standardise, "standardise")
        check_flag(self.isolated, "isolated")

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
        dock: str | Path | None = None,
        dock_box: object = None,
        exhaustiveness: int | None = None,
        standardise: bool = False,
        hazard_lists: str | Path | Iterable[str | Path] = (),
        release_hazards: str | None = None,
        rank: Iterable[str] = (),
        n: int | None = None,
        all_checks: bool = False,
        dedup: bool = True,
        seed: int = 0,
        workers: int = 1,
        isolated: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> FilterOptions:
        """Return what a user's words mean, see `moldiff.screening.filter.filter`.

        Raises:
            MoldiffError: words that mean nothing, or a file that cannot be read.
        """
        criteria = Criteria.of(
            where=where,
            rules=rules,
            alerts=alerts,
            smarts=smarts,
            similar_to=similar_to,
            shape_of=shape_of,
            known=known,
            commands=commands,
            command_s=COMMAND_SHARE * seconds(timeout_s),
            dock=dock,
            dock_box=dock_box,
            exhaustiveness=exhaustiveness,
        )
        return cls(
            criteria=criteria,
            rank=read_ranking(rank, criteria.measures),
            n=n,
            all_checks=all_checks,
            dedup=dedup,
            standardise=standardise,
            seed=seed,
            hazards=HazardGate.of(hazard_lists, release_hazards),
            workers=workers,
            isolated=isolated,
            timeout_s=timeout_s,
        )

    def checks(self, *, coordinates: bool = False) -> tuple[Check, ...]:
        """Return the checks, the cheapest first.

        Args:
            coordinates: what passes is given coordinates.
        """
        marks = (ReleaseCheck(self.hazards.released),) if self.hazards.released else ()
        found: list[Check] = [*marks, InchikeyCheck(), *self.criteria.checks()]
        measured: list[Measure] = [] if self.criteria else [Descriptor(name) for name in PROPERTIES]
        if self.rank is not None:
            measured += self.rank.measures
        asked = {check.name for check in found}
        found += [MeasureCheck(measure) for measure in dict.fromkeys(measured) if measure.name not in asked]
        return by_cost([*found, CoordinatesCheck()] if coordinates else found)

    def work(self, checks: tuple[Check, ...], pack: Pack = nothing) -> FilterWork:
        """Return the work on a record, for this process or another."""
        return FilterWork(checks, self.all_checks, pack, self.seed, self.standardise, self.hazards)

    def record(self) -> dict[str, object]:
        """Return what decides about the result, by its public names."""
        return {
            **self.criteria.record(),
            "rank": [] if self.rank is None else list(self.rank.texts),
            "n": self.n,
            "all_checks": self.all_checks,
            "dedup": self.dedup,
            "standardise": self.standardise,
            "seed": self.seed,
            **self.hazards.record(),
        }


def records_sheet(checks: Iterable[tuple[str, bool]]) -> Sheet:
    """Return the columns of a table of all records.

    Args:
        checks: name of each, and whether its values are texts.
    """
    own = {name: is_text for name, is_text in checks if name not in (*COLUMNS, CoordinatesCheck.name)}
    return Sheet((*COLUMNS, *own), _TEXTS | {name for name, is_text in own.items() if is_text})


def kept_sheet(records: Sheet, tags: tuple[str, ...] = ()) -> Sheet:
    """Return the columns of a table of the molecules that are kept, from those of the table of all records."""
    columns = (*KEPT_COLUMNS, *(name for name in records.columns if name not in COLUMNS))
    return Sheet(columns, records.own_texts & set(columns), tags)


class FilterRun:
    """A pass under way.

    Args:
        library: whose records are looked at.
        options: of the pass.
        pack: what is wanted of a molecule that passes.
        coordinates: it is given coordinates, if it has none.

    Attributes:
        counts: of the rows so far.
        sheet: columns of the table of all records.
        fields: names of the data fields of the records so far, in the order in which they come.
        inputs: name and SHA-256 of each file of the library, when the rows were begun.
        started: `time.monotonic` at the start.
        seconds: that the rows took, as soon as all have come.
    """

    def __init__(
        self, library: Library, options: FilterOptions, pack: Pack = nothing, *, coordinates: bool = False
    ) -> None:
        options.criteria.refuse_missing_programs()
        self.library, self.options, self.started = library, options, time.monotonic()
        self.counts, self.fields = RowCounts(options.dedup), dict[str, None]()
        self.inputs: tuple[dict[str, str], ...] = ()
        self.seconds: float | None = None
        checks = options.checks(coordinates=coordinates)
        worth = options.rank if isinstance(options.rank, Desirability) else None
        self._work = replace(options.work(checks, pack), worth=worth)
        self._asked = fields_asked(checks)
        columns = [(check.name, check.is_text) for check in checks]
        self.sheet = records_sheet(columns if worth is None else [*columns, (DESIRABILITY, False)])

    def rows(self, progress: Progress | None = None) -> Iterator[Row]:
        """Yield the row of every record, counted, in order. A data field that is asked for and that no record has is
        said in the end.

        Raises:
            MoldiffError: a file cannot be read.
        """
        # taken before the work: in the end, or when a result is saved, they may be others, or gone
        self.inputs = tuple({"file": str(path), "sha256": sha256_of(path)} for path in self.library.files)
        options, entries = self.options, _noted(self.library, self.fields)
        batches = iter(lambda: list(itertools.islice(entries, CHUNK)), [])
        with pool_of(options.workers, isolated=options.isolated, ready=self._work.prepare) as pool:
            for batch, found in pool.map_batches(self._work, batches, timeout_s=options.timeout_s):
                for row in [lost(batch[0], found)] if isinstance(found, Lost) else found:
                    yield self.counts.take(row)
                if progress is not None:
                    progress(self.counts.requested)
        self.seconds = time.monotonic() - self.started
        self.counts.tell_if_all_failed()
        for name in self._asked:
            if name not in self.fields:
                logger.warning("%s", unknown_field(name, self.fields))

    def kept_sheet(self, tags: tuple[str, ...] = ()) -> Sheet:
        """Return the columns of a table of the molecules that are kept.

        Args:
            tags: data fields that are columns too.
        """
        return kept_sheet(self.sheet, tags)

    def summary(self, kept: int, output: Path | None = None) -> FilterSummary:
        """Return the summary of a pass that has ended."""
        counts = self.counts
        seconds = time.monotonic() - self.started if self.seconds is None else self.seconds
        return FilterSummary(dict(counts.by_status), dict(counts.by_stage), kept, seconds, str(output or ""))


def _noted(entries: Iterable[Entry], fields: dict[str, None]) -> Iterator[Entry]:
    """Yield entries, and take note of the names of their data fields."""
    for entry in entries:
        fields.update(dict.fromkeys(entry.tags))
        yield entry
