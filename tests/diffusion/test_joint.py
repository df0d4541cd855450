"""The four fields together: noising, reverse steps and losses of whole padded molecules."""

import dataclasses

import pytest
import torch
from torch import Tensor

from moldiff.diffusion.inpainting import FixedPart, PartialDiffusion, Placement
from moldiff.diffusion.joint import CATEGORIES, JointDiffusion, JointNoise, draw_noise
from moldiff.diffusion.levels import Levels
from moldiff.molecules import FIELDS, MolBatch, MolPrediction
from moldiff.randomness import NoiseSource

LIMITS = {
    "atom_type": torch.tensor([0.5, 0.3, 0.2]),
    "charge": torch.tensor([0.1, 0.8, 0.1]),
    "bond_type": torch.tensor([0.6, 0.3, 0.1]),
}
SIGMA_DATA = torch.tensor([0.0, 0.0, 0.6, 0.8, 1.0, 1.1, 1.2, 1.3, 1.4])
SIZES = torch.tensor([2, 3, 5])
WIDTH = 6


@pytest.fixture
def diffusion() -> JointDiffusion:
    return JointDiffusion(LIMITS, SIGMA_DATA)


def molecules(sizes: Tensor = SIZES, width: int = WIDTH) -> MolBatch:
    """Return molecules whose classes and coordinates follow from atom numbers and so do not depend on the width."""
    number = torch.arange(width)
    mask = number[None] < sizes[:, None]
    both = mask[:, :, None] & mask[:, None, :] & ~torch.eye(width, dtype=torch.bool)
    pos = (
        torch.stack([number.sin(), (2 * number).cos(), 0.5 * number], dim=-1).expand(len(sizes), -1, -1)
        * mask[..., None]
    )
    pos = (pos - pos.sum(1, keepdim=True) / sizes[:, None, None]) * mask[..., None]
    return MolBatch(
        pos=pos,
        atom_type=number.remainder(3) * mask,
        charge=(number + 1).remainder(3) * mask,
        bond_type=(number[:, None] + number[None]).remainder(3) * both,
        mask=mask,
        properties=torch.zeros(len(sizes), 0),
        ids=100 + torch.arange(len(sizes)),
    )


def levels(rows: int, sigma: float = 0.5, logits: tuple[float, float, float] = (0.5, 0.0, -0.5)) -> Levels:
    return Levels(torch.full((rows,), sigma).log(), *(torch.full((rows,), logit) for logit in logits))


def prediction(batch: MolBatch, seed: int = 0) -> MolPrediction:
    """Return random coordinates and logits; bonds symmetric."""
    rows, width = batch.mask.shape
    generator = torch.Generator().manual_seed(seed)
    pos, atom_type, charge = (torch.randn(rows, width, 3, generator=generator) for _ in range(3))
    bonds = torch.randn(rows, width, width, 3, generator=generator)
    return MolPrediction(pos * batch.mask[..., None], atom_type, charge, bonds + bonds.transpose(1, 2))


def assert_well_formed(batch: MolBatch) -> None:
    """Padding is zero, bonds are symmetric without a diagonal, coordinates have no centre of mass."""
    assert float(batch.pos.sum(1).abs().max()) < 1e-4
    assert not any(getattr(batch, field)[~batch.mask].any() for field in ("pos", "atom_type", "charge"))
    assert not batch.bond_type[~batch.pair_mask].any()
    assert torch.equal(batch.bond_type, batch.bond_type.transpose(1, 2))


def test_noisy_molecules_are_well_formed_at_every_step(diffusion: JointDiffusion) -> None:
    clean, source = molecules(), NoiseSource(3)
    at, to = levels(3, 0.5), levels(3, 0.2, (1.5, 1.0, 0.5))
    noise = [draw_noise(source, clean.ids, draw, WIDTH) for draw in range(3)]
    guess = prediction(clean)
    guess = guess.replace(pos=diffusion.pos.sample_prior(torch.ones(3), guess.pos, clean.mask))
    noisy = diffusion.noise(clean, at, noise[0])
    for batch in (
        noisy,
        diffusion.sample_prior(clean, at, noise[1]),
        diffusion.reverse_step(noisy, guess, at, to, noise[2]),
        diffusion.decode(noisy, guess),
    ):
        assert_well_formed(batch)
        assert torch.equal(batch.ids, clean.ids)


