"""Writer of results: files that appear together (an SDF, a CSV with a row for every draw, the run record), each result
written as it comes, in the order of the numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from moldiff.chem.io.outputs import CsvRows
from moldiff.chem.io.tags import apart
from moldiff.files import FileSet, claimed, file_set
from moldiff.foreign_text import readable
from moldiff.generation.base_run import BaseRun
from moldiff.generation.identity import OF_RECORDS
from moldiff.generation.molecule_result import INTEGERS, TEXTS, MoleculeResult
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.report_page import RunPage
from moldiff.generation.summary import Summary, record_of
from moldiff.journal import Journal, is_unfinished, journal_of, journal_path
from moldiff.provenance import versions
from moldiff.run_record import (
    begins_anew,
    digest,
    entry_beside,
    lost_beside,
    old_record,
    record_left,
    record_path,
)
from moldiff.status import Status


def request_of(run: BaseRun, output: OutputOptions) -> dict[str, Any]:
    """Return what must be the same where one run goes on with the results of another, as JSON reads it again."""
    asked = run.request.record(run.sampler)
    of_records = {"shard": None} | {name: asked[name] for name in OF_RECORDS if name in asked}
    here = {"device": run.device.type, "confidence": output.confidence, **versions()}
    request: dict[str, Any] = json.loads(json.dumps(run.facts() | of_records | here, default=str))
    return request


def finished(run: BaseRun, output: OutputOptions) -> Summary | None:
    """Return the summary of the run that is to be resumed if it has ended already, its files whole.

    Raises:
        MoldiffError: there is the output of another run; or something that is asked for is not there, and cannot be
            made but by another run.
    """
    if not output.resume or (record := record_left(record_path(output.path), output.path)) is None:
        return None
    if record.get("request_sha256") != digest(request_of(run, output)):
        replace(output, resume=False).refuse_files(pictured=run.pictured)
        return None
    if not record.get("complete"):
        return None
    if begins_anew(output.path, _lost(record, output), output.overwrite or is_unfinished(output.path)):
        return None
    journal_path(output.path).unlink(missing_ok=True)  # killed after the last moment
    return Summary.of_record(record, str(output.path))


def _lost(record: dict[str, Any], output: OutputOptions) -> str:
    """Return in words what of an output that is asked for a run has not left; "" = nothing."""
    then, listed = record.get("options", {}), {entry["file"] for entry in record.get("beside", ())}
    kept = bool(then.get("keep_invalid"))
    if kept != output.keep_invalid and not output.kind.is_table:
        return "what is not valid is in it" if kept else "what is not valid was not kept in it"
    # a table is the output itself, of which `record_left` asks
    asked = [] if output.kind.is_table else [output.table]
    asked += [] if output.report is None else [output.report]
    asked += [output.picture] if readable(output.picture.name) in listed else []
    for path in output.trajectories:  # one that was asked for then, and did not come, had no molecule to show
        if readable(path.name) in listed or readable(str(path)) not in then.get("trajectory", ()):
            asked.append(path)
    return lost_beside(record, asked)


class ResultSheet:
    """Results as files have them.

    Args:
        run: that makes them.
        confidence: write how sure the model was of each atom.
    """

    def __init__(self, run: BaseRun, *, confidence: bool = False) -> None:
        self._run, self._confidence = run, confidence
        self._seed, self._model = run.request.sampler.seed, run.folder.name
        self._carried = apart(run.tag_names, run.columns)
        self.headings = (*run.columns, *self._carried.values())
        # what is measured is a number, whatever else has such a name in runs of another kind
        self.texts, self.whole = (
            (TEXTS - run.measured_columns) | set(self._carried.values()),
            INTEGERS - run.measured_columns,
        )

    def cells(self, result: MoleculeResult) -> list[object]:
        """Return the cells of a draw's row."""
        own = result.values(self._run.columns).values()
        return [*own, *(result.tags.get(tag) for tag in self._carried)]

    def line(self, result: MoleculeResult) -> tuple[str, str]:
        """Return SMILES and name; a molecule of unsound chemistry has none."""
        return result.smiles, result.title or result.id

    def sdf(self, result: MoleculeResult) -> str:
        """Return the SDF record; "" = there is nothing that a file can hold."""
        row = result.row(self._run.columns)
        return result.sdf_record(row, self._seed, self._model, confidence=self._confidence) or ""


