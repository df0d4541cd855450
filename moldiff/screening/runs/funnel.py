"""The funnel of a run: how many records came to each stage, and what became of all; funnel.json, version 1.

| key                         | content                                                                       |
|-----------------------------|-------------------------------------------------------------------------------|
| format, version             | "moldiff-funnel", 1                                                           |
| requested, counts           | records; status -> records, which add up to them                              |
| stages                      | in their order: stage, asked (records that came to it), left_out, passed      |
| ranked, top                 | molecules in ranked.parquet; in top.sdf.gz                                    |
| without_coordinates         | picks that could be given none: record, name, reason                          |
| lost                        | the first 100 records that cost a worker process: record, file, name, reason  |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moldiff.errors import MoldiffError
from moldiff.reading import read_json
from moldiff.screening.rows import DUPLICATES, Row, RowCounts
from moldiff.screening.runs.chain import Chain
from moldiff.screening.worker import HAZARDS, STAGES
from moldiff.shares import percent
from moldiff.status import Status

FORMAT, FORMAT_VERSION = "moldiff-funnel", 1
MOST_LOST = 100


@dataclass(frozen=True)
class Stage:
    """A stage of the funnel.

    Attributes:
        name: of the check; "read", "worker", "duplicates".
        asked: records that came to it.
        left_out: records that it cost.
    """

    name: str
    asked: int
    left_out: int

    @property
    def passed(self) -> int:
        """Records that went on."""
        return self.asked - self.left_out


@dataclass(frozen=True)
class Funnel:
    """The funnel of a run.

    Attributes:
        counts: status -> records; they add up to all.
        stages: in their order.
        ranked, top: molecules in the tables of ranked ones, and in top.sdf.gz.
        without_coordinates: (row, reason) of picks that could be given none.
        lost: rows of records that cost a worker process, the first `MOST_LOST`.
    """

    counts: Mapping[str, int]
    stages: tuple[Stage, ...]
    ranked: int = 0
    top: int = 0
    without_coordinates: tuple[tuple[Row, str], ...] = ()
    lost: tuple[Row, ...] = ()

    @property
    def requested(self) -> int:
        """All records."""
        return sum(self.counts.values())

    def record(self) -> dict[str, Any]:
        """Return funnel.json."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "requested": self.requested,
            "counts": dict(self.counts),
            "stages": [
                {"stage": one.name, "asked": one.asked, "left_out": one.left_out, "passed": one.passed}
                for one in self.stages
            ],
            "ranked": self.ranked,
            "top": self.top,
            "without_coordinates": [
                {"record": row.number, "name": row.name, "reason": reason} for row, reason in self.without_coordinates
            ],
            "lost": [
                {"record": row.number, "file": row.file, "name": row.name, "reason": row.reason} for row in self.lost
            ],
        }


def stages_of(chain: Chain, counts: RowCounts, *, dedup: bool) -> tuple[Stage, ...]:
    """Return the stages of a chain with the counts of its rows. Copies are looked for among what passed every check,
    and what cost a worker process is told of before the checks, as nobody knows which of them it was."""
    names = [*STAGES, *(link.name for link in chain.links), *([DUPLICATES] if dedup else [])]
    left, found = counts.requested, []
    for name in dict.fromkeys(names):
        # rows of what is withheld name no stage
        cost = counts.by_status[Status.WITHHELD] if name == HAZARDS else counts.by_stage.get(name, 0)
        found.append(Stage(name, left, cost))
        left -= cost
    return tuple(found)


def read_funnel(path: Path) -> dict[str, Any]:
    """Return a funnel.json.

    Raises:
        MoldiffError: it cannot be read, or is of another shape.
    """
    value = read_json(path)
    try:
        if value["format"] != FORMAT or value["version"] != FORMAT_VERSION:
            raise ValueError("another format")
        funnel_lines(value)  # asks for every key
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise MoldiffError(f"{path} is damaged; go on with the run, which writes it again") from error
    return dict(value)


def funnel_lines(record: Mapping[str, Any]) -> list[str]:
    """Return a funnel.json as lines for the terminal: stages that cost something, then what became of all."""
    stages: Sequence[Mapping[str, Any]] = record["stages"]
    width = max([len("requested"), *(len(str(one["stage"])) for one in stages)])
    lines = [f"{'requested':{width}}  {record['requested']:>10}"]
    for one in stages:
        if one["left_out"]:
            share = one["left_out"] / one["asked"]
            lines.append(f"{one['stage']:{width}}  {one['passed']:>10}  -{one['left_out']} ({percent(share)})")
    parts = " + ".join(f"{count} {status}" for status, count in record["counts"].items())
    lines.append(f"{record['requested']} requested = {parts}")
    lines.append(f"{record['ranked']} ranked, {record['top']} of them with coordinates in top.sdf.gz")
    for one in record["without_coordinates"]:
        lines.append(f"no coordinates for record {one['record']} {one['name']}: {one['reason']}")
    for one in record["lost"]:
        lines.append(f"lost: record {one['record']} {one['name']} of {one['file']}: {one['reason']}")
    return lines
