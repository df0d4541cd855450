"""Jobs that answer the records of a molecule file: so many draws for each record, every one of them accounted for.

What `moldiff.generation.vary` and `moldiff.generation.conformers` share; `moldiff.generation.writer`
writes it down.
"""

from __future__ import annotations

import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from moldiff.arguments import refusal
from moldiff.arrays import MolArrays
from moldiff.chem.convert import EncodingError
from moldiff.chem.io.records import Record, is_molecule, read_records, read_texts
from moldiff.chem.sanitize import error_reason
from moldiff.devices import name_of, resolve_device, resolve_precision
from moldiff.errors import MoldiffError
from moldiff.generation.options.generation_options import Request, check_request
from moldiff.generation.results import MoleculeResult, ResultCounts
from moldiff.interruption import Interruption
from moldiff.models.folder import load_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sampling.molecule_sampler import MOST_DRAWS, Drawer
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS
from moldiff.status import Status
from moldiff.threads import Workers, workers_for

if TYPE_CHECKING:
    from rdkit.Chem import Mol

logger = logging.getLogger(__name__)

Molecules = str | Path | Sequence["Mol"]
"""A molecule file, or RDKit molecules."""
Progress = Callable[[int], None]
RECORD_COLUMNS = ("record", "name", "draw")


@dataclass(frozen=True)
class Settings:
    """What every job is asked.

    Attributes:
        n: draws for each record.
        model, steps, sampler, grid, seed, batch_size, device, precision: as in
            `moldiff.generation.generate.generate`.
    """

    n: int
    model: str
    steps: int
    sampler: str
    grid: str
    seed: int
    batch_size: int
    device: str
    precision: str

    def check(self) -> None:
        """Raise MoldiffError for the first setting that is out of range."""
        check_request(
            Request(
                self.n, self.model, None, self.steps, self.sampler, self.seed, self.batch_size, self.device, False,
                grid=self.grid, precision=self.precision,
            )
        )  # fmt: skip
        if self.n > MOST_DRAWS:
            raise MoldiffError(f"n must be at most {MOST_DRAWS} for each molecule, not {self.n}")

    def drawer(self, model: MoleculeModel, keep_predictions: bool, workers: Workers) -> Drawer:
        """Return what carries solver, grid, noise and micro-batches."""
        solver, grid = SOLVERS[self.sampler], GRIDS[self.grid]
        return Drawer(model, solver, self.steps, self.seed, None, keep_predictions, grid, workers=workers)


class Prepared(Protocol):
    """A record that a model can begin with."""

    @property
    def arrays(self) -> MolArrays: ...


Item = TypeVar("Item", bound=Prepared)


@dataclass(frozen=True)
class Ask(Generic[Item]):
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


@dataclass(frozen=True)
class Answer(Generic[Item]):
    """What became of one draw.

    Attributes:
        ask: what was asked.
        outcome: numbered like it.
        facts: further columns.
    """

    ask: Ask[Item]
    outcome: MoleculeResult
    facts: dict[str, object] = field(default_factory=dict)

    def row(self, columns: Sequence[str]) -> dict[str, object]:
        """Return the values of the given columns, "" where there is none."""
        record = self.ask.record
        known = {"record": record.index, "name": record.name, "draw": self.ask.draw}
        values = self.outcome.row() | known | self.facts
        return {name: values.get(name, "") for name in columns}


def read(molecules: Molecules) -> Iterator[Record]:
    """Yield the records of a molecule file or of RDKit molecules (sanitised; a title is their property ``_Name``).

    Raises:
        MoldiffError: the file cannot be read or is empty, or there are no molecules.
    """
    if isinstance(molecules, str | Path):
        return read_records(Path(molecules))
    try:
        found = list(molecules)
    except TypeError:
        found = [None]
    if not all(is_molecule(mol) for mol in found):
        raise refusal("molecules", "a file name or a list of RDKit molecules", molecules)
    if not found:
        raise MoldiffError("there are no molecules to begin with")
    return (Record(index, mol.GetProp("_Name") if mol.HasProp("_Name") else "", mol) for index, mol in enumerate(found))