class RunFiles:
    """Takes the results of a run one by one, made by `run_files`.

    Args:
        files: that appear together.
        run: that makes the results.
        output: names the files.
    """

    def __init__(self, files: FileSet, run: BaseRun, output: OutputOptions) -> None:
        self._files, self._run, self._output = files, run, output
        self._page = None if output.report is None else RunPage(run.columns, run.folder.references)
        sheet = ResultSheet(run, confidence=output.confidence)
        written = output.kind.opened(files, output.path, sheet)
        # a table has a row for every draw: it needs no other one beside it
        self._rows = written if output.kind.is_table else CsvRows(files.open(output.table, binary=True), sheet)
        self._molecules = None if output.kind.is_table else written

    def add(self, result: MoleculeResult) -> None:
        """Write the row of a result, and its record if its molecule is wanted."""
        self._rows.add(result)
        if self._page is not None:
            self._page.add(result)
        if self._molecules is not None and (self._output.keep_invalid or result.status == Status.VALID):
            self._molecules.add(result)

    def finish(self, summary: Summary, interrupted: bool = False, complete: bool = True) -> None:
        """Let the files appear, with the run record and what else the run makes of its results.

        Args:
            summary: of the run.
            interrupted: by a signal.
            complete: it ended by itself; else another one may go on.
        """
        for path, content in self._run.extra_files(self._output, interrupted).items():
            self._files.add(path, content)
        for file in (self._rows, self._molecules):
            if file is not None:
                file.close()
        self._files.sync()
        record = record_of(self._run, self._output, summary, self._files.sha256(self._output.path)) | {
            "complete": complete,
            "request_sha256": digest(request_of(self._run, self._output)),
        }
        output = self._output
        hashes = {path: self._files.sha256(path) for path in self._files.paths if path != output.path}
        record["beside"] = [entry_beside(path, sha256) for path, sha256 in hashes.items()]
        if self._page is not None and output.report is not None:
            record["beside"].append(entry_beside(output.report, None))
            self._files.add(output.report, self._page.html(summary, record))
        if (old := old_record(self._output.path)) is not None:
            old.unlink(missing_ok=True)
        self._files.commit(record)


@contextmanager
def run_files(run: BaseRun, output: OutputOptions) -> Iterator[RunFiles]:
    """Give the `RunFiles` of a run; without `RunFiles.finish`, nothing is left of them.

    Raises:
        MoldiffError: they could not be written completely, or another run writes them.
    """
    record = record_path(output.path)  # which outputs of other kinds, but of this name, have too
    with claimed(*output.files(pictured=run.pictured)), file_set(record) as files:
        output.refuse_files(pictured=run.pictured)  # another run may have ended since the request
        yield RunFiles(files, run, output)


def run_journal(run: BaseRun, output: OutputOptions) -> AbstractContextManager[Journal]:
    """Give the journal of a run, whose files are open."""
    request = request_of(run, output)
    return journal_of(output.path, request, resume=output.resume, overwrite=output.overwrite)


def write_results(run: BaseRun, output: OutputOptions, results: Sequence[MoleculeResult], summary: Summary) -> None:
    """Write the files of a run that has ended, with all its results.

    Raises:
        MoldiffError: a file is in the way, or cannot be written.
    """
    output.refuse_existing(pictured=run.pictured, inputs=run.inputs)
    with run_files(run, output) as files:
        for result in results:
            files.add(result)
        files.finish(summary)
