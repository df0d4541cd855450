"""Whole samplers on toys whose exact denoiser is known: normal coordinates, single categories, a few molecules."""

import dataclasses
from itertools import pairwise

import pytest
import torch
from scipy import stats
from separate_noise import SeparateNoise
from torch import Tensor

from moldiff.config import CurveConfig
from moldiff.diffusion.joint import CATEGORIES, JointDiffusion, draw_noise
from moldiff.diffusion.levels import Denoiser, Levels
from moldiff.diffusion.schedule import uniform_grid
from moldiff.models.molecule_model import schedule_from_config
from moldiff.molecules import MolBatch, MolPrediction, empty_batch
from moldiff.randomness import NoiseSource, Stream
from moldiff.sampling.sampler import Sample, sample
from moldiff.sampling.solvers import SOLVERS, Ancestral, Solver

SPREAD = 1.3  # angstrom
CURVE = schedule_from_config(CurveConfig())
LIMITS = {field: torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64) for field in CATEGORIES}
DATA = {  # of the categories
    "atom_type": torch.tensor([0.2, 0.7, 0.1], dtype=torch.float64),
    "charge": torch.tensor([0.05, 0.05, 0.9], dtype=torch.float64),
    "bond_type": torch.tensor([0.4, 0.25, 0.35], dtype=torch.float64),
}


def run(
    denoiser: Denoiser,
    rows: int,
    steps: int,
    solver: Solver,
    source: NoiseSource,
    condition: Tensor | None = None,
    n: int = 2,
) -> tuple[Sample, MolBatch]:
    """Return a sample of molecules of n atoms, and the state before the decoding."""
    template = empty_batch(torch.full((rows,), n), torch.arange(rows), n, 1)
    if condition is not None:
        template = template.replace(properties=condition[:, None])
    states: list[MolBatch] = []

    def keep(number: int, state: MolBatch, prediction: MolPrediction) -> None:
        states.append(state)

    diffusion = JointDiffusion(LIMITS, torch.full((n + 1,), SPREAD))
    result = sample(denoiser, diffusion, CURVE, template, uniform_grid(steps), solver, source, keep)
    return result, states[-2]


