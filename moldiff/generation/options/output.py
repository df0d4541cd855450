"""Output files of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moldiff.errors import MoldiffError
from moldiff.generation.trajectory import check_suffix


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """The files of a run; beside the SDF go its CSV and its run record.

    Attributes:
        path: of the SDF.
        keep_invalid: write molecules that are not valid too, as far as there is anything to write.
        report: .html file for a page on the run: funnel, distributions, molecules to turn, what did not pass.
        trajectories: .xyz or .html files for the path from noise to a molecule.
        overwrite: replace what is there.
        confidence: write how sure the model was of each atom.

    Raises:
        MoldiffError: a name of another suffix.
    """

    path: Path
    keep_invalid: bool = False
    report: Path | None = None
    trajectories: Sequence[Path] = ()
    overwrite: bool = False
    confidence: bool = False

    def __post_init__(self) -> None:
        if self.path.suffix.lower() != ".sdf":
            raise MoldiffError(f"{self.path}: the output must end in .sdf", argument="out")
        for path in self.trajectories:
            check_suffix(path)
        if self.report is not None and self.report.suffix.lower() != ".html":
            raise MoldiffError(f"{self.report}: a report must end in .html", argument="report")

    @property
    def table(self) -> Path:
        """The CSV."""
        return self.path.with_suffix(".csv")

    @property
    def picture(self) -> Path:
        """The picture of what was wanted against what came out."""
        return self.path.with_suffix(".targets.png")

    def record(self) -> dict[str, object]:
        """Return the options by their public names."""
        return {
            "keep_invalid": self.keep_invalid,
            "report": None if self.report is None else str(self.report),
            "confidence": self.confidence,
            "trajectory": [str(path) for path in self.trajectories],
        }
