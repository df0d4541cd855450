"""Diffusion of molecules part of which is known: where the walk begins, and what it begins with.

From pure noise, the new atoms would find their places long before the model sees the known part clearly: it is told of
it only through the noise of each level. So the walk begins at less noise, with the known part noised from where it is
and the new atoms around the place where they belong.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moldiff.diffusion.joint import JointDiffusion, JointNoise
from moldiff.diffusion.levels import Levels
from moldiff.diffusion.schedule import NoiseSchedule
from moldiff.geometry import center
from moldiff.molecules import MolBatch, MolPrediction


@dataclass(frozen=True)
class TruncatedSchedule(NoiseSchedule):
    """The end of another schedule: t = 1 is in the middle of it.

    Attributes:
        whole: the other schedule; `sigma_max` is where this one begins.
        start_pos, start_graph: times of the whole schedule at which coordinates and graph are for t = 1.
    """

    whole: NoiseSchedule
    start_pos: float
    start_graph: float

    @classmethod
    def of(cls, whole: NoiseSchedule, sigma: float, start_graph: float) -> TruncatedSchedule:
        """Return the schedule from coordinate noise ``sigma``, angstrom, and the graph's time ``start_graph`` on."""
        start = float(whole.time_of_sigma(torch.tensor([sigma], dtype=torch.float32)))
        sigma_max = float(whole.levels(torch.tensor([start], dtype=torch.float64)).sigma)
        return cls(
            whole.sigma_min, sigma_max, whole.abar_end, whole.exponents, whole.sigma_reference,
            whole=whole, start_pos=start, start_graph=start_graph,
        )  # fmt: skip

    @property
    def origin(self) -> NoiseSchedule:
        return self.whole

    def time_in_origin(self, t: float) -> float:
        return t * self.start_pos

    def levels(self, t_pos: Tensor, t_graph: Tensor | None = None) -> Levels:
        t_graph = t_pos if t_graph is None else t_graph
        return self.whole.levels(t_pos * self.start_pos, t_graph * self.start_graph)

    def time_of_sigma(self, sigma: Tensor) -> Tensor:
        return (self.whole.time_of_sigma(sigma) / self.start_pos).clamp(max=1)


@dataclass(frozen=True)
class FixedPart:
    """The first n atoms of every molecule, and where the others belong.

    Attributes:
        pos: (n, 3) float32, angstrom.
        atom_type, charge: (n,) int64.
        bond_type: (n, n) int64, symmetric.
        exits: (E, 3) float32, the known atom of each bond that leaves the part.
        exit_vectors: (E, 3) float32 unit vectors along which it leaves.
        pieces: (E,) int64, the connected piece of each of these atoms.
    """

    pos: Tensor
    atom_type: Tensor
    charge: Tensor
    bond_type: Tensor
    exits: Tensor
    exit_vectors: Tensor
    pieces: Tensor

    def __len__(self) -> int:
        return len(self.pos)

    def to(self, device: torch.device) -> FixedPart:
        """Return the part with every tensor on ``device``."""
        return FixedPart(**{name: value.to(device) for name, value in vars(self).items()})

    def filled_in(self, batch: MolBatch) -> MolBatch:
        """Return a batch with this part as the categories of its first atoms; coordinates stay."""
        return self._put(batch, self.atom_type, self.charge, self.bond_type)

    def taken_from(self, source: MolBatch, batch: MolBatch) -> MolBatch:
        """Return ``batch`` with the categories of ``source`` for its first atoms; coordinates stay."""
        n = len(self)
        return self._put(batch, source.atom_type[:, :n], source.charge[:, :n], source.bond_type[:, :n, :n])

    def _put(self, batch: MolBatch, atom_type: Tensor, charge: Tensor, bond_type: Tensor) -> MolBatch:
        n = len(self)
        fields = {"atom_type": batch.atom_type.clone(), "charge": batch.charge.clone()}
        fields["atom_type"][:, :n], fields["charge"][:, :n] = atom_type, charge
        bonds = batch.bond_type.clone()
        bonds[:, :n, :n] = bond_type
        return batch.replace(bond_type=bonds, **fields)


