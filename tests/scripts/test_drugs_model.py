"""Training of the built-in model on a card: the same network, the same optimiser, one law of conditions."""

import copy

import torch
from script import load_script

from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import MolBatch, MolPrediction, empty_batch

fast = load_script("drugs_model/fast_network")
trainer = load_script("drugs_model/trainer")


def noisy(model: MoleculeModel, rows: int = 3, width: int = 12) -> MolBatch:
    generator = torch.Generator().manual_seed(1)
    batch = empty_batch(torch.tensor([5, 9, 12])[:rows], torch.arange(rows), width, 1)
    kinds = {
        name: torch.randint(size, batch.mask.shape, generator=generator) * batch.mask
        for name, size in model.vocabulary.sizes.items()
        if name != "bond_type"
    }
    bonds = torch.randint(5, (rows, width, width), generator=generator).triu(1)
    pos = torch.randn(rows, width, 3, generator=generator) * batch.mask[..., None]
    return batch.replace(
        pos=pos, **kinds, bond_type=(bonds + bonds.mT) * batch.pair_mask, properties=torch.zeros(rows, 1)
    )


def outcome(model: MoleculeModel, batch: MolBatch) -> tuple[MolPrediction, list[torch.Tensor]]:
    levels = model.schedule.levels(torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64))
    first = model.denoiser(batch, levels, batch.properties, None)
    second = model.denoiser(batch, levels, batch.properties, first.detach())
    parts = [getattr(second, name) for name in ("pos", "atom_type", "charge", "bond_type")]
    gradients = torch.autograd.grad(sum((part**2).sum() for part in parts), list(model.denoiser.parameters()))
    return second.detach(), list(gradients)


def test_fast_layers_are_the_layers(tiny_model: MoleculeModel) -> None:
    model = copy.deepcopy(tiny_model)
    model.denoiser.requires_grad_(True)
    batch = noisy(model)
    plain, slopes = outcome(model, batch)
    with fast.fast_layers(compiled=False):
        quick, others = outcome(model, batch)
        with fast.plain_layers():
            again, _ = outcome(model, batch)
    after, _ = outcome(model, batch)
    for name in ("pos", "atom_type", "charge", "bond_type"):
        wanted = getattr(plain, name)
        torch.testing.assert_close(getattr(quick, name), wanted, rtol=1e-4, atol=1e-5)
        assert torch.equal(getattr(again, name), wanted)
        assert torch.equal(getattr(after, name), wanted)
    for slope, other in zip(slopes, others, strict=True):
        assert (slope - other).norm() <= 1e-4 * slope.norm() + 1e-6


def test_muon_is_that_of_torch() -> None:
    torch.manual_seed(0)
    shapes = [(8, 12), (12, 8), (8, 12), (6, 6)]
    ours, theirs = ([torch.nn.Parameter(torch.ones(shape)) for shape in shapes] for _ in range(2))
    mine = trainer.Muon(ours, torch.tensor(0.01))
    reference = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        mine.step()
        reference.step()
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() < 0.06 * (other - 1).norm()  # both orthogonalise in bfloat16


def test_steps_lower_the_loss_and_count_by_source(tiny_model: MoleculeModel) -> None:
    torch.manual_seed(0)
    model = copy.deepcopy(tiny_model)
    training = trainer.Trainer(model, 3, ("a", "b"), ema=0.9, graphs=False)
    clean = noisy(model)
    losses = []
    for number in range(60):
        training.set_step("a" if number % 2 else "b", (3e-3, 3e-3), 1.0)
        training.step_on_data(clean, bool(number % 3))
        if number % 20 == 19:
            found = training.read()
            assert found.keys() == {"a", "b"}
            losses.append(sum(found["a"][1:4]))
    assert losses[-1] < 0.8 * losses[0]
    with training.averaged():
        assert torch.equal(training.parameters[0], training.average[0])
    assert not torch.equal(training.parameters[0], training.average[0])


def test_conditions_are_none_few_or_many(tiny_model: MoleculeModel) -> None:
    torch.manual_seed(0)
    training = trainer.Trainer(copy.deepcopy(tiny_model), 20_000, ("a",), ema=0.9, graphs=False)
    batch = empty_batch(torch.full((20_000,), 5), torch.arange(20_000), 5, 8).replace(properties=torch.ones(20_000, 8))
    given = torch.isfinite(training._condition(batch)).sum(1)
    counts = torch.bincount(given, minlength=9) / len(given)
    many = torch.distributions.Binomial(8, torch.tensor(0.5)).log_prob(torch.arange(9.0)).exp()
    wanted = 0.3 * many
    wanted[0] += 0.4
    wanted[1:3] += 0.15
    torch.testing.assert_close(counts, wanted, rtol=0, atol=0.015)
