"""A training run of any kind of model: steps, progress, validation, checkpoints, the model folder."""

from __future__ import annotations

import logging
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader, Dataset

from moldiff.config import RunConfig
from moldiff.datasets.batching import BatchPlan, evenly_spaced
from moldiff.datasets.prepared import DeviceArrays, PreparedDataset
from moldiff.devices import is_out_of_memory
from moldiff.errors import MoldiffError, blaming
from moldiff.files import write_json
from moldiff.interruption import Terminated, terminate, watched_signals
from moldiff.models.building import load_weights
from moldiff.models.folder import load_model_folder, save_model_folder
from moldiff.nn.compiled import compile_layers
from moldiff.provenance import header
from moldiff.training.acceleration import check_processes, device_of, rank_of, wants_compilation
from moldiff.training.callbacks import Checkpoints, Progress, Validation
from moldiff.training.checkpoint import TrainingState, flatten_optimizer, restore_optimizer, save_state, set_aside_newer
from moldiff.training.continuation import Continued, of_data, of_model, refuse_another, refuse_other_optimizers
from moldiff.training.lightning_module import TrainingTask
from moldiff.training.validation import Validated

logger = logging.getLogger(__name__)

FILES = ("config.json", "metrics.csv", "metrics.png", "validation.csv", "validation.png")
"""What a run writes into its output, beside the folders of its checkpoints and of its model."""


class StepNumbers(Dataset[int]):
    """The step numbers of a run: all that a batch is made from."""

    def __init__(self, first: int, end: int) -> None:
        self.first, self.end = first, end

    def __len__(self) -> int:
        return self.end - self.first

    def __getitem__(self, item: int) -> int:
        return self.first + item


class Trained(Continued, Protocol):
    """A model as a run sees it."""

    def config_json(self) -> dict[str, Any]:
        """Return the plain configuration that a stranger builds it from."""
        ...


