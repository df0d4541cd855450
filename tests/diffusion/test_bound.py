"""The bound as a whole, on a law of molecules whose exact likelihood and exact denoiser are known."""

import math

import pytest
import torch
from torch import Tensor

from moldiff.config import CurveConfig
from moldiff.diffusion import bound
from moldiff.diffusion.bound import BoundSettings, bound_terms, size_nats
from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.diffusion.joint import CATEGORIES, JointDiffusion
from moldiff.diffusion.levels import Levels
from moldiff.errors import MoldiffError
from moldiff.geometry import center
from moldiff.models.molecule_model import MoleculeModel, schedule_from_config
from moldiff.molecules import FIELDS, MolBatch, MolPrediction
from moldiff.randomness import NoiseSource

ATOMS, WIDTH, ROWS = 3, 4, 400
SPREAD = 1.3  # angstrom
LAWS = {
    "atom_type": torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
    "charge": torch.tensor([0.9, 0.1], dtype=torch.float64),
    "bond_type": torch.tensor([0.6, 0.4], dtype=torch.float64),
}
DIFFUSION = JointDiffusion({field: torch.full_like(law, 1 / len(law)) for field, law in LAWS.items()},
                           torch.full((WIDTH + 1,), SPREAD))  # fmt: skip
CURVE = schedule_from_config(CurveConfig())


class ExactDenoiser:
    """The posterior mean of normal coordinates, and Bayes' rule for variables that are independent of each other."""

    def __init__(self) -> None:
        self.previous: list[MolPrediction | None] = []

    def __call__(
        self, batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None
    ) -> MolPrediction:
        self.previous.append(previous)
        slope = SPREAD**2 / (SPREAD**2 + levels.sigma**2)
        logits = {}
        for field in CATEGORIES:
            every = torch.arange(len(LAWS[field])).expand(len(batch), -1)
            joint = LAWS[field][:, None] * DIFFUSION.categories[field].marginal(every, levels.abar(field))
            rows = torch.arange(len(batch)).reshape(-1, *[1] * (getattr(batch, field).dim() - 1))
            logits[field] = joint.transpose(1, 2)[rows, getattr(batch, field)].log()
        return MolPrediction(pos=slope[:, None, None] * batch.pos, **logits)


def molecules(rows: int = ROWS, width: int = WIDTH) -> MolBatch:
    """One molecule of float64 coordinates, many times."""
    pos = torch.zeros(width, 3, dtype=torch.float64)
    pos[:ATOMS] = torch.tensor([[1.1, 0.2, -0.4], [-0.3, -1.5, 0.7], [-0.8, 1.3, -0.3]], dtype=torch.float64)
    mask = torch.arange(width) < ATOMS
    bond = torch.zeros(width, width, dtype=torch.int64)
    bond[0, 1] = bond[1, 0] = 1
    one = MolBatch(
        pos=center(pos[None], mask[None]),
        atom_type=torch.tensor([[0, 2, 1, 0, 0, 0]])[:, :width] * mask,
        charge=torch.tensor([[0, 1, 0, 0, 0, 0]])[:, :width] * mask,
        bond_type=bond[None],
        mask=mask[None],
        properties=torch.zeros(1, 0),
        ids=torch.zeros(1, dtype=torch.int64),
    )
    return one[torch.zeros(rows, dtype=torch.int64)].replace(ids=torch.arange(rows))


def exact_nats() -> dict[str, float]:
    """Return the exact -ln p of the molecule's fields."""
    one = molecules(1)
    nats = {"pos": 0.5 * float((one.pos**2).sum()) / SPREAD**2 + 1.5 * (ATOMS - 1) * math.log(2 * math.pi * SPREAD**2)}
    for field in ("atom_type", "charge"):
        nats[field] = -float(LAWS[field][getattr(one, field)[0, :ATOMS]].log().sum())
    nats["bond_type"] = -float(LAWS["bond_type"][torch.tensor([1, 0, 0])].log().sum())
    return nats


def estimate(settings: BoundSettings, diffusion: JointDiffusion = DIFFUSION) -> dict[str, tuple[float, float]]:
    """Return field -> (mean over rows and repeats, its standard error)."""
    found = bound_terms(ExactDenoiser(), diffusion, CURVE, molecules(), settings, NoiseSource(0))
    assert all(value.shape == (ROWS, settings.repeats) for value in found.values())
    flat = {field: value.flatten() for field, value in found.items()}
    return {field: (float(v.mean()), float(v.std() / math.sqrt(len(v)))) for field, v in flat.items()}


def excess(settings: BoundSettings, diffusion: JointDiffusion = DIFFUSION) -> dict[str, tuple[float, float]]:
    exact = exact_nats()
    return {field: (mean - exact[field], error) for field, (mean, error) in estimate(settings, diffusion).items()}


def fields_off(settings: BoundSettings, diffusion: JointDiffusion = DIFFUSION) -> set[str]:
    """Return the fields whose estimate is not between the exact -ln p and 0.12 nats more, give or take 5 errors."""
    found = excess(settings, diffusion)
    return {field for field, (more, error) in found.items() if not -5 * error - 1e-3 < more < 0.12 + 5 * error}


SETTINGS = BoundSettings(steps=1000, evaluations=41, repeats=2)


