"""Training of the built-in model on a card: its steps, its law of conditions."""

import copy

import torch
from script import load_script

from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import MolBatch, empty_batch

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