class Run(ABC):
    """One process's part of a training run, put together from a configuration.

    Args:
        config: the training file.
        state: the checkpoint to go on from, if any.
        max_seconds: stop in time; None = train to the last step.

    Attributes:
        kind: of model, `moldiff.models.folder.DENOISER` or `PROPERTY`.
        model, task: what is trained, and how.
        loss_names: columns of the training log.
        validation_columns: of the validation log, beside the step.
    """

    config: RunConfig
    kind: str
    model: Trained
    task: TrainingTask
    loss_names: Sequence[str]
    validation_columns: Sequence[str]

    @abstractmethod
    def _build_model(self) -> Trained:
        """Return the model, with the weights that training starts from."""

    @abstractmethod
    def _names(self) -> tuple[str, ...]:
        """Return the properties that the model knows, in order."""

    @abstractmethod
    def _others(self) -> dict[str, str]:
        """Return what another model is to this run -> its SHA-256, or "none"."""

    @abstractmethod
    def _arrays(self, device: torch.device) -> DeviceArrays:
        """Return the data on a device, with the properties that the model needs."""

    @abstractmethod
    def _build_task(self, plan: BatchPlan, first_step: int) -> TrainingTask:
        """Return what takes the steps."""

    @abstractmethod
    def _validate(self, task: TrainingTask) -> Validated:
        """Return what the averaged weights achieve on `validation_rows`."""

    @abstractmethod
    def _plot(self) -> None:
        """Draw the logs."""

    @abstractmethod
    def _card(self, provenance: dict[str, Any]) -> str:
        """Return the model's card."""

    @abstractmethod
    def _references(self, final: bool) -> dict[str, torch.Tensor]:
        """Return the reference arrays that travel with a saved model; with the final one, those that take seconds."""

    def __init__(self, config: RunConfig, state: TrainingState | None, max_seconds: float | None) -> None:
        training = config.training
        self.config, self.state, self.max_seconds = config, state, max_seconds
        self.device = device_of(training)
        check_processes(training, self.device)
        with blaming("config_path"):
            self.dataset = PreparedDataset.open(config.data)
            if not self.dataset.statistics.position_std:
                raise MoldiffError(f"no training molecule of {config.data} has two atoms to place; add larger ones")
        self.continued = of_data(self.kind, self.dataset)
        if state is not None:
            refuse_another(state, self.continued, {})
            refuse_other_optimizers(state, config.optimizer)
        self.model = self._build_model()
        described = of_model(self.kind, self.model, self._names(), self._others())
        if state is not None:
            sections = {"network": self.model.network_config, "curve": self.model.curve_config}
            refuse_another(state, described, sections)
        self.continued |= described
        self.rank = rank_of(training)
        device = (
            torch.device(self.device.type, self.rank)
            if self.device.type == "cuda" and training.devices > 1
            else self.device
        )
        self.arrays = self._arrays(device)
        rows = self.dataset.indices("train")
        plan = BatchPlan(
            self.dataset.sizes[rows],
            training.batch_size,
            training.seed,
            indices=rows,
            rank=self.rank,
            world_size=training.devices,
        )
        self.task = self._build_task(plan, state.step if state else 0)
        if wants_compilation(training, self.device):
            compile_layers(self.task.trained)
        if state is not None:  # now, before anything of the earlier run is touched
            load_weights(self.task.trained, state.weights, state.source)
            load_weights(self.task.averaged, state.average, state.source)
            self.task.average.n_averaged.fill_(state.average_count)
            self.task.restore_sums(state.sums, state.summed_from)
        self.started = time.monotonic()

    def fit(self) -> Path:
        """Train to the end, to the time limit or to a signal; save; return the model folder.

        A run that has reached its last step is finished: its model folder is written if it does not stand yet.
        """
        training, first = self.config.training, self.task.step
        if first > training.steps:
            raise MoldiffError(f"the checkpoint stands at step {first} already; raise training.steps above it")
        if self.rank == 0:
            set_aside_newer(self.config.output / "checkpoints", first)
        if self.state is not None and first == training.steps:
            self._complete(self.state)
            return self.config.output / "model"
        with watched_signals() as interruption:
            checkpoints = Checkpoints(
                training.checkpoint_every, training.steps, self.max_seconds, interruption, self._save
            )
            self._fit(checkpoints)
        if self.task.step < training.steps:
            why = "time is up" if interruption.number is None else "stopped on request"
            logger.info("%s at step %d; resume='auto' goes on from there", why, self.task.step)
            if interruption.number is not None:
                interruption.end()
        return self.config.output / "model"

    def _fit(self, checkpoints: Checkpoints) -> None:
        """Take the steps."""
        config, training, first = self.config, self.config.training, self.task.step
        callbacks: list[pl.Callback] = [_Restore(self.state)]
        if self.rank == 0:
            write_json(config.output / "config.json", config.record())
            callbacks += [
                Progress(
                    config.output, training.log_every, training.steps, first, training.batch_size, self.loss_names,
                    self.state.seconds if self.state else 0.0,
                ),
                Validation(
                    config.output, training.validate_every, training.steps, first,
                    self.validation_columns, self._validate, self._plot,
                ),
            ]  # fmt: skip
        trainer = pl.Trainer(
            accelerator={"cpu": "cpu", "cuda": "gpu"}[self.device.type],
            devices=[torch.cuda.current_device() if self.device.index is None else self.device.index]
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
            # By SLURM's variables Lightning would save, requeue and restore in its own way; it looks for what it saved
            # in this folder, which nobody makes, whatever the variables.
            plugins=[LightningEnvironment()],
            default_root_dir=config.output / "lightning",
        )
        parameters = sum(parameter.numel() for parameter in self.task.trained.parameters())
        if self.rank == 0:
            logger.info(
                "%d parameters, %d training molecules, steps %d to %d on %s",
                parameters, len(self.dataset.indices("train")), first, training.steps, self.device,
            )  # fmt: skip
        loader = DataLoader(StepNumbers(first, training.steps), batch_size=None, shuffle=False)
        try:
            trainer.fit(self.task, loader)
        except SIGTERMException:  # asked to end before the first step, which is saved by now; `fit` says so
            if self.task.step == first:  # but of several processes, none takes it
                terminate(signal.SIGTERM)
            return
        except SystemExit as end:
            if not trainer.interrupted or isinstance(end, Terminated):
                raise
            raise KeyboardInterrupt from None  # Ctrl-C before the first step, or for the second time: Lightning exits
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            told = "set training.batch_size lower; a resumed run goes on from its last checkpoint"
            size, where = f"batches of {training.batch_size} molecules", self.device
            raise MoldiffError(f"memory does not suffice for {size} on {where}: {told}") from error

    def validation_rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (rows (M,) of the data to validate on, their numbers of atoms (M,))."""
        most = self.config.training.validation_molecules
        for split in ("validation", "train"):
            rows = torch.tensor(evenly_spaced(self.dataset.indices(split).tolist(), most), dtype=torch.int64)
            if len(rows):
                break
        if split == "train":
            logger.warning(
                "no molecule is held out: the losses called validation are of training molecules and tell nothing of "
                "others; add molecules"
            )
        return rows, torch.from_numpy(self.dataset.sizes)[rows]

    def _save(self, task: TrainingTask) -> None:
        """Write a checkpoint and the model folder (rank 0 alone)."""
        if self.rank != 0:
            return
        state = TrainingState(
            step=task.step,
            weights=task.trained.state_dict(),
            average=task.averaged.state_dict(),
            average_count=int(task.average.n_averaged),
            optimizers=[flatten_optimizer(optimizer) for optimizer in task.trainer.optimizers],
            config=self.config.record(),
            seconds=self._seconds(),
            continued=self.continued,
            molecules_seen=self._molecules_seen(task.step),
            sums=task.sums,
            summed_from=task.summed_from,
        )
        path = save_state(self.config.output / "checkpoints", state)
        self._save_model(state)
        logger.info("step %d  saved %s and %s", task.step, path, self.config.output / "model")

    def _complete(self, state: TrainingState) -> None:
        """Write the model folder of a finished run, unless the one that stands is of the same step, and complete."""
        folder = self.config.output / "model"
        try:
            made = load_model_folder(folder).config["training"]
            done = made["step"] == state.step == made["config"]["training"]["steps"]
        except (MoldiffError, KeyError, TypeError):
            done = False
        if not done and self.rank == 0:
            self._save_model(state)
        logger.info("step %d  the run is finished; its model is %s", state.step, folder)

    def _save_model(self, state: TrainingState) -> None:
        """Write the averaged weights as a model folder."""
        provenance = self._provenance(state.step)
        save_model_folder(
            self.config.output / "model",
            weights=state.average,
            config={**self.model.config_json(), "training": provenance},
            references=self._references(state.step == self.config.training.steps),
            card=self._card(provenance),
            half=False,
            overwrite=True,
        )

    def _provenance(self, step: int) -> dict[str, Any]:
        """Return where the weights come from, as plain JSON."""
        return {
            "step": step,
            "molecules_seen": self._molecules_seen(step),
            "data_sha256": str(self.dataset.info["data_hash"]),
            "training_molecules": len(self.dataset.indices("train")),
            "seconds": round(self._seconds()),
            **header(self.device),
            "config": self.config.record(),
        }

    def _molecules_seen(self, step: int) -> int:
        """Molecules in the batches of all steps before one, earlier runs and their batch sizes included."""
        size, state = self.config.training.batch_size, self.state
        if state is None:
            return step * size
        before = state.molecules_seen
        if before is None:  # a checkpoint that did not count; its own batch size is the best that is known
            before = state.step * int(state.config.get("training", {}).get("batch_size", size))
        return before + (step - state.step) * size

    def _seconds(self) -> float:
        """Time spent on training, earlier runs included."""
        return time.monotonic() - self.started + (self.state.seconds if self.state else 0.0)


class _Restore(pl.Callback):
    """Puts a checkpoint's moments back once Lightning has set the optimisers up."""

    def __init__(self, state: TrainingState | None) -> None:
        self.state = state

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the moments; weights and average have been back since the run was put together."""
        assert isinstance(pl_module, TrainingTask)
        pl_module.averaged.to(pl_module.device)
        if self.state is None:
            return
        for optimizer, moments in zip(trainer.optimizers, self.state.optimizers, strict=True):
            restore_optimizer(optimizer, moments)
