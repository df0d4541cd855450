"""Base of every training: noise and batches by step number, guarded updates, the moving average."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence

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
from moldiff.training.acceleration import wants_graphs
from moldiff.training.optimizers import build_optimizers, learning_rate_factor, set_learning_rates
from moldiff.training.step_graphs import Snapshot, StepGraphs, StepInputs


class TrainingTask(pl.LightningModule):
    """Trains a module step by step; what a step is, a subclass says in `losses`.

    A step is taken in one of two ways, with the same numbers: operation by operation, with a look at its gradient
    before the weights move; or captured (`moldiff.training.step_graphs`), with a look at what steps left now and then
    (`settle`), and a way back.

    Args:
        trained: the module whose weights are learned.
        schedule: noise levels along t.
        config: the whole training configuration.
        arrays: the data set on the training device.
        plan: which rows form the batch of each step.
        first_step: step number at which this run starts (0, or where a checkpoint ended).
        loss_names: of the L losses.
    """

    def __init__(
        self,
        trained: nn.Module,
        schedule: NoiseSchedule,
        config: RunConfig,
        arrays: DeviceArrays,
        plan: BatchPlan,
        first_step: int,
        loss_names: Sequence[str],
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.trained, self.schedule = trained, schedule
        self._optimizer, self._steps, self._bf16 = config.optimizer, config.training.steps, config.training.bf16
        self.arrays, self.plan, self.loss_names = arrays, plan, tuple(loss_names)
        self.step = first_step
        self.density = TrainingDensity(**config.density.model_dump())
        self.source = NoiseSource(config.training.seed)
        average = get_ema_multi_avg_fn(config.optimizer.ema_decay)
        # outside the module tree: Lightning and DDP must not treat the average as parameters to train
        self._average = [AveragedModel(self.trained, multi_avg_fn=average)]
        # means of the losses and the norm of the gradient before clipping, summed over steps
        self._sums = torch.zeros(len(self.loss_names) + 1, device=arrays.device)
        self.summed_from = first_step
        self._graphs: StepGraphs | None = None
        if wants_graphs(config.training, arrays.device):
            self._graphs = StepGraphs(arrays.device, self.unguarded_step, self.step_state)
        self._safe: Snapshot | None = None  # with _safe_step: what to go back to
        self._safe_step = first_step

    @property
    def average(self) -> AveragedModel:
        """The exponential moving average of the weights."""
        return self._average[0]

    @property
    def averaged(self) -> nn.Module:
        """The module with averaged weights: what is validated and saved as the model."""
        return self.average.module

    @abstractmethod
    def inputs(self, step: int) -> StepInputs:
        """Return what a step reads, on the CPU; a function of (seed, step)."""

    @abstractmethod
    def losses(self, inputs: StepInputs) -> tuple[Tensor, Tensor]:
        """Return the loss of a step, (), and the means that are logged, (L,), by the inputs on the training device.

        Nothing in it waits for the device, and its shapes follow from the inputs' kind and width.
        """

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one or two optimisers; the learning rate is set in `training_step`."""
        return build_optimizers(self, self._optimizer)

    def training_step(self, batch: Tensor, batch_index: int) -> None:
        """Take one step; ``batch`` holds the step number, which is the task's own."""
        step = int(batch)
        if step != self.step:
            raise RuntimeError(f"the data gives step {step}, the task stands at {self.step}")
        set_learning_rates(self.trainer.optimizers, learning_rate_factor(step, self._steps, self._optimizer))
        inputs = self.inputs(step)
        # the first step of all makes the state of the optimisers and starts the average
        if self._graphs is None or not int(self.average.n_averaged):
            self._take(inputs.to(self.arrays.device), step)
        else:
            if self._safe is None:
                self._safe, self._safe_step = Snapshot(self.step_state()), step
            self._graphs.run(inputs)
            self.average.n_averaged += 1
        self.step = step + 1

    def settle(self) -> None:
        """Wait for the steps so far, and make sure that they were finite.

        Raises:
            MoldiffError: they were not; the task is where it was when it was settled last.
        """
        if self._safe is None or self.step == self._safe_step:
            return
        if bool(torch.isfinite(self._sums).all()):
            self._safe.take()
            self._safe_step = self.step
            return
        first, last = self._safe_step, self.step - 1
        self._safe.restore()
        self.average.n_averaged -= self.step - first
        self.step = first
        raise MoldiffError(f"steps {first} to {last}: {_NOT_FINITE}")

    def take_sums(self) -> dict[str, float]:
        """Return the sums, over the steps since the last call, of the mean of each loss and of "gradient_norm"."""
        self.settle()
        found = dict(zip((*self.loss_names, "gradient_norm"), self._sums.tolist(), strict=True))
        self._sums.zero_()
        self.summed_from = self.step
        return found

    @property
    def sums(self) -> list[float]:
        """Sums over the steps from ``summed_from`` on, as `take_sums` would return them; a checkpoint keeps them."""
        found: list[float] = self._sums.tolist()
        return found

    def restore_sums(self, sums: Sequence[float], first: int) -> None:
        """Go on with the sums of an earlier run over its steps from ``first`` on; none are those of an old one."""
        if len(sums) == len(self._sums) and first <= self.step:
            self._sums.copy_(torch.tensor(sums))
            self.summed_from = first

    def _keys(self, batch: MolBatch, inputs: StepInputs) -> Tensor:
        """Return (B,) what the noise of each row is keyed by."""
        return row_keys(batch.ids, inputs.turns)

    def _times(self, keys: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Return the times of coordinates and graph, each (B,) float64."""
        return self.density.sample(self.source.uniform(keys, training_counter(step), Stream.TIME, 5), self.schedule)

    def _take(self, inputs: StepInputs, step: int) -> None:
        """Take a step operation by operation."""
        row = self._gradient(inputs, self.manual_backward)
        if not math.isfinite(float(row[-1])):
            raise MoldiffError(f"step {step}: {_NOT_FINITE}")
        optimizers = self.optimizers()
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            optimizer.step()
        self.average.update_parameters(self.trained)
        self._sums += row

    def unguarded_step(self, inputs: StepInputs) -> None:
        """Take a step without a look at anything."""
        row = self._gradient(inputs, torch.Tensor.backward)
        for optimizer in self.trainer.optimizers:
            optimizer.step()
        with torch.no_grad():
            # AveragedModel copies its counter to the device, which cannot be captured
            averaged, trained = (list[Tensor](module.parameters()) for module in (self.averaged, self.trained))
            torch._foreach_lerp_(averaged, trained, 1 - self._optimizer.ema_decay)
            self._sums.add_(row)

    def _gradient(self, inputs: StepInputs, backward: Callable[[Tensor], None]) -> Tensor:
        """Give the weights their clipped gradient; return (L + 1,) the means of the losses and its norm before."""
        self.trained.zero_grad(set_to_none=True)
        loss, means = self.losses(inputs)
        backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.trained.parameters(), self._optimizer.gradient_clip)
        return torch.cat([means.detach().float(), norm.detach().float()[None]])

    def step_state(self) -> list[Tensor]:
        """Return all tensors that a step changes."""
        moments = [
            value
            for optimizer in self.trainer.optimizers
            for entries in optimizer.state.values()
            for value in entries.values()
            if isinstance(value, Tensor)
        ]
        return [*self.trained.parameters(), *self.averaged.parameters(), *moments, self._sums]


_NOT_FINITE = (
    "the loss or its gradient is not finite; nothing was updated. Resume from the last checkpoint with a lower "
    "optimizer.learning_rate or training.bf16=false"
)
