"""The page of a run, as results come: what it needs of them is kept, and no more."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from moldiff.chem.descriptors.rdkit_descriptors import REPORTED
from moldiff.errors import MoldiffError
from moldiff.evaluation.histograms import property_histograms
from moldiff.evaluation.reference import Reference
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.generation.summary import Summary
from moldiff.pages.report import MOST_CARDS, MOST_FAILED, Card, Report, Stage
from moldiff.status import Status

MOST_VALUES = 100_000  # valid molecules whose properties are in the distributions
_LEAVING = (Status.FAILED, Status.INVALID, Status.FILTERED, Status.DUPLICATE, Status.WITHHELD)
_UNSHOWN = frozenset({"moldiff_id", "status", "reason", "decoding", "changed", "renoised", "smiles", "evaluations"})
_FAILED_COLUMNS = ("moldiff_id", "status", "reason")


class RunPage:
    """Collects the results of a run for its page.

    Args:
        columns: of the CSV.
        references: of the model.
    """

    def __init__(self, columns: Sequence[str], references: Mapping[str, Tensor]) -> None:
        self._columns = [name for name in columns if name not in _UNSHOWN]
        self._references = references
        self._cards: list[Card] = []
        self._failed: list[Sequence[object]] = []
        self._values = {name: array("d") for name in REPORTED}

    def add(self, result: MoleculeResult) -> None:
        """Take a result, which has its id: by it, the page and the other files of the run are joined."""
        if result.status != Status.VALID:
            if len(self._failed) < MOST_FAILED:
                self._failed.append((result.id, str(result.status), result.reason))
            return
        for name, values in self._values.items():
            if len(values) < MOST_VALUES:
                values.append(result.properties.get(name, float("nan")))
        if len(self._cards) < MOST_CARDS and result.mol is not None:
            row = result.values(self._columns)
            self._cards.append(Card.of(result.mol, result.id, result.smiles, row))

    def html(self, summary: Summary, record: Mapping[str, object]) -> str:
        """Return the page of a run that has ended."""
        left = summary.drawn
        funnel = [Stage("drawn", left)]
        for status in _LEAVING:
            if count := summary.counts.get(status, 0):
                left -= count
                funnel.append(Stage(f"not {status}", left))
        valid = summary.counts[Status.VALID]
        try:
            reference = Reference.from_tensors(dict(self._references))
        except MoldiffError:  # of a model that carries none
            reference = None
        values = {name: np.array(found) for name, found in self._values.items()}
        some = f"Of the first {MOST_VALUES:,} valid molecules" if valid > MOST_VALUES else "Of the valid molecules"
        return Report(
            title=f"{record.get('task', 'run')}: {valid:,} valid molecules",
            lines=summary.lines(),
            funnel=[*funnel, Stage("unique", summary.results.unique)],
            cards=self._cards,
            total=valid,
            failed_columns=_FAILED_COLUMNS,
            failed_rows=self._failed,
            failed=summary.drawn - valid,
            record=record,
            histograms=property_histograms(values, {} if reference is None else reference.properties),
            histogram_note=some + ("." if reference is None else f", over {reference.source}."),
        ).html()
