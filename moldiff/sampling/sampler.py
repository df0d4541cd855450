"""The sampling loop, in plain sight: prior, then denoise and step along a grid of times, then decode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moldiff.diffusion.joint import JointDiffusion
from moldiff.diffusion.levels import Denoiser
from moldiff.diffusion.schedule import NoiseSchedule
from moldiff.molecules import FIELDS, MolBatch, MolPrediction
from moldiff.randomness import NoiseSource, Walk
from moldiff.sampling.context import SamplerContext, SolverState
from moldiff.sampling.solvers import Solver
from moldiff.threads import stop_if_unwanted


@dataclass(frozen=True)
class Sample:
    """Decoded molecules of a sampler.

    Attributes:
        molecules: decoded molecules (argmax of every category).
        prediction: the final prediction they were decoded from.
        failed_at: (B,) int64: first step whose prediction was not finite, -1 = none. Such a row means nothing.
    """

    molecules: MolBatch
    prediction: MolPrediction
    failed_at: Tensor


@dataclass(frozen=True)
class SamplerState:
    """Molecules on their way down.

    Attributes:
        state: what the solver carries.
        failed_at: (B,) int64: first step whose prediction was not finite, -1 = none so far.
    """

    state: SolverState
    failed_at: Tensor

    @classmethod
    def at_start(cls, molecules: MolBatch) -> SamplerState:
        """Return molecules before their first step."""
        return cls(
            SolverState(molecules), torch.full((len(molecules),), -1, dtype=torch.int64, device=molecules.mask.device)
        )


def sample(
    denoiser: Denoiser,
    diffusion: JointDiffusion,
    schedule: NoiseSchedule,
    template: MolBatch,
    grid: Tensor,
    solver: Solver,
    source: NoiseSource,
    after_step: Callable[[int, MolBatch, MolPrediction], None] | None = None,
    attempt: int = Walk.DRAW,
) -> Sample:
    """Draw molecules: a step of the solver between any two times of the grid, and a last evaluation to decode.

    Args:
        template: gives mask (B, N), ids (B,) that key the noise, and ``properties`` (B, P), the condition (NaN = free).
        grid: decreasing times, the last 0; at the last but one, the prediction is decoded.
        solver: how to step between two levels.
        source: random numbers; draw 0 is the prior, draw k the k-th step.
        after_step: called with (step number, state, prediction) after each step, for watching.
        attempt: number of the walk, see `moldiff.randomness.Walk`.
    """
    context, times = (
        SamplerContext(denoiser, diffusion, schedule, template.properties, source, attempt),
        times_of(grid, template),
    )
    begun = start(context, template, times)
    state, failed_at = begun.state, begun.failed_at
    for number in range(1, len(times) - 1):
        stop_if_unwanted()
        state = solver.step(context, state, number, times[number - 1], times[number])
        if after_step is not None and state.prediction is not None:
            after_step(number, state.molecules, state.prediction)
        state, failed_at = _parked(state, failed_at, number)
    return finish(context, SamplerState(state, failed_at), times, after_step)


def resample(
    denoiser: Denoiser,
    diffusion: JointDiffusion,
    schedule: NoiseSchedule,
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
        attempt: number of the walk, see `moldiff.randomness.Walk`.
    """
    context = SamplerContext(denoiser, diffusion, schedule, molecules.properties, source, attempt)
    times = times_of(grid, molecules)
    noisy = diffusion.noise(molecules, schedule.levels(times[0]), context.noise(molecules, step=0))
    return finish(
        context, run_steps(context, SamplerState.at_start(noisy), times, solver, range(1, len(times) - 1)), times
    )


def times_of(grid: Tensor, batch: MolBatch) -> list[Tensor]:
    """Return each time of a grid for every molecule, (B,) float64."""
    if len(grid) < 2:
        raise ValueError("a grid needs at least two times")
    return [t.to(batch.mask.device, torch.float64).expand(len(batch)) for t in grid]


def start(context: SamplerContext, template: MolBatch, times: list[Tensor]) -> SamplerState:
    """Return molecules of pure noise, at the first of the times."""
    prior = context.diffusion.sample_prior(template, context.schedule.levels(times[0]), context.noise(template, step=0))
    return SamplerState.at_start(prior)


def run_steps(
    context: SamplerContext, underway: SamplerState, times: list[Tensor], solver: Solver, steps: range
) -> SamplerState:
    """Take some of the steps 1 .. len(times) - 2, all but the last, which decodes; step k leads to ``times[k]``."""
    state, failed_at = underway.state, underway.failed_at
    for number in steps:
        stop_if_unwanted()
        state = solver.step(context, state, number, times[number - 1], times[number])
        state, failed_at = _parked(state, failed_at, number)
    return SamplerState(state, failed_at)


def finish(
    context: SamplerContext,
    underway: SamplerState,
    times: list[Tensor],
    after_step: Callable[[int, MolBatch, MolPrediction], None] | None = None,
) -> Sample:
    """Take the last step: decode what is at the last time but one."""
    state, failed_at, last = underway.state, underway.failed_at, len(times) - 1
    prediction = context.denoise(state.molecules, state.prediction, context.schedule.levels(times[-2]))
    failed_at = torch.where((failed_at < 0) & ~_is_finite(prediction), last, failed_at)
    molecules = context.diffusion.decode(state.molecules, prediction)
    if after_step is not None:
        after_step(last, molecules, prediction)
    return Sample(molecules, prediction, failed_at)


def evaluations_of(solver: Solver, steps: int) -> int:
    """Return the network evaluations of a sample on a grid of so many steps; the last step needs one."""
    return solver.evaluations * (steps - 1) + 1


def steps_within(solver: Solver, evaluations: int) -> int:
    """Return the largest number of steps, at least 1, that needs no more than so many network evaluations."""
    return (evaluations - 1) // solver.evaluations + 1


def _parked(state: SolverState, failed_at: Tensor, number: int) -> tuple[SolverState, Tensor]:
    """Return the state after step ``number`` and (B,) the first step that failed.

    Molecules that have failed go on from zeros: on some processors, products in bfloat16 read a little of the next row,
    and what is not finite would take its mates along.
    """
    if state.prediction is None:
        return state, failed_at
    failed_at = torch.where((failed_at < 0) & ~_is_finite(state.prediction), number, failed_at)
    sound = failed_at < 0

    def parked(values: Tensor) -> Tensor:
        return torch.where(sound.view(-1, *(1,) * (values.dim() - 1)), values, 0)

    prediction = state.prediction.replace(**{name: parked(getattr(state.prediction, name)) for name in FIELDS})
    molecules = state.molecules.replace(pos=parked(state.molecules.pos))
    return replace(state, molecules=molecules, prediction=prediction), failed_at


def _is_finite(prediction: MolPrediction) -> Tensor:
    """Return (B,) whether a prediction is finite."""
    fields = [torch.isfinite(getattr(prediction, field)).flatten(1).all(1) for field in FIELDS]
    return torch.stack(fields).all(0)