def test_each_field_moves_by_its_own_level(diffusion: JointDiffusion) -> None:
    clean = molecules(torch.tensor([6]))
    noise = draw_noise(NoiseSource(1), clean.ids, 0, WIDTH)
    untouched = levels(1, 1e-6, (40.0, 40.0, 40.0))
    for field in FIELDS:
        value = torch.tensor([3.0]).log() if field == "pos" else torch.tensor([-9.0])
        noisy = diffusion.noise(clean, untouched.replace(**{field: value}), noise)
        changed = {name for name in FIELDS if not torch.allclose(getattr(noisy, name), getattr(clean, name), atol=1e-4)}
        assert changed == {field}


def test_reverse_steps_of_categories_are_those_of_their_process(diffusion: JointDiffusion) -> None:
    noisy = molecules()
    guess, at, to = prediction(noisy), levels(3), levels(3, 0.2, (3.0, 2.0, 1.0))
    noise = draw_noise(NoiseSource(5), noisy.ids, 1, WIDTH)
    moved = diffusion.reverse_categories(noisy, guess, at, to, noise)
    assert torch.equal(moved.pos, noisy.pos)
    for field in CATEGORIES:
        process = diffusion.categories[field]
        clean = torch.softmax(getattr(guess, field).double(), -1)
        posterior = process.posterior(getattr(noisy, field), clean, at.abar(field), to.abar(field)).cumsum(-1)
        drawn, u = getattr(moved, field), getattr(noise, field)
        real = noisy.pair_mask if field == "bond_type" else noisy.mask
        upper = posterior.gather(-1, drawn[..., None])[..., 0]
        lower = torch.where(drawn > 0, posterior.gather(-1, (drawn - 1).clamp(min=0)[..., None])[..., 0], 0)
        assert bool(((lower <= u) & (u <= upper))[real].all())


def test_the_prior_is_as_wide_as_noisy_data(diffusion: JointDiffusion) -> None:
    template = molecules(torch.full((4000,), 4), 4)
    template = template.replace(ids=torch.arange(4000))
    end = levels(4000, 2.0)
    prior = diffusion.sample_prior(template, end, draw_noise(NoiseSource(0), template.ids, 0, 4))
    variance = float((prior.pos**2).sum() / (4000 * 3 * 3))  # 3 (N - 1) degrees of freedom
    assert variance == pytest.approx(2.0**2 + 1.0**2, rel=0.03)
    for field in CATEGORIES:
        real = template.pair_mask if field == "bond_type" else template.mask
        share = torch.bincount(getattr(prior, field)[real], minlength=3) / real.sum()
        assert torch.allclose(share, LIMITS[field], atol=0.02)


def loss_by_hand(clean: MolBatch, level: Levels, guess: MolPrediction) -> dict[str, Tensor]:
    """Return the losses with loops over atoms and unordered pairs."""
    result: dict[str, list[float]] = {field: [] for field in FIELDS}
    for row, n in enumerate(clean.n_atoms.tolist()):
        sigma, data = float(level.sigma[row]), float(SIGMA_DATA[n])
        weight = (sigma**2 + data**2) / (sigma * data) ** 2
        result["pos"].append(
            sum(float(((guess.pos[row, i] - clean.pos[row, i]) ** 2).mean()) for i in range(n)) * weight / n
        )
        for field in ("atom_type", "charge"):
            logits, truth = getattr(guess, field)[row], getattr(clean, field)[row]
            result[field].append(-sum(float(torch.log_softmax(logits[i], -1)[truth[i]]) for i in range(n)) / n)
        pairs = [(i, j) for j in range(n) for i in range(j)]
        log_p = torch.log_softmax(guess.bond_type[row], -1)
        result["bond_type"].append(-sum(float(log_p[i, j, clean.bond_type[row, i, j]]) for i, j in pairs) / len(pairs))
    return {field: torch.tensor(values) for field, values in result.items()}


def test_losses_are_means_per_atom_and_per_unordered_pair(diffusion: JointDiffusion) -> None:
    clean = molecules()
    guess = prediction(clean)
    found, expected = diffusion.loss(clean, levels(3), guess), loss_by_hand(clean, levels(3), guess)
    assert list(found) == list(FIELDS)
    for field in FIELDS:
        assert torch.allclose(found[field], expected[field], rtol=1e-5)


