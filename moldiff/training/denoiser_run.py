"""The training of a model that generates molecules."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from moldiff.config import SamplingConfig, TrainConfig
from moldiff.datasets.batching import BatchPlan
from moldiff.datasets.prepared import PREPARE_AGAIN, DeviceArrays
from moldiff.datasets.statistics import DatasetStatistics, tell_useless
from moldiff.deprecations import ON_POLICY_FILE
from moldiff.errors import MoldiffError, blaming, nearest_name
from moldiff.models.folder import DENOISER, ModelFolder, load_model_folder
from moldiff.models.loaded import load_model
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS
from moldiff.training.base_run import Run
from moldiff.training.callbacks import read_log
from moldiff.training.card import training_card
from moldiff.training.checkpoint import TrainingState
from moldiff.training.denoiser_module import DenoisingTask
from moldiff.training.feedback import with_feedback
from moldiff.training.lightning_module import TrainingTask
from moldiff.training.on_policy.collect import collect, made_by
from moldiff.training.on_policy.states import OnPolicyData
from moldiff.training.plots import plot_training, plot_validation
from moldiff.training.references import all_references, sampling_references
from moldiff.training.scales import with_scales
from moldiff.training.session import seed_weights
from moldiff.training.validation import ValidationLoss, validate_denoiser

logger = logging.getLogger(__name__)

ON_POLICY_DATA = "on_policy.safetensors"
_MOST_OUTSIDE = 0.05  # share of new molecules of sizes that a model never saw, above which that is said


def _on_policy_path(output: Path) -> Path:
    """Return where a run keeps its on-policy data, by the old name if it stands there by that alone."""
    path = output / ON_POLICY_DATA
    older = [output / old for old, new in ON_POLICY_FILE.items() if new == ON_POLICY_DATA]
    return next((old for old in older if old.exists() and not path.exists()), path)


def _as_before(config: TrainConfig, before: dict[str, Any]) -> TrainConfig:
    """Return the configuration of a run that goes on, with the model to start from and the teacher that it had, unless
    they are named anew."""
    teacher = config.on_policy.teacher or before.get("on_policy", {}).get("teacher")
    own = config.on_policy.model_copy(update={"teacher": teacher})
    return config.model_copy(update={"init_from": config.init_from or before.get("init_from"), "on_policy": own})


def refuse_contradictions(config: TrainConfig, model: MoleculeModel, name: str) -> None:
    """Raise MoldiffError where a training file states what a model to start from has otherwise; all of it is the
    model's, and a file that says nothing is right.

    Args:
        config: the training file.
        model: to start from.
        name: of the model, for the message.
    """
    told = []
    for key, own in (("network", model.network_config), ("curve", model.curve_config)):
        stated = getattr(config, key)
        told += [
            f"{key}.{part} is {getattr(own, part)}, not {getattr(stated, part)}"
            for part in type(stated).model_fields
            if part in stated.model_fields_set and getattr(stated, part) != getattr(own, part)
        ]
    if "conditions" in config.model_fields_set and set(config.conditions) != set(model.conditions):
        had, asked = (", ".join(names) or "none" for names in (model.conditions, config.conditions))
        told.append(f"the conditions are {had}, not {asked}")
    if told:
        rest = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        raise MoldiffError(
            f"of the model to start from, {name}, {told[0]}{rest}; network, curve and conditions are the model's: "
            "leave them out",
            argument="init_from",
        )


def adapted_sampling(own: SamplingConfig, config: TrainConfig) -> SamplingConfig:
    """Return how a model is sampled that was trained on from another: as the training file states, a student in as
    many evaluations as it learned to draw in, otherwise like the other."""
    stated = config.sampling
    changes: dict[str, Any] = {name: getattr(stated, name) for name in stated.model_fields_set}
    if "conformers" in changes:
        ours = stated.conformers
        changes["conformers"] = own.conformers.model_copy(update={k: getattr(ours, k) for k in ours.model_fields_set})
    if config.on_policy.share and config.on_policy.teacher is not None:
        changes = {"evaluations": max(config.on_policy.sampler_evaluations), **changes}
    return own.model_copy(update=changes)


def far_outside(base: DatasetStatistics, new: DatasetStatistics, conditions: Sequence[str]) -> list[str]:
    """Return how new data lie beyond what a model was trained on: in size, or in a property that it is conditioned on;
    one line for each."""
    total = sum(new.size_counts.values())
    low, high = min(base.size_counts), max(base.size_counts)
    outside = sum(count for size, count in new.size_counts.items() if not low <= size <= high)
    problems = []
    if outside > _MOST_OUTSIDE * total:
        problems.append(f"{outside} of {total} molecules have not {low} to {high} atoms")
    for name in conditions:
        ours, theirs = base.properties[name], new.properties.get(name)
        if theirs is not None and theirs.known and not ours.q01 <= theirs.mean <= ours.q99:
            problems.append(f"the mean of {name}, {theirs.mean:.4g}, is not within {ours.q01:.4g} to {ours.q99:.4g}")
    return problems


class TrainingRun(Run):
    """Trains, or fine-tunes, a model that generates molecules."""

    config: TrainConfig
    model: MoleculeModel
    kind = DENOISER
    loss_names = FIELDS
    validation_columns = ("field", "bin", "loss")

    def __init__(self, config: TrainConfig, state: TrainingState | None, max_seconds: float | None) -> None:
        if state is not None:
            config = _as_before(config, state.config)
        if config.init_from is None and config.on_policy.share:  # a student starts as its teacher
            config = config.model_copy(update={"init_from": config.on_policy.teacher})
        super().__init__(config, state, max_seconds)

    @cached_property
    @blaming("init_from")
    def _given(self) -> ModelFolder | None:
        """The folder of the model to start from, read once: every checkpoint asks for it."""
        return None if self.config.init_from is None else load_model_folder(self.config.init_from)

    def _build_model(self) -> MoleculeModel:
        """Return the model with fresh weights, or with those of ``init_from``."""
        seed_weights(self.config.training.seed)
        if self.config.init_from is not None:
            return self._adapted_model(self.config.init_from)
        if self.config.feedback is not None or self.config.network.feedback is not None:
            raise MoldiffError(
                "feedback is given to a trained model: name it with init_from, and its estimator with "
                "feedback.property_model",
                argument="init_from",
            )
        statistics = self.dataset.statistics
        for name in self.config.conditions:
            if name not in statistics.properties:
                known = self.dataset.property_names
                raise MoldiffError(
                    f"condition '{name}' is not a property of {self.config.data}{nearest_name(name, known)}; "
                    f"it has {', '.join(known) or 'none'}; 'moldiff data prepare' takes tags of the file and what "
                    "RDKit calculates",
                    argument="conditions",
                    word="",
                )
            if not statistics.properties[name].known:
                told = f"no training molecule of {self.config.data} has a value of '{name}'"
                raise MoldiffError(told, argument="conditions", word="")
        tell_useless(statistics.properties, self.config.conditions, f"; if it is not, {PREPARE_AGAIN}")
        before = (None, None) if self.state is None else (self.state.config["network"], self.state.config["curve"])
        network = with_scales(self.config.network, statistics, before[0])
        curve = with_scales(self.config.curve, statistics, before[1])
        self.config = self.config.model_copy(update={"network": network, "curve": curve})
        return MoleculeModel.build(
            network, curve, self.dataset.vocabulary, statistics, self.config.conditions, self.config.sampling
        )

    def _adapted_model(self, name: str) -> MoleculeModel:
        """Return a given model, ready to train, that draws sizes as in the new data; noise and scales stay its own."""
        with blaming("init_from"):
            model = load_model(name, device="cpu", precision="float32").model
        refuse_contradictions(self.config, model, name)
        model.denoiser.requires_grad_(True)
        if self.config.feedback is not None:
            model = with_feedback(model, self.config.feedback, self.config.optimizer, name)
        model.denoiser.train()
        for problem in far_outside(model.statistics, self.dataset.statistics, model.conditions):
            logger.warning("%s; %s never saw such molecules, expect to train longer", problem, name)
        statistics = model.statistics
        if self.config.feedback is None:  # with it, what is drawn without a wish stays as it was
            statistics = replace(statistics, size_counts=self.dataset.statistics.size_counts)
        missing = [condition for condition in model.conditions if condition not in self.dataset.property_names]
        if missing:
            logger.warning("the data does not have %s of the model's conditions: unknown", ", ".join(missing))
        sampling = adapted_sampling(model.sampling, self.config)
        # what is recorded of the run is what it has, not the defaults of a file that says nothing
        taken = {"network": model.network_config, "curve": model.curve_config, "conditions": model.conditions}
        self.config = self.config.model_copy(update={**taken, "sampling": sampling})
        return replace(model, statistics=statistics, sampling=sampling)

    def _names(self) -> tuple[str, ...]:
        return self.model.conditions

    def _others(self) -> dict[str, str]:
        teacher = self.config.on_policy.teacher
        folders = {
            "model to start from": self._given,
            "teacher": None if teacher is None else blaming("teacher")(load_model_folder)(teacher),
        }
        found = {what: "none" if folder is None else folder.sha256 for what, folder in folders.items()}
        return found | {"what is trained": "all of it" if self.config.feedback is None else "its feedback"}

    def _arrays(self, device: torch.device) -> DeviceArrays:
        return DeviceArrays(
            self.dataset,
            device,
            properties=self.model.conditions,
            vocabulary=self.model.vocabulary,
            absent_as_unknown=self.config.init_from is not None,
        )

    def _build_task(self, plan: BatchPlan, first_step: int) -> DenoisingTask:
        if not self.config.on_policy.share:
            return DenoisingTask(self.model, self.config, self.arrays, plan, first_step)
        training, own = self.config.training, self._on_policy_data()
        own_plan = BatchPlan(own.sizes, training.batch_size, training.seed, rank=self.rank, world_size=training.devices)
        return DenoisingTask(self.model, self.config, self.arrays, plan, first_step, (own, own_plan))

    def _on_policy_data(self) -> OnPolicyData:
        """Return the draws of the model to start from, on the training device; they are made once for an output."""
        config = self.config
        if config.init_from is None:
            raise MoldiffError(
                "on_policy.share needs a trained model that draws: init_from or a teacher", argument="init_from"
            )
        folder, path = blaming("init_from")(load_model_folder)(config.init_from), _on_policy_path(config.output)
        if path.exists():
            own = OnPolicyData.load(path, made_by(folder, self.dataset, config))
            logger.info("%d states of own draws from %s", len(own), path)
        elif config.training.devices > 1:
            raise MoldiffError(
                f"{path} is not there yet, and own draws are made by one process: run with training.devices=1 "
                "training.steps=1 first, then with resume auto",
                argument="resume",
            )
        else:
            drawing = load_model(config.init_from, device=config.training.device, precision="auto")
            own = collect(drawing, self.dataset, config)
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

    def _references(self, final: bool) -> dict[str, torch.Tensor]:
        """Return what sampling, and with the final model evaluation, needs of the data that the weights come from."""
        if self.config.feedback is not None and self._given is not None:
            return self._given.references
        make = all_references if final else sampling_references
        return make(self.dataset, self.model.conditions, self._given)
