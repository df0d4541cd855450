"""Diffusion of the coordinates of a given graph: types, charges and bonds are clean at every time and never change.

A denoiser that was trained with independent levels of coordinates and graph knows such states. Every sampler walks
them, because all that it does to the categories goes through `JointDiffusion`, and all levels come from the schedule.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.diffusion.joint import JointDiffusion
from moldiff.diffusion.levels import Levels
from moldiff.diffusion.schedule import NoiseSchedule
from moldiff.molecules import MolBatch, MolPrediction


@dataclass(frozen=True)
class CleanGraphSchedule(NoiseSchedule):
    """A schedule along which the coordinates alone get noise: types, charges and bonds stay at their level of t = 0."""

    @classmethod
    def of(cls, schedule: NoiseSchedule) -> CleanGraphSchedule:
        """Return the schedule with the same coordinate levels."""
        return cls(**{field.name: getattr(schedule, field.name) for field in fields(NoiseSchedule)})

    def levels(self, t_pos: Tensor, t_graph: Tensor | None = None) -> Levels:
        """Return the levels at t; ``t_graph`` (B,), by default 0, is the time of the graph in a `NoiseSchedule`."""
        return super().levels(t_pos, torch.zeros_like(t_pos) if t_graph is None else t_graph)


class CoordinateDiffusion(JointDiffusion):
    """Gaussian diffusion of coordinates; the categories of a batch are given and kept.

    Args:
        position_std: (n_max + 1,) sigma_data of a molecule of n atoms, angstrom, indexed by n.
    """

    def __init__(self, position_std: Tensor) -> None:
        self.pos = GaussianProcess()
        self.categories = {}
        self.position_std, self.temperature = position_std, 1.0

    def decode(self, noisy: MolBatch, prediction: MolPrediction) -> MolBatch:
        """Return the graph as it is, with the predicted coordinates."""
        return noisy.replace(pos=prediction.pos)