def test_losses_do_not_depend_on_padding_or_batch_mates(diffusion: JointDiffusion) -> None:
    clean = molecules()
    guess = prediction(clean)
    together = diffusion.loss(clean, levels(3), guess)
    # garbage in the padding, a poisoned mate
    garbage = guess.replace(
        atom_type=guess.atom_type.masked_fill(~clean.mask[..., None], 1e3),
        bond_type=guess.bond_type.masked_fill(~clean.pair_mask[..., None], 1e3),
        pos=guess.pos.index_fill(0, torch.tensor([1]), torch.nan),
    )
    poisoned = diffusion.loss(clean, levels(3), garbage)
    for field in FIELDS:
        assert torch.equal(poisoned[field][[0, 2]], together[field][[0, 2]])
    assert bool(torch.isnan(poisoned["pos"][1]))
    wide = molecules(width=8)
    padded = MolPrediction(
        **{
            field: torch.nn.functional.pad(getattr(guess, field), (0, 0, *[0, 2] * (2 if field == "bond_type" else 1)))
            for field in FIELDS
        }
    )
    for field, value in diffusion.loss(wide, levels(3), padded).items():
        assert torch.allclose(value, together[field], rtol=1e-6)


def test_a_single_atom_has_finite_losses(diffusion: JointDiffusion) -> None:
    table = SIGMA_DATA.clamp(min=0.5)
    clean = molecules(torch.tensor([1]), 2)
    losses = JointDiffusion(LIMITS, table).loss(clean, levels(1), prediction(clean))
    assert all(bool(torch.isfinite(value).all()) for value in losses.values())
    assert float(losses["bond_type"]) == 0


def test_noise_of_different_fields_is_independent() -> None:
    noise = draw_noise(NoiseSource(0), torch.arange(2000), 0, 5)
    above = torch.triu_indices(5, 5, offset=1)
    columns = torch.cat(
        [noise.pos.flatten(1), noise.atom_type, noise.charge, noise.bond_type[:, above[0], above[1]]], dim=1
    )
    correlation = torch.corrcoef(columns.T) - torch.eye(columns.shape[1])
    assert float(correlation.abs().max()) < 5 / 2000**0.5
    assert [field.name for field in dataclasses.fields(JointNoise)] == list(FIELDS)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_categories_are_drawn_from_the_predictions_power(temperature: float) -> None:
    """From pure noise to clean in one step, the posterior is the prediction: its share of every class is known."""
    rows, law = 20_000, torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    process = JointDiffusion(LIMITS, SIGMA_DATA).at_temperature(temperature)
    even = (torch.arange(rows) + 0.5) / rows
    pairs = even[:, None, None].expand(-1, 2, 2)
    noise = JointNoise(torch.zeros(rows, 2, 3), *(even[:, None].expand(-1, 2) for _ in range(2)), pairs)
    batch = molecules(torch.full((rows,), 2), 2)
    logits = law.log().expand(rows, 2, 3)
    guess = MolPrediction(batch.pos, logits, logits, law.log().expand(rows, 2, 2, 3))
    at, to = (levels(rows, logits=(logit,) * 3) for logit in (-40.0, 40.0))
    drawn = process.reverse_step(batch, guess, at, to, noise)
    expected = law ** (1 / temperature) / (law ** (1 / temperature)).sum()
    for field in CATEGORIES:
        values = getattr(drawn, field)[:, 0] if field != "bond_type" else drawn.bond_type[:, 0, 1]
        shares = torch.bincount(values, minlength=3) / rows
        torch.testing.assert_close(shares.double(), expected, atol=2 / rows, rtol=0)
    assert torch.equal(process.decode(batch, guess).atom_type, torch.zeros(rows, 2, dtype=torch.int64))


def test_a_temperature_stays_where_the_process_goes(diffusion: JointDiffusion) -> None:
    cooler = diffusion.at_temperature(0.5)
    assert (diffusion.temperature, cooler.temperature, cooler.to(torch.device("cpu")).temperature) == (1.0, 0.5, 0.5)
    known = FixedPart(torch.zeros(1, 3), *(torch.zeros(1, dtype=torch.int64) for _ in range(2)),
                      torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 3), torch.zeros(1, 3),
                      torch.zeros(1, dtype=torch.int64))  # fmt: skip
    assert PartialDiffusion(cooler, known, Placement(), 15.0).temperature == 0.5
    clean, source = molecules(), NoiseSource(3)
    noise, guess = draw_noise(source, clean.ids, 1, WIDTH), prediction(clean)
    at, to = levels(3), levels(3, 0.2, (1.5, 1.0, 0.5))
    warm, cool = (process.reverse_step(clean, guess, at, to, noise) for process in (diffusion, cooler))
    assert torch.equal(warm.pos, cool.pos)
    assert not torch.equal(warm.bond_type, cool.bond_type)
