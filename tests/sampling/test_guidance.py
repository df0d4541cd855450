"""Classifier-free guidance: the formula, its proof on a Gaussian toy, and the identities on a real network."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from moldiff.arrays import RawSample
from moldiff.config import CurveConfig
from moldiff.diffusion.joint import JointDiffusion, draw_noise
from moldiff.diffusion.levels import Levels
from moldiff.errors import MoldiffError
from moldiff.models.molecule_model import MoleculeModel, schedule_from_config
from moldiff.molecules import FIELDS, MolBatch, MolPrediction, empty_batch
from moldiff.randomness import NoiseSource
from moldiff.sampling.guidance import Guidance, guidance_for, parse_guidance
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.sampler import sample
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import KarrasGrid

# The toy: two atoms; clean positions are a DIRECTION, a ~ N(y, NARROW) given the property y ~ N(0, BROAD - NARROW).
NARROW, BROAD = 0.3**2, 1.2**2
DIRECTION = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]], dtype=torch.float64) / math.sqrt(2)
CURVE = schedule_from_config(CurveConfig())
SPREAD = 1.7  # angstrom
HALF = torch.full((2,), 0.5, dtype=torch.float64)
DIFFUSION = JointDiffusion({"atom_type": HALF, "charge": HALF, "bond_type": HALF}, torch.tensor([0, 0, 1.2]))
LOGITS = torch.tensor([0.0, 1.0], dtype=torch.float64)


def toy(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
    """The exact denoiser of the toy; logits are LOGITS, plus LOGITS times the property if it is given."""
    given = torch.isfinite(condition[:, 0])
    wanted = torch.where(given, condition[:, 0], 0.0).double()
    spread = torch.where(given, NARROW, BROAD).double()
    a = (batch.pos * DIRECTION).sum((1, 2))
    mean = wanted + spread / (spread + levels.sigma.double() ** 2) * (a - wanted)
    atoms = ((1 + wanted)[:, None, None] * LOGITS).expand(-1, 2, 2)
    bonds = atoms[:, :, None].expand(-1, 2, 2, 2)
    return MolPrediction(mean[:, None, None] * DIRECTION, atoms, atoms, bonds)


def batch(a: list[float], wanted: float) -> MolBatch:
    count = len(a)
    atoms = torch.zeros(count, 2, dtype=torch.int64)
    return MolBatch(
        torch.tensor(a, dtype=torch.float64)[:, None, None] * DIRECTION,
        atoms,
        atoms,
        torch.zeros(count, 2, 2, dtype=torch.int64),
        torch.ones(count, 2, dtype=torch.bool),
        torch.full((count, 1), wanted),
        torch.arange(count),
    )


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_the_guided_denoiser_of_the_toy_is_that_of_the_tilted_gaussian(scale: float, t: float) -> None:
    """p_t(a)^(1 - w) p_t(a | y)^w is Gaussian; Tweedie's formula gives its denoiser."""
    wanted, molecules = 0.7, batch([-2.0, 0.3, 1.9], 0.7)
    levels = CURVE.levels(torch.full((3,), t, dtype=torch.float64))
    prediction = Guidance.of([scale]).wrap(toy)(molecules, levels, molecules.properties, None)
    sigma2 = float(levels.sigma[0]) ** 2
    precision = (1 - scale) / (BROAD + sigma2) + scale / (NARROW + sigma2)
    center = scale * wanted / (NARROW + sigma2) / precision
    a = torch.tensor([-2.0, 0.3, 1.9], dtype=torch.float64)
    expected = a + sigma2 * precision * (center - a)
    found = (prediction.pos * DIRECTION).sum((1, 2))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)
    for field in ("atom_type", "charge", "bond_type"):
        logits = getattr(prediction, field).flatten(0, -2)
        torch.testing.assert_close(logits, ((1 + scale * wanted) * LOGITS).expand_as(logits), rtol=1e-6, atol=1e-7)


