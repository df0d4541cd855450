"""The variational bound: an upper limit of -ln p(molecule) under the model, in nats, split by field.

The chain that the bound describes has K steps, evenly spaced in t, from t = 1 down to t = 0, and a reconstruction at
t = 0. Per field (Ho et al. 2020, eq. 5; Kingma et al. 2021, eq. 11):

    -ln p(x_0) <= KL(q(x_1 | x_0) || prior) + sum over steps E[KL(q(x_s | x_t, x_0) || p(x_s | x_t))]
                  + E[-ln p(x_0 | x at t = 0)]

Coordinates are a density in angstrom on the 3 (N - 1) dimensions of zero centre of mass; their reconstruction is a
normal law of width sigma_min around the prediction. Categories are probabilities; each unordered pair of atoms counts
once. The number of atoms adds -ln p(N). It is the bound of the molecule with its atoms in the given order: the N!
orders are not counted. Every step is evaluated without self-conditioning, as the bound's chain has no memory.

The sum over steps is estimated by stratified sampling: the steps fall into strata of neighbours, one step is drawn from
each and counts for all of its stratum. That is unbiased; with a stratum for every step only noise is left to chance.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moldiff.arguments import refusal, whole_number
from moldiff.diffusion.joint import CATEGORIES, JointDiffusion, draw_noise
from moldiff.diffusion.levels import Denoiser, Levels
from moldiff.diffusion.schedule import NoiseSchedule, uniform_grid
from moldiff.molecules import FIELDS, MolBatch, MolPrediction
from moldiff.randomness import NoiseSource, Stream, bound_counter
from moldiff.threads import stop_if_unwanted

_MOST_STEPS = 100_000
_MOST_REPEATS = 1000


@dataclass(frozen=True)
class BoundSettings:
    """Settings of a bound and of its estimate.

    Attributes:
        steps: K of the chain. It belongs to the bound's definition: more steps give a tighter bound.
        evaluations: network evaluations for each repeat: one for the reconstruction, one for each stratum of steps.
        repeats: independent estimates; their scatter gives the standard error.
    """

    steps: int = 1000
    evaluations: int = 25
    repeats: int = 4

    def __post_init__(self) -> None:
        if not 1 <= whole_number(self.steps, "chain_steps") <= _MOST_STEPS:
            raise refusal("chain_steps", f"in 1 .. {_MOST_STEPS}", self.steps)
        if not 2 <= whole_number(self.evaluations, "evaluations") <= self.steps + 1:
            expected = f"in 2 .. {self.steps + 1} a repeat for a bound of {self.steps} steps"
            raise refusal("evaluations", expected, self.evaluations)
        if not 1 <= whole_number(self.repeats, "repeats") <= _MOST_REPEATS:
            raise refusal("repeats", f"in 1 .. {_MOST_REPEATS}", self.repeats)

    def strata(self) -> list[tuple[int, int]]:
        """Return (first step, number of steps) of each stratum; steps count from 0 at t = 1."""
        edges = np.linspace(0, self.steps, self.evaluations).round().astype(int).tolist()
        return [(first, after - first) for first, after in itertools.pairwise(edges)]


def bound_terms(
    denoiser: Denoiser,
    diffusion: JointDiffusion,
    schedule: NoiseSchedule,
    molecules: MolBatch,
    settings: BoundSettings,
    source: NoiseSource,
) -> dict[str, Tensor]:
    """Return field -> (B, repeats) float64 estimates of the bound in nats, without the number of atoms.

    Args:
        molecules: clean, of zero mean; ``properties`` is the condition (NaN = not given), ``ids`` keys the noise.
        settings: see `BoundSettings`.
        source: random numbers; an estimate is a function of (seed, id, molecule, settings).
    """
    times = uniform_grid(settings.steps).to(molecules.mask.device)
    end = torch.zeros(len(molecules), dtype=torch.float64, device=molecules.mask.device)
    prior = prior_terms(diffusion, molecules, schedule.levels(end + 1))
    repeats = []
    for repeat in range(settings.repeats):
        total = dict(prior)
        for number, (first, count) in enumerate(settings.strata(), start=1):
            stop_if_unwanted()
            counter = bound_counter(repeat, settings.evaluations, number)
            uniform = source.uniform(molecules.ids, counter, Stream.TIME, 1)[:, 0].double()
            step = first + (uniform * count).long().clamp(max=count - 1)
            at, to = schedule.levels(times[step]), schedule.levels(times[step + 1])
            noisy, prediction = _predict(denoiser, diffusion, molecules, at, source, counter)
            terms = step_terms(diffusion, molecules, noisy, prediction, at, to)
            total = {field: total[field] + count * terms[field] for field in FIELDS}
        clean = schedule.levels(end)
        noisy, prediction = _predict(
            denoiser, diffusion, molecules, clean, source, bound_counter(repeat, settings.evaluations, 0)
        )
        terms = reconstruction_terms(diffusion, molecules, noisy, prediction, clean)
        repeats.append({field: total[field] + terms[field] for field in FIELDS})
    return {field: torch.stack([terms[field] for terms in repeats], dim=1) for field in FIELDS}


def _predict(
    denoiser: Denoiser, diffusion: JointDiffusion, clean: MolBatch, at: Levels, source: NoiseSource, counter: int
) -> tuple[MolBatch, MolPrediction]:
    """Noise the molecules to a level and return them with the denoiser's estimate, without self-conditioning."""
    noisy = diffusion.noise(clean, at, draw_noise(source, clean.ids, counter, clean.mask.shape[1]))
    with torch.no_grad():
        return noisy, denoiser(noisy, at, clean.properties, None)


