"""Output files of a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moldiff.chem.io.outputs import Kind, kind_of
from moldiff.errors import MoldiffError
from moldiff.files import refuse_existing_file, refuse_the_same
from moldiff.generation.trajectory import check_suffix
from moldiff.journal import is_unfinished, journal_path, refuse_unfinished
from moldiff.run_record import old_record, record_left, record_path


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """The files of a run: molecules by one of `moldiff.chem.io.outputs.KINDS`, beside them a CSV of all draws, unless
    they are a table themselves, and the run record.

    Attributes:
        path: of the molecules.
        keep_invalid: write molecules that are not valid too, as far as there is anything to write.
        report: .html file for a page on the run: funnel, distributions, molecules to turn, what did not pass.
        trajectories: .xyz or .html files for the path from noise to a molecule.
        overwrite: replace what is there.
        resume: go on with what a run of the same request left when it was cut short.
        confidence: write how sure the model was of each atom.

    Raises:
        MoldiffError: a name of another suffix.
    """

    path: Path
    keep_invalid: bool = False
    report: Path | None = None
    trajectories: Sequence[Path] = ()
    overwrite: bool = False
    resume: bool = False
    confidence: bool = False

    def __post_init__(self) -> None:
        kind_of(self.path)
        if self.confidence and not self.kind.has_coordinates:
            raise MoldiffError(f"confidence needs an SDF to stand in, not {self.path.name}", argument="confidence")
        for path in self.trajectories:
            check_suffix(path)
        if self.report is not None and self.report.suffix.lower() != ".html":
            raise MoldiffError(f"{self.report}: a report must end in .html", argument="report")

    @property
    def table(self) -> Path:
        """The table of all draws."""
        return self.path if self.kind.is_table else self._beside(".csv")

    @property
    def picture(self) -> Path:
        """The picture of what was wanted against what came out."""
        return self._beside(".targets.png")

    @property
    def kind(self) -> Kind:
        """The kind of file that molecules are written to."""
        return kind_of(self.path)

    def _beside(self, suffix: str) -> Path:
        stem = self.kind.stem(self.path)
        return stem.with_name(f"{stem.name}{suffix}")

    def files(self, *, pictured: bool) -> tuple[Path, ...]:
        """Return all files of the run; ``pictured``: with a picture of targets."""
        beside = [] if self.kind.is_table else [self.table]
        others = [*([self.picture] if pictured else ()), *(() if self.report is None else (self.report,))]
        return (self.path, *beside, record_path(self.path), *self.trajectories, *others)

    def refuse_existing(self, *, pictured: bool = False, inputs: Sequence[Path] = ()) -> None:
        """Raise MoldiffError if a file of the run is in the way, or what a run left that was cut short.

        Args:
            pictured: whether there will be a picture of targets.
            inputs: files that the run begins with, which are never written over.
        """
        refuse_unfinished(self.path, resume=self.resume, overwrite=self.overwrite)
        self.refuse_files(pictured=pictured, inputs=inputs)

    def refuse_files(self, *, pictured: bool = False, inputs: Sequence[Path] = ()) -> None:
        """Raise MoldiffError if a file of the run is in the way, see `refuse_existing`."""
        record, written = record_path(self.path), self.files(pictured=pictured)
        refuse_the_same((*written, journal_path(self.path)))
        # left by a run that may be the same; who goes on looks again when the model is there
        may_be_ours = self.resume and (
            record_left(record, self.path) is not None or (not record.exists() and is_unfinished(self.path))
        )
        for path in written:
            try:
                refuse_existing_file(path, self.overwrite or may_be_ours, inputs)
            except MoldiffError as error:
                if os.path.isfile(path) and not record.exists() and old_record(self.path) is None:
                    raise MoldiffError(
                        f"{error} (it has no run record: unfinished, or from elsewhere)", argument=error.argument
                    ) from error
                raise

    def record(self) -> dict[str, object]:
        """Return the options by their public names."""
        return {
            "keep_invalid": self.keep_invalid,
            "report": None if self.report is None else str(self.report),
            "confidence": self.confidence,
            "trajectory": [str(path) for path in self.trajectories],
        }
