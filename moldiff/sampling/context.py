"""Context of a solver: the state of the molecules, and the model, the condition and the noise along the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moldiff.diffusion.joint import JointDiffusion, JointNoise, draw_noise
from moldiff.diffusion.levels import Denoiser, Levels
from moldiff.diffusion.schedule import NoiseSchedule
from moldiff.molecules import MolBatch, MolPrediction
from moldiff.randomness import NoiseSource, Stream, walk_counter

Number = int | Tensor  # of a step or a walk; a () int64 where a step is captured


@dataclass(frozen=True)
class SolverState:
    """All that a sampler carries from step to step, a row for each molecule.

    Attributes:
        molecules: the noisy molecules.
        prediction: the last prediction for them: self-conditioning, and the memory of a multistep method.
        at: the levels at which it was made. Both are None before the first evaluation.
    """

    molecules: MolBatch
    prediction: MolPrediction | None = None
    at: Levels | None = None


@dataclass(frozen=True)
class SamplerContext:
    """Constants along the way.

    Attributes:
        denoiser: called once for each network evaluation.
        diffusion: the joint noise process.
        schedule: noise levels along t.
        condition: (B, P) wanted properties, NaN = free.
        source: random numbers.
        attempt: number of the walk, see `moldiff.randomness.Walk`; its noise is independent of the others'.
    """

    denoiser: Denoiser
    diffusion: JointDiffusion
    schedule: NoiseSchedule
    condition: Tensor
    source: NoiseSource
    attempt: Number = 0

    def denoise(self, molecules: MolBatch, previous: MolPrediction | None, at: Levels) -> MolPrediction:
        """Evaluate the network once, without a gradient tape."""
        with torch.no_grad():
            return self.denoiser(molecules, at, self.condition, previous)

    def noise(self, molecules: MolBatch, step: Number, part: int = 0) -> JointNoise:
        """Return fresh noise for every field: a function of the seed, each molecule's id, the step (0 = the prior) and
        the part. Different parts of a step are independent."""
        return draw_noise(self.source, molecules.ids, walk_counter(step, part, self.attempt), molecules.mask.shape[1])

    def pos_noise(self, molecules: MolBatch, step: Number, part: int) -> Tensor:
        """Return the coordinates' share of `noise` alone, (B, N, 3) standard normal."""
        return self.source.normal(
            molecules.ids, walk_counter(step, part, self.attempt), Stream.POS, molecules.mask.shape[1]
        )
