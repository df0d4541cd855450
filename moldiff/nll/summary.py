"""Summary of a likelihood run: how many records have a score, why others have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NOT_SCORED = "not scored"


@dataclass
class LikelihoodSummary:
    """Counts of all records.

    Attributes:
        output: the CSV.
        z_scores: on what the z-scores rest, or why there are none.
        scored: records with a score.
        reasons: why others have none -> records.
        nats, atoms: sums over the records with a finite bound, ``bounded`` in number.
        seconds: wall time.
        ended_before: nothing had to be done.
    """

    output: str
    z_scores: str
    scored: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    nats: float = 0.0
    atoms: int = 0
    bounded: int = 0
    seconds: float = 0.0
    ended_before: bool = False

    @classmethod
    def of_record(cls, record: Mapping[str, Any], output: str) -> LikelihoodSummary:
        """Return the summary of a run that had ended before, by the JSON beside its table."""
        sums = record["sums"]
        return cls(
            output, record["z_scores"], record["scored"], dict(record["not_scored"]), sums["nats"], sums["atoms"],
            sums["records"], record["seconds"], ended_before=True,
        )  # fmt: skip

    @property
    def records(self) -> int:
        """All records of the file."""
        return self.scored + sum(self.reasons.values())

    def noted(self, row: dict[str, object]) -> dict[str, object]:
        """Count the row of a record and return it."""
        if row["status"] == NOT_SCORED:
            reason = str(row["reason"])
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
            return row
        self.scored += 1
        if isinstance(bound := row.get("bound"), float):
            self.bounded += 1
            self.nats += bound
            self.atoms += int(str(row["n_atoms"]))
        return row

    def lines(self) -> list[str]:
        """Return the account, one line each."""
        mean = ""
        if self.bounded:
            mean = f"; mean bound {self.nats / self.bounded:.1f} nats, {self.nats / self.atoms:.2f} per atom"
            mean += "" if self.bounded == self.scored else f", of the {self.bounded} of sizes that the model makes"
        head = (
            f"{self.records} records = {self.scored} scored + {self.records - self.scored} not scored{mean};"
            f" {self.seconds:.1f} s{f'; written to {self.output}' if self.output else ''}"
        )
        reasons = [f"  {count} not scored: {reason}" for reason, count in self.reasons.items()]
        before = ["the run had ended before: nothing is left to do"] if self.ended_before else []
        return [head, *reasons, f"z-scores: {self.z_scores}", *before]