def test_the_bound_is_a_little_above_the_exact_likelihood() -> None:
    found = excess(SETTINGS)
    assert fields_off(SETTINGS) == set()
    assert max(error for _, error in found.values()) < 0.2  # so that the test above says something


def test_the_bound_falls_towards_the_exact_likelihood_with_more_steps() -> None:
    gaps = [excess(BoundSettings(steps, min(steps + 1, 41), 2))["pos"] for steps in (10, 40, 1000)]
    assert gaps[0][0] > gaps[1][0] + 5 * gaps[0][1] > gaps[2][0] + 5 * gaps[1][1]
    # one variable at a time is exact at any number of steps
    assert fields_off(BoundSettings(3, 4, 4)) & set(CATEGORIES) == set()


def test_a_sample_of_the_steps_estimates_the_sum_of_all() -> None:
    all_steps, some = estimate(BoundSettings(40, 41, 2)), estimate(BoundSettings(40, 8, 8))
    for field in FIELDS:
        (whole, error), (sampled, other) = all_steps[field], some[field]
        assert abs(whole - sampled) < 5 * math.hypot(error, other), field


class AllCoordinates(GaussianProcess):
    """3 N dimensions in place of 3 (N - 1)."""

    def reconstruction_nll(self, x_0: Tensor, prediction: Tensor, sigma: Tensor, mask: Tensor) -> Tensor:
        return super().reconstruction_nll(x_0, prediction, sigma, mask) + 1.5 * torch.log(2 * torch.pi * sigma**2)


def test_a_wrong_number_of_dimensions_is_noticed() -> None:
    mutant = JointDiffusion({f: p.limit for f, p in DIFFUSION.categories.items()}, DIFFUSION.position_std)
    mutant.pos = AllCoordinates()
    assert fields_off(SETTINGS, mutant) == {"pos"}


def _pairs_twice(values: Tensor, field: str, batch: MolBatch) -> Tensor:
    return torch.where(batch.pair_mask if field == "bond_type" else batch.mask, values, 0).flatten(1).sum(1)


def test_pairs_counted_twice_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "_sum", _pairs_twice)
    assert fields_off(SETTINGS) == {"bond_type"}


def test_padding_does_not_count() -> None:
    settings = BoundSettings(10, 5, 1)
    narrow, wide = (
        bound_terms(ExactDenoiser(), DIFFUSION, CURVE, molecules(4, width), settings, NoiseSource(0))
        for width in (ATOMS, ATOMS + 3)
    )
    for field in FIELDS:
        assert torch.allclose(narrow[field], wide[field], rtol=0, atol=1e-9), field


class OneForAll(BoundSettings):
    """Each sampled step counts once, not for its stratum."""

    def strata(self) -> list[tuple[int, int]]:
        return [(first, 1) for first, _ in super().strata()]


class LastLeftOut(BoundSettings):
    """The strata do not cover the steps."""

    def strata(self) -> list[tuple[int, int]]:
        return super().strata()[:-1]


@pytest.mark.parametrize("mutant", [OneForAll, LastLeftOut])
def test_steps_counted_wrongly_are_noticed(mutant: type[BoundSettings]) -> None:
    assert "pos" in fields_off(mutant(1000, 41, 2))


@pytest.mark.parametrize("settings", [BoundSettings(), BoundSettings(7, 3, 1), BoundSettings(5, 6, 1)])
def test_strata_cover_every_step_once(settings: BoundSettings) -> None:
    steps = [step for first, count in settings.strata() for step in range(first, first + count)]
    assert steps == list(range(settings.steps))
    assert len(settings.strata()) == settings.evaluations - 1


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"evaluations": 1}, {"steps": 4, "evaluations": 6}, {"repeats": 0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(MoldiffError):
        BoundSettings(**wrong)


def test_the_chain_of_the_bound_has_no_memory() -> None:
    denoiser = ExactDenoiser()
    settings = BoundSettings(10, 4, 2)
    bound_terms(denoiser, DIFFUSION, CURVE, molecules(2), settings, NoiseSource(0))
    assert denoiser.previous == [None] * 8


def test_an_estimate_depends_on_seed_and_id_not_on_its_batch(tiny_model: MoleculeModel) -> None:
    batch = molecules(4).replace(pos=molecules(4).pos.float(), properties=torch.full((4, 1), torch.nan))
    settings = BoundSettings(20, 3, 2)

    def terms(some: MolBatch, seed: int = 0) -> dict[str, Tensor]:
        model = tiny_model
        return bound_terms(model.denoiser, model.diffusion, model.schedule, some, settings, NoiseSource(seed))

    whole, other = terms(batch), terms(batch, seed=1)
    for row in range(4):
        alone = terms(batch[row : row + 1])
        for field in FIELDS:
            assert torch.allclose(alone[field][0], whole[field][row], rtol=1e-5, atol=1e-4), field
            assert not torch.equal(whole[field][row], other[field][row])
    assert len({float(value) for value in whole["pos"].flatten()}) == 8


def test_sizes_cost_their_surprise() -> None:
    assert size_nats({3: 1, 5: 3}, 5) == pytest.approx(-math.log(0.75))
    assert size_nats({3: 1, 5: 3}, 4) == math.inf
