"""Writer of results: files that appear together (an SDF, a CSV with a row for every draw, the run record), each result
written as it comes, in the order of the numbers."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from moldiff.errors import MoldiffError
from moldiff.files import FileSet, claimed, file_set, refuse_existing_file
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.report_page import RunPage
from moldiff.generation.results import MoleculeResult
from moldiff.generation.summary import Summary, record_of
from moldiff.run_record import old_record, record_path
from moldiff.status import Status

if TYPE_CHECKING:
    from moldiff.generation.run import Run


def check_outputs(output: OutputOptions, pictured: bool) -> None:
    """Raise MoldiffError if a file of the run is in the way.

    Args:
        output: names them.
        pictured: whether there will be a picture of targets.
    """
    record = record_path(output.path)
    others = [output.picture] if pictured else []
    others += [] if output.report is None else [output.report]
    for path in (output.path, output.table, record, *output.trajectories, *others):
        try:
            refuse_existing_file(path, output.overwrite)
        except MoldiffError as error:
            if os.path.isfile(path) and not record.exists() and old_record(output.path) is None:
                raise MoldiffError(
                    f"{error} (it has no run record: unfinished, or from elsewhere)", argument=error.argument
                ) from error
            raise


class RunFiles:
    """Takes the results of a run one by one, made by `run_files`.

    Args:
        files: that appear together.
        run: that makes the results.
        output: names the files.
    """

    def __init__(self, files: FileSet, run: Run, output: OutputOptions) -> None:
        self._files, self._run, self._output = files, run, output
        self._page = None if output.report is None else RunPage(run.columns, run.folder.references)
        self._rows = csv.DictWriter(files.open(output.table), run.columns, lineterminator="\n")
        self._rows.writeheader()
        self._records = files.open(output.path)

    def add(self, result: MoleculeResult) -> None:
        """Write the row of a result, and its record if its molecule is wanted."""
        row = result.row(self._run.columns)
        self._rows.writerow(row)
        if self._page is not None:
            self._page.add(result)
        if self._output.keep_invalid or result.status == Status.VALID:
            seed, model = self._run.request.sampler.seed, self._run.folder.name
            record = result.sdf_record(row, seed, model, confidence=self._output.confidence)
            self._records.write(record or "")

    def finish(self, summary: Summary, interrupted: bool = False) -> None:
        """Let the files appear, with the run record and what else the run makes of its results."""
        for path, content in self._run.extra_files(self._output, interrupted).items():
            self._files.add(path, content)
        self._files.sync()
        record = record_of(self._run, self._output, summary, self._files.sha256(self._output.path))
        if self._page is not None and self._output.report is not None:
            self._files.add(self._output.report, self._page.html(summary, record))
        if (old := old_record(self._output.path)) is not None:
            old.unlink(missing_ok=True)
        self._files.commit(record)


@contextmanager
def run_files(run: Run, output: OutputOptions) -> Iterator[RunFiles]:
    """Give the `RunFiles` of a run; without `RunFiles.finish`, nothing is left of them.

    Raises:
        MoldiffError: they could not be written completely, or another run writes them.
    """
    with claimed(output.path), file_set(record_path(output.path)) as files:
        check_outputs(output, False)  # another run may have ended since the request
        yield RunFiles(files, run, output)


def write_results(run: Run, output: OutputOptions, results: Sequence[MoleculeResult], summary: Summary) -> None:
    """Write the files of a run that has ended, with all its results.

    Raises:
        MoldiffError: a file is in the way, or cannot be written.
    """
    check_outputs(output, run.pictured)
    with run_files(run, output) as files:
        for result in results:
            files.add(result)
        files.finish(summary)
