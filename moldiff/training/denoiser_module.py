"""The Lightning module: wires data, noise, denoiser, loss and optimisers. Randomness is a function of (seed, step)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from moldiff.config import TrainConfig, TrainingConfig
from moldiff.datasets.batching import BatchPlan
from moldiff.datasets.prepared import DeviceArrays
from moldiff.diffusion.joint import draw_noise
from moldiff.diffusion.levels import Levels
from moldiff.diffusion.preconditioning import PreconditionedDenoiser
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch, MolPrediction
from moldiff.randomness import Stream, training_counter
from moldiff.training.lightning_module import TrainingTask
from moldiff.training.on_policy.states import OnPolicyData
from moldiff.training.step_graphs import Kind, StepInputs

_COINS = 3  # of a step: two uses of the stream for the batch's self-conditioning, and whether it is of own draws


class DenoisingTask(TrainingTask):
    """One training step: rows of the data set -> noisy batch -> prediction -> loss -> weights.

    Args:
        model: the model to train.
        config: the whole training configuration.
        arrays: the data set on the training device.
        plan: which rows form the batch of each step.
        first_step: step number at which this run starts (0, or where a checkpoint ended).
        own: the model's own draws and their plan, which a share of the batches is made of.
    """

    def __init__(
        self,
        model: MoleculeModel,
        config: TrainConfig,
        arrays: DeviceArrays,
        plan: BatchPlan,
        first_step: int,
        own: tuple[OnPolicyData, BatchPlan] | None = None,
    ) -> None:
        super().__init__(model.denoiser, model.schedule, config, arrays, plan, first_step, FIELDS)
        self.model = replace(model, diffusion=model.diffusion.to(arrays.device))
        self.config, self.own, self.weights = config, own, config.loss.model_dump()
        self._weights = torch.tensor([self.weights[field] for field in FIELDS], device=arrays.device)

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

    def inputs(self, step: int) -> StepInputs:
        """Return what a step reads, on the CPU; a function of (seed, step)."""
        if self.is_own(step):
            assert self.own is not None
            kind, plan = Kind.OWN_DRAWS, self.own[1]
        else:
            kind, plan = Kind.SELF_CONDITIONED if self._self_conditioned(step) else Kind.DATA, self.plan
        rows, width = plan.batch(step)
        return StepInputs(kind, width, rows, plan.turns(step), torch.tensor(step))

    def setup_batch(self, inputs: StepInputs) -> tuple[MolBatch, Levels, MolBatch]:
        """Return (clean, levels, noisy with its condition in ``properties``) of a step with data."""
        step, width = inputs.step, inputs.width
        clean = self.arrays.assemble(inputs.rows, width)
        keys = self._keys(clean, inputs)
        levels = self.model.schedule.levels(*self._times(keys, step))
        noisy = self.model.diffusion.noise(clean, levels, draw_noise(self.source, keys, training_counter(step), width))
        return clean, levels, noisy.replace(properties=self._drop_properties(clean, keys, step))

    def earlier(self, noisy: MolBatch, levels: Levels, inputs: StepInputs) -> tuple[MolBatch, Levels]:
        """Return a batch as a sampler met it a step before, with a little more noise, and its levels.

        A sampler's previous prediction comes from there. Conditioned on a prediction at its own level alone (Chen et
        al. 2023, "Analog bits", algorithm 1), a network learns to trust it more than long steps allow.
        """
        step, keys = inputs.step, self._keys(noisy, inputs)
        t_pos, t_graph = self._times(keys, step)
        gap = self.source.uniform(keys, training_counter(step), Stream.SELF_CONDITIONING, 2)[:, 1].double()
        gap = gap * self.config.training.self_conditioning_gap
        t_graph = torch.where(t_graph > 0, t_graph + gap, t_graph)  # a clean graph is clean at every step
        to = self.model.schedule.levels((t_pos + gap).clamp(max=1), t_graph.clamp(max=1))
        noise = draw_noise(self.source, keys, training_counter(step, earlier=True), inputs.width)
        return self.model.diffusion.noise_further(noisy, levels, to, noise), to

    def _drop_properties(self, clean: MolBatch, keys: Tensor, step: Tensor) -> Tensor:
        """Return (B, P) properties, some set to NaN, see `dropped_properties`."""
        count = clean.properties.shape[1]
        uniform = self.source.uniform(keys, training_counter(step), Stream.CONDITION, count + 1)
        training = self.config.training
        dropped = dropped_properties(uniform, torch.isfinite(clean.properties), training)
        return torch.where(dropped, torch.full_like(clean.properties, math.nan), clean.properties)

    def example(self, inputs: StepInputs) -> tuple[MolBatch, Levels, MolBatch, MolPrediction | None]:
        """Return (clean, levels, noisy) and, in some steps, what self-conditioning sees."""
        if inputs.kind is Kind.OWN_DRAWS:
            return self._own_example(inputs)
        clean, levels, noisy = self.setup_batch(inputs)
        if inputs.kind is Kind.DATA:
            return clean, levels, noisy, None
        with torch.no_grad():
            earlier, earlier_levels = self.earlier(noisy, levels, inputs)
            return clean, levels, noisy, self.denoiser(earlier, earlier_levels, noisy.properties, None).detach()

    def _own_example(self, inputs: StepInputs) -> tuple[MolBatch, Levels, MolBatch, MolPrediction]:
        """Return the same of own draws. The condition is what came of a draw, whatever it was asked for."""
        assert self.own is not None
        own = self.own[0].batch(inputs.rows, inputs.width)
        properties = self._drop_properties(own.clean, self._keys(own.clean, inputs), inputs.step)
        return own.clean, self.model.schedule.levels(own.t), own.noisy.replace(properties=properties), own.previous

    def losses(self, inputs: StepInputs) -> tuple[Tensor, Tensor]:
        """Return the weighted loss of a step, and each field's mean."""
        # weights are cast where they are used: what is kept for later would not be there when a capture is replayed
        with torch.autocast(self.arrays.device.type, torch.bfloat16, enabled=self._bf16, cache_enabled=False):
            clean, levels, noisy, previous = self.example(inputs)
            prediction = self.denoiser(noisy, levels, noisy.properties, previous)
        losses = self.model.diffusion.loss(clean, levels, prediction)
        means = torch.stack([losses[field].mean() for field in FIELDS])
        return (means * self._weights).sum(), means

    def is_own(self, step: int) -> bool:
        """A step's batch is one of own draws: one coin per batch."""
        return self.own is not None and self._coin(step, _COINS - 1) < self.config.on_policy.share

    def _self_conditioned(self, step: int) -> bool:
        """One coin per batch, so that shapes stay static and both ways are learned."""
        return self._coin(step, 0) < self.config.training.self_conditioning

    def _coin(self, step: int, element: int) -> float:
        """Return a number in (0, 1) for a whole batch."""
        zero = torch.zeros(1, dtype=torch.int64)
        return float(self.source.uniform(zero, training_counter(step), Stream.SELF_CONDITIONING, _COINS)[0, element])


def dropped_properties(uniform: Tensor, known: Tensor, training: TrainingConfig) -> Tensor:
    """Return (B, P) bool, which properties are hidden: all of a row's, all but one that is known, or each by itself, so
    that any subset occurs.

    Args:
        uniform: (B, 1 + P) random numbers in (0, 1): the first decides which of the three, the others between
            properties.
        known: (B, P) bool, which properties the data have.
        training: gives the shares of the first two, and the probability that a property is hidden in the third.
    """
    kind, each = uniform[:, :1], uniform[:, 1:]
    free, single = training.p_unconditional, training.p_unconditional + training.p_single_property
    ranked = torch.where(known, each, -torch.ones_like(each))
    alone = ranked < ranked.amax(1, keepdim=True) if known.shape[1] else known
    return torch.where(kind < free, True, torch.where(kind < single, alone, each < training.property_dropout))
