"""The files of a pass over a library: the molecules that are kept, a CSV of all records, the run record."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from moldiff.chem.io.outputs import CsvRows, Output, kind_of
from moldiff.files import FileSet, claimed, file_set, refuse_existing_file, sha256_of
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


def check_outputs(out: Path, overwrite: bool, inputs: Iterable[Path]) -> None:
    """Raise MoldiffError if a file of the pass is in the way, or an input, or of an unknown kind."""
    for path in (out, records_path(out), record_path(out)):
        refuse_existing_file(path, overwrite, inputs)


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
    check_outputs(out, overwrite, library.files)
    kind = kind_of(out)
    run = FilterRun(library, options, pack_of(kind), coordinates=kind.has_coordinates)
    sheet = run.kept_sheet(library.tag_names() if kind.is_table else ())
    with claimed(out), file_set(record_path(out)) as files:
        check_outputs(out, overwrite, library.files)  # another run may have ended since
        output = kind.opened(files, out, sheet)
        table = CsvRows(files.open(records_path(out), binary=True), run.sheet)
        kept = _write(run, output, table, progress)
        output.close()
        summary = run.summary(kept, out)
        commit(files, library, options, out, summary)
    return summary


def _write(run: FilterRun, output: Output[Row], table: Output[Row], progress: Progress | None) -> int:
    """Write all rows, and those that are kept; return how many these are. Without a choice among them they are written
    as they come."""
    best = Best(run.options.rank, run.options.n)
    streamed = run.options.rank is None and run.options.n is None
    for row in run.rows(progress):
        table.add(row)
        if row.status == Status.VALID:
            (output if streamed else best).add(row)
    for row in best:
        output.add(row)
    return run.counts.valid if streamed else len(best)


def commit(files: FileSet, library: Library, options: FilterOptions, out: Path, summary: FilterSummary) -> None:
    """Let the files of a pass appear, with its run record."""
    files.sync()
    inputs = [{"file": str(path), "sha256": sha256_of(path)} for path in library.files]
    files.commit(
        run_record(
            task="filter",
            options=options.record(),
            output=out.name,
            output_sha256=files.sha256(out),
            made_by={"inputs": inputs},
            results=summary.record(),
        )
    )