@dataclass(frozen=True)
class Placement:
    """Prior of the new atoms' places, before anything is known of them.

    The exits share them evenly. Those of one piece grow apart: the atoms of each lie around a point ``reach`` +
    ``reach_per_atom`` times their number beyond it. Several pieces are to be linked: the atoms lie along the ways from
    ``reach`` beyond each exit to the middle of all.

    Attributes:
        reach, reach_per_atom: angstrom.
        spread: standard deviation of an atom's place along each axis, for one new atom, angstrom; it grows with the
            cube root of the number around a point.
    """

    reach: float = 1.2
    reach_per_atom: float = 0.13
    spread: float = 0.2

    def places(self, known: FixedPart, new: Tensor, slots: int) -> Tensor:
        """Return (B, slots, 3) the points of new atoms, of which a molecule has ``new`` (B,)."""
        exits = len(known.exits)
        slot = torch.arange(slots, device=new.device)
        of = slot % exits
        if len(torch.unique(known.pieces)) == 1:
            reach = self.reach + self.reach_per_atom * new[:, None, None] / exits
            return known.exits[of] + known.exit_vectors[of] * reach
        ends = known.exits + known.exit_vectors * self.reach
        each = (new[:, None] / exits).clamp(min=1)
        way = ((slot // exits + 0.5) / each).clamp(max=1)[..., None].to(ends.dtype)  # of an end to the middle
        return torch.lerp(ends[of].expand(len(new), -1, -1), ends.mean(0).expand(len(new), slots, -1), way)

    def deviation(self, known: FixedPart, new: Tensor) -> Tensor:
        """Return (B,) the standard deviation of an atom's place around its point, angstrom."""
        around = new / len(known.exits) if len(torch.unique(known.pieces)) == 1 else new
        return self.spread * around.clamp(min=1) ** (1 / 3)


class PartialDiffusion(JointDiffusion):
    """A diffusion that begins in the middle: the known part noised, the new atoms around their place.

    The new atoms begin with categories of the limit distribution, at a level where most should be right. So that none
    of them is believed for long, most variables are drawn anew from their predicted marginal at every step, a share
    1 - (sigma_s / sigma_t)^redraw_exponent (`CategoricalProcess.reverse_step`).

    Args:
        whole: of complete molecules.
        known: the known part.
        placement: of the new atoms.
        redraw_exponent: of the share.
    """

    def __init__(self, whole: JointDiffusion, known: FixedPart, placement: Placement, redraw_exponent: float) -> None:
        self.pos, self.categories, self.position_std = whole.pos, whole.categories, whole.position_std
        self.temperature = whole.temperature
        self.known, self.placement, self.redraw_exponent = known, placement, redraw_exponent

    def sample_prior(self, template: MolBatch, levels: Levels, noise: JointNoise) -> MolBatch:
        """Return noisy molecules at ``levels``, with the template's mask, ids and properties."""
        known, mask = self.known.to(template.mask.device), template.mask
        n, new = len(known), (mask.sum(1) - len(known)).float()
        places = self.placement.places(known, new, mask.shape[1] - n)
        mean = torch.cat([known.pos.expand(len(mask), -1, -1), places], dim=1)
        spread = self.placement.deviation(known, new)
        sigma = torch.sqrt(levels.sigma[:, None] ** 2 + spread[:, None] ** 2).expand(-1, mask.shape[1]).clone()
        sigma[:, :n] = levels.sigma[:, None]
        pos = center(mean + sigma[..., None].to(mean.dtype) * noise.pos, mask)
        free = super().sample_prior(template, levels, noise)
        noised = super().noise(known.filled_in(template), levels, noise)
        return known.taken_from(noised, free).replace(pos=pos)

    def reverse_categories(
        self,
        noisy: MolBatch,
        prediction: MolPrediction,
        at: Levels,
        to: Levels,
        noise: JointNoise,
        redraw: Tensor | None = None,
    ) -> MolBatch:
        """See `JointDiffusion.reverse_categories`; a larger ``redraw`` counts."""
        own = -torch.expm1(self.redraw_exponent * (to.pos - at.pos).double().clamp(max=0))
        share = own if redraw is None else torch.maximum(own, redraw)
        return super().reverse_categories(noisy, prediction, at, to, noise, share)
