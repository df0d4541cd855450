"""The sampling loop, in plain sight: prior, then denoise and step along a grid of times, then decode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from moldiff.diffusion.curve import NoiseCurve
from moldiff.diffusion.joint import JointDiffusion
from moldiff.diffusion.levels import Denoiser
from moldiff.molecules import FIELDS, MolBatch, MolPrediction
from moldiff.randomness import NoiseSource
from moldiff.sampling.solvers import Solver
from moldiff.sampling.walk import State, Walk


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
    """Draw molecules: a step of the solver between any two times of the grid, and a last evaluation to decode.

    Args:
        template: gives mask (B, N), ids (B,) that key the noise, and ``properties`` (B, P), the condition (NaN = free).
        grid: decreasing times, from 1 to 0; at the last but one, the prediction is decoded.
        solver: how to step between two levels.
        source: random numbers; draw 0 is the prior, draw k the k-th step.
        after_step: called with (step number, state, prediction) after each step, for watching.
    """
    walk, times = Walk(denoiser, diffusion, curve, template.properties, source), _times(grid, template)
    prior = diffusion.sample_prior(template, curve.levels(times[0]), walk.noise(template, step=0))
    return _descend(walk, State(prior), times, solver, after_step)


def resample(
    denoiser: Denoiser,
    diffusion: JointDiffusion,
    curve: NoiseCurve,
    molecules: MolBatch,
    grid: Tensor,
    solver: Solver,
    source: NoiseSource,
    attempt: int,
) -> Sample:
    """Noise clean molecules to the first time of a grid and walk down again; arguments as for `sample`.

    Args:
        molecules: clean; they also give mask, ids and condition.
        grid: decreasing times, the last 0: (M,), or (M, B) where each molecule has its own.
        attempt: from 0 up; each has noise of its own.
    """
    walk = Walk(denoiser, diffusion, curve, molecules.properties, source, attempt)
    times = _times(grid, molecules)
    noisy = diffusion.noise(molecules, curve.levels(times[0]), walk.noise(molecules, step=0))
    return _descend(walk, State(noisy), times, solver, None)


def _times(grid: Tensor, batch: MolBatch) -> list[Tensor]:
    """Return each time of a grid for every molecule, (B,) float64."""
    if len(grid) < 2:
        raise ValueError("a grid needs at least two times")
    return [t.to(batch.mask.device, torch.float64).expand(len(batch)) for t in grid]


def _descend(
    walk: Walk,
    state: State,
    times: list[Tensor],
    solver: Solver,
    after_step: Callable[[int, MolBatch, MolPrediction], None] | None,
) -> Sample:
    """Walk down the times from a state at the first of them, and decode."""
    diffusion, curve, last = walk.diffusion, walk.curve, len(times) - 1
    failed_at = torch.full((len(state.molecules),), -1, dtype=torch.int64, device=state.molecules.mask.device)
    for number, (t, s) in enumerate(pairwise(times[:-1]), start=1):
        state = solver.step(walk, state, number, t, s)
        if state.prediction is not None:
            failed_at = torch.where((failed_at < 0) & ~_is_finite(state.prediction), number, failed_at)
            if after_step is not None:
                after_step(number, state.molecules, state.prediction)
    prediction = walk.denoise(state.molecules, state.prediction, curve.levels(times[-2]))
    failed_at = torch.where((failed_at < 0) & ~_is_finite(prediction), last, failed_at)
    molecules = diffusion.decode(state.molecules, prediction)
    if after_step is not None:
        after_step(last, molecules, prediction)
    return Sample(molecules, prediction, failed_at)


def evaluations_of(solver: Solver, steps: int) -> int:
    """Return the network evaluations of a sample on a grid of so many steps; the last step needs one."""
    return solver.evaluations * (steps - 1) + 1


def steps_within(solver: Solver, evaluations: int) -> int:
    """Return the largest number of steps, at least 1, that needs no more than so many network evaluations."""
    return (evaluations - 1) // solver.evaluations + 1


def _is_finite(prediction: MolPrediction) -> Tensor:
    """Return (B,) whether a prediction is finite."""
    fields = [torch.isfinite(getattr(prediction, field)).flatten(1).all(1) for field in FIELDS]
    return torch.stack(fields).all(0)
