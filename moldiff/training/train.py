"""`moldiff train`: from a training file to a model folder, resumable at any time."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from moldiff.config import PropertyTrainConfig, RunConfig, TrainConfig, load_training
from moldiff.datasets.batching import BatchPlan
from moldiff.datasets.prepared import DeviceArrays
from moldiff.errors import MoldiffError, nearest_name
from moldiff.models.folder import load_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS
from moldiff.training.base_run import Run
from moldiff.training.callbacks import read_log
from moldiff.training.card import training_card
from moldiff.training.checkpoint import TrainingState, latest_state, load_state
from moldiff.training.denoiser_module import DenoisingTask
from moldiff.training.lightning_module import TrainingTask
from moldiff.training.on_policy.collect import collect, made_by
from moldiff.training.on_policy.states import OwnDraws
from moldiff.training.plots import plot_training, plot_validation
from moldiff.training.property_run import PropertyRun
from moldiff.training.validation import ValidationLoss, validate_denoiser

logger = logging.getLogger(__name__)

OWN_DRAWS = "own_draws.safetensors"


def train(
    config_path: Path,
    overrides: list[str],
    *,
    resume: str | None = None,
    max_time: str | None = None,
    init_from: str | None = None,
    teacher: str | None = None,
    conditions: Sequence[str] = (),
    out: Path | None = None,
) -> Path:
    """Train a model and write it to ``<output>/model``.

    Args:
        config_path: YAML file, see `moldiff.config.TrainConfig`, and for a property network `PropertyTrainConfig`.
        overrides: ``key=value`` with dotted keys.
        resume: ``auto`` goes on from the newest checkpoint if there is one; a path goes on from that checkpoint.
        max_time: stop in time, ``HH:MM:SS``; the checkpoint and the model are saved.
        init_from: model folder or built-in name to start from, instead of the file's: its weights, network, noise,
            vocabulary and conditions are taken, the file's sections on them are not read.
        teacher: model folder or built-in name that mends own draws, instead of the file's ``own_draws.teacher``; also
            what to start from unless that is given.
        conditions: properties that can be asked for when sampling, instead of the file's.
        out: output folder, instead of the file's.

    Returns:
        The model folder.

    Raises:
        MoldiffError: anything wrong with the files, a non-finite loss, a full disk.
    """
    config = load_training(config_path, overrides)
    if out is not None:
        config = config.model_copy(update={"output": out})
    if isinstance(config, PropertyTrainConfig) and (init_from is not None or teacher is not None or conditions):
        raise MoldiffError(
            "a property network starts from nothing, its file names the properties: --init-from, --teacher and "
            "--condition are for models that generate molecules"
        )
    if isinstance(config, TrainConfig) and teacher is not None:
        config = _with_teacher(config, teacher)
    if init_from is not None:
        config = config.model_copy(update={"init_from": init_from})
    if conditions and isinstance(config, TrainConfig):
        config = _with_conditions(config, conditions)
    seconds = None if max_time is None else parse_duration(max_time)
    state = _find_state(config, resume)
    if isinstance(config, PropertyTrainConfig):
        return PropertyRun(config, state, seconds).fit()
    return TrainingRun(config, state, seconds).fit()


def _with_conditions(config: TrainConfig, conditions: Sequence[str]) -> TrainConfig:
    """Return the configuration with other conditions; MoldiffError where a model brings its own or one stands twice."""
    if config.init_from is not None:
        raise MoldiffError(f"the conditions are those of the model to start from, {config.init_from}; leave them out")
    for name in conditions:
        if list(conditions).count(name) > 1:
            raise MoldiffError(f"condition '{name}' is given twice")
    return config.model_copy(update={"conditions": tuple(conditions)})


def _with_teacher(config: TrainConfig, teacher: str) -> TrainConfig:
    """Return the configuration with another teacher; MoldiffError where none is asked."""
    if not config.own_draws.share:
        raise MoldiffError("a teacher mends own draws, and the config trains on none: set own_draws.share")
    own = config.own_draws.model_copy(update={"teacher": teacher})
    return config.model_copy(update={"own_draws": own, "init_from": config.init_from or teacher})


def _as_before(config: TrainConfig, before: dict[str, Any]) -> TrainConfig:
    """Return the configuration of a run that goes on, with the model to start from and the teacher that it had, unless
    they are named anew."""
    teacher = config.own_draws.teacher or before.get("own_draws", {}).get("teacher")
    own = config.own_draws.model_copy(update={"teacher": teacher})
    return config.model_copy(update={"init_from": config.init_from or before.get("init_from"), "own_draws": own})


def parse_duration(text: str) -> float:
    """Return seconds from ``HH:MM:SS`` or ``MM:SS``; MoldiffError otherwise."""
    if not re.fullmatch(r"(\d+:)?[0-5]?\d:[0-5]\d", text):
        raise MoldiffError(f"--max-time {text!r} must look like 00:09:00 (hours, minutes, seconds)")
    seconds = 0
    for part in text.split(":"):
        seconds = 60 * seconds + int(part)
    return float(seconds)


def _find_state(config: RunConfig, resume: str | None) -> TrainingState | None:
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


class TrainingRun(Run):
    """Trains, or fine-tunes, a model that generates molecules."""

    config: TrainConfig
    model: MoleculeModel
    loss_names = FIELDS
    validation_columns = ("field", "bin", "loss")

    def __init__(self, config: TrainConfig, state: TrainingState | None, max_seconds: float | None) -> None:
        if state is not None:
            config = _as_before(config, state.config)
        super().__init__(config, state, max_seconds)

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

    def _arrays(self, device: torch.device) -> DeviceArrays:
        return DeviceArrays(
            self.dataset,
            device,
            properties=self.model.conditions,
            vocabulary=self.model.vocabulary,
            absent_as_unknown=self.config.init_from is not None,
        )

    def _build_task(self, plan: BatchPlan, first_step: int) -> DenoisingTask:
        if not self.config.own_draws.share:
            return DenoisingTask(self.model, self.config, self.arrays, plan, first_step)
        training, own = self.config.training, self._own_draws()
        own_plan = BatchPlan(own.sizes, training.batch_size, training.seed, rank=self.rank, world_size=training.devices)
        return DenoisingTask(self.model, self.config, self.arrays, plan, first_step, (own, own_plan))

    def _own_draws(self) -> OwnDraws:
        """Return the draws of the model to start from, on the training device; they are made once for an output."""
        config = self.config
        if config.init_from is None:
            raise MoldiffError("own_draws.share needs a trained model that draws: --init-from MODEL or --teacher MODEL")
        folder, path = load_model_folder(config.init_from), config.output / OWN_DRAWS
        if path.exists():
            own = OwnDraws.load(path, made_by(folder, self.dataset, config))
            logger.info("%d states of own draws from %s", len(own), path)
        elif config.training.devices > 1:
            raise MoldiffError(
                f"{path} is not there yet, and own draws are made by one process: run with training.devices=1 "
                "training.steps=1 first, then with --resume auto"
            )
        else:
            own = collect(folder, self.dataset, config)
            own.save(path)
        return own.to(self.arrays.device)

    def _validate(self, task: TrainingTask) -> ValidationLoss:
        assert isinstance(task, DenoisingTask)
        rows, sizes = self.validation_rows()
        return validate_denoiser(
            task.averaged_denoiser, self.model, self.arrays, sizes, rows, task.weights, self.config.training.bf16
        )

    def _plot(self) -> None:
        output = self.config.output
        plot_training(read_log(output / "metrics.csv"), output / "metrics.png", FIELDS)
        plot_validation(read_log(output / "validation.csv"), output / "validation.png")

    def _card(self, provenance: dict[str, Any]) -> str:
        return training_card(provenance, self.model)

    def _references(self) -> dict[str, torch.Tensor]:
        """Return what travels with every saved model: keys of the training molecules; `pack` adds the rest."""
        rows = self.dataset.indices("train")
        keys = torch.from_numpy(self.dataset.arrays["keys"][rows].view("int64").copy())
        return {"training_keys": keys}
