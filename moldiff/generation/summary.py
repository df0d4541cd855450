"""What is told of a generation: one line for the terminal, run.json for the files."""

from __future__ import annotations

import logging
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moldiff.files import sha256_of
from moldiff.generation.decoding.decoders import FITTED, STRUCTURED
from moldiff.generation.options.property_guide import PropertyGuide
from moldiff.generation.smc_run import ScoreResult
from moldiff.generation.target_report import AimResult
from moldiff.status import Status
from moldiff.version import VERSION

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """What became of every draw.

    Attributes:
        requested: molecules asked for; without ``until_valid`` also the number of draws.
        counts: status -> draws; they add up to ``drawn``.
        reasons: code of each reason -> draws.
        decodings: which decoding made the molecule -> status -> draws.
        property_failures: property -> molecules that its calculator failed on.
        renoised: draws that were noised and walked down again, attempts at that, draws that were valid in the end.
        evaluations: of the network, over all draws.
        unique: different SMILES among the valid.
        seconds: wall time from request to result.
        output: the SDF.
        aims: how each target was met.
        score: what came of drawing by a score; None if none was asked for.
        problem: why the run ended early; empty if it did not.
    """

    requested: int
    drawn: int
    counts: dict[str, int]
    reasons: dict[str, int]
    decodings: dict[str, dict[str, int]]
    property_failures: dict[str, int]
    renoised: dict[str, int]
    evaluations: int
    unique: int
    seconds: float
    output: str
    aims: tuple[AimResult, ...] = ()
    score: ScoreResult | None = None
    problem: str = ""

    def line(self) -> str:
        """Return the accounting line."""
        label = "requested" if self.drawn == self.requested else f"requested, {self.drawn} drawn"
        parts = " + ".join(f"{count} {status}" for status, count in self.counts.items())
        for name in (STRUCTURED, FITTED):
            if made := self.decodings.get(name):
                parts += (
                    f"; {made.get(Status.VALID, 0)} of the valid by {name} decoding, which made {sum(made.values())}"
                )
        if self.renoised["draws"]:
            parts += f"; {self.renoised['valid']} of the valid by re-noising {self.renoised['draws']} failed ones"
        return (
            f"{self.requested} {label} = {parts}; {self.unique} unique; {self.seconds:.1f} s; written to {self.output}"
        )


def warn_if_none_is_valid(counts: Mapping[str, int], reasons: str) -> None:
    """Log a warning if no draw became a valid molecule.

    Args:
        counts: draws by what became of them.
        reasons: where the reasons stand.
    """
    if not counts[Status.VALID]:
        logger.warning("none of the %d molecules that were drawn is valid; %s", sum(counts.values()), reasons)


def run_record(
    request: DataclassInstance,
    summary: Summary,
    model_sha256: str,
    device: str,
    precision: str,
    guide: PropertyGuide | None = None,
) -> dict[str, Any]:
    """Return what run.json holds: plain JSON types. The request is a dataclass of these."""
    packages = ("torch", "rdkit", "e3nn", "numpy")
    return {
        "output": Path(summary.output).name,
        "output_sha256": sha256_of(Path(summary.output)),
        "command": shlex.join(sys.argv),
        "request": asdict(request),
        "model_sha256": model_sha256,
        "property_model": None if guide is None else {"sha256": guide.folder.sha256, "scale": guide.scale},
        "device": device,
        "precision": precision,
        "requested": summary.requested,
        "drawn": summary.drawn,
        "counts": summary.counts,
        "reasons": summary.reasons,
        "decodings": summary.decodings,
        "property_failures": summary.property_failures,
        "renoised": summary.renoised,
        "unique": summary.unique,
        "targets": [asdict(aim) for aim in summary.aims],
        "score": None if summary.score is None else asdict(summary.score),
        "problem": summary.problem,
        "network_evaluations_per_molecule": round(summary.evaluations / summary.drawn, 3),
        "seconds": round(summary.seconds, 2),
        "versions": {"moldiff": VERSION, "python": platform.python_version(), **{p: version(p) for p in packages}},
    }
