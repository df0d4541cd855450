"""`Report`: one page on many molecules: a funnel, distributions, cards of the best, what did not pass, how it was made.

It is plain data, from whatever command; `html` makes the page, which opens offline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from moldiff.chem.draw import molecule_svg, plain_model
from moldiff.foreign_text import printable
from moldiff.pages.page import page

if TYPE_CHECKING:
    from rdkit.Chem import Mol

MOST_CARDS = 200
MOST_FAILED = 2000
"""Rows of what did not pass; with the cards, a few megabytes of page."""

Value = str | float | int | None


@dataclass(frozen=True)
class Stage:
    """Molecules that were left after a stage of the funnel."""

    name: str
    count: int


@dataclass(frozen=True)
class Histogram:
    """Shares of a number's bins, evenly spaced.

    Attributes:
        name: of the number.
        unit: "1" = none.
        low, high: ends of the first and the last bin.
        sample: share of the molecules in each bin.
        reference: the same of what they are compared with; None = nothing.
    """

    name: str
    unit: str
    low: float
    high: float
    sample: tuple[float, ...]
    reference: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Card:
    """One molecule, drawn flat and in 3D, with named values.

    Attributes:
        title: above the pictures.
        smiles: below them.
        svg: flat drawing; "" = it could not be drawn.
        model: elements, positions in angstrom, bonds; None without coordinates.
        values: name -> value; None = there is none.
    """

    title: str
    smiles: str
    svg: str
    model: Mapping[str, object] | None
    values: Mapping[str, Value]

    @classmethod
    def of(cls, mol: Mol, title: str, smiles: str, values: Mapping[str, object]) -> Card:
        """Draw a sanitised molecule."""
        plain = {name: _plain(value) for name, value in values.items()}
        return cls(printable(title), printable(smiles), molecule_svg(mol), plain_model(mol), plain)


@dataclass(frozen=True)
class Report:
    """The content of a page.

    Attributes:
        title: heading.
        lines: below it.
        funnel: stages, first that of all molecules.
        histograms: of the molecules that passed.
        histogram_note: what they are compared with.
        cards: molecules that passed, in their order.
        total: molecules that passed.
        failed_columns, failed_rows: a table of the others.
        failed: how many they are.
        failed_choice: which of them the rows are, before their number.
        record: how it was made, plain JSON.
    """

    title: str
    lines: Sequence[str]
    funnel: Sequence[Stage]
    cards: Sequence[Card]
    total: int
    failed_columns: Sequence[str]
    failed_rows: Sequence[Sequence[object]]
    failed: int
    record: Mapping[str, object]
    histograms: Sequence[Histogram] = field(default=())
    histogram_note: str = ""
    failed_choice: str = "the first "

    def html(self) -> str:
        """Return the page."""
        shown = min(len(self.failed_rows), MOST_FAILED)
        some = f"{self.failed_choice}{shown:,} of " if shown < self.failed else ""
        return page(
            "report.html",
            {
                "title": printable(self.title),
                "lines": [printable(line) for line in self.lines],
                "funnel": [asdict(stage) for stage in self.funnel],
                "histograms": [asdict(one) for one in self.histograms],
                "histogram_note": self.histogram_note,
                "cards": [asdict(card) for card in self.cards[:MOST_CARDS]],
                "total": self.total,
                "failed": {
                    "columns": list(self.failed_columns),
                    "rows": [[_plain(cell) for cell in row] for row in self.failed_rows[:MOST_FAILED]],
                },
                "failed_note": f"{some}{self.failed:,}",
                "record": self.record,
            },
        )


def _plain(value: object) -> Value:
    """Return a value as JSON knows it; a number that is not finite is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, int | float) else printable(str(value))
