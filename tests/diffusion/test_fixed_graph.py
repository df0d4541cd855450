"""Coordinates alone: the graph's levels are clean at every time, and no sampler changes its classes."""

import math

import pytest
import torch
from torch import Tensor

from moldiff.config import CurveConfig
from moldiff.diffusion.fixed_graph import CleanGraphSchedule, CoordinateDiffusion
from moldiff.diffusion.joint import CATEGORIES, JointDiffusion, draw_noise
from moldiff.diffusion.levels import Levels
from moldiff.diffusion.schedule import uniform_grid
from moldiff.models.molecule_model import schedule_from_config
from moldiff.molecules import FIELDS, MolBatch, MolPrediction
from moldiff.randomness import NoiseSource
from moldiff.sampling.sampler import sample
from moldiff.sampling.solvers import SOLVERS

CURVE = schedule_from_config(CurveConfig())
CLEAN = CleanGraphSchedule.of(CURVE)
STD = torch.tensor([0.0, 0.0, 1.0, 1.2])
THIRDS = torch.full((3,), 1 / 3, dtype=torch.float64)
JOINT = JointDiffusion(dict.fromkeys(CATEGORIES, THIRDS), STD)
ALONE = CoordinateDiffusion(STD)
SPREADS = torch.tensor([0.4, 1.0, 2.5])  # of two atoms, by the class of their bond


def pairs(bonds: Tensor) -> MolBatch:
    """Return two-atom molecules with the given bond classes (B,)."""
    count = len(bonds)
    return MolBatch(
        pos=torch.zeros(count, 2, 3),
        atom_type=bonds[:, None].repeat(1, 2),
        charge=(2 - bonds)[:, None].repeat(1, 2),
        bond_type=bonds[:, None, None] * (1 - torch.eye(2, dtype=torch.int64)),
        mask=torch.ones(count, 2, dtype=torch.bool),
        properties=torch.zeros(count, 0),
        ids=torch.arange(count),
    )


def exact_denoiser(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
    """The mean of x_0 given x_t for Gaussian data whose spread hangs on the bond; nonsense for the graph."""
    spread = SPREADS[batch.bond_type[:, 0, 1]]
    shrink = (spread**2 / (spread**2 + levels.sigma**2))[:, None, None]
    wrong = torch.nn.functional.one_hot((batch.atom_type + 1) % 3, 3).float() * 50
    wrong_bonds = torch.nn.functional.one_hot((batch.bond_type + 1) % 3, 3).float() * 50
    return MolPrediction((shrink * batch.pos).float(), wrong, wrong, wrong_bonds)


def test_only_the_coordinates_have_levels_along_t() -> None:
    t = torch.linspace(0, 1, 7, dtype=torch.float64)
    plain, clean, start = CURVE.levels(t), CLEAN.levels(t), CURVE.levels(torch.zeros_like(t))
    assert torch.equal(clean.pos, plain.pos)
    for field in CATEGORIES:
        assert torch.equal(getattr(clean, field), getattr(start, field))
        assert not torch.equal(getattr(clean, field), getattr(plain, field))
    assert torch.equal(CLEAN.levels(t, t).charge, plain.charge)


def test_coordinates_are_treated_as_always_and_classes_never_touched() -> None:
    batch = pairs(torch.tensor([0, 1, 2, 1]))
    batch = batch.replace(pos=torch.tensor([[[0.5, 0, 0], [-0.5, 0, 0]]]).expand(4, -1, -1))
    noise = draw_noise(NoiseSource(3), batch.ids, 1, 2)
    at, to = (CLEAN.levels(torch.full((4,), t, dtype=torch.float64)) for t in (0.5, 0.3))
    prediction = exact_denoiser(batch, at, batch.properties, None)

    def results(diffusion: JointDiffusion) -> list[MolBatch]:
        return [
            diffusion.sample_prior(batch, at, noise),
            diffusion.noise(batch, at, noise),
            diffusion.noise_further(batch, to, at, noise),
            diffusion.reverse_step(batch, prediction, at, to, noise, redraw=torch.ones(4)),
            diffusion.decode(batch, prediction),
        ]

    for alone, joint in zip(results(ALONE), results(JOINT), strict=True):
        assert torch.equal(alone.pos, joint.pos)
        assert all(torch.equal(getattr(alone, field), getattr(batch, field)) for field in FIELDS[1:])


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_sampler_keeps_the_graph_and_draws_the_law_of_its_coordinates(solver: str) -> None:
    """Gaussian coordinates of a spread that hangs on the graph: 3 degrees of freedom for each pair of atoms."""
    count = 400
    bonds = torch.arange(3).repeat(count)
    template = pairs(bonds)
    seen: list[Levels] = []

    def watched(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
        seen.append(levels)
        assert torch.equal(batch.bond_type, template.bond_type)
        return exact_denoiser(batch, levels, condition, previous)

    result = sample(watched, ALONE, CLEAN, template, uniform_grid(40), SOLVERS[solver], NoiseSource(0))
    for field in FIELDS[1:]:
        assert torch.equal(getattr(result.molecules, field), getattr(template, field))
    assert all(float(getattr(levels, field).min()) > 9 for levels in seen for field in CATEGORIES)
    squares = (result.molecules.pos.double() ** 2).sum((1, 2)) / 3
    for bond, spread in enumerate(SPREADS.tolist()):
        found = float(squares[bonds == bond].mean()) / spread**2
        # 4 standard errors of a mean of chi squares, and 20 % for the finite steps (of the coarsest, Euler-Maruyama);
        # the spread of another graph would be wrong by a factor of 6
        assert found == pytest.approx(1, abs=4 * math.sqrt(2 / (3 * count)) + 0.2)
