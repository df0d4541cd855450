"""Sequential Monte Carlo on toys whose reweighted law is known in closed form; mutants of it that must be rejected.

Gaussian: the data are N(0, SPREAD^2) in three dimensions (two atoms of zero mean), the denoiser is exact and linear, so
that the sampler's own law at any number of steps is a Gaussian whose variance follows from a recursion. A quadratic
score makes another Gaussian of it, a score for a half-space alone cuts it. Categories: one variable, exact at any
stride.
"""

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from moldiff.chem.descriptors.score_functions import ScoreError
from moldiff.config import CurveConfig
from moldiff.diffusion.joint import CATEGORIES, JointDiffusion
from moldiff.diffusion.levels import Levels
from moldiff.models.molecule_model import schedule_from_config
from moldiff.molecules import FIELDS, MolBatch, MolPrediction
from moldiff.randomness import NoiseSource
from moldiff.sampling import smc
from moldiff.sampling.context import SamplerContext
from moldiff.sampling.microbatches import MicroBatches
from moldiff.sampling.particles import ParticleSampler, rows_of, stacked
from moldiff.sampling.sampler import Sample, SamplerState, finish, run_steps, sample, start, times_of
from moldiff.sampling.smc import (
    Group,
    ResamplingStep,
    ScoredParticle,
    SequentialMonteCarlo,
    ancestors_of,
    effective_sample_size,
    log_potentials,
    systematic_resampling,
)
from moldiff.sampling.solvers import SOLVERS, Solver

SPREAD = 1.3  # angstrom
STEPS = 12
CURVE = schedule_from_config(CurveConfig())
GRID = torch.linspace(1, 0, STEPS + 1, dtype=torch.float64)
STAGES = (ResamplingStep(5, 0.4), ResamplingStep(8, 0.7), ResamplingStep(10, 1.0))
SHARES = torch.tensor([0.7, 0.25, 0.05], dtype=torch.float64)
LIMIT = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
DIFFUSION = JointDiffusion(dict.fromkeys(CATEGORIES, LIMIT), torch.tensor([0, 0, SPREAD], dtype=torch.float64))
WANTED, WEIGHT = torch.tensor([2.0, -0.5, 0.0]), 0.8  # angstrom; 1 / angstrom^2
CLASS_SCORES = (0.0, 1.0, 2.5)


