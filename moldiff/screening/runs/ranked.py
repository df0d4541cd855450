"""The ranked molecules of a run: tables of the best, and the top of them with coordinates and all fields."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from moldiff.chem.descriptors.fingerprints import leaders
from moldiff.chem.filters.checks import Subject
from moldiff.chem.filters.docking import Docking
from moldiff.chem.filters.measures import MeasureCheck
from moldiff.chem.filters.preparation import CoordinatesCheck
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.outputs import CsvRows, ParquetRows, SdfRecords
from moldiff.chem.sanitize import error_reason
from moldiff.files import FileSet
from moldiff.pages.report import MOST_CARDS, Card
from moldiff.processes import Lost, pool_of
from moldiff.screening.desirability import COLUMN, Desirability, Wish
from moldiff.screening.entries import Entry
from moldiff.screening.filter_run import kept_sheet
from moldiff.screening.outputs import Sheet, packed_sdf
from moldiff.screening.ranking import Ranking
from moldiff.screening.rows import Row
from moldiff.screening.runs.plan import Plan
from moldiff.screening.worker import FilterWork

RANKED, RANKED_CSV, TOP = "ranked.parquet", "ranked.csv", "top.sdf.gz"
RANK, PICK = "rank", "pick"
"""Columns: place among the ranked, from 1; place in the top, of those that are picked."""


@dataclass(frozen=True)
class Ranked:
    """Counts of the ranked molecules.

    Attributes:
        ranked: molecules in the tables.
        written: molecules in the SDF.
        without_coordinates: (row, reason) of picks that could be given none.
        cards: of the first picks, for a page.
    """

    ranked: int
    written: int
    without_coordinates: tuple[tuple[Row, str], ...]
    cards: tuple[Card, ...]


def write_ranked(files: FileSet, run: Path, plan: Plan, records: Sheet, rows: Sequence[Row], *, workers: int) -> Ranked:
    """Write the tables of ranked molecules and the SDF of the top.

    Args:
        files: that they join.
        run: folder.
        plan: of the run.
        records: columns of the table of all records.
        rows: of the ranked molecules, the best first.
        workers: processes that look for coordinates.
    """
    asked = plan.asked()
    order = asked.rank
    sheet = kept_sheet(records, plan.tags)
    worth = (COLUMN,) if isinstance(order, Desirability) else ()
    sheet = replace(sheet, columns=(RANK, PICK, *worth, *sheet.columns))
    placed = list(_placed(plan, order, rows))
    # without data fields, the inputs are only needed for the top
    numbers = {row.number for row in placed if plan.tags or PICK in row.values}
    entries = _entries_of(run, plan, numbers)
    ranked = [replace(row, tags=entries[row.number].tags) if row.number in numbers else row for row in placed]
    with_all = (
        ParquetRows(files.open(run / RANKED, binary=True), sheet),
        CsvRows(files.open(run / RANKED_CSV, binary=True), sheet),
    )
    for output in with_all:
        with contextlib.closing(output):
            for row in ranked:
                output.add(row)
    top = [(entries[row.number], row) for row in ranked if PICK in row.values]
    sdf = SdfRecords(files.open(run / TOP, binary=True), sheet, compress=True)
    failed, cards = [], list[Card]()
    docking, limits = asked.criteria.docking, plan.options
    work = partial(_finished, work=asked.work(()), docking=docking, wishes=_wishes(order))
    first = asked.work((CoordinatesCheck(), *(() if docking is None else (MeasureCheck(docking),))))
    with pool_of(workers, memory_mb=limits.memory, ready=first.prepare) as pool:
        found = pool.map_items(work, top, timeout_s=limits.timeout)
        for (_, row), one in zip(top, found, strict=True):
            packed, card, reason = (None, None, one.reason) if isinstance(one, Lost) else one
            cards += [] if card is None else [card]
            if packed is None:
                failed.append((row, reason))
            else:
                sdf.add(row.with_packed(packed))
    sdf.close()
    return Ranked(len(ranked), len(top) - len(failed), tuple(failed), tuple(cards))


def _placed(plan: Plan, order: Ranking | None, rows: Sequence[Row]) -> Iterator[Row]:
    """Yield rows with their rank, their place in the top, and what they are worth."""
    options = plan.options
    if options.diverse:
        places = leaders([row.smiles for row in rows], options.diverse, options.top)
    else:
        places = list(range(min(options.top, len(rows))))
    picks = {place: pick for pick, place in enumerate(places, start=1)}
    for place, row in enumerate(rows):
        values = {**row.values, RANK: place + 1}
        if place in picks:
            values[PICK] = picks[place]
        if isinstance(order, Desirability):
            values[COLUMN] = order.of(row)
        yield replace(row, values=values)


def _entries_of(run: Path, plan: Plan, numbers: set[int]) -> dict[int, Entry]:
    """Return some records by number, from a pass over the inputs."""
    if numbers:
        plan.check_inputs()  # they were read before, maybe long ago or on another machine
    shards = {number // plan.options.shard_size for number in numbers}
    return {entry.number: entry for entry in plan.entries(shards, run) if entry.number in numbers}


def _wishes(order: Ranking | None) -> tuple[Wish, ...]:
    return order.wishes if isinstance(order, Desirability) else ()


def _finished(
    item: tuple[Entry, Row], work: FilterWork, docking: Docking | None, wishes: Sequence[Wish]
) -> tuple[str | None, Card | None, str]:
    """Return the SDF record of a molecule, or None; its card, if it is among the first; and the reason why there is no
    record. Runs in a worker. Poses are not kept with the rows of a run: those of the top are found again."""
    entry, row = item
    try:
        mol = entry.read().mol
        assert mol is not None, "it was valid before"
        subject, problem = work.subject(mol, entry.tags)
        if subject is None:
            return None, None, problem
        if canonical_smiles(subject.mol, stereo=True) != row.smiles:
            return None, None, "changed since it was screened: another molecule"
        if docking is not None:
            docking(subject)
        packed = packed_sdf(subject, row)
        reason = "" if packed is not None else subject.placed[1]
        return packed, _card(subject, row, wishes, reason), reason
    except Exception as error:  # noqa: BLE001 - RDKit has many
        return None, None, error_reason(error)


def _card(subject: Subject, row: Row, wishes: Sequence[Wish], reason: str) -> Card | None:
    """Return the card of one of the first picks: all that was found, and what each wish makes of it."""
    pick = row.values[PICK]
    assert isinstance(pick, int)
    if pick > MOST_CARDS:
        return None
    first = {name: row.values[name] for name in (RANK, COLUMN) if name in row.values}
    worth = {wish.text: round(wish.of(row.values.get(wish.measure.name)), 3) for wish in wishes}
    others = {name: value for name, value in row.values.items() if name not in (RANK, COLUMN, PICK)}
    values: dict[str, object] = {**first, **worth, **others, "record": row.number}
    if reason:
        values["coordinates"] = reason
    shown = subject.pose or subject.placed[0] or subject.mol
    return Card.of(shown, f"{pick}: {row.name or f'record {row.number}'}", row.smiles, values)
