"""`moldiff train`: from a training file to a model folder, resumable at any time."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from moldiff.checkpoint import load_model_folder, save_model_folder
from moldiff.config import TrainConfig, load_config
from moldiff.datasets.batching import BatchPlan
from moldiff.datasets.prepared import DeviceArrays, PreparedDataset
from moldiff.devices import resolve_device
from moldiff.errors import MoldiffError, nearest_name
from moldiff.files import write_json
from moldiff.model import MoleculeModel, load_weights
from moldiff.training.callbacks import Checkpoints, Progress, Validation
from moldiff.training.card import training_card
from moldiff.training.provenance import hardware, source_commit
from moldiff.training.state import (
    TrainingState,
    flatten_optimizer,
    latest_state,
    load_state,
    restore_optimizer,
    save_state,
)
from moldiff.training.task import DenoisingTask
from moldiff.training.validation import ValidationLoss, validate_denoiser
from moldiff.version import VERSION

logger = logging.getLogger(__name__)

# Lightning's notes at every start (hardware it looked for, advertisements) are no news of the run. Its warnings stay.
logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)


class StepNumbers(Dataset[int]):
    """The step numbers of a run: all that a batch is made from."""

    def __init__(self, first: int, end: int) -> None:
        self.first, self.end = first, end

    def __len__(self) -> int:
        return self.end - self.first

    def __getitem__(self, item: int) -> int:
        return self.first + item


def train(
    config_path: Path,
    overrides: list[str],
    *,
    resume: str | None = None,
    max_time: str | None = None,
    init_from: str | None = None,
    conditions: Sequence[str] = (),
    out: Path | None = None,
) -> Path:
    """Train a model and write it to ``<output>/model``.

    Args:
        config_path: YAML file, see `moldiff.config.TrainConfig`.
        overrides: ``key=value`` with dotted keys.
        resume: ``auto`` goes on from the newest checkpoint if there is one; a path goes on from that checkpoint.
        max_time: stop in time, ``HH:MM:SS``; the checkpoint and the model are saved.
        init_from: model folder or built-in name to start from, instead of the file's: its weights, network, noise,
            vocabulary and conditions are taken, the file's sections on them are not read.
        conditions: properties that can be asked for when sampling, instead of the file's.
        out: output folder, instead of the file's.

    Returns:
        The model folder.

    Raises:
        MoldiffError: anything wrong with the files, a non-finite loss, a full disk.
    """
    config = load_config(config_path, overrides)
    if out is not None:
        config = config.model_copy(update={"output": out})
    if init_from is not None:
        config = config.model_copy(update={"init_from": init_from})
    if conditions:
        config = _with_conditions(config, conditions)
    seconds = None if max_time is None else parse_duration(max_time)
    state = _find_state(config, resume)
    return TrainingRun(config, state, seconds).fit()


def _with_conditions(config: TrainConfig, conditions: Sequence[str]) -> TrainConfig:
    """Return the configuration with other conditions; MoldiffError where a model brings its own or one stands twice."""
    if config.init_from is not None:
        raise MoldiffError(f"the conditions are those of the model to start from, {config.init_from}; leave them out")
    for name in conditions:
        if list(conditions).count(name) > 1:
            raise MoldiffError(f"condition '{name}' is given twice")
    return config.model_copy(update={"conditions": tuple(conditions)})


def parse_duration(text: str) -> float:
    """Return seconds from ``HH:MM:SS`` or ``MM:SS``; MoldiffError otherwise."""
    if not re.fullmatch(r"(\d+:)?[0-5]?\d:[0-5]\d", text):
        raise MoldiffError(f"--max-time {text!r} must look like 00:09:00 (hours, minutes, seconds)")
    seconds = 0
    for part in text.split(":"):
        seconds = 60 * seconds + int(part)
    return float(seconds)


def _find_state(config: TrainConfig, resume: str | None) -> TrainingState | None:
    """Return the checkpoint to go on from; refuse to start afresh over an earlier run's checkpoints."""
    folder = config.output / "checkpoints"
    if resume is None:
        if folder.exists() and any(folder.iterdir()):
            raise MoldiffError(
                f"{config.output} holds an earlier run; go on with --resume auto or choose another output"
            )
        return None
    if resume == "auto":
        return latest_state(folder)
    return load_state(Path(resume))


