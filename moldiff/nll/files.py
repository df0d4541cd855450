"""`likelihood`: the bound of every record of a molecule file, as a CSV with a run record beside it."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moldiff.arguments import WHOLE, Part, count, seed_number
from moldiff.arrays import MOST_ATOMS, MolArrays
from moldiff.chem.convert import encode
from moldiff.chem.identity import bytes_key
from moldiff.chem.io.inputs import Molecules, Survey, files_named, survey
from moldiff.chem.io.ready import Ready, ready_records
from moldiff.chem.io.records import Record
from moldiff.deprecations import renamed_argument
from moldiff.diffusion.bound import BoundSettings
from moldiff.errors import blaming
from moldiff.files import write_json
from moldiff.foreign_text import readable
from moldiff.models.folder import DEFAULT_MODEL
from moldiff.models.loaded import LoadedModel, load_model
from moldiff.molecules import FIELDS
from moldiff.nll.estimator import SCORED, TOTAL, LikelihoodBound, LikelihoodEstimator
from moldiff.nll.reference import LikelihoodReference, calibrate
from moldiff.nll.summary import NOT_SCORED, LikelihoodSummary
from moldiff.nll.tables import RowSheet, beside, write_table
from moldiff.processes import THIS_PROCESS, Pool, standing_pool
from moldiff.provenance import header, versions
from moldiff.randomness import graph_key
from moldiff.reading import sha256_of
from moldiff.resumption import Resumption
from moldiff.run_record import digest
from moldiff.sampling.microbatches import side_by_side

logger = logging.getLogger(__name__)

COLUMNS = (
    "index", "name", "status", "reason", "n_atoms", "nats", "nats_error", "nats_per_atom",
    *itertools.chain(*((f"nats_{name}", f"error_{name}") for name in FIELDS)), "nats_size",
)  # fmt: skip
Z_COLUMNS = tuple(f"z_{name}" for name in SCORED)
Progress = Callable[[int], None]
Row = dict[str, object]


def score_file(
    path: Path | Sequence[Path],
    out: Path,
    *,
    model: str = DEFAULT_MODEL,
    chain_steps: int | None = None,
    evaluations: int = BoundSettings.evaluations,
    repeats: int = BoundSettings.repeats,
    seed: int = 0,
    batch_size: int | None = None,
    device: str = "auto",
    calibration: Path | None = None,
    add_hydrogens: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 0,
    shard: Part = WHOLE,
    progress: Progress | None = None,
    steps: int | None = None,
) -> LikelihoodSummary:
    """Score every record of a molecule file; each has a row, with a reason where there is no score.

    Args:
        path: any molecule file with 3D coordinates that `moldiff.chem.io.records.read_records` knows, or several. Their
            data fields become columns.
        out: .csv, .csv.gz or .parquet to write; a .json of the same name goes beside it.
        model: a built-in model or a model folder.
        chain_steps: length of the bound's chain; None = 1000. ``steps`` is its old word.
        evaluations, repeats: see `BoundSettings`.
        seed: of the noise. A record's score is a function of (model, settings, seed, molecule), wherever it stands.
        batch_size: molecules at a time.
        device: auto, cpu, cuda or cuda:<number>.
        calibration: held-out molecules for z-scores, a prepared set or a molecule file; None = those of the model.
        add_hydrogens: place the hydrogens that records leave out, those of a file of held-out molecules too.
        resume: go on with the rows of a run of the same request that was cut short.
        overwrite: replace older output.
        workers: processes that read the records and held-out molecules; 0 = this one does.
        shard: the part of the records that is scored; the tables of all parts are that of the whole.
        progress: called with the number of records done so far; of those of ``calibration``, which come first, too.

    Raises:
        MoldiffError: an argument out of range, a file, model or device that is missing or damaged, output that exists
            or cannot be written.
    """
    started = time.monotonic()
    chain_steps = renamed_argument("steps", steps, "chain_steps", chain_steps)
    settings = BoundSettings(BoundSettings.steps if chain_steps is None else chain_steps, evaluations, repeats)
    seed_number(seed)
    count(workers, "workers", least=0)
    record_file = beside(out)
    files = files_named([path] if isinstance(path, Path) else path)
    inputs = files if calibration is None else (*files, calibration)
    resumption = Resumption(out, record_file, inputs=inputs, resume=resume, overwrite=overwrite)
    read = survey(files)  # a missing file shows before the model is loaded
    wanted = read.span(shard)
    loaded = load_model(model, device=device, precision="float32")
    pool = standing_pool(workers)
    scoring = Scoring.of(
        loaded, settings, seed, batch_size, calibration, progress, add_hydrogens=add_hydrogens, pool=pool
    )
    summary = scoring.summary
    request = scoring.request(read) | {"calibration": _hash_of(calibration), "add_hydrogens": add_hydrogens}
    request |= {} if shard == WHOLE else {"shard": [shard.index, shard.count]}
    if (ended := resumption.ended(request)) is not None:
        return LikelihoodSummary.of_record(ended, str(out))
    with resumption.journal(request) as journal:
        started -= journal.seconds
        told = None if progress is None else lambda done: progress(journal.earlier + done)
        records = scoring.ready(list(files), add_hydrogens, wanted[journal.count :], pool)
        for row in scoring.rows(records, told):
            journal.add(row, time.monotonic() - started)
        write_table(
            out, RowSheet(scoring.columns_of(files), read.tags, Z_COLUMNS), map(summary.noted, journal.entries())
        )
        # rounded as it is recorded, so that a run that had ended tells the same
        summary.output, summary.seconds = str(out), round(time.monotonic() - started, 2)
        if not summary.scored:
            logger.warning("none of %d records could be scored; the reasons are in %s", summary.records, out)
        write_json(record_file, scoring.record(out, read) | {"request_sha256": digest(request)})
    return summary


def _hash_of(path: Path | None) -> str | None:
    """Return what tells held-out molecules from others: of a prepared set, its description, which holds the hash of
    its arrays."""
    if path is None:
        return None
    return sha256_of(path / "dataset.json" if path.is_dir() else path)


@dataclass(frozen=True)
class Scoring:
    """Scoring of records: a model with its settings, and the yardstick of z-scores.

    Attributes:
        loaded: the model, in float32.
        scorer: of it.
        seed: of the noise.
        reference: None = no z-scores.
        summary: of the records so far.
    """

    loaded: LoadedModel
    scorer: LikelihoodEstimator
    seed: int
    reference: LikelihoodReference | None
    summary: LikelihoodSummary

    @classmethod
    def of(
        cls,
        loaded: LoadedModel,
        settings: BoundSettings,
        seed: int,
        batch_size: int | None,
        calibration: Path | None,
        progress: Progress | None = None,
        *,
        add_hydrogens: bool = False,
        pool: Pool = THIS_PROCESS,
    ) -> Scoring:
        """Return one; arguments and errors as for `score_file`, ``progress`` through the held-out molecules, which
        ``pool`` reads."""
        scorer = LikelihoodEstimator(loaded.model, settings, seed, batch_size)
        if calibration is not None:
            with blaming("calibration", "add_hydrogens"):
                reference: LikelihoodReference | None = calibrate(
                    scorer, calibration, progress, add_hydrogens=add_hydrogens, pool=pool
                )
        else:
            reference = LikelihoodReference.from_tensors(loaded.folder.references, str(loaded.path))
        summary = LikelihoodSummary("", _basis(reference, settings, scorer.model.vocabulary.atoms))
        if reference is not None and reference.settings != settings:
            reference = None
        return cls(loaded, scorer, seed, reference, summary)

    def columns_of(self, files: Sequence[Path] | None) -> tuple[str, ...]:
        """Return the columns of the table of some files."""
        place = ("index", "file") if files is not None and len(files) > 1 else ("index",)
        return (*place, *COLUMNS[1:], *(Z_COLUMNS if self.reference is not None else ()))

    def ready(
        self, molecules: Molecules, add_hydrogens: bool, span: range | None = None, pool: Pool = THIS_PROCESS
    ) -> Iterator[Ready[MolArrays]]:
        """Yield records in the model's classes; see `moldiff.chem.io.ready.ready_records`."""
        prepare = partial(encode, vocabulary=self.scorer.model.vocabulary)
        return ready_records(molecules, prepare, add_hydrogens=add_hydrogens, span=span, pool=pool)

    def rows(self, records: Iterator[Ready[MolArrays]], progress: Progress | None = None) -> Iterator[Row]:
        """Yield the row of every record, not counted yet.

        Args:
            records: to score.
            progress: called with the number of these done so far.
        """
        return _rows(records, self.scorer, self.reference, progress)

    def request(self, read: Survey) -> dict[str, Any]:
        """Return what the rows of some files follow from, plain types."""
        return {
            "task": "likelihood", "model": self.loaded.sha256, "bound": asdict(self.scorer.settings), "seed": self.seed,
            "device": self.scorer.device.type, "molecules": list(read.sha256), **versions(),
        }  # fmt: skip

    def record(self, out: Path, read: Survey | None) -> dict[str, Any]:
        """Return the JSON beside a CSV: plain types; without files, molecules were given themselves."""
        summary = replace(self.summary, output=str(out))
        settings, device = self.scorer.settings, self.scorer.device
        return _run_record(read, summary, settings, self.seed, self.loaded.sha256, device)


