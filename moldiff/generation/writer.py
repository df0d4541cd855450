"""Where results go: into files that appear together (an SDF, a CSV with a row for every draw, the run record), each
written as it comes, in the order of the numbers."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from moldiff.errors import MoldiffError
from moldiff.files import FileSet, claimed, file_set, refuse_existing_file
from moldiff.generation.options.output import OutputOptions
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
    pictures = [output.picture] if pictured else []
    for path in (output.path, output.table, record, *output.trajectories, *pictures):
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
        output: names them.
        columns: of the CSV.
        seed, model: of the run, for the tags of the SDF.
    """

    def __init__(self, files: FileSet, output: OutputOptions, columns: Sequence[str], seed: int, model: str) -> None:
        self._files, self._output, self._columns, self._seed, self._model = files, output, columns, seed, model
        self._rows = csv.DictWriter(files.open(output.table), columns, lineterminator="\n")
        self._rows.writeheader()
        self._records = files.open(output.path)

    def add(self, result: MoleculeResult) -> None:
        """Write the row of a result, and its record if its molecule is wanted."""
        row = result.row(self._columns)
        self._rows.writerow(row)
        if self._output.keep_invalid or result.status == Status.VALID:
            self._records.write(
                result.sdf_record(row, self._seed, self._model, confidence=self._output.confidence) or ""
            )

    def finish(self, others: Mapping[Path, str | bytes], record: Callable[[str], object]) -> None:
        """Let the files appear, with others and a run record, which is made from the hash of the SDF."""
        for path, content in others.items():
            self._files.add(path, content)
        self._files.sync()
        value = record(self._files.sha256(self._output.path))
        if (old := old_record(self._output.path)) is not None:
            old.unlink(missing_ok=True)
        self._files.commit(value)


@contextmanager
def run_files(output: OutputOptions, columns: Sequence[str], seed: int, model: str) -> Iterator[RunFiles]:
    """Give the `RunFiles` of a run; without `RunFiles.finish`, nothing is left of them.

    Raises:
        MoldiffError: they could not be written completely, or another run writes them.
    """
    with claimed(output.path), file_set(record_path(output.path)) as files:
        check_outputs(output, False)  # another run may have ended since the request
        yield RunFiles(files, output, columns, seed, model)


def write_results(run: Run, output: OutputOptions, results: Sequence[MoleculeResult], summary: Summary) -> None:
    """Write the files of a run that has ended, with all its results.

    Raises:
        MoldiffError: a file is in the way, or cannot be written.
    """
    check_outputs(output, run.pictured)
    with run_files(output, run.columns, run.request.sampler.seed, run.folder.name) as files:
        for result in results:
            files.add(result)
        files.finish(run.extra_files(output, False), lambda sha256: record_of(run, output, summary, sha256))
