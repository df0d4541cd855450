"""The Lightning module: wires data, noise, denoiser, loss and optimisers. Randomness is a function of (seed, step)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from moldiff.config import TrainConfig
from moldiff.datasets.batching import BatchPlan
from moldiff.datasets.prepared import DeviceArrays
from moldiff.diffusion.joint import draw_noise
from moldiff.diffusion.levels import Levels
from moldiff.diffusion.preconditioning import PreconditionedDenoiser
from moldiff.model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch
from moldiff.randomness import Stream
from moldiff.training.steps import TrainingTask

_EARLIER = 1 << 31  # draws of what a sampler met a step before; above every step number


class DenoisingTask(TrainingTask):
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
        super().__init__(model.denoiser, model.curve, config, arrays, plan, first_step)
        self.model, self.config = model, config
        self.weights = config.loss.model_dump()

    @property
    def denoiser(self) -> PreconditionedDenoiser:
        """The denoiser under training."""
        assert isinstance(self.trained, PreconditionedDenoiser)
        return self.trained

    @property
    def averaged_denoiser(self) -> PreconditionedDenoiser:
        """The denoiser with averaged weights."""
        assert isinstance(self.averaged, PreconditionedDenoiser)
        return self.averaged

    def setup_batch(self, step: int) -> tuple[MolBatch, Levels, MolBatch]:
        """Return (clean, levels, noisy with its condition in ``properties``) of a step; a function of (seed, step)."""
        indices, width = self.plan.batch(step)
        clean = self.arrays.assemble(indices, width)
        keys = self._keys(clean, step)
        levels = self.model.curve.levels(*self._times(keys, step))
        noisy = self.model.diffusion.noise(clean, levels, draw_noise(self.source, keys, step, width))
        return clean, levels, noisy.replace(properties=self._drop_properties(clean, keys, step))

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
        step = self.check_step(batch)
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
