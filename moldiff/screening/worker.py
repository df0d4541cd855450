"""The work on records of a library, in this process or in a worker: read, check, describe, pack."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from moldiff.chem.filters.checks import Check, Subject, Verdict, examine
from moldiff.chem.filters.hazards import STANDARD_GATE, HazardGate
from moldiff.chem.filters.preparation import InchikeyCheck, ethanol, prepare
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.sanitize import error_reason
from moldiff.chem.standardise import standardised
from moldiff.processes import Lost
from moldiff.screening.desirability import COLUMN, Desirability
from moldiff.screening.entries import Entry
from moldiff.screening.rows import Row
from moldiff.status import Status

if TYPE_CHECKING:
    from rdkit.Chem import Mol

logger = logging.getLogger(__name__)

Pack = Callable[[Subject, Row], str | bytes | None]
"""From a molecule that passed and its row to what an output wants of it."""
DRAW, READ, HAZARDS, STANDARDISE, WORKER = STAGES = ("draw", "read", "hazards", "standardise", "worker")
"""Stages of what came out of a model as no molecule, is none, is withheld, has no standard form, or cost its worker
process: they come before the checks."""


def nothing(subject: Subject, row: Row) -> None:
    """Pack nothing: the row is all that an output wants."""


@dataclass(frozen=True)
class FilterWork:
    """From entries to their rows.

    Attributes:
        checks: in their order.
        every: ask all of them of every molecule.
        pack: what the output wants.
        seed: of coordinates.
        standardise: before anything else, see `moldiff.chem.standardise`.
        gate: has the last word; of what it withholds, no more than its place is told.
        worth: wishes whose desirability is a value of what passes.
    """

    checks: tuple[Check, ...]
    every: bool = False
    pack: Pack = nothing
    seed: int = 0
    standardise: bool = False
    gate: HazardGate = STANDARD_GATE
    worth: Desirability | None = None

    def prepare(self) -> None:
        """Build what takes long, which would be in the time of the first record."""
        subject = ethanol(self.seed)
        for work in (partial(self.gate, subject.mol), partial(self.subject, subject.mol, {})):
            with contextlib.suppress(Exception):  # said of a record, which it costs
                work()
        prepare(self.checks, subject)

    def __call__(self, entries: Iterable[Entry]) -> list[Row]:
        """Return the row of each entry."""
        return [self.row(entry) for entry in entries]

    def row(self, entry: Entry) -> Row:
        """Return the row of an entry; what breaks on one molecule makes that one failed."""
        row = Row(entry.number, entry.file, entry.name, Status.FAILED, READ, tags=entry.tags)
        try:
            return self._row(entry, row)
        except Exception as error:  # chemistry of odd molecules fails in ways that no list of types covers
            logger.debug("record %d", entry.number, exc_info=True)
            return replace(row, reason=error_reason(error))

    def subject(self, mol: Mol, tags: Mapping[str, str]) -> tuple[Subject | None, str]:
        """Return what is looked at of a molecule with its data fields, or None and the reason."""
        form, problem = standardised(mol) if self.standardise else (mol, "")
        return (None, problem) if form is None else (Subject(form, self.seed, tags), "")

    def _row(self, entry: Entry, row: Row) -> Row:
        if entry.judged is not None:
            if entry.judged[0] == Status.WITHHELD:
                return row.withheld()
            return replace(row, status=entry.judged[0], stage=DRAW, reason=entry.judged[1])
        record = entry.read()
        seen = record.seen
        if seen is not None and self.gate(seen):
            return row.withheld()
        if record.mol is None:
            status = Status.FAILED if record.raw is None else Status.INVALID
            return replace(row, status=status, reason=record.reason)
        subject, problem = self.subject(record.mol, entry.tags)
        if subject is None:
            return replace(row, stage=STANDARDISE, reason=problem)
        if subject.mol is not seen and self.gate(subject.mol):
            return row.withheld()
        verdict = examine(subject, self.checks, every=self.every, known=entry.known)
        row = judged(replace(row, smiles=canonical_smiles(subject.mol, stereo=True)), verdict)
        if row.status != Status.VALID:
            return row
        if self.worth is not None:
            row = replace(row, values={**row.values, COLUMN: self.worth.of(row)})
        return replace(row, packed=self.pack(subject, row))


def judged(row: Row, verdict: Verdict) -> Row:
    """Return the row of a molecule with what its checks found."""
    values = verdict.values()
    row = replace(
        row,
        status=Status.VALID,
        stage="",
        reason="",
        inchikey=str(values.pop(InchikeyCheck.name, "")),
        values=values,
    )
    failure = verdict.failure
    if failure is None:
        return row
    status = Status.FAILED if failure.broken else Status.FILTERED
    return replace(
        row, status=status, stage=failure.name, reason=failure.reason, value=failure.value, limit=failure.limit
    )


def lost(entry: Entry, found: Lost) -> Row:
    """Return the row of an entry that cost its worker process."""
    return Row(entry.number, entry.file, entry.name, Status.FAILED, WORKER, found.reason, tags=entry.tags)
