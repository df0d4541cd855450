"""Base of every training: noise and batches by step number, guarded updates, the moving average."""

from __future__ import annotations

import math

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from moldiff.config import RunConfig
from moldiff.datasets.batching import BatchPlan
from moldiff.datasets.prepared import DeviceArrays
from moldiff.diffusion.schedule import NoiseSchedule, TrainingDensity
from moldiff.errors import MoldiffError
from moldiff.molecules import MolBatch
from moldiff.randomness import NoiseSource, Stream, row_keys, training_counter
from moldiff.training.optimizers import build_optimizers, learning_rate_factor, set_learning_rates


class TrainingTask(pl.LightningModule):
    """Trains a module step by step; what a step is, a subclass says in ``training_step``.

    Args:
        trained: the module whose weights are learned.
        schedule: noise levels along t.
        config: the whole training configuration.
        arrays: the data set on the training device.
        plan: which rows form the batch of each step.
        first_step: step number at which this run starts (0, or where a checkpoint ended).

    Attributes:
        last_losses: of the last step, by name; a progress line shows their means.
        last_gradient_norm: of the last step, before clipping.
    """

    def __init__(
        self,
        trained: nn.Module,
        schedule: NoiseSchedule,
        config: RunConfig,
        arrays: DeviceArrays,
        plan: BatchPlan,
        first_step: int,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.trained, self.schedule = trained, schedule
        self._optimizer, self._steps = config.optimizer, config.training.steps
        self.arrays, self.plan = arrays, plan
        self.step = first_step
        self.density = TrainingDensity(**config.density.model_dump())
        self.source = NoiseSource(config.training.seed)
        average = get_ema_multi_avg_fn(config.optimizer.ema_decay)
        # outside the module tree: Lightning and DDP must not treat the average as parameters to train
        self._average = [AveragedModel(self.trained, multi_avg_fn=average)]
        self.last_losses: dict[str, Tensor] = {}
        self.last_gradient_norm = math.nan

    @property
    def average(self) -> AveragedModel:
        """The exponential moving average of the weights."""
        return self._average[0]

    @property
    def averaged(self) -> nn.Module:
        """The module with averaged weights: what is validated and saved as the model."""
        return self.average.module

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one or two optimisers; the learning rate is set in `training_step`."""
        return build_optimizers(self, self._optimizer)

    def check_step(self, batch: Tensor) -> int:
        """Return the step number that a batch holds, which is the task's own."""
        step = int(batch)
        if step != self.step:
            raise RuntimeError(f"the data gives step {step}, the task stands at {self.step}")
        return step

    def _keys(self, batch: MolBatch, step: int) -> Tensor:
        """Return (B,) what the noise of each row is keyed by."""
        return row_keys(batch.ids, self.plan.turns(step))

    def _times(self, keys: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return the times of coordinates and graph, each (B,) float64."""
        return self.density.sample(self.source.uniform(keys, training_counter(step), Stream.TIME, 5), self.schedule)

    def _update(self, loss: Tensor, step: int) -> None:
        """Backward, guard, clip, step and average."""
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        factor = learning_rate_factor(step, self._steps, self._optimizer)
        set_learning_rates(self.trainer.optimizers, factor)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.trained.parameters(), self._optimizer.gradient_clip)
        self.last_gradient_norm = float(norm)
        if not math.isfinite(self.last_gradient_norm):
            raise MoldiffError(
                f"step {step}: the loss or its gradient is not finite (loss {float(loss)}); nothing was updated. "
                "Resume from the last checkpoint with a lower optimizer.learning_rate or training.bf16=false"
            )
        for optimizer in optimizers:
            optimizer.step()
        self.average.update_parameters(self.trained)
