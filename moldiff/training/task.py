"""The Lightning module: wires data, noise, denoiser, loss and optimisers. Randomness is a function of (seed, step)."""

from __future__ import annotations

import math

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from moldiff.config import TrainConfig
from moldiff.datasets.batching import BatchPlan
from moldiff.datasets.prepared import DeviceArrays
from moldiff.diffusion.curve import TrainingDensity
from moldiff.diffusion.joint import draw_noise
from moldiff.diffusion.levels import Levels
from moldiff.diffusion.preconditioning import PreconditionedDenoiser
from moldiff.errors import MoldiffError
from moldiff.model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch
from moldiff.randomness import NoiseSource, Stream
from moldiff.training.optimizers import build_optimizers, learning_rate_factor

_TURN_SHIFT = 40  # above every row number
_EARLIER = 1 << 31  # draws of what a sampler met a step before; above every step number


class DenoisingTask(pl.LightningModule):
    """One training step: rows of the data set -> noisy batch -> prediction -> loss -> weights.

    Args:
        model: the model to train.
        config: the whole training configuration.
        arrays: the data set on the training device.
        plan: which rows form the batch of each step.
        first_step: step number at which this run starts (0, or where a checkpoint ended).
    """

    def __init__(
        self, model: MoleculeModel, config: TrainConfig, arrays: DeviceArrays, plan: BatchPlan, first_step: int
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.denoiser = model.denoiser
        self.model, self.config, self.arrays, self.plan = model, config, arrays, plan
        self.step = first_step
        self.density = TrainingDensity(**config.density.model_dump())
        self.source = NoiseSource(config.training.seed)
        self.weights = config.loss.model_dump()
        average = get_ema_multi_avg_fn(config.optimizer.ema)
        # outside the module tree: Lightning and DDP must not treat the average as parameters to train
        self._average = [AveragedModel(self.denoiser, multi_avg_fn=average)]
        self.last_losses: dict[str, Tensor] = {}
        self.last_gradient_norm = math.nan

    @property
    def average(self) -> AveragedModel:
        """The exponential moving average of the weights."""
        return self._average[0]

    @property
    def averaged_denoiser(self) -> PreconditionedDenoiser:
        """The denoiser with averaged weights: what is validated and saved as the model."""
        module = self.average.module
        assert isinstance(module, PreconditionedDenoiser)
        return module

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one or two optimisers; the learning rate is set in `training_step`."""
        return build_optimizers(self, self.config.optimizer)

    def setup_batch(self, step: int) -> tuple[MolBatch, Levels, MolBatch]:
        """Return (clean, levels, noisy with its condition in ``properties``) of a step; a function of (seed, step)."""
        indices, width = self.plan.batch(step)
        clean = self.arrays.assemble(indices, width)
        keys = self._keys(clean, step)
        levels = self.model.curve.levels(*self._times(keys, step))
        noisy = self.model.diffusion.noise(clean, levels, draw_noise(self.source, keys, step, width))
        return clean, levels, noisy.replace(properties=self._drop_properties(clean, keys, step))

    def _keys(self, batch: MolBatch, step: int) -> Tensor:
        """Return (B,) what the noise of each row is keyed by."""
        # a molecule that stands several times in a batch, as in small data sets, gets other noise each time
        return batch.ids + (self.plan.turns(step).to(batch.ids.device) << _TURN_SHIFT)

    def _times(self, keys: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return the times of coordinates and graph, each (B,) float64."""
        return self.density.sample(self.source.uniform(keys, step, Stream.TIME, 5), self.model.curve)

    def earlier(self, noisy: MolBatch, levels: Levels, step: int) -> tuple[MolBatch, Levels]:
        """Return a batch as a sampler met it a step before, with a little more noise, and its levels.

        A sampler's previous prediction comes from there. Conditioned on a prediction at its own level alone (Chen et
        al. 2023, "Analog bits", algorithm 1), a network learns to trust it more than long steps allow.
        """
        keys = self._keys(noisy, step)
        t_pos, t_graph = self._times(keys, step)
        gap = self.source.uniform(keys, step, Stream.SELF_CONDITIONING, 2)[:, 1].double()
        gap = gap * self.config.training.self_conditioning_gap
        t_graph = torch.where(t_graph > 0, t_graph + gap, t_graph)  # a clean graph is clean at every step
        to = self.model.curve.levels((t_pos + gap).clamp(max=1), t_graph.clamp(max=1))
        noise = draw_noise(self.source, keys, step + _EARLIER, noisy.mask.shape[1])
        return self.model.diffusion.noise_further(noisy, levels, to, noise), to

    def _drop_properties(self, clean: MolBatch, keys: Tensor, step: int) -> Tensor:
        """Return (B, P) properties, some set to NaN: all of a row's, or each by itself, so that any subset works."""
        count = clean.properties.shape[1]
        uniform = self.source.uniform(keys, step, Stream.CONDITION, count + 1)
        training = self.config.training
        dropped = (uniform[:, 1:] < training.property_dropout) | (uniform[:, :1] < training.unconditional_share)
        return torch.where(dropped, torch.full_like(clean.properties, math.nan), clean.properties)

    def training_step(self, batch: Tensor, batch_index: int) -> None:
        """Take one step; ``batch`` holds the step number."""
        step = int(batch)
        if step != self.step:
            raise RuntimeError(f"the data gives step {step}, the task stands at {self.step}")
        clean, levels, noisy = self.setup_batch(step)
        with torch.autocast(clean.pos.device.type, torch.bfloat16, enabled=self.config.training.bf16):
            previous = None
            if self._self_conditioned(step):
                with torch.no_grad():
                    earlier, earlier_levels = self.earlier(noisy, levels, step)
                    previous = self.denoiser(earlier, earlier_levels, noisy.properties, None).detach()
            prediction = self.denoiser(noisy, levels, noisy.properties, previous)
        losses = self.model.diffusion.loss(clean, levels, prediction)
        total = torch.stack([self.weights[field] * losses[field].mean() for field in FIELDS]).sum()
        self.last_losses = {field: value.detach() for field, value in losses.items()}
        self._update(total, step)
        self.step = step + 1

    def _self_conditioned(self, step: int) -> bool:
        """One coin per batch, so that shapes stay static and both ways are learned."""
        coin = self.source.uniform(torch.zeros(1, dtype=torch.int64), step, Stream.SELF_CONDITIONING, 1)
        return float(coin) < self.config.training.self_conditioning

    def _update(self, loss: Tensor, step: int) -> None:
        """Backward, guard, clip, step and average."""
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        factor = learning_rate_factor(step, self.config.training.steps, self.config.optimizer)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        self.manual_backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), self.config.optimizer.gradient_clip)
        self.last_gradient_norm = float(norm)
        if not math.isfinite(self.last_gradient_norm):
            raise MoldiffError(
                f"step {step}: the loss or its gradient is not finite (loss {float(loss)}); nothing was updated. "
                "Resume from the last checkpoint with a lower optimizer.learning_rate or training.bf16=false"
            )
        for optimizer in optimizers:
            optimizer.step()
        self.average.update_parameters(self.denoiser)