def test_the_guided_flow_of_the_toy_ends_where_its_integral_does() -> None:
    """da/dsigma = (a - D) / sigma is linear; for w = 3 its solution from sigma_1 to sigma_0 is elementary.

    a / M with M = (A + s^2)^(w/2) (T + s^2)^((1-w)/2) changes by -w y times the integral of s / ((A + s^2) M) ds. With
    m = (T - A) / (A + s^2), that is -(w/2) y (T - A)^(-1/2) times the difference of (2/3) m^(3/2) + 2 m^(1/2).
    """
    scale, wanted, steps = 3.0, 0.7, 160
    template = batch([0.0, 0.0], wanted)
    grid, states = KarrasGrid(sigma_last=0.01).times(CURVE, steps, SPREAD), []

    def keep(number: int, molecules: MolBatch, prediction: MolPrediction) -> None:
        if number in (1, steps - 1):
            states.append((molecules.pos.double() * DIRECTION).sum((1, 2)))

    guided = Guidance.of([scale]).wrap(toy)
    sample(guided, DIFFUSION, CURVE, template, grid, SOLVERS["ode"], NoiseSource(0), keep)
    first, last = (float(CURVE.levels(grid[k : k + 1]).sigma[0]) for k in (1, steps - 1))

    def factor(sigma: float) -> float:
        return (NARROW + sigma**2) ** (scale / 2) * (BROAD + sigma**2) ** ((1 - scale) / 2)

    def antiderivative(sigma: float) -> float:
        m = (BROAD - NARROW) / (NARROW + sigma**2)
        return (2 / 3 * m**1.5 + 2 * math.sqrt(m)) / math.sqrt(BROAD - NARROW)

    change = scale / 2 * wanted * (antiderivative(last) - antiderivative(first))
    expected = factor(last) * (states[0] / factor(first) + change)
    torch.testing.assert_close(states[1], expected, rtol=2e-3, atol=2e-3)


def test_scales_by_property_are_layers() -> None:
    assert Guidance.of([2, 1]).terms == ((-1, (False, False)), (1, (True, True)), (1, (True, False)))
    assert Guidance.of([2, 2]).terms == ((-1, (False, False)), (2, (True, True)))
    assert Guidance.of([1, 0.25]).terms == ((0.25, (True, True)), (0.75, (True, False)))
    assert Guidance.of([0.5, 0]).terms == ((0.5, (False, False)), (0.5, (True, False)))
    assert [Guidance.of(scales).evaluations for scales in ([0, 0], [1, 1], [0, 1], [2, 2], [2, 1])] == [1, 1, 1, 2, 3]


@pytest.mark.parametrize(
    "scales", [p for k in range(4) for p in itertools.combinations_with_replacement((0, 1, 2.5), k)]
)
def test_coefficients_add_up_to_one_and_weigh_each_property_by_its_scale(scales: tuple[float, ...]) -> None:
    terms = Guidance.of(scales).terms
    assert sum(coefficient for coefficient, _ in terms) == pytest.approx(1)
    assert all(coefficient != 0 for coefficient, _ in terms)
    for place, scale in enumerate(scales):
        assert sum(coefficient for coefficient, given in terms if given[place]) == pytest.approx(scale)


def test_what_is_certain_is_given_to_every_prediction() -> None:
    free, first = (False, False, True), (True, False, True)
    assert Guidance.of([0, 0, 0], [2]).terms == ((1, free),), "one evaluation"
    assert Guidance.of([1, 0, 0], [2]).terms == ((1, first),)
    assert Guidance.of([2, 0, 0], [2]).terms == ((-1, free), (2, first))
    assert Guidance.of([2, 1, 0], [2]).terms == ((-1, free), (1, (True, True, True)), (1, first))


@dataclasses.dataclass(frozen=True)
class Fixed:
    """Nine atoms, logp given or free."""

    logp: float

    def draw(self, numbers: Tensor, source: NoiseSource) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(numbers), 9), np.full((len(numbers), 1), self.logp, dtype=np.float32)


def drawn(model: MoleculeModel, logp: float, guidance: Guidance | None, evaluations: int = 4) -> list[RawSample]:
    molecule_sampler = MoleculeSampler(
        model, SOLVERS["ddpm"], evaluations, 0, condition_sampler=Fixed(logp), guidance=guidance, keep_predictions=True
    )
    return list(molecule_sampler.draw(0, 3))


def same(first: list[RawSample], second: list[RawSample]) -> bool:
    return all(
        one.arrays is not None and other.arrays is not None and bool((one.arrays.pos == other.arrays.pos).all())
        and bool((one.log_probabilities.bond_type == other.log_probabilities.bond_type).all())  # type: ignore[union-attr]
        for one, other in zip(first, second, strict=True)
    )  # fmt: skip


def test_scale_0_is_unguided_bit_for_bit_and_scale_1_plain_conditioning(tiny_model: MoleculeModel) -> None:
    free, conditioned = drawn(tiny_model, math.nan, None), drawn(tiny_model, 2.0, None)
    assert not same(free, conditioned)
    assert same(drawn(tiny_model, 2.0, Guidance.of([0])), free)
    assert same(drawn(tiny_model, 2.0, Guidance.of([1])), conditioned)
    guided = drawn(tiny_model, 2.0, Guidance.of([2.0]), evaluations=8)  # as many steps as the others take
    assert not same(guided, conditioned)


