"""Black-box guidance: sequential Monte Carlo draws from a law of molecules that is reweighted by any score.

The law is p(x) exp(W score(x)), p being what the sampler draws otherwise, sizes included; a molecule without a score
has weight zero. K particles walk down together. At stated times each is weighed by a guess of its score, and where the
weights have become uneven, particles are drawn anew from among them: a whole state goes on in several copies, another
ends (Del Moral, Doucet and Jasra 2006, "Sequential Monte Carlo samplers"; for diffusion models Wu et al. 2023,
"Practical and asymptotically exact conditional sampling in diffusion models", and Singhal et al. 2025, "A general
framework for inference-time scaling and steering of diffusion models").

The guess is a potential G_k of the state at stage k. Weights are multiplied by G_k / G_(k-1), so that whatever the
guesses were, the last stage leaves exp(W score) of the final molecule: bad guesses cost efficiency and bias nothing.
For any K, expectations under the unnormalised law are unbiased; those under the normalised one have a bias of order
1 / K.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch

from moldiff.chem.descriptors.score_functions import ScoreError
from moldiff.molecules import MolBatch
from moldiff.randomness import Stream, walk_counter
from moldiff.sampling.particles import ParticleSampler
from moldiff.sampling.sampler import Sample, SamplerState

RESAMPLE_BELOW = 0.5  # effective sample size, as a share of the particles
_LARGEST = 1e300  # of W x score: sums of a few of them are finite


@dataclass(frozen=True)
class ScoredParticle:
    """Verdict of a potential on a particle.

    Attributes:
        score: None = it has none.
        asked: whether the score was asked for it.
        outcome: what a final molecule became, in the potential's own terms.
    """

    score: float | None
    outcome: Any = None
    asked: bool = True


class Potential(Protocol):
    """Scores the particles of a group."""

    def __call__(self, samples: Sequence[Sample], final: bool) -> list[ScoredParticle]:
        """Return what each particle, one row, scores.

        Args:
            samples: what the states are taken for, or with ``final`` the molecules themselves.
            final: whether this is the last stage.
        """
        ...


@dataclass(frozen=True)
class ResamplingStep:
    """Time at which particles are weighed.

    Attributes:
        step: after which.
        power: share of W that the guess at this stage is trusted with.
    """

    step: int
    power: float


@dataclass
class Group:
    """Particles that compete with each other.

    Attributes:
        number: of the group.
        ids: (K,) int64: key the noise of each place. Who stands there draws with that number.
        particles: K states of one row.
        log_weights: (K,) since the last resampling.
        guesses: (K,) logarithm of the last potential.
        roots: (K,) the place at which each particle's walk began.
        effective: effective sample size at each stage, before resampling.
        resampled: how often particles were drawn anew.
        scored: after the last stage, what became of each particle.
        asked: particles that the score was asked for, over all stages.
    """

    number: int
    ids: torch.Tensor
    particles: list[SamplerState]
    log_weights: np.ndarray
    guesses: np.ndarray
    roots: np.ndarray
    effective: list[float] = field(default_factory=list)
    resampled: int = 0
    scored: list[ScoredParticle] = field(default_factory=list)
    asked: int = 0

    @classmethod
    def of(cls, number: int, particles: list[SamplerState]) -> Group:
        """Return a group before its first step."""
        count = len(particles)
        ids = torch.cat([particle.state.molecules.ids for particle in particles])
        return cls(number, ids, particles, np.zeros(count), np.zeros(count), np.arange(count))

    @property
    def is_dead(self) -> bool:
        """No particle has a weight."""
        return not np.isfinite(self.log_weights).any()


@dataclass(frozen=True)
class SequentialMonteCarlo:
    """Makes groups of particles.

    Attributes:
        walker: takes the particles down.
        potential: scores them.
        weight: W.
        stages: before the last step, in order; the last step is another one, with power 1.
        threshold: share of the particles below which the effective sample size makes for resampling.
    """

    walker: ParticleSampler
    potential: Potential
    weight: float
    stages: tuple[ResamplingStep, ...]
    threshold: float = RESAMPLE_BELOW

    def run(self, numbers: range, templates: Sequence[MolBatch]) -> Iterator[Group]:
        """Make groups side by side, and yield them in order. A group does not depend on the others.

        Args:
            numbers: of the groups.
            templates: of every particle in order, one row each: size, condition, and the id that keys its noise.

        Raises:
            ScoreError: from the potential or its weighing, after the groups before the one that it failed for.
        """
        started, count, problem = self.walker.start(templates), len(templates) // len(numbers), None
        groups = [Group.of(n, started[k * count : (k + 1) * count]) for k, n in enumerate(numbers)]
        done = 0
        for stage in (*self.stages, ResamplingStep(self.walker.steps, 1.0)):
            final = stage.step == self.walker.steps
            self._advance(groups, range(done + 1, stage.step + (not final)))
            samples, done = self._samples(groups, final), stage.step
            for place, group in enumerate(groups):
                try:
                    scored = self.potential(samples[place * count : (place + 1) * count], final)
                    self.weigh(group, scored, stage, final)
                except ScoreError as error:
                    groups, problem = groups[:place], error  # those before it can still be finished
                    break
            if not groups:
                break
        yield from groups
        if problem is not None:
            raise problem

    def weigh(self, group: Group, scored: list[ScoredParticle], stage: ResamplingStep, final: bool) -> None:
        """Update the weights of a group, and draw particles anew where that is due.

        After the last stage it always is, so that molecules count alike, unless they do already. A guess for a state
        without a score is the mean of the other guesses; if there is none at all, the stage is left out.
        """
        guesses = log_potentials([one.score for one in scored], self.weight * stage.power, group.guesses, final)
        group.log_weights = group.log_weights + guesses - group.guesses
        group.guesses, group.scored = guesses, scored
        group.asked += sum(one.asked for one in scored)
        count = len(group.particles)
        effective = effective_sample_size(group.log_weights)
        group.effective.append(effective)
        even = bool((group.log_weights == group.log_weights[0]).all())
        if even or group.is_dead or not (final or effective < self.threshold * count):
            return
        uniform = self.walker.source.uniform(
            torch.tensor([group.number]), walk_counter(stage.step), Stream.RESAMPLING, 1
        )
        chosen = ancestors_of(systematic_resampling(group.log_weights, float(uniform)))
        group.particles = [_moved(group.particles[k], group.ids[j : j + 1]) for j, k in enumerate(chosen)]
        group.scored = [group.scored[k] for k in chosen]
        group.guesses, group.roots = group.guesses[chosen], group.roots[chosen]
        group.log_weights = np.zeros(count)
        group.resampled += 1

    def _advance(self, groups: list[Group], steps: range) -> None:
        moved = iter(self.walker.run_steps([one for group in groups for one in group.particles], steps))
        for group in groups:
            group.particles = [next(moved) for _ in group.particles]

    def _samples(self, groups: list[Group], final: bool) -> list[Sample]:
        """Return what the particles are, or what their states are taken for."""
        particles = [one for group in groups for one in group.particles]
        if final:
            return self.walker.finish(particles)
        decode = self.walker.diffusion.decode
        return [
            Sample(decode(one.state.molecules, one.state.prediction), one.state.prediction, one.failed_at)
            for one in particles
            if one.state.prediction is not None
        ]


def log_potentials(scores: Sequence[float | None], weight: float, last: np.ndarray, final: bool) -> np.ndarray:
    """Return the logarithm of each particle's potential (K,).

    Args:
        scores: of the particles, None = none.
        weight: W, or at a stage before the last its share.
        last: (K,) those of the stage before.
        final: nothing is a guess any more: without a score, a particle has weight zero (but with W = 0 all weights are
            one).

    Raises:
        ScoreError: W x score is too large a number.
    """
    known = np.array([score is not None for score in scores])
    found = np.array([score or 0.0 for score in scores])
    with np.errstate(over="ignore"):
        values = weight * found
    if (np.abs(values) > _LARGEST).any():
        worst = found[np.abs(values).argmax()]
        raise ScoreError(f"the score weight times a score of {worst:g} overflows: take a smaller weight")
    if weight == 0 or known.all():
        return values
    if final:
        return np.where(known, values, -np.inf)
    return np.where(known, values, values[known].mean()) if known.any() else last


def effective_sample_size(log_weights: np.ndarray) -> float:
    """Return (sum w)^2 / sum w^2 of weights given by their logarithms (K,); 0 if all are zero."""
    if not np.isfinite(log_weights).any():
        return 0.0
    weights = np.exp(log_weights - log_weights.max())
    return float(weights.sum() ** 2 / (weights**2).sum())


def systematic_resampling(log_weights: np.ndarray, uniform: float) -> np.ndarray:
    """Return how often each particle is drawn (K,), K in all: K w / sum w, rounded up or down so that the mean is exact
    (systematic resampling; Kitagawa 1996, appendix).

    Args:
        log_weights: (K,), not all -inf.
        uniform: in [0, 1).
    """
    weights = np.exp(log_weights - log_weights.max())
    cumulative = np.cumsum(weights)
    places = (uniform + np.arange(len(weights))) / len(weights)
    return np.bincount(np.searchsorted(cumulative / cumulative[-1], places, side="right"), minlength=len(weights))


def ancestors_of(counts: np.ndarray) -> np.ndarray:
    """Return which particle goes on at each place (K,): itself where it is drawn at all, else a further copy of one
    that is drawn more often, in order."""
    chosen = np.arange(len(counts))
    chosen[counts == 0] = np.repeat(chosen, np.maximum(counts - 1, 0))
    return chosen


def _moved(particle: SamplerState, number: torch.Tensor) -> SamplerState:
    """Return a whole state at another place, whose noise it gets from now on."""
    molecules = particle.state.molecules
    return replace(particle, state=replace(particle.state, molecules=molecules.replace(ids=number)))
