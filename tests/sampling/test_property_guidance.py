"""Guidance by a property network's gradient: exact laws on toys; symmetries, bounds and identities on a network."""

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from probe import DIRECTION, Probe
from torch import Tensor

from moldiff.arrays import RawSample
from moldiff.config import CurveConfig
from moldiff.diffusion.categorical import CategoricalProcess
from moldiff.diffusion.joint import CATEGORIES, JointDiffusion, draw_noise
from moldiff.diffusion.levels import Levels
from moldiff.diffusion.preconditioning import coefficients
from moldiff.geometry import rotations_from_normals
from moldiff.models.molecule_model import MoleculeModel, schedule_from_config
from moldiff.models.property_model import PropertyModel
from moldiff.molecules import FIELDS, MolBatch, MolPrediction, PropertyPrediction, SoftBatch, empty_batch
from moldiff.randomness import NoiseSource
from moldiff.sampling import property_guidance
from moldiff.sampling.constraints import ConstrainedDenoiser, ElementMask
from moldiff.sampling.guidance import Guidance, GuidedDenoiser
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.property_guidance import Goal, GradientGuidedDenoiser, PropertyGradient
from moldiff.sampling.sampler import sample
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import KarrasGrid
from moldiff.threads import workers_for

CURVE = schedule_from_config(CurveConfig())

# Coordinates. Clean positions are a DIRECTION with a ~ N(0, SPREAD^2), two atoms; the property is y = SLOPE a + noise.
SPREAD, SLOPE, NOISE, WANTED = 1.3, 0.8, 0.6, 1.7
STD = torch.tensor([0, 0, SPREAD], dtype=torch.float64)
HALF = torch.full((2,), 0.5, dtype=torch.float64)
DIFFUSION = JointDiffusion(dict.fromkeys(CATEGORIES, HALF), STD)
BINARY = {"atom_type": 2, "charge": 2, "bond_type": 2}
FREE = {"position_limit": math.inf, "logit_limit": math.inf}


def wiener(levels: Levels) -> Tensor:
    return SPREAD**2 / (SPREAD**2 + levels.sigma.double() ** 2)


