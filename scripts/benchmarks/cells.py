"""Rows of a resumable benchmark: a CSV that grows by finished cells. Used by the benchmarks, not run by itself."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


class Cells:
    """The finished cells of a benchmark, in a CSV file.

    Args:
        path: of the file; it appears with the first row, its folder at once.
        columns: of every row.
        key: the columns that tell a cell from any other.
    """

    def __init__(self, path: Path, columns: Sequence[str], key: Sequence[str]) -> None:
        self.path, self.columns, self.key = path, tuple(columns), tuple(key)
        path.parent.mkdir(parents=True, exist_ok=True)

    def rows(self) -> list[dict[str, str]]:
        """Return the complete rows; SystemExit where another version of the script wrote the file."""
        if not self.path.exists():
            return []
        with self.path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if rows and tuple(rows[0]) != self.columns:
            raise SystemExit(f"{self.path} was written by another version of this script; give another --work folder")
        return [row for row in rows if None not in row.values()]

    def matching(self, known: Mapping[str, str]) -> list[dict[str, str]]:
        """Return the rows that have these values."""
        return [row for row in self.rows() if all(row[name] == value for name, value in known.items())]

    def holds(self, cell: Mapping[str, str]) -> bool:
        """Return whether a cell is finished; only its key counts."""
        return bool(self.matching({name: cell[name] for name in self.key}))

    def complete(
        self,
        shared: Mapping[str, str],
        asked: Iterable[tuple[Mapping[str, str], Callable[[], Sequence[Mapping[str, Any]]]]],
    ) -> Iterator[list[dict[str, str]]]:
        """Make the cells that are missing, one after the other; yield all rows after each.

        Args:
            shared: values that all rows have.
            asked: of each cell the rest of its key, and what makes its rows.
        """
        for cell, make in asked:
            if not self.holds({**shared, **cell}):
                self.append([{**shared, **cell, **row} for row in make()])
            yield self.matching(shared)

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, so that they are on the disk when the next cell begins."""
        new = not self.path.exists()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())
