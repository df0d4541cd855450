"""The files of a pass over a library: the molecules that are kept, a CSV of all records, the run record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from moldiff.chem.io.outputs import CsvRows, Output, kind_of
from moldiff.files import FileSet, claimed, file_set, refuse_existing_files
from moldiff.run_record import record_path, run_record
from moldiff.screening.entries import Library
from moldiff.screening.filter_run import FilterOptions, FilterRun, Progress
from moldiff.screening.outputs import pack_of
from moldiff.screening.ranking import Best
from moldiff.screening.rows import Row
from moldiff.screening.summary import FilterSummary
from moldiff.status import Status


def records_path(out: Path) -> Path:
    """Return where the table of all records stands beside an output."""
    stem = kind_of(out).stem(out)
    return stem.with_name(f"{stem.name}.records.csv")


@dataclass(frozen=True)
class FilterFiles:
    """The open files of a pass.

    Attributes:
        molecules: of those that are kept, in the order in which they are added.
        records: of all rows.
    """

    run: FilterRun
    out: Path
    molecules: Output[Row]
    records: Output[Row]
    files: FileSet

    def end(self, kept: int) -> FilterSummary:
        """Let the files appear, with the run record; return the summary of a pass that kept so many."""
        self.molecules.close()
        summary = self.run.summary(kept, self.out)
        self.files.sync()
        columns = {} if self.run.library.columns is None else self.run.library.columns.record()
        self.files.commit(
            run_record(
                task="filter",
                options=self.run.options.record() | columns,
                output=self.out.name,
                output_sha256=self.files.sha256(self.out),
                made_by={"inputs": list(self.run.inputs)},
                results=summary.record(),
            )
        )
        return summary


@contextmanager
def filter_files(
    run: FilterRun, out: Path, *, overwrite: bool, fields: Sequence[str] | None = None
) -> Iterator[FilterFiles]:
    """Open the files of a pass; without `FilterFiles.end` nothing is left of them.

    Args:
        run: the pass.
        out: its suffix says what is written.
        overwrite: replace older files.
        fields: names of the data fields that are columns of a table; None = a pass over the library's files finds them.

    Raises:
        MoldiffError: one is in the way, or another run writes them.
    """
    library, kind = run.library, kind_of(out)
    written = (out, records_path(out), record_path(out))
    refuse_existing_files(written, overwrite, library.files)
    with claimed(*written), file_set(record_path(out)) as files:
        refuse_existing_files(written, overwrite, library.files)  # another run may have ended since
        tags = () if not kind.is_table else library.tag_names() if fields is None else tuple(fields)
        molecules = kind.opened(files, out, run.kept_sheet(tags))
        yield FilterFiles(run, out, molecules, CsvRows(files.open(records_path(out), binary=True), run.sheet), files)


def write_filtered(
    library: Library, options: FilterOptions, out: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> FilterSummary:
    """Write the molecules of a library that are kept, and beside them the table of all records and the run record.

    Args:
        library: files, or molecules.
        options: of the pass.
        out: its suffix says what is written, see `moldiff.chem.io.outputs.KINDS`.
        overwrite: replace older files.
        progress: called with the number of records done so far.

    Raises:
        MoldiffError: a file cannot be read, is in the way, or cannot be written; nothing is left then.
    """
    kind = kind_of(out)
    run = FilterRun(library, options, pack_of(kind), coordinates=kind.has_coordinates)
    best = Best(options.rank, options.n)
    streamed = options.rank is None and options.n is None  # without a choice among them they are written as they come
    with filter_files(run, out, overwrite=overwrite) as files:
        for row in run.rows(progress):
            files.records.add(row)
            if row.status == Status.VALID:
                (files.molecules if streamed else best).add(row)
        for row in best:
            files.molecules.add(row)
        return files.end(run.counts.valid if streamed else len(best))
