"""Tables of bounds, by the suffix of their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moldiff.chem.io.outputs import TABLES, kind_of
from moldiff.chem.io.tags import apart
from moldiff.files import atomic_writer


@dataclass(frozen=True)
class RowSheet:
    """Rows as tables have them.

    Attributes:
        columns: of ours.
        tags: data fields of the records that are further columns.
        reserved: names that no data field may have, whether there is such a column or not.
    """

    columns: Sequence[str]
    tags: Sequence[str] = ()
    reserved: Sequence[str] = ()
    whole = frozenset({"index", "n_atoms"})

    @property
    def headings(self) -> tuple[str, ...]:
        return (*self.columns, *self._carried)

    @property
    def _carried(self) -> tuple[str, ...]:
        """Names of the data fields as columns."""
        return tuple(apart(self.tags, (*self.columns, *self.reserved)).values())

    @property
    def texts(self) -> frozenset[str]:
        return frozenset({"file", "name", "status", "reason"} | set(self._carried))

    def cells(self, row: Mapping[str, Any]) -> list[object]:
        tags = row.get("tags", {})
        own = (row.get(name) for name in self.columns)
        return [*(None if value == "" else value for value in own), *(tags.get(tag) for tag in self.tags)]

    def line(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """Return nothing: a table has no lines."""
        return "", ""

    def sdf(self, row: Mapping[str, Any]) -> str:
        """Return nothing: a table has no records."""
        return ""


def write_table(out: Path, sheet: RowSheet, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as a table, by the suffix of its name."""
    with atomic_writer(out, binary=True) as handle:
        table = kind_of(out, TABLES).writer(handle, sheet)
        for row in rows:
            table.add(row)
        table.close()


def beside(out: Path) -> Path:
    """Return where the record of a table stands; MoldiffError if its name is that of none."""
    stem = kind_of(out, TABLES).stem(out)
    return stem.with_name(f"{stem.name}.json")
