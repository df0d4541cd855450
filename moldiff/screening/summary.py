"""The summary of a pass over a library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NO_FILTERS = ("draw", "read", "standardise", "duplicates", "worker")  # stages that the counts by status tell of


@dataclass(frozen=True)
class FilterSummary:
    """Counts of what became of every record.

    Attributes:
        counts: status -> records; they add up to all.
        stages: stage -> records that it cost.
        kept: molecules in the output.
        seconds: wall time.
        output: the file; "" = none.
    """

    counts: Mapping[str, int]
    stages: Mapping[str, int]
    kept: int
    seconds: float
    output: str = ""

    @property
    def requested(self) -> int:
        """All records."""
        return sum(self.counts.values())

    def line(self) -> str:
        """Return the accounting line."""
        parts = " + ".join(f"{count} {status}" for status, count in self.counts.items())
        where = f"; {self.kept} written to {self.output}" if self.output else f"; {self.kept} kept"
        return f"{self.requested} requested = {parts}; {self.seconds:.1f} s{where}"

    def lines(self) -> list[str]:
        """Return the accounting line, and one on what the filters cost."""
        filters = {name: count for name, count in self.stages.items() if name not in _NO_FILTERS}
        told = ", ".join(f"{count} by {name}" for name, count in sorted(filters.items(), key=lambda one: -one[1]))
        return [self.line(), *([f"left out: {told}"] if told else [])]

    def record(self) -> dict[str, Any]:
        """Return the results for the run record, plain JSON types."""
        return {
            "requested": self.requested,
            "counts": dict(self.counts),
            "stages": dict(self.stages),
            "kept": self.kept,
            "seconds": round(self.seconds, 2),
        }
