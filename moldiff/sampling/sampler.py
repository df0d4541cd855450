"""The sampling loop, in plain sight: prior, then denoise and step along a grid of times, then decode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from moldiff.diffusion.curve import NoiseCurve
from moldiff.diffusion.joint import JointDiffusion, draw_noise
from moldiff.diffusion.levels import Denoiser
from moldiff.molecules import MolBatch, MolPrediction
from moldiff.randomness import NoiseSource
from moldiff.sampling.solvers import Solver


@dataclass(frozen=True)
class Sample:
    """What a sampler returns.

    Attributes:
        molecules: decoded molecules (argmax of every category).
        prediction: the final prediction they were decoded from.
        failed_at: (B,) int64: first step whose state was not finite, -1 = none. Such a row means nothing.
    """

    molecules: MolBatch
    prediction: MolPrediction
    failed_at: Tensor


def sample(
    denoiser: Denoiser,
    diffusion: JointDiffusion,
    curve: NoiseCurve,
    template: MolBatch,
    grid: Tensor,
    solver: Solver,
    source: NoiseSource,
    after_step: Callable[[int, MolBatch, MolPrediction], None] | None = None,
) -> Sample:
    """Draw molecules: one network evaluation for each time of the grid but the last.

    Args:
        template: gives mask (B, N), ids (B,) that key the noise, and ``properties`` (B, P), the condition (NaN = free).
        grid: decreasing times, from 1 to 0; at the last but one, the prediction is decoded.
        solver: how to step between two levels.
        source: random numbers; draw 0 is the prior, draw k the k-th step.
        after_step: called with (step number, state, prediction) after each evaluation, for watching.
    """
    batch, n = template.mask.shape
    device = template.mask.device
    times = [torch.full((batch,), float(t), dtype=torch.float64, device=device) for t in grid]
    state = diffusion.sample_prior(template, curve.levels(times[0]), draw_noise(source, template.ids, 0, n))
    failed_at = torch.full((batch,), -1, dtype=torch.int64, device=device)
    prediction: MolPrediction | None = None
    for number, (t, s) in enumerate(pairwise(times), start=1):
        at = curve.levels(t)
        with torch.no_grad():
            prediction = denoiser(state, at, template.properties, prediction)
        finite = torch.isfinite(prediction.pos).all(-1).all(-1) & torch.isfinite(prediction.bond_type).flatten(1).all(
            -1
        )
        failed_at = torch.where((failed_at < 0) & ~finite, number, failed_at)
        if number < len(times) - 1:
            noise = draw_noise(source, template.ids, number, n)
            state = solver.step(diffusion, state, prediction, at, curve.levels(s), noise)
        else:
            state = diffusion.decode(state, prediction)
        if after_step is not None:
            after_step(number, state, prediction)
    if prediction is None:
        raise ValueError("a grid needs at least two times")
    return Sample(state, prediction, failed_at)