def denoise(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
    """The exact denoiser: every direction is like DIRECTION."""
    atoms = torch.zeros(len(batch), 2, 2)
    return MolPrediction(wiener(levels)[:, None, None] * batch.pos, atoms, atoms, torch.zeros(len(batch), 2, 2, 2))


def predict(batch: SoftBatch, levels: Levels) -> PropertyPrediction:
    """The exact p(y | x_t)."""
    c = wiener(levels)
    mean = SLOPE * c * (batch.pos.double() * DIRECTION).sum((1, 2))
    variance = SLOPE**2 * SPREAD**2 * (1 - c) + NOISE**2
    # the toy says nothing of categories, but there must be something to differentiate
    nothing = 0 * (batch.atom_type.sum((1, 2)) + batch.charge.sum((1, 2)) + batch.bond_type.sum((1, 2, 3)))
    return PropertyPrediction((mean + nothing)[:, None], variance.log()[:, None])


def toy_gradient(goal: Goal, scale: float = 1.0) -> PropertyGradient:
    return PropertyGradient(predict, (goal,), BINARY, STD, scale, **FREE)


def template(ids: Tensor, pos: Tensor | None = None) -> MolBatch:
    count = len(ids)
    atoms = torch.zeros(count, 2, dtype=torch.int64)
    return MolBatch(
        torch.zeros(count, 2, 3) if pos is None else pos, atoms, atoms, torch.zeros(count, 2, 2, dtype=torch.int64),
        torch.ones(count, 2, dtype=torch.bool), torch.zeros(count, 0), ids,
    )  # fmt: skip


def law(sampler: str, steps: int) -> tuple[float, float, float]:
    """Return mean and variance of a at the last noise level, and that level: the loop is affine in its noise.

    One molecule for each number that is drawn, and one (-1) without any noise.
    """
    ids = torch.cat([torch.tensor([-1]), torch.arange(steps)])
    grid, states = KarrasGrid(sigma_last=0.01).times(CURVE, steps, SPREAD), []
    guided = toy_gradient(Goal(0, WANTED, WANTED)).wrap(denoise)
    sample(guided, DIFFUSION, CURVE, template(ids), grid, SOLVERS[sampler], Probe(0),
           lambda number, molecules, prediction: states.append(molecules.pos))  # fmt: skip
    a = (states[-2].double() * DIRECTION).sum((1, 2))
    return float(a[0]), float(((a[1:] - a[0]) ** 2).sum()), float(CURVE.levels(grid[-2:-1]).sigma[0])


@pytest.mark.parametrize(("sampler", "steps", "order", "memory"), [("ddpm", 100, 1, 1.0), ("ode", 30, 2, 0.5)])
def test_the_guided_sampler_of_the_toy_draws_from_the_exact_conditional(
    sampler: str, steps: int, order: int, memory: float
) -> None:
    """With ever more steps (extrapolated from two numbers of them), up to what is left of the start, whose law is that
    of y unknown: a share ((V + sigma^2) / (V + sigma_max^2))^memory of it."""
    evidence = SLOPE**2 * SPREAD**2 + NOISE**2
    mean, variance = SPREAD**2 * SLOPE * WANTED / evidence, SPREAD**2 * NOISE**2 / evidence
    (coarse, spread_coarse, sigma), (fine, spread_fine, _) = law(sampler, steps), law(sampler, 2 * steps)
    end, start = variance + sigma**2, variance + CURVE.sigma_max**2
    share = (end / start) ** memory
    left = share**2 * (SPREAD**2 + CURVE.sigma_max**2 - start)
    gain = 2**order
    assert (gain * fine - coarse) / (gain - 1) == pytest.approx(mean * (1 - share), rel=1e-4)
    assert (gain * spread_fine - spread_coarse) / (gain - 1) == pytest.approx(end + left, rel=3e-3)
    assert abs(spread_coarse - end) > 1.5 * abs(spread_fine - end), "the error falls with the steps"


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("tolerance", [0.0, 0.7])
def test_the_guided_denoiser_of_the_toy_is_the_posterior_mean(scale: float, t: float, tolerance: float) -> None:
    """p_t(x) p_t(y | x)^s is Gaussian; with s = 1, Bayes gives its denoiser. A tolerance is noise of y."""
    a = torch.tensor([-2.0, 0.3, 1.9], dtype=torch.float64)
    noisy = template(torch.arange(3), a[:, None, None] * DIRECTION)
    levels = CURVE.levels(torch.full((3,), t, dtype=torch.float64))
    goal = Goal(0, WANTED, WANTED, tolerance)
    guided = toy_gradient(goal, scale).wrap(denoise)(noisy, levels, noisy.properties, None)
    prior, c = SPREAD**2 * (1 - wiener(levels)), wiener(levels)
    gain = prior * SLOPE / (SLOPE**2 * prior + NOISE**2 + tolerance**2)
    expected = c * a + scale * gain * (WANTED - SLOPE * c * a)
    torch.testing.assert_close((guided.pos * DIRECTION).sum((1, 2)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("low", "high"), [(-math.inf, 0.5), (1.0, math.inf), (0.5, 1.2)])
def test_an_interval_moves_the_denoiser_to_the_mean_given_the_interval(low: float, high: float) -> None:
    """E[a | a_t, low <= y <= high] by numerical integration over a and y."""
    a_t = torch.tensor([-2.0, 0.3, 1.9], dtype=torch.float64)
    noisy = template(torch.arange(3), a_t[:, None, None] * DIRECTION)
    levels = CURVE.levels(torch.full((3,), 0.5, dtype=torch.float64))
    guided = toy_gradient(Goal(0, low, high)).wrap(denoise)(noisy, levels, noisy.properties, None)
    prior, c = SPREAD**2 * (1 - wiener(levels)), wiener(levels)
    for row in range(3):
        mean, std = float(c[row] * a_t[row]), float(prior[row].sqrt())
        a = torch.linspace(mean - 9 * std, mean + 9 * std, 20001, dtype=torch.float64)
        ends = (torch.tensor([low, high], dtype=torch.float64)[:, None] - SLOPE * a) / NOISE
        weight = torch.exp(-0.5 * ((a - mean) / std) ** 2) * (torch.special.ndtr(ends[1]) - torch.special.ndtr(ends[0]))
        expected = float((a * weight).sum() / weight.sum())
        assert float((guided.pos[row] * DIRECTION).sum()) == pytest.approx(expected, rel=1e-5, abs=1e-5)


# Categories: independent variables x of K classes with ln p(y | x_0) = FAVOUR[x_0] + ...; everything by enumeration.


@dataclass(frozen=True)
class Additive:
    """A goal whose log-likelihood is what the predictor says."""

    def log_likelihood(self, prediction: PropertyPrediction) -> Tensor:
        return prediction.mean[:, 0]


def chain(prior: list[float], limit: list[float], favour: list[float], steps: int, scale: float = 1.0) -> Tensor:
    """Return the law of one guided variable after a chain of reverse steps and a last draw from the prediction."""
    p, pi, f = (torch.tensor(value, dtype=torch.float64) for value in (prior, limit, favour))
    classes, process = len(p), CategoricalProcess(pi)

    def posterior(levels: Levels) -> Tensor:
        """p(x_0 | x_t), (x_t, x_0)."""
        abar = levels.abar("atom_type")[0]
        joint = p[None, :] * (abar * torch.eye(classes, dtype=torch.float64) + (1 - abar) * pi[:, None])
        return joint / joint.sum(1, keepdim=True)

    def exact(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
        logits = posterior(levels).log()[batch.atom_type]
        bonds = torch.zeros(len(batch), 2, 2, classes, dtype=torch.float64)
        return MolPrediction(batch.pos, logits, torch.zeros_like(logits), bonds)

    def likelihood(batch: SoftBatch, levels: Levels) -> PropertyPrediction:
        """ln p(y | x_t), linear in the unit vectors as for independent variables."""
        h = torch.logsumexp(posterior(levels).log() + f, dim=1)
        nothing = 0 * (batch.pos.sum((1, 2)) + batch.charge.sum((1, 2)) + batch.bond_type.sum((1, 2, 3)))
        value = (batch.atom_type.double() @ h).sum(1) + nothing
        return PropertyPrediction(value[:, None], torch.zeros_like(value)[:, None])

    sizes = dict.fromkeys(CATEGORIES, classes)
    gradient = PropertyGradient(likelihood, (Additive(),), sizes, STD, scale, **FREE)  # type: ignore[arg-type]
    guided = gradient.wrap(exact)
    states = template(torch.arange(classes))
    states = states.replace(atom_type=torch.stack([torch.arange(classes), torch.zeros(classes, dtype=torch.int64)], 1))
    found, times = pi, torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    for t, s in itertools.pairwise(times):
        at, to = (CURVE.levels(time.expand(classes)) for time in (t, s))
        chances = torch.softmax(guided(states, at, states.properties, None).atom_type[:, 0].double(), -1)
        if s > 0:
            there = states.atom_type[:, 0]
            chances = process.posterior(there, chances, at.abar("atom_type"), to.abar("atom_type"))
        found = found @ chances
    return found


def tilted(prior: list[float], favour: list[float]) -> Tensor:
    weights = torch.tensor(prior, dtype=torch.float64) * torch.tensor(favour, dtype=torch.float64).exp()
    return weights / weights.sum()


COMMON = [0.5, 0.3, 0.2]


def test_weak_guidance_of_categories_is_exact_to_first_order() -> None:
    errors = []
    for strength in (0.1, 0.05):
        favour = [0.0, 2 * strength, -strength]
        exact = tilted(COMMON, favour)
        found = chain(COMMON, COMMON, favour, steps=100)
        errors.append(float((found - exact).abs().max()))
        moved = float((exact - torch.tensor(COMMON)).abs().max())
        assert errors[-1] < 0.25 * strength * moved
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2), "what is left is of second order"


def test_strong_guidance_of_categories_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    favour = [0.0, 2.0, -1.0]
    exact = tilted(COMMON, favour)
    assert float((chain(COMMON, COMMON, favour, 100) - exact).abs().max()) < 0.015
    assert torch.allclose(chain(COMMON, COMMON, favour, 100, scale=0), torch.tensor(COMMON).double(), atol=1e-3)
    monkeypatch.setattr(property_guidance, "LEAST_ABAR", 1.0)  # no division by abar
    assert float((chain(COMMON, COMMON, favour, 100) - exact).abs().max()) > 0.1


def test_at_low_noise_the_logits_of_any_variable_move_by_the_log_likelihood() -> None:
    """abar -> 1: p(x_0 | x_t, y) is p(x_0 | x_t) p(y | x_0), whatever its prior and the limit."""
    favour = torch.tensor([0.3, -0.8, 0.5], dtype=torch.float64)

    def likelihood(batch: SoftBatch, levels: Levels) -> PropertyPrediction:
        value = (batch.atom_type.double() @ favour).sum(1)
        value = value + 0 * (batch.pos.sum((1, 2)) + batch.charge.sum((1, 2)) + batch.bond_type.sum((1, 2, 3)))
        return PropertyPrediction(value[:, None], torch.zeros_like(value)[:, None])

    gradient = PropertyGradient(likelihood, (Additive(),), dict.fromkeys(CATEGORIES, 3), STD, 2.0, **FREE)  # type: ignore[arg-type]
    noisy, levels = template(torch.arange(1)), CURVE.levels(torch.zeros(1, dtype=torch.float64))
    atoms = torch.tensor([0.1, 0.2, -0.4], dtype=torch.float64).expand(1, 2, 3)
    plain = MolPrediction(noisy.pos, atoms, atoms, torch.zeros(1, 2, 2, 3))
    found = gradient.steer(noisy, levels, plain).atom_type
    torch.testing.assert_close(found, atoms + 2 * (favour - favour.mean()), rtol=1e-3, atol=1e-3)


# A real network with random weights.

GOALS = (Goal(0, 1.5, 1.5), Goal(1, -math.inf, -0.5))


@pytest.fixture
def noisy(tiny_model: MoleculeModel) -> tuple[MolBatch, Levels]:
    """Two molecules at t = 0.3, padded."""
    levels = tiny_model.schedule.levels(torch.full((2,), 0.3, dtype=torch.float64))
    start = empty_batch(torch.tensor([9, 7]), torch.arange(2), 12, 1)
    return tiny_model.diffusion.sample_prior(start, levels, draw_noise(NoiseSource(0), start.ids, 0, 12)), levels


def gradient_of(model: PropertyModel, scale: float = 1.0, double: bool = False) -> PropertyGradient:
    predictor = copy.deepcopy(model.predictor).double() if double else model.predictor
    return PropertyGradient(predictor, GOALS, model.vocabulary.sizes, predictor.position_std, scale)


def test_gradients_of_the_network_are_finite_differences(
    tiny_property_model: PropertyModel, noisy: tuple[MolBatch, Levels]
) -> None:
    batch, levels = noisy[0].replace(pos=noisy[0].pos.double()), noisy[1]
    pull = gradient_of(tiny_property_model, double=True)
    found, soft, step = pull.gradient(batch, levels), SoftBatch.of(batch, pull.classes), 1e-6

    def slope(direction: dict[str, Tensor]) -> Tensor:
        values = []
        for sign in (1, -1):
            moved = replace(soft, **{name: getattr(soft, name) + sign * step * d for name, d in direction.items()})
            prediction = pull.predictor(moved, levels)
            values.append(sum(goal.log_likelihood(prediction) for goal in GOALS))
        return (values[0] - values[1]) / (2 * step)  # type: ignore[operator, return-value]

    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        direction = torch.randn(batch.pos.shape, generator=generator, dtype=torch.float64) * batch.mask[..., None]
        torch.testing.assert_close(
            slope({"pos": direction}), (found["pos"] * direction).sum((1, 2)), rtol=1e-5, atol=1e-7
        )
    for field in ("atom_type", "charge"):
        one = torch.zeros_like(getattr(soft, field))
        one[:, 4, 0], one[:, 4, 2] = 1, -1  # the difference of two classes: the mean over classes does not matter
        expected = found[field][:, 4, 0] - found[field][:, 4, 2]
        torch.testing.assert_close(slope({field: one}), expected, rtol=1e-5, atol=1e-8)
    bond = torch.zeros_like(soft.bond_type)
    bond[:, 1, 5, 1] = bond[:, 5, 1, 1] = 1
    bond[:, 1, 5, 0] = bond[:, 5, 1, 0] = -1
    expected = found["bond_type"][:, 1, 5, 1] - found["bond_type"][:, 1, 5, 0]
    torch.testing.assert_close(slope({"bond_type": bond}), expected, rtol=1e-5, atol=1e-8)
    assert torch.equal(found["bond_type"], found["bond_type"].transpose(1, 2))
    for field in CATEGORIES:
        mask = batch.pair_mask if field == "bond_type" else batch.mask
        assert not found[field][~mask].any()
        torch.testing.assert_close(found[field].sum(-1), torch.zeros(mask.shape).double(), rtol=0, atol=1e-9)


def test_turning_and_mirroring_the_molecule_turns_the_guided_prediction(
    tiny_model: MoleculeModel, tiny_property_model: PropertyModel, noisy: tuple[MolBatch, Levels]
) -> None:
    batch, levels = noisy[0].replace(pos=noisy[0].pos.double()), noisy[1]
    turn = -rotations_from_normals(torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    denoiser = copy.deepcopy(tiny_model.denoiser).double()
    guided = gradient_of(tiny_property_model, 50.0, double=True).wrap(denoiser)
    condition = torch.full((2, 1), torch.nan)
    with torch.no_grad():
        plain = guided(batch, levels, condition, None)
        moved = batch.replace(pos=(batch.pos @ turn.transpose(1, 2) + 3.0) * batch.mask[..., None])
        turned = guided(moved, levels, condition, None)
        unguided = denoiser(batch, levels, condition, None)
    torch.testing.assert_close(
        turned.pos[batch.mask], (plain.pos @ turn.transpose(1, 2))[batch.mask], atol=1e-8, rtol=0
    )
    torch.testing.assert_close(turned.bond_type[batch.pair_mask], plain.bond_type[batch.pair_mask], atol=1e-8, rtol=0)
    assert not torch.allclose(plain.pos, unguided.pos, atol=1e-3)
    assert float((plain.pos * batch.mask[..., None]).sum(1).abs().max()) < 1e-9, "the centre of mass stays"


def test_steps_are_bounded(
    tiny_model: MoleculeModel, tiny_property_model: PropertyModel, noisy: tuple[MolBatch, Levels]
) -> None:
    batch, levels = noisy
    plain = tiny_model.denoiser(batch, levels, torch.full((2, 1), torch.nan), None)
    plain = plain.replace(pos=torch.zeros_like(plain.pos))
    small, large = (gradient_of(tiny_property_model, scale).steer(batch, levels, plain) for scale in (1e-3, 1e6))
    c_out = coefficients(levels.sigma, tiny_property_model.predictor.position_std, batch.n_atoms).c_out
    shift = (large.pos - plain.pos).norm(dim=-1).amax(1)
    torch.testing.assert_close(shift.double(), property_guidance.POSITION_LIMIT * c_out, rtol=1e-4, atol=1e-6)
    weak = (small.pos - plain.pos)[batch.mask].flatten()
    strong = (large.pos - plain.pos)[batch.mask].flatten()
    per_molecule = [torch.nn.functional.cosine_similarity(weak[a:b], strong[a:b], 0) for a, b in ((0, 27), (27, 48))]
    assert min(map(float, per_molecule)) > 0.99, "a molecule's step keeps its direction"
    for field in CATEGORIES:
        change = (getattr(large, field) - getattr(plain, field)).abs()
        assert float(change.max()) == pytest.approx(property_guidance.LOGIT_LIMIT, rel=1e-4)


def drawn(model: MoleculeModel, gradient: PropertyGradient | None, first: int = 0, count: int = 3) -> list[RawSample]:
    molecule_sampler = MoleculeSampler(
        model, SOLVERS["ddpm"], 4, 0, sizes=(9, 9), gradient=gradient, keep_predictions=True
    )
    return sorted(molecule_sampler.draw(first, count), key=lambda draw: draw.number)


def same(one: RawSample, other: RawSample) -> bool:
    if one.arrays is None or other.arrays is None or one.log_probabilities is None or other.log_probabilities is None:
        return False
    return np.array_equal(one.arrays.pos, other.arrays.pos) and np.array_equal(
        one.log_probabilities.bond_type, other.log_probabilities.bond_type
    )


def test_scale_0_is_unguided_bit_for_bit(tiny_model: MoleculeModel, tiny_property_model: PropertyModel) -> None:
    free, none, pulled = (
        drawn(tiny_model, gradient)
        for gradient in (None, gradient_of(tiny_property_model, 0.0), gradient_of(tiny_property_model, 5.0))
    )
    assert all(map(same, free, none))
    assert not any(map(same, free, pulled))


def test_a_guided_draw_depends_on_neither_batch_nor_threads(
    tiny_model: MoleculeModel, tiny_property_model: PropertyModel
) -> None:
    gradient = gradient_of(tiny_property_model, 5.0)
    together = drawn(tiny_model, gradient, 0, 11)
    assert same(drawn(tiny_model, gradient, 5, 1)[0], together[5])
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with workers_for(torch.device("cpu")) as workers:
            molecule_sampler = MoleculeSampler(
                tiny_model, SOLVERS["ddpm"], 4, 0, sizes=(9, 9), gradient=gradient, keep_predictions=True,
                workers=workers,
            )  # fmt: skip
            beside = sorted(molecule_sampler.draw(0, 11), key=lambda draw: draw.number)
    finally:
        torch.set_num_threads(threads)
    assert all(map(same, together, beside))


def test_the_gradient_stands_on_top_of_guidance_and_beneath_constraints(
    tiny_model: MoleculeModel, tiny_property_model: PropertyModel
) -> None:
    mask = ElementMask(tiny_model.vocabulary.elements, (True, True, False, True))
    molecule_sampler = MoleculeSampler(
        tiny_model, SOLVERS["ddpm"], 4, 0, guidance=Guidance.of([2.0]), constraints=(mask,),
        gradient=gradient_of(tiny_property_model),
    )  # fmt: skip
    assert isinstance(molecule_sampler.denoiser, ConstrainedDenoiser)
    assert isinstance(molecule_sampler.denoiser.denoiser, GradientGuidedDenoiser)
    assert isinstance(molecule_sampler.denoiser.denoiser.denoiser, GuidedDenoiser)
    assert molecule_sampler.evaluations_per_call == 2


def test_the_prediction_moves_towards_the_goal(
    tiny_model: MoleculeModel, tiny_property_model: PropertyModel, noisy: tuple[MolBatch, Levels]
) -> None:
    batch, levels = noisy[0].replace(pos=noisy[0].pos.double()), noisy[1]
    pull = gradient_of(tiny_property_model, double=True)
    soft: Callable[[MolBatch], SoftBatch] = lambda molecules: SoftBatch.of(molecules, pull.classes)  # noqa: E731
    before = sum(goal.log_likelihood(pull.predictor(soft(batch), levels)) for goal in GOALS)
    step = 1e-3 * pull.gradient(batch, levels)["pos"]
    after = sum(
        goal.log_likelihood(pull.predictor(soft(batch.replace(pos=batch.pos + step)), levels)) for goal in GOALS
    )
    assert bool((torch.as_tensor(after) > torch.as_tensor(before)).all())
    assert set(FIELDS) == set(pull.gradient(batch, levels))