def _basis(reference: LikelihoodReference | None, settings: BoundSettings, atoms: str) -> str:
    """Return on what z-scores rest, or why there are none."""
    if reference is None:
        return "none, as the model carries no scores of held-out molecules; a calibration gives some"
    if reference.settings != settings:
        known = ", ".join(f"{value} {name}" for name, value in asdict(reference.settings).items())
        return f"none, as the model's held-out scores are those of {known}; a calibration gives others"
    return f"against {reference.molecules} held-out molecules of {reference.sizes[0]} to {reference.sizes[-1]} {atoms}"


def _rows(
    records: Iterator[Ready[MolArrays]],
    scorer: LikelihoodEstimator,
    reference: LikelihoodReference | None,
    progress: Progress | None,
) -> Iterator[Row]:
    """Yield the row of every record in order."""
    before, size = 0, side_by_side(scorer.device, scorer.batch_size)
    if progress is not None:
        progress(before)
    while chunk := list(itertools.islice(records, size)):
        encoded = {ready.record.index: _encoded(ready, scorer.model.vocabulary.atoms) for ready in chunk}
        molecules = {index: found for index, found in encoded.items() if isinstance(found, MolArrays)}
        told = None if progress is None else lambda done, before=before: progress(before + done)
        keys = [molecule_key(found) for found in molecules.values()]
        scores = dict(zip(molecules, scorer.score(list(molecules.values()), keys, told), strict=True))
        for record in (ready.record for ready in chunk):
            found = encoded[record.index]
            reason, score = (found, None) if isinstance(found, str) else ("", scores[record.index])
            if score is not None and not score.finite:
                reason, score = "not finite: the model's estimate", None
            yield _row(record, score, reason, reference)
        before += len(chunk)
        if progress is not None:
            progress(before)