def test_a_guided_prediction_is_the_formula_on_a_network(tiny_model: MoleculeModel) -> None:
    levels = tiny_model.schedule.levels(torch.full((2,), 0.6, dtype=torch.float64))
    template = empty_batch(torch.tensor([9, 7]), torch.arange(2), 12, 1)
    noisy = tiny_model.diffusion.sample_prior(template, levels, draw_noise(NoiseSource(0), template.ids, 0, 12))
    wanted, free = torch.tensor([[2.0], [-1.0]]), torch.full((2, 1), torch.nan)
    previous = tiny_model.denoiser(noisy, levels, wanted, None)
    plain = tiny_model.denoiser(noisy, levels, free, previous)
    conditioned = tiny_model.denoiser(noisy, levels, wanted, previous)
    guided = Guidance.of([2.5]).wrap(tiny_model.denoiser)(noisy, levels, wanted, previous)
    for field in FIELDS:
        u, c = getattr(plain, field), getattr(conditioned, field)
        torch.testing.assert_close(getattr(guided, field), u + 2.5 * (c - u), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(guided.pos, conditioned.pos)


@pytest.mark.parametrize(
    ("evaluations", "scale", "sampler", "real"), [(50, 2.0, "ddpm", 50), (50, 1.0, "ddpm", 50), (51, 0.5, "ddpm", 50),
                                                  (50, 2.0, "ode", 50), (52, 2.0, "ode", 50), (1, 2.0, "ddpm", 2)],
)  # fmt: skip
def test_evaluations_count_every_call(
    tiny_model: MoleculeModel, evaluations: int, scale: float, sampler: str, real: int
) -> None:
    molecule_sampler = MoleculeSampler(tiny_model, SOLVERS[sampler], evaluations, 0, guidance=Guidance.of([scale]))
    assert molecule_sampler.evaluations == real
    calls = []
    count = tiny_model.denoiser.register_forward_hook(lambda *_: calls.append(1))
    if evaluations < 5:
        list(molecule_sampler.draw(0, 1))
        assert len(calls) == real
    count.remove()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.0", 2.0),
        (" .5 ", 0.5),
        ("1e1", 10.0),
        ("logp=2,tpsa=1", {"logp": 2.0, "tpsa": 1.0}),
        ("logp = 2", {"logp": 2.0}),
        ('"Bond,type=2",a b=1', {"Bond,type": 2.0, "a b": 1.0}),
        ("a=b=3", {"a=b": 3.0}),
        ('"logS, exp"=2', {"logS, exp": 2.0}),
        (' "logS, exp" = .5 , tpsa=1', {"logS, exp": 0.5, "tpsa": 1.0}),
        ('tpsa=1,"a,b"=2,"c,d=3"', {"tpsa": 1.0, "a,b": 2.0, "c,d": 3.0}),
        ('"say ""x"", y"=2', {'say "x", y': 2.0}),
        ('"a,b=c"=2', {"a,b=c": 2.0}),
        ('"logp"=2', {"logp": 2.0}),
        ('5" pipe=2', {'5" pipe': 2.0}),
    ],
)
def test_scales_as_users_write_them(text: str, value: object) -> None:
    assert parse_guidance(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "-1", "nan", "logp", "logp=", "=2", "2,logp=1", "logp=1,logp=2", "1,2", "logp=-1", '"a,b"', '"a,b"=',
     '"a,b"=-1', '"a,b"=1,"a,b=2"', '"a,b=2'],
)  # fmt: skip
def test_what_is_no_scale(text: str) -> None:
    with pytest.raises(MoldiffError, match="guidance"):
        parse_guidance(text)


def test_a_name_with_a_comma_is_told_how_it_is_written() -> None:
    with pytest.raises(
        MoldiffError, match=r"guidance 'logS, exp=2': expected .* \(a name with a comma in double quotes\)"
    ):
        parse_guidance("logS, exp=2")


def test_scales_belong_to_targets() -> None:
    conditions = ["logp", "tpsa", "qed"]
    assert guidance_for(2, conditions, ["tpsa"]) == Guidance.of([0, 2, 0])
    assert guidance_for({"tpsa": 3}, conditions, ["tpsa", "qed"]) == Guidance.of([0, 3, 1])
    assert guidance_for(2, conditions, ["tpsa"], ["qed"]) == Guidance.of([0, 2, 0], [2])
    with pytest.raises(MoldiffError, match=r"guidance for 'qed'.*which has no target"):
        guidance_for({"qed": 2}, conditions, ["tpsa"], ["qed"])
    with pytest.raises(MoldiffError, match=r"'tpsb' \(did you mean 'tpsa'\?\), which has no target"):
        guidance_for({"tpsb": 3}, conditions, ["tpsa"])
    for scale in (-1.0, math.inf, math.nan):
        with pytest.raises(MoldiffError, match="from 0 up"):
            guidance_for(scale, conditions, ["tpsa"])
