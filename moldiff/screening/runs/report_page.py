"""The page of a run, report.html: what it needs of the rows is kept as they come, and no more."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moldiff.errors import MoldiffError
from moldiff.evaluation.distributions import Floor, summarise
from moldiff.evaluation.histograms import property_histograms
from moldiff.evaluation.reference import Entry
from moldiff.pages.report import MOST_FAILED, Card, Report, Stage
from moldiff.screening.outputs import Sheet
from moldiff.screening.rows import COLUMNS, Row
from moldiff.screening.runs.funnel import Funnel, funnel_lines
from moldiff.screening.runs.plan import Plan
from moldiff.status import Status

REPORT = "report.html"
MOST_VALUES = 100_000  # records whose numbers are in the distributions
MOST_OF_A_STAGE = 200  # rows of what it left out
Known = tuple[Mapping[str, Entry], str]
"""Distributions by name, and where they come from."""
_FAILED_COLUMNS = ("record", "file", "name", "status", "stage", "reason", "value", "limit")


class ScreenPage:
    """Collects the rows of a run for its page.

    Args:
        sheet: columns of the table of all records.
        reference: that distributions are shown over; None = those of the records themselves.
    """

    def __init__(self, sheet: Sheet, reference: Known | None = None) -> None:
        self._reference = reference
        self._numbers = [name for name in sheet.columns if name not in sheet.texts and name not in COLUMNS]
        self._valid = {name: array("d") for name in self._numbers}
        self._all = {name: array("d") for name in self._numbers}
        self._failed: dict[tuple[Status, str], list[Sequence[object]]] = {}

    def add(self, row: Row) -> None:
        """Take the row of a record, in their order."""
        for name in self._numbers:
            value = row.values.get(name)
            if isinstance(value, float) and len(self._all[name]) < MOST_VALUES:
                self._all[name].append(value)
                if row.status == Status.VALID:
                    self._valid[name].append(value)
        if row.status != Status.VALID:
            seen = self._failed.setdefault((row.status, row.stage), [])
            if len(seen) < MOST_OF_A_STAGE:
                seen.append(tuple(row.cells(_FAILED_COLUMNS).values()))

    def html(self, funnel: Funnel, cards: Sequence[Card], record: Mapping[str, Any]) -> str:
        """Return the page of a run that is done.

        Args:
            funnel: of the run.
            cards: of the top.
            record: the run record.
        """
        entries, source = self._reference or self._of_records()
        values = {name: np.array(found) for name, found in self._valid.items()}
        failed = sorted((row for rows in self._failed.values() for row in rows), key=lambda row: int(str(row[0])))
        valid = funnel.counts[Status.VALID]
        return Report(
            title=f"screen: {valid:,} of {funnel.requested:,} records passed",
            lines=funnel_lines(funnel.record()),
            funnel=[
                Stage("requested", funnel.requested),
                *(Stage(one.name, one.passed) for one in funnel.stages if one.left_out),
                Stage("ranked", funnel.ranked),
                Stage("top, with coordinates", funnel.top),
            ],
            cards=cards,
            total=funnel.top + len(funnel.without_coordinates),
            failed_columns=_FAILED_COLUMNS,
            failed_rows=failed[:MOST_FAILED],
            failed=funnel.requested - valid,
            failed_choice=f"at most {MOST_OF_A_STAGE} of each stage, ",
            record=record,
            histograms=property_histograms(values, entries),
            histogram_note=f"Of the molecules that passed, over {source}.",
        ).html()

    def _of_records(self) -> Known:
        """Return the distributions of the records themselves."""
        found = {name: np.array(values) for name, values in self._all.items()}
        found = {name: values[np.isfinite(values)] for name, values in found.items()}
        entries = {name: Entry(summarise(values), Floor((), (), 1)) for name, values in found.items() if len(values)}
        return entries, "all records whose number is known"


def reference_of(plan: Plan) -> Known | None:
    """Return the reference that the options name, or the model's own where there is one; None = neither.

    Raises:
        MoldiffError: it is none, or damaged.
    """
    named = plan.options.reference
    if named is None and plan.draws is None:
        return None
    from moldiff.evaluation.load_reference import load_reference  # a model's needs torch

    if named is not None:
        reference = load_reference(plan.located(named))
        return reference.properties, reference.source
    assert plan.draws is not None
    try:
        reference = load_reference(plan.located(plan.draws.model))
    except MoldiffError:  # of a model that carries none
        return None
    return reference.properties, reference.source
