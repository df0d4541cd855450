"""Summary of a run: lines for the terminal, and the part of the run record that tells of results."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moldiff.choices import Decoding
from moldiff.generation.base_run import BaseRun
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.result_counts import ResultCounts
from moldiff.run_record import run_record
from moldiff.status import Status

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Counts of all draws.

    Attributes:
        requested: molecules asked for; without ``until`` also the number of draws.
        results: the counts.
        evaluations: of the network, over all draws.
        seconds: wall time from request to result.
        output: the SDF; "" if nothing was written.
        details: lines that tell more than the counts do.
        extra: what else the run record tells.
        problem: why the run ended early; empty if it did not.
        earlier: results that were taken over from a run that was cut short.
    """

    requested: int
    results: ResultCounts
    evaluations: int
    seconds: float
    output: str
    details: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    earlier: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Status -> draws; they add up to ``drawn``."""
        return self.results.by_status

    @property
    def drawn(self) -> int:
        """All draws."""
        return self.results.drawn

    @classmethod
    def of_record(cls, record: Mapping[str, Any], output: str) -> Summary:
        """Return the summary of a run that had ended before, by its record."""
        results = ResultCounts()
        results.by_status = dict(record["counts"])
        results.decodings, results.renoised, results.unique = (record[k] for k in ("decodings", "renoised", "unique"))
        return cls(
            requested=record["requested"],
            results=results,
            evaluations=round(record["network_evaluations_per_molecule"] * record["drawn"]),
            seconds=record["seconds"],
            output=output,
            details=("the run had ended before: nothing is left to do",),
            problem=record["problem"],
        )

    def line(self) -> str:
        """Return the accounting line."""
        results = self.results
        label = "requested" if self.drawn == self.requested else f"requested, {self.drawn} drawn"
        parts = " + ".join(f"{count} {status}" for status, count in self.counts.items())
        for name in (Decoding.STRUCTURED, Decoding.FITTED):
            if made := results.decodings.get(name):
                valid = made.get(Status.VALID, 0)
                parts += f"; {valid} of the valid by {name} decoding, which made {sum(made.values())}"
        if results.renoised["draws"]:
            again = results.renoised
            parts += f"; {again['valid']} of the valid by re-noising {again['draws']} failed ones"
        return f"{self.requested} {label} = {parts}; {results.unique} unique; {self.seconds:.1f} s" + (
            f"; written to {self.output}" if self.output else ""
        )

    def lines(self) -> list[str]:
        """Return the accounting line and the details."""
        return [self.line(), *self.details]

    def record(self) -> dict[str, Any]:
        """Return the results for the run record, plain JSON types."""
        return {
            "requested": self.requested,
            "drawn": self.drawn,
            "counts": self.counts,
            "reasons": self.results.reasons,
            "decodings": self.results.decodings,
            "property_failures": self.results.property_failures,
            "renoised": self.results.renoised,
            "unique": self.results.unique,
            **self.extra,
            "problem": self.problem,
            "earlier": self.earlier,
            "network_evaluations_per_molecule": round(self.evaluations / max(self.drawn, 1), 3),
            "seconds": self.seconds,
        }


def summary_of(run: BaseRun, problem: str, output: Path | None = None) -> Summary:
    """Return the summary of a run that has ended.

    Args:
        run: with its counts.
        problem: why it ended early.
        output: the SDF, if there is one.
    """
    taken_over = [f"{run.earlier} of these were made before, by a run that was cut short"] if run.earlier else []
    return Summary(
        requested=run.requested,
        results=run.counts,
        evaluations=run.evaluations,
        seconds=round(time.monotonic() - run.started, 2),  # as it is recorded, so that it is told the same again
        output="" if output is None else str(output),
        details=(*run.details(), *taken_over),
        extra=run.extra_results(),
        problem=problem,
        earlier=run.earlier,
    )


def record_of(run: BaseRun, output: OutputOptions, summary: Summary, output_sha256: str) -> dict[str, Any]:
    """Return the run record of a run that has ended, written to some files."""
    guide = run.guide
    return run_record(
        task=run.task,
        options=run.request.record(run.sampler) | output.record(),
        output=output.path.name,
        output_sha256=output_sha256,
        made_by={
            "model_sha256": run.folder.sha256,
            "property_model": None if guide is None else {"sha256": guide.folder.sha256, "scale": guide.scale},
            "device": str(run.device),
            "precision": run.precision,
        },
        results=summary.record(),
    )


def warn_of_shortfall(summary: Summary) -> None:
    """Log a warning if fewer valid molecules came out than were asked for, with the reasons."""
    results, few = summary.results, 3
    if results.valid and results.valid < summary.requested:
        others = [f"{count} {status}" for status, count in summary.counts.items() if count and status != Status.VALID]
        reasons = sorted(results.reasons.items(), key=lambda item: -item[1])
        told = ", ".join(f"{count} {reason}" for reason, count in reasons[:few])
        more = ", ..." if len(reasons) > few else ""
        logger.warning(
            "%d valid molecules of %d that were asked for; %s (%s%s)",
            results.valid, summary.requested, ", ".join(others), told, more,
        )  # fmt: skip


def warn_if_none_is_valid(counts: ResultCounts, reasons: str) -> None:
    """Log a warning if no draw became a valid molecule.

    Args:
        counts: of all draws.
        reasons: where the reasons stand.
    """
    if counts.drawn and not counts.valid:
        logger.warning("none of the %d molecules that were drawn is valid; %s", counts.drawn, reasons)
