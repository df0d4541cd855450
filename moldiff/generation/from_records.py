"""Runs that begin with the records of a molecule file: so many draws for each record, every one accounted for.

What `moldiff.generation.vary` and `moldiff.generation.conformers` share.
"""

from __future__ import annotations

import itertools
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from moldiff.arguments import WHOLE, Part, check_flag
from moldiff.arrays import MolArrays
from moldiff.chem.coordinates import FLAT, NO_CONFORMER
from moldiff.chem.filters.hazards import Gate
from moldiff.chem.io.inputs import Molecules, blamed, fields_of, files_of, kept, sha256_of_molecules, survey
from moldiff.chem.io.ready import Ready, ready_records
from moldiff.chem.io.records import Record
from moldiff.chem.io.tables import Columns, check_columns, refuse_columns
from moldiff.errors import MoldiffError, blaming
from moldiff.foreign_text import readable
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.generation.options.run_options import RunOptions
from moldiff.generation.options.sampler_options import ResolvedSampler
from moldiff.generation.run import Progress, Run
from moldiff.interruption import Interruption
from moldiff.randomness import Walk
from moldiff.sampling.molecule_sampler import MOST_DRAWS, MoleculeSampler
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS
from moldiff.status import Status
from moldiff.threads import Workers

if TYPE_CHECKING:
    from rdkit.Chem import Mol

logger = logging.getLogger(__name__)

RECORD_COLUMNS = ("record", "name", "draw")


@dataclass(frozen=True, kw_only=True)
class RecordOptions(RunOptions):
    """Options of every run from records.

    Attributes:
        add_hydrogens: place the hydrogens that records with coordinates leave out.
        columns: of a table of molecules.
        shard: the part of the records of files that is worked on.
    """

    add_hydrogens: bool = False
    columns: Columns | None = None
    shard: Part = WHOLE

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag(self.add_hydrogens, "add_hydrogens")
        check_columns(self.columns)
        if self.n > MOST_DRAWS:
            raise MoldiffError(f"n must be at most {MOST_DRAWS} for each molecule, not {self.n}", argument="n")

    def record(self, sampler: ResolvedSampler) -> dict[str, object]:
        part = {} if self.shard == WHOLE else {"shard": f"{self.shard.index}/{self.shard.count}"}
        columns = {} if self.columns is None else self.columns.record()
        return {**super().record(sampler), **part, **columns}


# Atoms that a record may have: so many, or so many times those of the largest molecule of the training data. Time and
# memory grow with the square of the number, and what comes of a molecule so far from the data is noise.
_ALWAYS_TAKEN, _BEYOND = 100, 4


class Prepared(Protocol):
    """A record that a model can begin with."""

    @property
    def arrays(self) -> MolArrays: ...


Item = TypeVar("Item", bound=Prepared)


@dataclass(frozen=True)
class RecordTask(Generic[Item]):
    """One draw that is asked for.

    Attributes:
        number: of the draw, counted through all records.
        draw: among those of its record, from 0.
        record: that it answers.
        item: the record, prepared; None if that is impossible.
        reason: why; "" if all is well.
        withheld: the gate refuses the record.
    """

    number: int
    draw: int
    record: Record
    item: Item | None
    reason: str
    withheld: bool = False

    def unprepared(self) -> MoleculeResult:
        """Return the result where there is no item."""
        return MoleculeResult(self.number, Status.WITHHELD if self.withheld else Status.FAILED, self.reason)


class _Tally:
    """Counts draws and tells it."""

    def __init__(self, progress: Progress | None, done: int) -> None:
        self._progress, self._done = progress, done
        self.add(0)

    def add(self, count: int = 1) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done)


