"""The fate of each record of a library: its row of the table, and the counts of all."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from moldiff.status import Status

logger = logging.getLogger(__name__)

_REASONS = 1_000  # some quote the molecule
COLUMNS = (
    "record", "file", "name", "status", "stage", "reason", "value", "limit", "duplicate_of", "smiles", "inchikey",
)  # fmt: skip
"""Columns of every table of records; those of the checks follow."""
WHOLE = frozenset({"record", "duplicate_of", "rank", "pick"})
"""Columns of whole numbers."""
DUPLICATES = "duplicates"
"""Stage of a record that passed every check, as one before it did."""


@dataclass(frozen=True)
class Row:
    """The fate of one record.

    Attributes:
        number: of the record in the library.
        file, name: where it stands, and its title.
        status: see `Status`.
        stage: what it failed: "read", the name of a check, "duplicates", "worker"; "" if it is valid or withheld.
        reason: a code word, a colon and detail; "" if it is valid or withheld.
        value: figure or finding that decided; None = there is none.
        limit: what would have been allowed.
        smiles: canonical, with stereo; "" without a molecule.
        inchikey: standard InChIKey; "" where there is none.
        values: what the checks found, by column.
        duplicate_of: number of the first record with the same key that passed every check.
        packed: the molecule as the output has it, of a valid one.
        tags: data fields of the record.
    """

    number: int
    file: str
    name: str
    status: Status
    stage: str = ""
    reason: str = ""
    value: float | str | None = None
    limit: str = ""
    smiles: str = ""
    inchikey: str = ""
    values: Mapping[str, float | str] = field(default_factory=dict)
    duplicate_of: int | None = None
    packed: str | bytes | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def with_packed(self, packed: str | bytes | None) -> Row:
        """Return the row with its molecule in another form."""
        return replace(self, packed=packed)

    def withheld(self) -> Row:
        """Return the row of a molecule that is withheld: where it stands, and nothing else."""
        return Row(self.number, self.file, "", Status.WITHHELD)

    def cells(self, columns: Sequence[str]) -> dict[str, object]:
        """Return the row as values by column, numbers as numbers; None where there is none."""
        return dict(zip(columns, self.in_order(columns), strict=True))

    def in_order(self, columns: Sequence[str]) -> list[object]:
        """Return the values of some columns, see `cells`."""
        found: dict[str, object] = {
            **self.values,
            "record": self.number,
            "file": self.file,
            "name": self.name,
            "status": str(self.status),
            "stage": self.stage,
            "reason": self.reason,
            "value": self.value,
            "limit": self.limit,
            "duplicate_of": self.duplicate_of,
            "smiles": self.smiles,
            "inchikey": self.inchikey,
        }
        return list(map(found.get, columns))


class FirstRecords(Protocol):
    """The first record of each key: a dictionary, or something on disk."""

    def setdefault(self, key: str, number: int, /) -> int: ...


class RowCounts:
    """Marks duplicates in the order of the records, and counts them.

    What passed every check is a duplicate of the first with its key that did, and of no other: so neither the cost of
    a check nor the place of a record that fails decides whether a molecule is kept.

    Args:
        dedup: whether a record with the key of an earlier valid one is a duplicate.
        first: where keys are kept; by default in memory.

    Attributes:
        by_status: status -> records; they add up to all.
        by_stage: stage -> records that it cost.
        reasons: why records failed -> records, as long as all have; the first so many different ones.
    """

    def __init__(self, dedup: bool, first: FirstRecords | None = None) -> None:
        self.by_status = dict.fromkeys(map(str, Status), 0)
        self.by_stage: dict[str, int] = {}
        self.reasons: Counter[str] = Counter()
        self._dedup = dedup
        self._first: FirstRecords = {} if first is None else first

    @property
    def requested(self) -> int:
        """All records so far."""
        return sum(self.by_status.values())

    @property
    def valid(self) -> int:
        """Valid records so far."""
        return self.by_status[Status.VALID]

    def take(self, row: Row) -> Row:
        """Count a row and return it, as a duplicate if it is one."""
        key = row.inchikey or row.smiles
        if self._dedup and key and row.status == Status.VALID:
            first = self._first.setdefault(key, row.number)
            if first != row.number:
                row = replace(
                    row, status=Status.DUPLICATE, stage=DUPLICATES, reason=f"duplicate: of record {first}", value=None,
                    limit="", values={}, duplicate_of=first, packed=None,
                )  # fmt: skip
        self.by_status[row.status] += 1
        if row.stage:
            self.by_stage[row.stage] = self.by_stage.get(row.stage, 0) + 1
        if self.have_all_failed and (row.reason in self.reasons or len(self.reasons) < _REASONS):
            self.reasons[row.reason] += 1
        return row

    @property
    def have_all_failed(self) -> bool:
        """All records so far are `Status.FAILED`, as where a function of the user raises."""
        return 0 < self.by_status[Status.FAILED] == self.requested

    def tell_if_all_failed(self) -> None:
        """Warn of it, with the most frequent reason."""
        if self.have_all_failed:
            ((reason, count),) = self.reasons.most_common(1)
            logger.warning("all %d records failed, %d of them: %s", self.requested, count, reason)