def exact_denoiser(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
    """Bayes' rule: linear for the coordinates, by enumeration for the categories."""
    c = SPREAD**2 / (SPREAD**2 + levels.sigma**2)
    logits = {}
    for field, process in DIFFUSION.categories.items():
        x_t = getattr(batch, field)
        every = torch.arange(3).expand(len(x_t), 3)
        kernel = process.marginal(every, levels.abar(field))  # (B, x_0, x_t)
        evidence = (kernel.transpose(1, 2) * SHARES)[torch.arange(len(x_t))[:, None], x_t.reshape(len(x_t), -1)]
        logits[field] = evidence.log().reshape(*x_t.shape, 3)
    return MolPrediction(c[:, None, None] * batch.pos, **logits)


def templates(count: int) -> list[MolBatch]:
    atoms = torch.zeros(count, 2, dtype=torch.int64)
    batch = MolBatch(
        pos=torch.zeros(count, 2, 3),
        atom_type=atoms,
        charge=atoms,
        bond_type=torch.zeros(count, 2, 2, dtype=torch.int64),
        mask=torch.ones(count, 2, dtype=torch.bool),
        properties=torch.zeros(count, 0),
        ids=torch.arange(count),
    )
    return [batch[row : row + 1] for row in range(count)]


def walker(solver: Solver = SOLVERS["ddpm"], rows: int = 4096, seed: int = 0) -> ParticleSampler:
    batches = MicroBatches(torch.device("cpu"), rows=rows)
    return ParticleSampler(exact_denoiser, DIFFUSION, CURVE, solver, NoiseSource(seed), GRID, batches)


def place_of(one: Sample) -> Tensor:
    """Return the three coordinates that a molecule of two atoms has."""
    pos = one.molecules.pos[0]
    return (pos[0] - pos[1]) / math.sqrt(2)


class ByFunction:
    """A potential that scores each sample by a function."""

    def __init__(self, score: Callable[[Sample], float | None]) -> None:
        self.score = score

    def __call__(self, samples: Sequence[Sample], final: bool) -> list[ScoredParticle]:
        return [ScoredParticle(self.score(one)) for one in samples]


def quadratic(one: Sample) -> float:
    return -0.5 * float(((place_of(one) - WANTED) ** 2).sum())


def half_space(one: Sample) -> float | None:
    return 0.0 if float(place_of(one)[0]) > 0.5 else None


def by_class(one: Sample) -> float:
    return CLASS_SCORES[int(one.molecules.atom_type[0, 0])]


def plain_variance() -> float:
    """Return the variance of a coordinate of what ddpm makes in so many steps, decoded: DDPM's update is
    x_s = r x_t + (1 - r) D + sigma_s sqrt(1 - r) n with r = (sigma_s / sigma_t)^2, and D = c x."""
    sigmas = CURVE.levels(GRID[:-1]).sigma.tolist()
    variance = sigmas[0] ** 2 + SPREAD**2
    for at, to in itertools.pairwise(sigmas):
        r, c = (to / at) ** 2, SPREAD**2 / (SPREAD**2 + at**2)
        variance = (r + (1 - r) * c) ** 2 * variance + to**2 * (1 - r)
    return (SPREAD**2 / (SPREAD**2 + sigmas[-1] ** 2)) ** 2 * variance


def run(potential: ByFunction, weight: float, groups: int = 24, count: int = 64) -> list[Group]:
    reweighter = SequentialMonteCarlo(walker(rows=1024), potential, weight, STAGES)
    return list(reweighter.run(range(groups), templates(groups * count)))


def molecules(group: Group) -> list[Sample]:
    """Return the molecules of a finished group: the last step once more, from the states that were kept."""
    return walker(rows=len(group.particles)).finish(group.particles)


def t_statistics(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return (mean over groups - expected) / its standard error, from values (groups, quantities)."""
    error = values.std(0, ddof=1) / math.sqrt(len(values))
    return (values.mean(0) - expected) / error


LIMIT_T = 5.0  # of some ten correct comparisons with 23 degrees of freedom, one in 2,000 is beyond it


def gaussian_t(weight: float = WEIGHT) -> np.ndarray:
    """Return the t statistics of the mean and the second moment of each coordinate under the quadratic score."""
    tau = 1 / (1 / plain_variance() + WEIGHT)
    mean = tau * WEIGHT * WANTED.double().numpy()
    values = []
    for group in run(ByFunction(quadratic), weight):
        places = torch.stack([place_of(one) for one in molecules(group)]).double().numpy()
        values.append(np.concatenate([places.mean(0), ((places - mean) ** 2).mean(0)]))
    return t_statistics(np.array(values), np.concatenate([mean, np.full(3, tau)]))


def categorical_t() -> np.ndarray:
    """Return the t statistics of the share of each class; W = 1."""
    level = CURVE.levels(GRID[-2:-1]).abar("atom_type")
    plain = SHARES @ DIFFUSION.categories["atom_type"].marginal(torch.arange(3), level.expand(3))
    law = plain * torch.tensor(CLASS_SCORES).double().exp()
    law = law / law.sum()
    values = []
    for group in run(ByFunction(by_class), 1.0):
        classes = np.array([int(one.molecules.atom_type[0, 0]) for one in molecules(group)])
        values.append(np.bincount(classes, minlength=3) / len(classes))
    return t_statistics(np.array(values), law.numpy())


def test_a_quadratic_score_makes_the_gaussian_that_it_should() -> None:
    assert np.abs(gaussian_t()).max() < LIMIT_T


def test_classes_have_their_reweighted_shares() -> None:
    assert np.abs(categorical_t()).max() < LIMIT_T


def test_what_has_no_score_is_cut_out_of_the_law() -> None:
    values = []
    for group in run(ByFunction(half_space), 1.0):
        places = torch.stack([place_of(one) for one in molecules(group)])[:, 0].double().numpy()
        assert places.min() > 0.5
        values.append([places.mean()])
    std = math.sqrt(plain_variance())
    z = 0.5 / std
    density, beyond = math.exp(-z * z / 2) / math.sqrt(2 * math.pi), 0.5 * math.erfc(z / math.sqrt(2))
    assert np.abs(t_statistics(np.array(values), np.array([std * density / beyond]))).max() < LIMIT_T


def test_bad_guesses_bias_nothing() -> None:
    """Half-way down everything is scored by nonsense, some of it not at all."""

    class Nonsense(ByFunction):
        def __call__(self, samples: Sequence[Sample], final: bool) -> list[ScoredParticle]:
            if final:
                return super().__call__(samples, final)
            return [ScoredParticle(None if k % 3 == 0 else float(place_of(one)[2])) for k, one in enumerate(samples)]

    tau = 1 / (1 / plain_variance() + WEIGHT)
    mean = tau * WEIGHT * WANTED.double().numpy()
    groups = run(Nonsense(quadratic), WEIGHT)
    values = [torch.stack([place_of(one) for one in molecules(group)]).mean(0).double().numpy() for group in groups]
    assert np.abs(t_statistics(np.array(values), mean)).max() < LIMIT_T


def test_after_the_last_stage_molecules_count_alike_however_little_they_differed() -> None:
    groups = list(SequentialMonteCarlo(walker(), ByFunction(quadratic), 0.01, STAGES).run(range(2), templates(32)))
    for group in groups:
        assert 0.9 * 16 < group.effective[-1] < 16  # too even to be drawn anew before the end
        assert group.resampled == 1
        assert (group.log_weights == 0).all()


def test_a_wrong_sign_is_rejected() -> None:
    assert np.abs(gaussian_t(-WEIGHT)).max() > 1.5 * LIMIT_T


def test_a_potential_that_counts_twice_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    right = SequentialMonteCarlo.weigh

    def forgetful(
        self: SequentialMonteCarlo, group: Group, scored: list[ScoredParticle], stage: ResamplingStep, final: bool
    ) -> None:
        group.guesses = np.zeros_like(group.guesses)
        right(self, group, scored, stage, final)

    monkeypatch.setattr(SequentialMonteCarlo, "weigh", forgetful)
    assert np.abs(gaussian_t()).max() > 1.5 * LIMIT_T
    assert np.abs(categorical_t()).max() > 1.5 * LIMIT_T


def test_weights_that_outlive_a_resampling_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    right = SequentialMonteCarlo.weigh

    def lasting(
        self: SequentialMonteCarlo, group: Group, scored: list[ScoredParticle], stage: ResamplingStep, final: bool
    ) -> None:
        before = group.resampled
        weights = group.log_weights + log_potentials(
            [one.score for one in scored], self.weight * stage.power, group.guesses, final
        )
        right(self, group, scored, stage, final)
        if group.resampled > before:
            group.log_weights = weights

    monkeypatch.setattr(SequentialMonteCarlo, "weigh", lasting)
    assert np.abs(gaussian_t()).max() > 1.2 * LIMIT_T


@pytest.mark.parametrize("name", ["ddpm", "dpmpp_sde", "edm", "sde_pc"])
def test_weight_zero_is_plain_sampling_bit_for_bit(name: str) -> None:
    solver, rows = SOLVERS[name], templates(12)
    plain = sample(exact_denoiser, DIFFUSION, CURVE, stacked(rows), GRID, solver, NoiseSource(3))
    reweighter = SequentialMonteCarlo(walker(solver, rows=4, seed=3), ByFunction(quadratic), 0.0, STAGES)
    groups = list(reweighter.run(range(3), rows))
    found = [one for group in groups for one in reweighter.walker.finish(group.particles)]
    assert all(group.resampled == 0 and group.roots.tolist() == [0, 1, 2, 3] for group in groups)
    for field in FIELDS:
        assert torch.equal(torch.cat([getattr(one.molecules, field) for one in found]), getattr(plain.molecules, field))


class Chosen:
    """Stands for `ancestors_of` and notes who went on at each place."""

    def __init__(self) -> None:
        self.each: list[np.ndarray] = []

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        self.each.append(ancestors_of(counts))
        return self.each[-1]


def replayed(solver: Solver, chosen: list[np.ndarray], ends: list[int], place: int) -> Sample:
    """Walk the way of one final particle alone, with the noise of the places that it passed."""
    places = [place]
    for choice in reversed(chosen):
        places.insert(0, int(choice[places[0]]))
    template = templates(8)[places[0]]
    context = SamplerContext(exact_denoiser, DIFFUSION, CURVE, template.properties, NoiseSource(5))
    times = times_of(GRID, template)
    underway, done = start(context, template, times), 0
    for end, own in zip(ends, places, strict=True):
        molecules = underway.state.molecules.replace(ids=torch.tensor([own]))
        underway = SamplerState(replace(underway.state, molecules=molecules), underway.failed_at)
        underway, done = run_steps(context, underway, times, solver, range(done + 1, min(end, STEPS - 1) + 1)), end
    return finish(context, underway, times)


def memory_error(solver: Solver, monkeypatch: pytest.MonkeyPatch) -> float:
    """Return how far the molecules of a resampled group are from their own walks, angstrom."""
    chosen = Chosen()
    monkeypatch.setattr(smc, "ancestors_of", chosen)
    reweighter = SequentialMonteCarlo(walker(solver, rows=8, seed=5), ByFunction(quadratic), 3.0, STAGES, threshold=1.0)
    (group,) = reweighter.run(range(1), templates(8))
    assert group.resampled == len(chosen.each) == len(STAGES) + 1
    assert len(set(group.roots.tolist())) < 8
    *before, last = chosen.each
    ends = [*(stage.step for stage in STAGES), STEPS]
    alone = [place_of(replayed(solver, before, ends, int(last[place]))) for place in range(8)]
    together = [place_of(one) for one in reweighter.walker.finish(group.particles)]
    return max(float((one - other).abs().max()) for one, other in zip(alone, together, strict=True))


def test_a_whole_state_is_resampled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_error(SOLVERS["dpmpp_sde"], monkeypatch) < 1e-6


def test_a_memory_that_stays_behind_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    right = smc._moved

    def forgetful(particle: SamplerState, number: Tensor) -> SamplerState:
        moved = right(particle, number)
        return replace(moved, state=replace(moved.state, prediction=None, at=None))

    monkeypatch.setattr(smc, "_moved", forgetful)
    assert memory_error(SOLVERS["dpmpp_sde"], monkeypatch) > 1e-3


def test_copies_part(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = (ResamplingStep(5, 1.0),)
    reweighter = SequentialMonteCarlo(walker(rows=8), ByFunction(quadratic), 50.0, stages)
    monkeypatch.setattr(SequentialMonteCarlo, "_samples", stop_before_the_end(SequentialMonteCarlo._samples))
    (group,) = reweighter.run(range(1), templates(8))
    assert len(set(group.roots.tolist())) < 4
    positions = torch.cat([one.state.molecules.pos for one in group.particles])
    assert len(torch.unique(positions, dim=0)) == 8


def stop_before_the_end(right: Callable[..., list[Sample]]) -> Callable[..., list[Sample]]:
    """Let the final stage see samples that all score alike, so that it leaves the particles as they are."""

    def samples(self: SequentialMonteCarlo, groups: list[Group], final: bool) -> list[Sample]:
        found = right(self, groups, final)
        return [found[0]] * len(found) if final else found

    return samples


def test_a_group_does_not_depend_on_its_company() -> None:
    rows = templates(24)
    together = list(SequentialMonteCarlo(walker(), ByFunction(quadratic), 2.0, STAGES).run(range(3), rows))
    for number in range(3):
        alone = SequentialMonteCarlo(walker(rows=5), ByFunction(quadratic), 2.0, STAGES)
        (group,) = alone.run(range(number, number + 1), rows[8 * number : 8 * number + 8])
        assert group.resampled == together[number].resampled > 0
        assert group.roots.tolist() == together[number].roots.tolist()
        for one, other in zip(group.particles, together[number].particles, strict=True):
            assert torch.equal(one.state.molecules.pos, other.state.molecules.pos)
            assert int(one.state.molecules.ids) == int(other.state.molecules.ids)


@pytest.mark.parametrize("stage", [0, 3])
def test_groups_before_a_failure_are_finished(stage: int) -> None:
    class Failing(ByFunction):
        calls = 0

        def __call__(self, samples: Sequence[Sample], final: bool) -> list[ScoredParticle]:
            if any(int(one.molecules.ids) >= 8 for one in samples):
                self.calls += 1
                if self.calls > stage:
                    raise ScoreError("broken")
            return super().__call__(samples, final)

    groups = SequentialMonteCarlo(walker(), Failing(quadratic), 1.0, STAGES).run(range(4), templates(16))
    assert [next(groups).number, next(groups).number] == [0, 1]
    with pytest.raises(ScoreError, match="broken"):
        next(groups)


def test_a_group_without_any_score_is_left_as_it_is() -> None:
    (group,) = SequentialMonteCarlo(walker(), ByFunction(lambda one: None), 1.0, STAGES).run(range(1), templates(8))
    assert group.is_dead
    assert group.roots.tolist() == list(range(8))
    assert group.effective == [8.0, 8.0, 8.0, 0.0]


def test_potentials() -> None:
    last = np.array([0.1, 0.2, 0.3])
    assert log_potentials([1.0, 2.0, -1.0], 3.0, last, False).tolist() == [3.0, 6.0, -3.0]
    assert log_potentials([1.0, None, -2.0], 3.0, last, False).tolist() == [3.0, -1.5, -6.0]
    assert log_potentials([None] * 3, 3.0, last, False).tolist() == last.tolist()
    assert log_potentials([1.0, None, -2.0], 3.0, last, True).tolist() == [3.0, -np.inf, -6.0]
    assert log_potentials([1.0, None, -2.0], 0.0, last, True).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("scores", "weight"), [([1e301, 0.0], 1e300), ([None, -1e301], -1e300), ([1e300, 0.0], 1.5)])
def test_a_weight_that_overflows_is_told(scores: list[float | None], weight: float) -> None:
    worst = next(score for score in scores if score)
    with pytest.raises(ScoreError, match=re.escape(f"the score weight times a score of {worst:g} overflows")):
        log_potentials(scores, weight, np.zeros(2), False)
    assert log_potentials(scores, weight * 1e-308, np.zeros(2), True).max() < 1e300


def test_the_effective_size() -> None:
    assert effective_sample_size(np.log([2.0, 2.0, 2.0])) == pytest.approx(3)
    assert effective_sample_size(np.array([700.0, 700.0, -np.inf, 0.0])) == pytest.approx(2)
    assert effective_sample_size(np.full(3, -np.inf)) == 0.0


def test_systematic_draws_have_exact_means_and_differ_by_less_than_one() -> None:
    weights = np.array([0.0, 0.31, 0.02, 0.4, 0.0, 0.27, 0.0])
    with np.errstate(divide="ignore"):
        logs = np.log(weights) + 400  # only ratios count
    draws = np.array([systematic_resampling(logs, (k + 0.5) / 2000) for k in range(2000)])
    assert (draws.sum(1) == 7).all()
    assert (np.abs(draws - 7 * weights) < 1).all()
    np.testing.assert_allclose(draws.mean(0), 7 * weights, atol=2e-3)
    assert systematic_resampling(np.zeros(6), 0.999).tolist() == [1] * 6


def test_who_is_drawn_stays_and_copies_take_the_places_of_the_others() -> None:
    assert ancestors_of(np.array([0, 3, 1, 0, 2, 0])).tolist() == [1, 1, 2, 1, 4, 4]


def test_rows_come_back_as_they_were() -> None:
    rows = walker().start(templates(3))
    table = stacked(rows)
    assert table.state.prediction is None
    for row, again in zip(rows, rows_of(table), strict=True):
        assert torch.equal(row.state.molecules.pos, again.state.molecules.pos)


def test_a_group_is_drawn_anew_with_a_number_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[float] = []

    def keep(log_weights: np.ndarray, uniform: float) -> np.ndarray:
        numbers.append(uniform)
        return systematic_resampling(log_weights, uniform)

    monkeypatch.setattr(smc, "systematic_resampling", keep)
    list(SequentialMonteCarlo(walker(), ByFunction(quadratic), 3.0, STAGES, threshold=1.0).run(range(2), templates(16)))
    assert len(numbers) == len(set(numbers)) == 2 * (len(STAGES) + 1)


def test_less_memory_means_smaller_micro_batches(caplog: pytest.LogCaptureFixture) -> None:
    def short_of_memory(
        batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None
    ) -> MolPrediction:
        if len(batch) > 2:
            raise torch.OutOfMemoryError("no memory")
        return exact_denoiser(batch, levels, condition, previous)

    rows, poor = templates(7), walker(rows=8)
    poor.denoiser = short_of_memory
    found, expected = (
        poor.run_steps(poor.start(rows), range(1, 3)),
        walker().run_steps(walker().start(rows), range(1, 3)),
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.state.molecules.pos, other.state.molecules.pos)
    assert poor.micro_batches.rows == 2
    assert caplog.text.count("going on with 2 molecules at a time") == 1
