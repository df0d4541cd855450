"""What a row of the scoreboard asks, what was found, and whether that is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

PASSED, IN_PART, MISSED, NOT_MEASURED = "passed", "passed in part", "missed", "not measured"


@dataclass(frozen=True)
class Share:
    """Share of the counts that a row's target states.

    Attributes:
        part: of the full counts, above 0; 1 = all of them.
        long: also what takes minutes at any count.
    """

    part: float
    long: bool

    @property
    def whole(self) -> bool:
        """The full counts."""
        return self.part >= 1.0

    def of(self, count: int) -> int:
        """Return so many of a full count, at least one."""
        return max(1, round(count * min(self.part, 1.0)))


QUICK, LONG = Share(0.01, long=False), Share(1.0, long=True)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        figure: in words, with its numbers.
        holds: what the target asks of it is so; None = it was not measured.
        whole: as many were looked at as the target asks.
        seconds: that it took where others measured that; 0 = not known.
    """

    figure: str
    holds: bool | None = True
    whole: bool = True
    seconds: float = 0.0


Measure = Callable[[Share], Iterator[Finding]]


@dataclass(frozen=True)
class Row:
    """A row of the scoreboard.

    Attributes:
        name: R1 to R26.
        title: the property, in a few words.
        target: the figure to reach.
        tests: tests of the suite that hold it, relative to the folder of tests.
        limits: name of a number that these tests record -> what it must stay below.
        measures: what else is measured, beside the tests.
        lacking: of the target, what nothing here measures; "" = all of it is.
        cause: why it is missed, as far as is known; told where it is.
    """

    name: str
    title: str
    target: str
    tests: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()
    lacking: str = ""
    cause: str = ""


def state_of(findings: Sequence[Finding], lacking: str = "") -> str:
    """Return one of the four words for what was found."""
    holds = [finding.holds for finding in findings]
    if False in holds:
        return MISSED
    if True not in holds:
        return NOT_MEASURED
    complete = not lacking and None not in holds and all(finding.whole for finding in findings)
    return PASSED if complete else IN_PART


def figure_of(findings: Sequence[Finding], lacking: str = "", cause: str = "") -> str:
    """Return the figures of a row as one text: what holds, what does not and why, what was not measured."""
    parts = [
        finding.figure if finding.holds else f"**{finding.figure}**" for finding in findings if _looked_at(finding)
    ]
    if cause and False in [finding.holds for finding in findings]:
        parts.append(f"cause: {cause}")
    missing = [finding.figure for finding in findings if not _looked_at(finding)] + ([lacking] if lacking else [])
    return "; ".join([*parts, *(f"not measured: {text}" for text in missing)])


def _looked_at(finding: Finding) -> bool:
    return finding.holds is not None
