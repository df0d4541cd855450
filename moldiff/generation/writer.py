"""Answers to the records of a molecule file, written down: SDF, CSV and run.json; or handed over as molecules."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from moldiff.files import atomic_writer, refuse_existing_file, write_json
from moldiff.generation.from_records import Answer, Item, Job, Progress, count_records
from moldiff.generation.generate import output_names
from moldiff.generation.summary import Summary, run_record, warn_if_none_is_valid
from moldiff.interruption import watched_signals
from moldiff.status import Status

if TYPE_CHECKING:
    from rdkit.Chem import Mol


logger = logging.getLogger(__name__)


def molecules_of(answers: Iterable[Answer[Item]], columns: Sequence[str], keep_invalid: bool) -> list[Mol]:
    """Return the molecules of answers, with their columns as properties."""
    found = []
    for answer in answers:
        mol = answer.outcome.mol
        if mol is not None and (keep_invalid or answer.outcome.status == Status.VALID):
            for name, value in answer.row(columns).items():
                mol.SetProp(name, str(value))
            found.append(mol)
    return found


@dataclass(frozen=True)
class Told:
    """A summary and what else there is to tell."""

    summary: Summary
    details: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the accounting line and the details."""
        return [self.summary.line(), *self.details]


def check_outputs(out: Path, overwrite: bool) -> None:
    """Raise MoldiffError if the SDF, the CSV or the run record is in the way."""
    for path in (out, *output_names(out)):
        refuse_existing_file(path, overwrite)


def write_answers(
    job: Job[Item],
    molecules: str | Path,
    out: Path,
    *,
    keep_invalid: bool,
    progress: Progress | None,
    started: float,
) -> Told:
    """Answer a molecule file into ``out`` (SDF), the CSV beside it and run.json; see `check_outputs` first.

    The CSV has a row for every draw, the SDF the valid ones (all that can be written with ``keep_invalid``). The files
    appear only when they are complete.

    Args:
        started: `time.monotonic` at the request.

    Raises:
        MoldiffError: see `Job.answers`; or an output cannot be written.
        KeyboardInterrupt, SystemExit: Ctrl-C, SIGTERM (status 143), after what was finished before is written.
    """
    table, run_file = output_names(out)
    with watched_signals() as interruption:
        with ExitStack() as stack:
            rows = stack.enter_context(atomic_writer(table))
            records = stack.enter_context(atomic_writer(out))
            writer = csv.DictWriter(rows, job.columns, lineterminator="\n")
            writer.writeheader()
            for answer in job.answers(molecules, progress, interruption):
                row = answer.row(job.columns)
                writer.writerow(row)
                if keep_invalid or answer.outcome.status == Status.VALID:
                    result = replace(answer.outcome, title=job.title(answer.ask))
                    text = result.sdf_record(row, job.settings.seed, job.folder.name)
                    records.write(text or "")
            drawn = sum(job.accountant.by_status.values())
            asked, problem = drawn, ""
            if interruption.number is not None:
                asked = job.settings.n * count_records(Path(molecules))
                if not drawn:
                    interruption.end()
            if drawn < asked:
                problem = f"interrupted after {drawn} of {asked} molecules"
        accountant = job.accountant
        summary = Summary(
            asked, drawn, accountant.by_status, accountant.reasons, accountant.decodings,
            accountant.property_failures, accountant.renoised,
            accountant.evaluations, accountant.unique, time.monotonic() - started, str(out),
            problem=problem,
        )  # fmt: skip
        write_json(run_file, run_record(job.settings, summary, job.folder.sha256, str(job.device), job.precision))
        if problem:
            logger.warning("%s; what was made is in %s", problem, out)
            interruption.end()
        warn_if_none_is_valid(summary.counts, f"{table} tells why")
        return Told(summary, tuple(job.details()))