def toy(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
    """Return the exact prediction for normal coordinates and independent categories."""
    pos = (SPREAD**2 / (SPREAD**2 + levels.sigma**2))[:, None, None].to(batch.pos.dtype) * batch.pos
    logits = {}
    for field in CATEGORIES:
        abar, noisy = levels.abar(field), getattr(batch, field)
        abar = abar.reshape(-1, *[1] * noisy.dim())
        likelihood = abar * torch.nn.functional.one_hot(noisy, 3) + (1 - abar) * LIMITS[field][noisy][..., None]
        logits[field] = torch.log(DATA[field] * likelihood)
    return MolPrediction(pos, **logits)


def sigmas(steps: int) -> list[float]:
    return CURVE.levels(uniform_grid(steps)).sigma.tolist()


def shrink(sigma: float) -> float:
    """Return c of the exact denoiser D(x) = c x."""
    return SPREAD**2 / (SPREAD**2 + sigma**2)


@dataclasses.dataclass(frozen=True)
class DoubleNoise(SeparateNoise):
    """The same noise in float64."""

    def normal(self, ids: Tensor, draw: int, stream: Stream, n: int) -> Tensor:
        return super().normal(ids, draw, stream, n).double()


class LouderNoise(SeparateNoise):
    """Noise that is 1 % too large."""

    def normal(self, ids: Tensor, draw: int, stream: Stream, n: int) -> Tensor:
        return 1.01 * super().normal(ids, draw, stream, n)


def test_ddim_is_euler_along_the_probability_flow() -> None:
    source, levels = DoubleNoise(2), sigmas(12)
    found = run(toy, 3, 12, SOLVERS["ddim"], source)[0].molecules.pos
    noise = draw_noise(source, torch.arange(3), 0, 2).pos
    x = (levels[0] ** 2 + SPREAD**2) ** 0.5 * (noise - noise.mean(1, keepdim=True))
    for at, to in pairwise(levels[:-1]):
        x = x + (to - at) * (x - shrink(at) * x) / at  # dx/dsigma = (x - D) / sigma, Karras et al. 2022, eq. 3
    torch.testing.assert_close(found, shrink(levels[-2]) * x, rtol=1e-6, atol=1e-9)


def ancestral_variance(steps: int) -> float:
    """Return the variance of each coordinate after ancestral steps with D for x_0, by its recursion."""
    levels = sigmas(steps)
    variance = levels[0] ** 2 + SPREAD**2
    for at, to in pairwise(levels[:-1]):
        keep = to**2 / at**2
        variance = (keep + (1 - keep) * shrink(at)) ** 2 * variance + to**2 * (1 - keep)
    return shrink(levels[-2]) ** 2 * variance


def deviations(source: NoiseSource) -> tuple[float, float]:
    """Return by how many standard errors ancestral samples miss that variance, and a p-value of their normality."""
    found = run(toy, 50_000, 8, SOLVERS["ddpm"], source)[0].molecules.pos
    relative = ((found[:, 0] - found[:, 1]) / 2**0.5).flatten().double() / ancestral_variance(8) ** 0.5
    excess = (float((relative**2).mean()) - 1) / (2 / len(relative)) ** 0.5
    return excess, float(stats.kstest((relative / relative.std()).numpy(), "norm").pvalue)


def test_ancestral_samples_are_normal_with_the_variance_of_the_recursion() -> None:
    excess, normality = deviations(NoiseSource(0))
    assert abs(excess) < 3
    assert normality > 1e-3


def test_noise_one_percent_too_large_is_rejected() -> None:
    assert abs(deviations(LouderNoise(0))[0]) > 3


def frequencies_p_values(denoiser: Denoiser, solver: Solver, chains: int) -> dict[str, float]:
    """Return the chi-square p-value of each field's classes before the decoding against their law at that level."""
    steps, found = 8, {}
    state = run(denoiser, chains, steps, solver, NoiseSource(4))[1]
    for field in CATEGORIES:
        values = getattr(state, field)[:, 0, 1] if field == "bond_type" else getattr(state, field).flatten()
        abar = float(CURVE.levels(torch.tensor([1 / steps])).abar(field))
        law = abar * DATA[field] + (1 - abar) * LIMITS[field]
        found[field] = float(stats.chisquare(torch.bincount(values, minlength=3), law.numpy() * len(values)).pvalue)
    return found


EVERY = {**SOLVERS, "redrawing": Ancestral(eta=1.0, redraw=3.0)}


@pytest.mark.parametrize("solver", EVERY.values(), ids=EVERY.keys())
def test_single_categories_are_exact_in_every_solver(solver: Solver, chains: int) -> None:
    assert min(frequencies_p_values(toy, solver, chains).values()) > 1e-3


@pytest.mark.parametrize("field", CATEGORIES)
def test_a_denoiser_that_trusts_a_class_too_much_is_rejected(field: str) -> None:
    def off(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
        return toy(batch, levels.replace(**{field: getattr(levels, field) + 1}), condition, previous)

    assert frequencies_p_values(off, SOLVERS["ddpm"], 10_000)[field] < 1e-6


class FewMolecules:
    """The exact denoiser of a data set of four molecules of three atoms, each in one orientation.

    A condition is the number of a pair: molecules 0 and 1, or 2 and 3.
    """

    shares = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    pairs = torch.tensor([0, 0, 1, 1])
    atom_type = torch.tensor([[0, 1, 2], [0, 1, 1], [2, 1, 0], [2, 2, 2]])
    charge = torch.tensor([[0, 0, 0], [0, 1, 2], [0, 0, 0], [1, 0, 2]])
    bonds = torch.tensor([[1, 0, 2], [1, 1, 0], [2, 2, 0], [1, 1, 1]])  # of atoms 0-1, 0-2, 1-2

    def __init__(self) -> None:
        corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
        self.pos = torch.stack([corners, -corners, 0 * corners], dim=1)
        self.bond_type = torch.zeros(4, 3, 3, dtype=torch.int64)
        row, column = torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2])
        self.bond_type[:, row, column] = self.bond_type[:, column, row] = self.bonds

    def __call__(
        self, batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None
    ) -> MolPrediction:
        wanted = torch.isnan(condition) | (condition == self.pairs)
        log_weight = torch.where(wanted, self.shares.log(), -torch.inf)  # (B, 4)
        squares = ((batch.pos[:, None] - self.pos) ** 2).sum((2, 3))
        log_weight = log_weight - squares / (2 * levels.sigma[:, None] ** 2)
        for field in CATEGORIES:
            abar, noisy = levels.abar(field), getattr(batch, field)[:, None]
            abar = abar.reshape(-1, *[1] * (noisy.dim() - 1))
            same = abar * (noisy == getattr(self, field)) + (1 - abar) * LIMITS[field][noisy]
            if field == "bond_type":
                same = same[:, :, [0, 0, 1], [1, 2, 2]]
            log_weight = log_weight + same.log().flatten(2).sum(-1)
        weight = torch.softmax(log_weight, dim=-1)
        one_hot = {field: torch.nn.functional.one_hot(getattr(self, field), 3).double() for field in CATEGORIES}
        logits = {field: (torch.tensordot(weight, one_hot[field], dims=1) + 1e-30).log() for field in CATEGORIES}
        return MolPrediction(torch.tensordot(weight, self.pos, dims=1).to(batch.pos.dtype), **logits)

    def recognise(self, molecules: MolBatch) -> Tensor:
        """Return (B,) the number of each molecule, -1 for none of the data set."""
        same = ((molecules.pos[:, None] - self.pos).abs() < 0.1).all(-1).all(-1)
        for field in CATEGORIES:
            same &= (getattr(molecules, field)[:, None] == getattr(self, field)).flatten(2).all(-1)
        return torch.where(same.any(1), same.int().argmax(1), -1)


@pytest.mark.parametrize("solver", ["ddpm", "ddim"])
def test_a_few_molecules_come_back_in_their_shares(solver: str) -> None:
    data = FewMolecules()
    condition = torch.tensor([torch.nan, 1.0]).repeat(1500)
    found = data.recognise(run(data, 3000, 60, SOLVERS[solver], NoiseSource(1), condition, n=3)[0].molecules)
    assert float((found >= 0).double().mean()) > 0.995
    free, wanted = (torch.bincount(part[part >= 0], minlength=4) for part in (found[::2], found[1::2]))
    assert stats.chisquare(free, data.shares.numpy() * int(free.sum())).pvalue > 1e-3
    assert wanted[:2].tolist() == [0, 0]
    assert stats.chisquare(wanted[2:], [int(wanted.sum()) * 2 / 3, int(wanted.sum()) / 3]).pvalue > 1e-3
