"""Callbacks around training steps: progress lines, CSV logs, plots, validation, checkpoints, stopping in time."""

from __future__ import annotations

import csv
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from moldiff.chem.io.tags import apart
from moldiff.durations import duration
from moldiff.errors import MoldiffError, dispensable
from moldiff.files import atomic_writer
from moldiff.foreign_text import plain_cell, safe_cell
from moldiff.interruption import ENDING, Interruption
from moldiff.reading import read_whole
from moldiff.training.lightning_module import TrainingTask
from moldiff.training.validation import Validated

logger = logging.getLogger(__name__)

_LARGEST = 1 << 28  # bytes of a log: a row every few steps
TRAINING_COLUMNS = ("step", "seconds", "learning_rate", "gradient_norm", "molecules_per_second")


def loss_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of losses in the training log: their names, with ``loss_`` before one that another column
    has."""
    return tuple(apart(names, TRAINING_COLUMNS, "loss_").values())


class CsvLog:
    """A CSV file that grows by rows; on resuming, rows after the checkpoint's step are dropped first."""

    def __init__(self, path: Path, columns: tuple[str, ...], first_step: int) -> None:
        self.path, self.columns = path, columns
        kept = _rows_until(path, columns, first_step) if path.exists() and first_step else []
        with atomic_writer(path) as handle:
            writer = csv.DictWriter(handle, columns)
            writer.writeheader()
            writer.writerows({name: safe_cell(value) for name, value in row.items()} for row in kept)

    def append(self, rows: list[dict[str, object]]) -> None:
        """Append rows; a reader sees whole rows only after the file is closed."""
        try:
            with open(self.path, "a", encoding="utf-8", newline="") as handle:
                safe = [{name: safe_cell(value) for name, value in row.items()} for row in rows]
                csv.DictWriter(handle, self.columns).writerows(safe)
        except OSError as error:
            raise MoldiffError(f"{self.path} could not be written: {error.strerror or error}") from error


def _rows_until(path: Path, columns: tuple[str, ...], step: int) -> list[dict[str, str]]:
    """Return the rows of a log up to a step; MoldiffError if it has other columns than the run to go on with."""
    found, rows = _read(path)
    if found != columns[: len(found)]:  # logs of early versions lack the last ones
        raise MoldiffError(
            f"{path} is the log of another run, with the columns {', '.join(found)}; move it away or choose another "
            "output"
        )
    return [row for row in rows if int(row["step"]) <= step]


def read_log(path: Path) -> list[dict[str, str]]:
    """Read the rows of a log; a damaged one, as a power cut leaves it, is left out, which is said.

    Raises:
        MoldiffError: it cannot be read.
    """
    return _read(path)[1]


def _read(path: Path) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Return the columns of a log and its rows."""
    text = read_whole(path, _LARGEST).decode("utf-8", errors="replace").replace("\r\n", "\n")
    columns, *found = map(_cells, [line for line in text.split("\n") if line] or [""])
    whole = [map(plain_cell, cells) for cells in found if len(cells) == len(columns)]
    rows = [dict(zip(columns, cells, strict=True)) for cells in whole]
    rows = [row for row in rows if row.get("step", "").isascii() and row.get("step", "").isdigit()]
    if len(rows) < len(found):
        logger.warning("%s: %d of %d lines are damaged and left out", path, len(found) - len(rows), len(found))
    return columns, rows


def _cells(line: str) -> tuple[str, ...]:
    """Return the cells of a line, none of which holds a line break; none if it is no line of a table."""
    try:
        return tuple(next(csv.reader([line]), []))
    except csv.Error:
        return ()


class Progress(pl.Callback):
    """Logs losses, pace and time left every few steps, to the logger and to ``metrics.csv``."""

    def __init__(
        self,
        output: Path,
        every: int,
        total: int,
        first_step: int,
        batch_size: int,
        losses: Sequence[str],
        seconds_before: float,
    ) -> None:
        self.every, self.total, self.batch_size, self.seconds_before = every, total, batch_size, seconds_before
        self.log_file = CsvLog(output / "metrics.csv", (*TRAINING_COLUMNS, *losses), first_step)
        self.started = self.last_time = time.monotonic()
        self.first_step = self.last_step = first_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Write a line of means over the steps since the last one when due."""
        assert isinstance(pl_module, TrainingTask)
        step = pl_module.step
        if step % self.every and step != self.total:
            return
        steps = step - pl_module.summed_from
        means = {name: value / steps for name, value in pl_module.take_sums().items()}
        gradient_norm, now = means.pop("gradient_norm"), time.monotonic()
        pace = (step - self.last_step) / max(now - self.last_time, 1e-9)
        self.log_file.append(
            [
                {
                    "step": step,
                    "seconds": round(now - self.started + self.seconds_before, 2),
                    "learning_rate": f"{float(trainer.optimizers[0].param_groups[0]['lr']):.3e}",
                    "gradient_norm": f"{gradient_norm:.4g}",
                    "molecules_per_second": f"{pace * self.batch_size:.1f}",
                    **{field: f"{value:.5f}" for field, value in means.items()},
                }
            ]
        )
        left = (self.total - step) / max((step - self.first_step) / (now - self.started), 1e-9)
        losses = "  ".join(f"{field} {value:.4f}" for field, value in means.items())
        logger.info(
            "step %d/%d  %s  %.0f molecules/s  %s left",
            step,
            self.total,
            losses,
            pace * self.batch_size,
            duration(left),
        )
        self.last_time, self.last_step = now, step


class Validation(pl.Callback):
    """Validates the averaged weights on multiples of a step count, whatever came before (a resume, an epoch end)."""

    def __init__(
        self,
        output: Path,
        every: int,
        total: int,
        first_step: int,
        columns: Sequence[str],
        run: Callable[[TrainingTask], Validated],
        plot: Callable[[], None],
    ) -> None:
        self.every, self.total, self.run, self.plot = every, total, run, plot
        self.log_file = CsvLog(output / "validation.csv", ("step", *columns), first_step)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Validate when due and draw the plots."""
        assert isinstance(pl_module, TrainingTask)
        if pl_module.step % self.every and pl_module.step != self.total:
            return
        pl_module.settle()
        result = self.run(pl_module)
        self.log_file.append([{"step": pl_module.step, **row} for row in result.rows()])
        logger.info("step %d  validation (averaged weights)  %s", pl_module.step, result.summary())
        with dispensable("picture of the logs"):
            self.plot()


class Checkpoints(pl.Callback):
    """Saves on multiples of a step count, at the end, when time is up, and on a signal to stop."""

    def __init__(
        self,
        every: int,
        total: int,
        max_seconds: float | None,
        interruption: Interruption,
        save: Callable[[TrainingTask], None],
    ) -> None:
        self.every, self.total, self.save, self.interruption = every, total, save, interruption
        self.deadline = None if max_seconds is None else time.monotonic() + max_seconds
        self.out_of_time = False
        self._handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals back from Lightning: the step under way is finished and saved."""
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Save when due; stop when asked to or out of time."""
        assert isinstance(pl_module, TrainingTask)
        self.out_of_time = self.deadline is not None and time.monotonic() > self.deadline
        # every process must stop at the same step
        asked = self.interruption.number is not None or self.out_of_time
        stop = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if stop or pl_module.step % self.every == 0 or pl_module.step == self.total:
            pl_module.settle()
            self.save(pl_module)
        if stop:
            trainer.should_stop = True