def prior_terms(diffusion: JointDiffusion, clean: MolBatch, at: Levels) -> dict[str, Tensor]:
    """Return field -> (B,) KL(q(x | x_0) || prior) in nats; ``at`` are the levels of t = 1."""
    # the prior's width is that of `JointDiffusion.sample_prior`
    prior_sigma = torch.sqrt(at.sigma.double() ** 2 + diffusion.sigma_data(clean.mask).double() ** 2)
    terms = {"pos": diffusion.pos.kl_prior(clean.pos, at.sigma, prior_sigma, clean.mask)}
    for field, process in diffusion.categories.items():
        terms[field] = _sum(process.kl_prior(getattr(clean, field), at.abar(field)), field, clean)
    return terms


def step_terms(
    diffusion: JointDiffusion, clean: MolBatch, noisy: MolBatch, prediction: MolPrediction, at: Levels, to: Levels
) -> dict[str, Tensor]:
    """Return field -> (B,) KL(q(x_s | x_t, x_0) || p(x_s | x_t)) in nats, for the step ``at`` -> ``to``."""
    terms = {"pos": diffusion.pos.kl_step(prediction.pos, clean.pos, at.sigma, to.sigma, clean.mask)}
    return terms | _category_steps(diffusion, clean, noisy, prediction, at, {f: to.abar(f) for f in CATEGORIES})


def reconstruction_terms(
    diffusion: JointDiffusion, clean: MolBatch, noisy: MolBatch, prediction: MolPrediction, at: Levels
) -> dict[str, Tensor]:
    """Return field -> (B,) -ln p(x_0 | x) in nats; ``at`` are the levels of t = 0. Categories: a step to abar = 1."""
    terms = {"pos": diffusion.pos.reconstruction_nll(clean.pos, prediction.pos, at.sigma, clean.mask)}
    ends = {field: torch.ones_like(at.abar(field)) for field in CATEGORIES}
    return terms | _category_steps(diffusion, clean, noisy, prediction, at, ends)


def _category_steps(
    diffusion: JointDiffusion,
    clean: MolBatch,
    noisy: MolBatch,
    prediction: MolPrediction,
    at: Levels,
    ends: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Return categorical field -> (B,) divergence of a step to abar = ``ends`` (B,)."""
    terms = {}
    for field, process in diffusion.categories.items():
        probabilities = torch.softmax(getattr(prediction, field).double(), dim=-1)
        clean_class, noisy_class = getattr(clean, field), getattr(noisy, field)
        divergence = process.kl_step(noisy_class, clean_class, probabilities, at.abar(field), ends[field])
        terms[field] = _sum(divergence, field, clean)
    return terms


def _sum(values: Tensor, field: str, batch: MolBatch) -> Tensor:
    """Return (B,) the sum over real atoms (B, N), or over unordered pairs of them (B, N, N) for bonds."""
    counted = torch.triu(batch.pair_mask, diagonal=1) if field == "bond_type" else batch.mask
    return torch.where(counted, values, 0).flatten(1).sum(1)


def size_nats(size_counts: dict[int, int], n: int) -> float:
    """Return -ln p(N = n) in nats for the training set's sizes; infinite for a size that it does not hold."""
    count = size_counts.get(n, 0)
    return -math.log(count / sum(size_counts.values())) if count else math.inf