class RecordRun(Run, Generic[Item]):
    """Makes draws for the records of a file, or for molecules.

    Args:
        options: of the run.
        molecules: what to begin with.
        gate: see `Run`.

    Attributes:
        records: number of records that have a result.
        answered: places of those with a valid one.
        walk: that keys the noise of its draws.
    """

    walk: ClassVar[Walk]
    begins_with = "molecules"

    def __init__(self, options: RecordOptions, molecules: Molecules, gate: Gate | None = None) -> None:
        molecules = kept(molecules)
        files = files_of(molecules)  # what is neither file nor molecule shows before the model is loaded
        self._span = None
        if files is not None:
            self.inputs = files
            with blaming("molecules", "columns"):
                read = survey(files, options.columns)
            self.tag_names, self._sha256 = read.tags, read.sha256
            self._span = read.span(options.shard)
        else:
            refuse_columns(options.columns)
            self.tag_names, self._sha256 = fields_of(molecules), (sha256_of_molecules(molecules),)
        super().__init__(options, gate, first=0 if self._span is None else self._span.start * options.n)
        self.sampler = self.sampler.at_cost(SOLVERS[self.sampler.sampler])
        self._n, self._molecules, self._files = options.n, molecules, files
        self._columns, self._add_hydrogens = options.columns, options.add_hydrogens
        self._asked = 0  # draws, as far as the records have been read
        self.records, self.answered = 0, set[int]()  # of results so far

    @property
    def requested(self) -> int:
        return self._asked if self._span is None else self._n * len(self._span)

    def molecule_sampler(self, keep_predictions: bool, workers: Workers) -> MoleculeSampler:
        """Return what carries solver, grid, noise and micro-batches."""
        sampler = self.sampler
        solver, grid = SOLVERS[sampler.sampler], GRIDS[sampler.grid]
        return MoleculeSampler(
            self.model, solver, sampler.evaluations, sampler.options.seed, None, keep_predictions, grid, workers=workers
        )

    @property
    @abstractmethod
    def prepare(self) -> Callable[[Mol], Item]:
        """Function of a module that prepares a molecule; EncodingError if it cannot be begun with."""

    @abstractmethod
    def settle(
        self, asks: list[RecordTask[Item]], workers: Workers, done: Callable[[], None], interruption: Interruption
    ) -> Iterator[MoleculeResult]:
        """Yield the results, in order, of asks that all have an item; call ``done`` whenever one is settled. After an
        interruption, only of those that are settled by then."""

    def title(self, record: Record) -> str:
        """Return the title of an SDF record; "" = the draw's number."""
        return ""

    def _made(
        self, workers: Workers, progress: Progress | None, interruption: Interruption
    ) -> Iterator[MoleculeResult]:
        records = ready_records(
            self._molecules, self.prepare, columns=self._columns, add_hydrogens=self._add_hydrogens, span=self._span,
            pool=self.pool, gate=self.gate,
        )  # fmt: skip
        asks, tally = self._asks(records), _Tally(progress, self.counts.drawn)
        first_reason, used = "", False  # of what is read here: whoever takes results may be a record behind
        while interruption.number is None and (chunk := list(itertools.islice(asks, self.sampler.batch_size))):
            ready = [ask for ask in chunk if ask.item is not None]
            tally.add(len(chunk) - len(ready))
            used, first_reason = used or bool(ready), first_reason or chunk[0].reason
            found = {ask.number: ask.unprepared() for ask in chunk if ask.item is None}
            for result in self.settle(ready, workers, tally.add, interruption) if ready else ():
                if result.number in found:
                    raise MoldiffError(f"draw {result.number} came twice")
                found[result.number] = result
            for ask in chunk:
                if ask.number in found:  # or it was interrupted
                    yield self._placed(ask, found[ask.number])
        if first_reason and not used and not self.evaluations and interruption.number is None:
            hint = "; conformers gives it coordinates" if first_reason in (NO_CONFORMER, FLAT) else ""
            where = "the molecules" if self._files is None else ", ".join(map(str, self._files))
            raise MoldiffError(
                f"{where}: none of the records can be used; the first: {first_reason}{hint}",
                argument=blamed(first_reason),
            )

    def _placed(self, ask: RecordTask[Item], result: MoleculeResult) -> MoleculeResult:
        """Return a result with the facts of its record."""
        record = ask.record
        facts = {
            "file": readable(Path(record.file).name),
            "record": record.index,
            "name": record.name,
            "draw": ask.draw,
            **result.facts,
        }
        if result.status == Status.WITHHELD:  # a name or a data field may tell what it is
            return replace(result, facts={**facts, "name": ""})
        return replace(result, facts=facts, title=self.title(record), tags=record.tags)

    def note(self, result: MoleculeResult) -> None:
        self.records += result.facts["draw"] == 0
        if result.status == Status.VALID:
            self.answered.add(int(str(result.facts["record"])))

    def identity(self) -> dict[str, Any]:
        return {"molecules": list(self._sha256), "walk": int(self.walk)}

    @property
    def record_columns(self) -> tuple[str, ...]:
        """Columns that say which record a draw answers."""
        return ("file", *RECORD_COLUMNS) if self._files is not None and len(self._files) > 1 else RECORD_COLUMNS

    def id_of(self, number: int) -> str:
        return f"{self.key}-{self.request.sampler.seed}-{number // self._n}.{number % self._n}"

    def _asks(self, records: Iterable[Ready[Item]]) -> Iterator[RecordTask[Item]]:
        """Yield the draws that are still to be made, record by record."""
        sizes, warned = self.model.statistics.size_counts, False
        most = max(_ALWAYS_TAKEN, _BEYOND * max(sizes))
        there = self.counts.drawn
        for ready in records:
            self._asked += self._n
            if self._asked <= there:
                continue
            record, item, reason = ready.record, ready.item, ready.reason
            n = 0 if item is None else len(item.arrays.atom_type)
            if n > most:
                item, reason = None, f"too large: {n} {self.model.vocabulary.atoms}, more than {most}"
            if item is not None and not warned and not min(sizes) <= n <= max(sizes):
                warned = True
                logger.warning(
                    "record %d (%s) has %d %s, outside the training data's %d..%d; expect more failures "
                    "(more such records are not named)",
                    record.index, record.name or "no name", n,
                    self.model.vocabulary.atoms, min(sizes), max(sizes),
                )  # fmt: skip
            for draw in range(max(0, self._n - (self._asked - there)), self._n):
                yield RecordTask(record.index * self._n + draw, draw, record, item, reason, ready.withheld)
