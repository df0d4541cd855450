"""Update rules between two noise levels. A solver is an object; what users know it by is its key in `SOLVERS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from moldiff.diffusion.joint import JointDiffusion, JointNoise
from moldiff.diffusion.levels import Levels
from moldiff.molecules import MolBatch, MolPrediction


class Solver(Protocol):
    """One step of a sampler, from the level ``at`` to the cleaner level ``to``, at one network evaluation a step."""

    def step(
        self,
        diffusion: JointDiffusion,
        noisy: MolBatch,
        prediction: MolPrediction,
        at: Levels,
        to: Levels,
        noise: JointNoise,
    ) -> MolBatch: ...


@dataclass(frozen=True)
class Ancestral:
    """DDPM and DDIM: coordinates by the Gaussian posterior with its noise scaled by ``eta``, categories by their
    posterior.

    Attributes:
        eta: 1 = ancestral (Ho et al. 2020), 0 = DDIM (Song et al. 2021), which equals Euler steps of the
            probability-flow ODE in sigma. Categories are drawn from their exact posterior in both.
    """

    eta: float

    def step(
        self,
        diffusion: JointDiffusion,
        noisy: MolBatch,
        prediction: MolPrediction,
        at: Levels,
        to: Levels,
        noise: JointNoise,
    ) -> MolBatch:
        return diffusion.reverse_step(noisy, prediction, at, to, noise, self.eta)


SOLVERS: Mapping[str, Solver] = {"ddpm": Ancestral(eta=1.0), "ddim": Ancestral(eta=0.0)}
DEFAULT_SOLVER = "ddpm"