def molecule_key(molecule: MolArrays) -> int:
    """Return what keys a molecule's noise: a hash of its graph, in the order of its atoms. Geometries of one
    graph share their noise, so that their scores can be compared."""
    parts = (molecule.atom_type, molecule.charge, molecule.bonds)
    data = b"".join(np.ascontiguousarray(part, dtype=np.int32).tobytes() for part in parts)
    return graph_key(bytes_key(data) >> 1)


def _encoded(ready: Ready[MolArrays], atoms: str) -> MolArrays | str:
    """Return a record in the model's classes, or why it has no score."""
    if ready.item is None:
        return ready.reason
    n = len(ready.item.atom_type)
    return ready.item if n <= MOST_ATOMS else f"too large: {n} {atoms}, more than {MOST_ATOMS}"


def _row(record: Record, score: LikelihoodBound | None, reason: str, reference: LikelihoodReference | None) -> Row:
    """Return the row of a record; "tags" and "bound" are no columns."""
    row: Row = {"index": record.index, "file": readable(Path(record.file).name), "name": record.name}
    row |= {"tags": record.tags, "reason": reason, "status": NOT_SCORED}
    if score is None:
        return row
    row |= {"status": "scored", "n_atoms": score.n_atoms}
    if math.isfinite(score.bound):
        row["bound"] = score.bound
    for name in FIELDS:
        row |= {f"nats_{name}": _text(score.nats[name]), f"error_{name}": _text(score.errors[name])}
    row |= {"nats_size": _text(score.size), "nats": _text(score.bound), "nats_error": _text(score.errors[TOTAL])}
    row["nats_per_atom"] = _text(score.bound / score.n_atoms)
    if not math.isfinite(score.bound):
        row["reason"] = f"no total: the model never makes molecules of {score.n_atoms} atoms"
    if reference is not None and (found := reference.z_scores(score)) is not None:
        row |= {f"z_{name}": _text(value) for name, value in found.items()}
    return row


def _text(value: float) -> str:
    """Return a number for the table; one that is not finite is left out."""
    return f"{value:.4f}" if math.isfinite(value) else ""


def _run_record(
    read: Survey | None,
    summary: LikelihoodSummary,
    settings: BoundSettings,
    seed: int,
    model_sha256: str,
    device: torch.device,
) -> dict[str, Any]:
    """Return the JSON beside the CSV: plain types."""
    return {
        "output": Path(summary.output).name,
        "output_sha256": sha256_of(Path(summary.output)),
        "file": None if read is None else " ".join(path.name for path in read.files),
        "file_sha256": None if read is None else " ".join(read.sha256),
        "model_sha256": model_sha256,
        "bound": {**asdict(settings), "grid": "evenly spaced in t, then a reconstruction at t = 0", "unit": "nats"},
        "seed": seed,
        "z_scores": summary.z_scores,
        "device": str(device),
        "records": summary.records,
        "scored": summary.scored,
        "not_scored": summary.reasons,
        "sums": {"nats": summary.nats, "atoms": summary.atoms, "records": summary.bounded},
        "seconds": summary.seconds,
        **header(device),
    }
