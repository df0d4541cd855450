"""Rows that were measured, in a JSON file that grows by finished rows, and the table that is made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from moldiff.files import write_json
from scripts.scoreboard.findings import IN_PART, MISSED, NOT_MEASURED, PASSED, Row

_HEAD = """# Scoreboard

How reliable moldiff is, as measured by `python -m scripts.scoreboard` on CPUs. A row names what must hold and the
figure to reach. `--quick` takes a hundredth of the counts, `--long` all of them, and `--part` any other share; rows are
measured apart, each with its date and commit. *Passed in part* says that all that was measured holds, and that less
was measured than the target asks: the figure says what.
"""


@dataclass(frozen=True)
class Measured:
    """A row that was measured.

    Attributes:
        state: one of the four words.
        figure: in words.
        part: share of the full counts.
        seconds: that it took.
        date: day, UTC.
        commit: of the source tree.
        machine: processor and cores.
    """

    state: str
    figure: str
    part: float
    seconds: float
    date: str
    commit: str
    machine: str


def read_results(path: Path) -> dict[str, Measured]:
    """Return row -> what was measured; nothing if there is no file yet."""
    if not path.exists():
        return {}
    return {name: Measured(**values) for name, values in json.loads(path.read_text(encoding="utf-8")).items()}


def keep(path: Path, name: str, measured: Measured) -> None:
    """Add a row to the file. A row of fewer counts takes the place of one of more only if it is missed."""
    results = read_results(path)
    before = results.get(name)
    if before is None or measured.part >= before.part or measured.state == MISSED or before.state == NOT_MEASURED:
        results[name] = measured
    write_json(path, {key: asdict(results[key]) for key in sorted(results, key=_number)})


def _number(name: str) -> int:
    return int(name.removeprefix("R"))


def page(rows: Sequence[Row], results: Mapping[str, Measured]) -> str:
    """Return the table as a page of Markdown."""
    states = [results[row.name].state if row.name in results else NOT_MEASURED for row in rows]
    counts = ", ".join(f"{states.count(word)} {word}" for word in (PASSED, IN_PART, MISSED, NOT_MEASURED))
    machines = sorted({measured.machine for measured in results.values()})
    lines = [
        _HEAD,
        f"Of {len(rows)} rows: {counts}. Machine: {'; '.join(machines) or 'none'}.",
        "",
        "| row | what | target | measured | state | share | seconds | date | commit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        head = f"| {row.name} | {row.title} | {row.target} |"
        if (one := results.get(row.name)) is None:
            lines.append(f"{head} | {NOT_MEASURED} | | | | |")
        else:
            share = f"{100 * one.part:g} %"
            figure = one.figure.replace("|", "/")
            lines.append(
                f"{head} {figure} | {one.state} | {share} | {one.seconds:,.0f} | {one.date} | {one.commit[:9]} |"
            )
    return "\n".join(lines) + "\n"