class TrainingRun:
    """One process's part of a training run, put together from a configuration."""

    def __init__(self, config: TrainConfig, state: TrainingState | None, max_seconds: float | None) -> None:
        training = config.training
        if state is not None and config.init_from is None:
            config = config.model_copy(update={"init_from": state.config.get("init_from")})
        self.config, self.state, self.max_seconds = config, state, max_seconds
        self.device = resolve_device(training.device)
        if training.threads:
            torch.set_num_threads(training.threads)
        self.dataset = PreparedDataset.open(config.data, verify=True)
        self.model = self._build_model()
        self.rank = int(os.environ.get("LOCAL_RANK", "0"))
        device = (
            torch.device(self.device.type, self.rank)
            if self.device.type == "cuda" and training.devices > 1
            else self.device
        )
        self.arrays = DeviceArrays(
            self.dataset,
            device,
            properties=self.model.conditions,
            vocabulary=self.model.vocabulary,
            absent_as_unknown=config.init_from is not None,
        )
        rows = self.dataset.indices("train")
        plan = BatchPlan(
            self.dataset.sizes[rows],
            training.batch_size,
            training.seed,
            indices=rows,
            rank=self.rank,
            world_size=training.devices,
        )
        first_step = state.step if state else 0
        self.task = DenoisingTask(self.model, config, self.arrays, plan, first_step)
        self.started = time.monotonic()

    def _build_model(self) -> MoleculeModel:
        """Return the model with fresh weights, or with those of ``init_from``."""
        torch.manual_seed(self.config.training.seed)
        if self.config.init_from is not None:
            return self._adapted_model(self.config.init_from)
        statistics = self.dataset.statistics
        for name in self.config.conditions:
            if name not in statistics.properties:
                known = self.dataset.property_names
                raise MoldiffError(
                    f"condition '{name}' is not a property of {self.config.data}{nearest_name(name, known)}; "
                    f"it has {', '.join(known) or 'none'}; 'moldiff data prepare --properties' takes tags of the file "
                    "and what RDKit calculates"
                )
        return MoleculeModel.build(
            self.config.network, self.config.curve, self.dataset.vocabulary, statistics, self.config.conditions
        )

    def _adapted_model(self, name: str) -> MoleculeModel:
        """Return a given model, ready to train, that draws sizes as in the new data; noise and scales stay its own."""
        model = MoleculeModel.from_folder(load_model_folder(name))
        model.denoiser.requires_grad_(True).train()
        statistics = replace(model.statistics, size_counts=self.dataset.statistics.size_counts)
        missing = [condition for condition in model.conditions if condition not in self.dataset.property_names]
        if missing:
            logger.warning("the data does not have %s of the model's conditions: unknown", ", ".join(missing))
        return replace(model, statistics=statistics)

    def fit(self) -> Path:
        """Train to the end, to the time limit or to SIGTERM; save; return the model folder."""
        config, training, first = self.config, self.config.training, self.task.step
        if first >= training.steps:
            raise MoldiffError(f"the checkpoint stands at step {first} already; raise training.steps above it")
        checkpoints = Checkpoints(training.checkpoint_every, self.max_seconds, self._save)
        callbacks: list[pl.Callback] = [_Restore(self.state)]
        if self.rank == 0:
            write_json(config.output / "config.json", config.model_dump(mode="json"))
            callbacks += [
                Progress(config.output, training.log_every, training.steps, first, training.batch_size),
                Validation(config.output, training.validate_every, training.steps, first, self._validate),
            ]
        trainer = pl.Trainer(
            accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[self.device.type],
            devices=[self.device.index or 0]
            if self.device.type == "cuda" and training.devices == 1
            else training.devices,
            strategy="ddp" if training.devices > 1 else "auto",
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[*callbacks, checkpoints],
            default_root_dir=config.output,
        )
        parameters = sum(parameter.numel() for parameter in self.model.denoiser.parameters())
        logger.info(
            "%d parameters, %d training molecules, steps %d to %d on %s",
            parameters, len(self.dataset.indices("train")), first, training.steps, self.device,
        )  # fmt: skip
        loader = DataLoader(StepNumbers(first, training.steps), batch_size=None, shuffle=False)
        trainer.fit(self.task, loader)
        if trainer.interrupted:
            raise KeyboardInterrupt
        if checkpoints.terminated:
            logger.info("stopped on request at step %d; go on with --resume auto", self.task.step)
            sys.exit(143)
        if checkpoints.out_of_time:
            logger.info("time is up at step %d; go on with --resume auto", self.task.step)
        return config.output / "model"

    def _validate(self, task: DenoisingTask) -> ValidationLoss:
        rows = torch.from_numpy(self.dataset.indices("validation")[: self.config.training.validation_molecules])
        if not len(rows):
            rows = torch.from_numpy(self.dataset.indices("train")[: self.config.training.validation_molecules])
        sizes = torch.from_numpy(self.dataset.sizes)[rows]
        return validate_denoiser(
            task.averaged_denoiser, self.model, self.arrays, sizes, rows, self.config.training.bf16
        )

    def _save(self, task: DenoisingTask) -> None:
        """Write a checkpoint and the model folder (rank 0 alone)."""
        if self.rank != 0:
            return
        optimizers = task.trainer.optimizers
        state = TrainingState(
            step=task.step,
            weights=task.denoiser.state_dict(),
            average=task.averaged_denoiser.state_dict(),
            average_count=int(task.average.n_averaged),
            optimizers=[flatten_optimizer(optimizer) for optimizer in optimizers],
            config=self.config.model_dump(mode="json"),
            seconds=self._seconds(),
        )
        path = save_state(self.config.output / "checkpoints", state)
        save_model_folder(
            self.config.output / "model",
            weights=state.average,
            config={**self.model.config_json(), "training": self._provenance(task)},
            references=self._references(),
            card=training_card(self._provenance(task), self.model),
            half=False,
            overwrite=True,
        )
        logger.info("step %d  saved %s and %s", task.step, path, self.config.output / "model")

    def _provenance(self, task: DenoisingTask) -> dict[str, Any]:
        """Return where the weights come from, as plain JSON."""
        return {
            "step": task.step,
            "molecules_seen": task.step * self.config.training.batch_size,
            "data_sha256": str(self.dataset.info["data_hash"]),
            "training_molecules": len(self.dataset.indices("train")),
            "seconds": round(self._seconds()),
            "date": datetime.now(UTC).date().isoformat(),
            "hardware": hardware(self.device),
            "command": shlex.join(["moldiff", *sys.argv[1:]]),
            "moldiff": VERSION,
            "commit": source_commit(),
            "torch": torch.__version__,
            "config": self.config.model_dump(mode="json"),
        }

    def _seconds(self) -> float:
        """Time spent on training, earlier runs included."""
        return time.monotonic() - self.started + (self.state.seconds if self.state else 0.0)

    def _references(self) -> dict[str, torch.Tensor]:
        """Return what travels with every saved model: keys of the training molecules; `pack` adds the rest."""
        rows = self.dataset.indices("train")
        keys = torch.from_numpy(self.dataset.arrays["keys"][rows].view("int64").copy())
        return {"training_keys": keys}


class _Restore(pl.Callback):
    """Puts a checkpoint's tensors back once Lightning has set the optimisers up."""

    def __init__(self, state: TrainingState | None) -> None:
        self.state = state

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore weights, average and moments."""
        assert isinstance(pl_module, DenoisingTask)
        pl_module.averaged_denoiser.to(pl_module.device)
        if self.state is None:
            return
        load_weights(pl_module.denoiser, self.state.weights, "checkpoint")
        load_weights(pl_module.averaged_denoiser, self.state.average, "checkpoint")
        pl_module.average.n_averaged.fill_(self.state.average_count)
        for optimizer, moments in zip(trainer.optimizers, self.state.optimizers, strict=True):
            restore_optimizer(optimizer, moments)