def count_records(path: Path) -> int:
    """Return the number of records of a molecule file; MoldiffError if it cannot be read or is empty."""
    return sum(1 for _ in read_texts(path))


class _Tally:
    """Counts draws and tells it."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._done = progress, 0

    def add(self, count: int = 1) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done)


class Job(ABC, Generic[Item]):
    """A checked request and all that answers it.

    Args:
        settings: of the run.

    Attributes:
        folder, model, device, precision: what the settings name, loaded.
        accountant: counts every answer.
        records: number of records answered.
        answered: places of those with a valid answer.
    """

    columns: ClassVar[tuple[str, ...]]

    def __init__(self, settings: Settings) -> None:
        settings.check()
        self.settings, self.folder = settings, load_model_folder(settings.model)
        device = resolve_device(settings.device)
        precision = resolve_precision(settings.precision, device)
        self.model, self.precision = MoleculeModel.from_folder(self.folder, device, precision), name_of(precision)
        self.device = next(self.model.denoiser.parameters()).device
        self.accountant = ResultCounts()
        self.records, self.answered = 0, set[int]()

    @abstractmethod
    def prepare(self, record: Record) -> Item:
        """Prepare a record that holds a molecule; EncodingError if it cannot be begun with."""

    @abstractmethod
    def settle(
        self, asks: list[Ask[Item]], workers: Workers, done: Callable[[], None], interruption: Interruption
    ) -> Iterator[Answer[Item]]:
        """Yield the answers, in order, to asks that all have an item; call ``done`` whenever one is settled. After an
        interruption, only of those that are settled by then."""

    @abstractmethod
    def details(self) -> list[str]:
        """Return lines that tell more than the counts do, after the answers."""

    def title(self, ask: Ask[Item]) -> str:
        """Return the title of an SDF record."""
        return f"moldiff_{ask.number}"

    def answers(
        self, molecules: Molecules, progress: Progress | None = None, interruption: Interruption | None = None
    ) -> Iterator[Answer[Item]]:
        """Yield every answer in order, counted; after an interruption only those that were settled before.

        Raises:
            MoldiffError: the molecules cannot be read, or there is none that can be begun with.
        """
        asks, tally = self._asks(read(molecules)), _Tally(progress)
        usable, first_reason = False, ""
        interruption = interruption or Interruption()
        with workers_for(self.device) as workers:
            while interruption.number is None and (chunk := list(itertools.islice(asks, self.settings.batch_size))):
                ready = [ask for ask in chunk if ask.item is not None]
                tally.add(len(chunk) - len(ready))
                answers = self.settle(ready, workers, tally.add, interruption) if ready else iter(())
                settled = {answer.ask.number: answer for answer in answers}
                usable = usable or bool(ready)
                for ask in chunk:
                    if ask.item is not None and ask.number not in settled:
                        continue  # interrupted
                    first_reason = first_reason or ask.reason
                    failed = MoleculeResult(ask.number, Status.FAILED, ask.reason)
                    answer = settled.get(ask.number) or Answer(ask, failed)
                    self.records += ask.draw == 0
                    if answer.outcome.status == Status.VALID:
                        self.answered.add(ask.record.index)
                    yield replace(answer, outcome=self.accountant.take(answer.outcome))
        if not usable and interruption.number is None:
            where = molecules if isinstance(molecules, str | Path) else "the molecules"
            raise MoldiffError(f"{where}: none of the records can be used; the first: {first_reason}")

    def _asks(self, records: Iterable[Record]) -> Iterator[Ask[Item]]:
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
                    "record %d (%s) has %d atoms, outside the training data's %d..%d; expect more failures "
                    "(more such records are not named)",
                    record.index, record.name or "no name", len(item.arrays.atom_type), min(sizes), max(sizes),
                )  # fmt: skip
            for draw in range(self.settings.n):
                yield Ask(number, draw, record, item, reason)
                number += 1
