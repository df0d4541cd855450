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
from typing import Generic, Protocol, TypeVar

from moldiff.arrays import MolArrays
from moldiff.chem.convert import EncodingError
from moldiff.chem.coordinates import FLAT, NO_CONFORMER
from moldiff.chem.io.inputs import Molecules, file_of, records_of
from moldiff.chem.io.records import Record, read_texts
from moldiff.chem.io.tables import Columns
from moldiff.chem.sanitize import error_reason
from moldiff.errors import MoldiffError
from moldiff.generation.options.run_options import RunOptions
from moldiff.generation.results import Gate, MoleculeResult
from moldiff.generation.run import Progress, Run
from moldiff.interruption import Interruption
from moldiff.sampling.molecule_sampler import MOST_DRAWS, MoleculeSampler
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS
from moldiff.status import Status
from moldiff.threads import Workers

logger = logging.getLogger(__name__)

RECORD_COLUMNS = ("record", "name", "draw")


@dataclass(frozen=True, kw_only=True)
class RecordOptions(RunOptions):
    """Options of every run from records.

    Attributes:
        add_hydrogens: place the hydrogens that records with coordinates leave out.
        columns: of a table of molecules.
    """

    add_hydrogens: bool = False
    columns: Columns | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n > MOST_DRAWS:
            raise MoldiffError(f"n must be at most {MOST_DRAWS} for each molecule, not {self.n}", argument="n")


class Prepared(Protocol):
    """A record that a model can begin with."""

    @property
    def arrays(self) -> MolArrays: ...


Item = TypeVar("Item", bound=Prepared)


@dataclass(frozen=True)
class RecordTask(Generic[Item]):
    """One draw that is asked for.

    Attributes:
        number: among all draws of the run, its ``moldiff_id``.
        draw: among those of its record, from 0.
        record: that it answers.
        item: the record, prepared; None if that is impossible.
        reason: why; "" if all is well.
    """

    number: int
    draw: int
    record: Record
    item: Item | None
    reason: str


def count_records(path: Path, columns: Columns | None = None) -> int:
    """Return the number of records of a molecule file; MoldiffError if it cannot be read or is empty."""
    return sum(1 for _ in read_texts(path, columns))


class _Tally:
    """Counts draws and tells it."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._done = progress, 0

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
    """

    def __init__(self, options: RecordOptions, molecules: Molecules, gate: Gate | None = None) -> None:
        path = file_of(molecules)  # what is neither file nor molecule shows before the model is loaded
        super().__init__(options, gate)
        self._n, self._molecules, self._path = options.n, molecules, path
        self._columns, self._add_hydrogens = options.columns, options.add_hydrogens
        self._asked = 0  # draws, as far as the records have been read
        self._all_asked = False
        self.records, self.answered = 0, set[int]()

    @property
    def requested(self) -> int:
        if self._all_asked or self._path is None:
            return self._asked
        return self._n * count_records(self._path, self._columns)

    def molecule_sampler(self, keep_predictions: bool, workers: Workers) -> MoleculeSampler:
        """Return what carries solver, grid, noise and micro-batches."""
        sampler = self.sampler
        solver, grid = SOLVERS[sampler.sampler], GRIDS[sampler.grid]
        return MoleculeSampler(
            self.model, solver, sampler.evaluations, sampler.options.seed, None, keep_predictions, grid, workers=workers
        )

    @abstractmethod
    def prepare(self, record: Record) -> Item:
        """Prepare a record that holds a molecule; EncodingError if it cannot be begun with."""

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
        records = records_of(self._molecules, self._columns, self._add_hydrogens)
        asks, tally = self._asks(records), _Tally(progress)
        usable, first_reason = False, ""
        while interruption.number is None and (chunk := list(itertools.islice(asks, self.sampler.options.batch_size))):
            ready = [ask for ask in chunk if ask.item is not None]
            tally.add(len(chunk) - len(ready))
            found = {ask.number: MoleculeResult(ask.number, Status.FAILED, ask.reason) for ask in chunk if not ask.item}
            for result in self.settle(ready, workers, tally.add, interruption) if ready else ():
                if result.number in found:
                    raise MoldiffError(f"draw {result.number} came twice")
                found[result.number] = result
            usable = usable or bool(ready)
            for ask in chunk:
                first_reason = first_reason or ask.reason
                if ask.number in found:  # or it was interrupted
                    yield self._placed(ask, found[ask.number])
        if not usable and interruption.number is None:
            hint = "; conformers gives it coordinates" if first_reason in (NO_CONFORMER, FLAT) else ""
            where = "the molecules" if self._path is None else self._path
            raise MoldiffError(f"{where}: none of the records can be used; the first: {first_reason}{hint}")

    def _placed(self, ask: RecordTask[Item], result: MoleculeResult) -> MoleculeResult:
        """Return a result with the facts of its record, counted there."""
        record = ask.record
        self.records += ask.draw == 0
        if result.status == Status.VALID:
            self.answered.add(record.index)
        facts = {"record": record.index, "name": record.name, "draw": ask.draw, **result.facts}
        if result.status == Status.WITHHELD:  # a name or a data field may tell what it is
            return replace(result, facts={**facts, "name": ""})
        return replace(result, facts=facts, title=self.title(record), tags=record.tags)

    def _asks(self, records: Iterable[Record]) -> Iterator[RecordTask[Item]]:
        """Yield the draws that are asked for, record by record."""
        sizes, warned, number = self.model.statistics.size_counts, False, 0
        for record in records:
            item, reason = None, record.reason
            if record.mol is not None:
                try:
                    item = self.prepare(record)
                except EncodingError as error:
                    reason = str(error)
                except Exception as error:  # a record that breaks something costs its own draws alone
                    logger.debug("record %d", record.index, exc_info=True)
                    reason = error_reason(error)
            if item is not None and not warned and not min(sizes) <= len(item.arrays.atom_type) <= max(sizes):
                warned = True
                logger.warning(
                    "record %d (%s) has %d %s, outside the training data's %d..%d; expect more failures "
                    "(more such records are not named)",
                    record.index, record.name or "no name", len(item.arrays.atom_type),
                    self.model.vocabulary.atoms, min(sizes), max(sizes),
                )  # fmt: skip
            for draw in range(self._n):
                self._asked = number + 1
                yield RecordTask(number, draw, record, item, reason)
                number += 1
        self._all_asked = True
