"""`likelihood` as users of Python know it: molecules in, a table of bounds out."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from moldiff.arguments import check_flag, count, seed_number, with_plain_numbers
from moldiff.arguments import path as as_path
from moldiff.chem.io.inputs import Molecules, Survey, blamed, files_of, survey
from moldiff.data_frames import data_frame
from moldiff.devices import whatever_the_default
from moldiff.diffusion.bound import BoundSettings
from moldiff.errors import MoldiffError, blaming
from moldiff.files import claimed, refuse_existing_files, write_json
from moldiff.models.folder import DEFAULT_MODEL
from moldiff.models.loaded import LoadedModel, at_hand, load_model
from moldiff.nll.files import Z_COLUMNS, Scoring
from moldiff.nll.tables import RowSheet, beside, write_table

if TYPE_CHECKING:
    from pandas import DataFrame

logger = logging.getLogger(__name__)

_ROWS = 5  # what a notebook shows


class LikelihoodResult:
    """The bounds of some molecules.

    >>> import moldiff
    >>> drawn = moldiff.generate(2, n_atoms=12)
    >>> result = moldiff.likelihood(drawn, evaluations=2, repeats=2)
    >>> len(result) == len(result.table) == len(drawn)
    True

    Attributes:
        summary: how many have one, why others have none, their sums, on what z-scores rest.
    """

    def __init__(self, scoring: Scoring, rows: Sequence[Mapping[str, object]], read: Survey | None) -> None:
        self._scoring, self._rows, self._read = scoring, tuple(rows), read
        self._files = None if read is None else read.files
        self.summary = scoring.summary

    @cached_property
    def table(self) -> DataFrame:
        """A row for each molecule, with the columns of the CSV: the bound in nats and its parts, with errors."""
        sheet = self._sheet
        rows = [dict(zip(sheet.headings, sheet.cells(row), strict=True)) for row in self._rows]
        return data_frame(sheet.headings, rows, whole=sheet.whole, texts=sheet.texts)

    @property
    def _sheet(self) -> RowSheet:
        tags = dict.fromkeys(name for row in self._rows for name in cast("dict[str, str]", row["tags"]))
        return RowSheet(self._scoring.columns_of(self._files), tuple(tags), Z_COLUMNS)

    @blaming("path", "overwrite")
    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write what the command line writes, a table (.csv, .csv.gz, .parquet) and a JSON beside it; return it.

        Raises:
            MoldiffError: a file exists without ``overwrite``, or cannot be written.
        """
        out = as_path(path, "path")
        record = beside(out)
        refuse_existing_files((out, record), overwrite, self._files or ())
        with claimed(out, record):
            refuse_existing_files((out, record), overwrite)  # another run may have ended since
            write_table(out, self._sheet, self._rows)
            write_json(record, self._scoring.record(out, self._read))
        return out

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<moldiff.LikelihoodResult: {self.summary.lines()[0]}>"

    def _repr_html_(self) -> str:
        from html import escape

        table = self.table.head(_ROWS).to_html(index=False, na_rep="", border=0)
        return f"<p>{escape(self.summary.lines()[0])}</p>{table}"


@with_plain_numbers
@whatever_the_default
def likelihood(
    molecules: Molecules,
    *,
    model: str | Path | LoadedModel = DEFAULT_MODEL,
    chain_steps: int = BoundSettings.steps,
    evaluations: int = BoundSettings.evaluations,
    repeats: int = BoundSettings.repeats,
    seed: int = 0,
    batch_size: int | None = None,
    device: str | torch.device = "auto",
    calibration: Path | str | None = None,
    add_hydrogens: bool = False,
) -> LikelihoodResult:
    """Return bounds of -ln p of molecules under a model, in nats, each with its standard error.

    >>> import moldiff
    >>> molecules = moldiff.generate(1, n_atoms=12)
    >>> result = moldiff.likelihood(molecules, evaluations=2, repeats=2)
    >>> float(result.table["nats_error"][0]) > 0
    True

    Args:
        molecules: a molecule file with 3D coordinates, or RDKit molecules with a 3D conformer: one, a list, a
            generator, a column, a supplier.
        model: a built-in model's name, a model folder, or a model that is loaded; the work is done in float32.
        chain_steps: length of the bound's chain.
        evaluations, repeats: network evaluations a repeat, repeats; see `moldiff.diffusion.bound.BoundSettings`.
        seed: of the noise. A bound is a function of (model, settings, seed, molecule), wherever it stands.
        batch_size: molecules at a time; None = by the device.
        device: auto, cpu, cuda or cuda:<number>, or PyTorch's own.
        calibration: held-out molecules for z-scores, a prepared set or a molecule file; None = those of the model.
        add_hydrogens: place the hydrogens that molecules leave out, held-out ones of a file too.

    Raises:
        MoldiffError: an argument out of range, a file, model or device that is missing or damaged, or molecules none of
            which has 3D coordinates.
    """
    started = time.monotonic()
    settings = BoundSettings(chain_steps, evaluations, repeats)
    seed_number(seed)
    check_flag(add_hydrogens, "add_hydrogens")
    if batch_size is not None:
        count(batch_size, "batch_size")
    held_out = None if calibration is None else as_path(calibration, "calibration")
    files = files_of(molecules)
    with blaming("molecules"):
        read = None if files is None else survey(files)
    scoring = Scoring.of(_in_float32(model, device), settings, seed, batch_size, held_out, add_hydrogens=add_hydrogens)
    summary = scoring.summary
    rows = [summary.noted(row) for row in scoring.rows(scoring.ready(molecules, add_hydrogens))]
    summary.seconds = time.monotonic() - started
    if not summary.scored:
        reason = next(iter(summary.reasons))
        told = f"none of {summary.records} molecules has a bound; the first: {reason}"
        raise MoldiffError(told, argument=blamed(reason))
    if summary.scored < summary.records:
        logger.warning("%d of %d molecules have no bound", summary.records - summary.scored, summary.records)
    return LikelihoodResult(scoring, rows, read)


def _in_float32(model: str | Path | LoadedModel, device: str | torch.device) -> LoadedModel:
    """Return a model that may be loaded already, in float32."""
    if isinstance(model, LoadedModel):
        return at_hand(model, device=device).in_precision(torch.float32)
    return load_model(model, device=device, precision="float32")
