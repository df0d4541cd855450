"""The rows of a pass as files have them: a table's cells, a line, an SDF record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from moldiff.chem.filters.checks import Subject
from moldiff.chem.filters.hazards import ReleaseCheck
from moldiff.chem.io.outputs import Kind, cell
from moldiff.chem.io.records import mol_to_sdf_record
from moldiff.chem.io.tags import apart
from moldiff.screening.rows import WHOLE, Row
from moldiff.screening.worker import Pack, nothing


@dataclass(frozen=True)
class Sheet:
    """The columns of a table of rows.

    Attributes:
        columns: of `Row.cells`.
        own_texts: those that hold texts; the others hold numbers.
        tags: names of the input's data fields, as further columns of texts.
    """

    columns: tuple[str, ...]
    own_texts: frozenset[str]
    tags: tuple[str, ...] = ()

    @cached_property
    def headings(self) -> tuple[str, ...]:
        """The names of all columns. A data field whose name is one of ours has ``input_`` before it."""
        return (*self.columns, *apart(self.tags, self.columns).values())

    @cached_property
    def texts(self) -> frozenset[str]:
        """All columns that hold texts."""
        return self.own_texts | set(apart(self.tags, self.columns).values())

    @property
    def whole(self) -> frozenset[str]:
        """Columns that hold whole numbers."""
        return frozenset(WHOLE)

    def cells(self, row: Row) -> list[object]:
        """Return the cells of a row, None where there is nothing."""
        return [*row.in_order(self.columns), *map(row.tags.get, self.tags)]

    def line(self, row: Row) -> tuple[str, ...]:
        """Return SMILES and name, behind them the mark of what may be handed out with care alone; what has no name has
        its number."""
        mark = row.values.get(ReleaseCheck.name)
        name = row.name if row.name.split() else str(row.number)
        return (row.smiles, name, *([f"{ReleaseCheck.name}: {mark}"] if mark else []))

    def sdf(self, row: Row) -> str:
        """Return the SDF record, as `packed_sdf` made it."""
        assert isinstance(row.packed, str)
        return row.packed


def packed_sdf(subject: Subject, row: Row) -> str | None:
    """Return the SDF record of a molecule: at its pose if it was docked, else with its own coordinates or those that it
    was given; the data fields of the input, and the values of the checks. A data field that one of these differs from
    has ``input_`` before its name."""
    mol = subject.pose or (subject.mol if subject.has_coordinates else subject.placed[0])
    if mol is None:
        return None
    found: Mapping[str, object] = {"record": row.number, "smiles": row.smiles, **row.values}
    ours = {name: str(cell(value)) for name, value in found.items()}
    same = {name for name, text in row.tags.items() if ours.get(name) == text}
    theirs = apart([name for name in row.tags if name not in same], tuple(ours))
    return mol_to_sdf_record(mol, row.name, {theirs[name]: row.tags[name] for name in theirs} | ours)


def pack_of(kind: Kind) -> Pack:
    """Return what a kind of output wants of a molecule in a worker; what has no coordinates is given some."""
    return packed_sdf if kind.has_coordinates else nothing
