"""Training of the built-in model on a card: its steps, its law of conditions."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from script import load_script

from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import MolBatch, empty_batch

trainer, own_draws = load_script("drugs_model/trainer"), load_script("drugs_model/own_draws")


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
        training.set_step("a" if number % 2 else "b", (3e-3, 3e-3), (1.0, 1.0))
        training.step_on_data(clean, bool(number % 3))
        if number % 20 == 19:
            found = training.read()
            assert found.keys() == {"a", "b"}
            losses.append(sum(found["a"][1:4]))
    assert losses[-1] < 0.8 * losses[0]
    with training.averaged():
        assert torch.equal(training.parameters[0], training.average[0])
    assert not torch.equal(training.parameters[0], training.average[0])
    kept, names = training.weights_of_average(), [name for name, _ in model.denoiser.named_parameters()]
    assert kept.keys() == model.denoiser.state_dict().keys()
    for name, average in zip(names, training.average, strict=True):
        assert torch.equal(kept[name], average.half())


def test_coordinates_of_no_weight_teach_nothing(tiny_model: MoleculeModel) -> None:
    after = {}
    for shift in (0.0, 1.0):
        for positions in ((0.0, 0.0), (1.0, 1.0)):
            torch.manual_seed(0)
            training = trainer.Trainer(copy.deepcopy(tiny_model), 3, ("a",), ema=0.9, graphs=False)
            clean = noisy(tiny_model)
            moved = clean.replace(pos=clean.pos + shift * clean.pos.roll(1, 1) * clean.mask[..., None])
            levels = training.model.schedule.levels(torch.full((3,), 0.5))
            prediction = training.model.denoiser(clean, levels, clean.properties, None)
            training.set_step("a", (3e-3, 3e-3), positions)
            training.step_on_states(moved, clean, torch.full((3,), 0.5).double(), prediction)
            after[shift, positions] = torch.cat([value.flatten() for value in training.parameters])
            assert training.read()["a"][0] > 0
    assert torch.equal(after[0.0, (0.0, 0.0)], after[1.0, (0.0, 0.0)])
    assert not torch.equal(after[0.0, (1.0, 1.0)], after[1.0, (1.0, 1.0)])


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


def test_a_walk_left_at_a_state_has_its_states_before_and_others_behind(tiny_model: MoleculeModel) -> None:
    torch.manual_seed(0)
    training = trainer.Trainer(copy.deepcopy(tiny_model), 3, ("a",), ema=0.9, graphs=False)
    walker = own_draws.Walker(training, (12,))
    sizes = np.array([5, 9, 12, 7, 11])
    walks = walker.walk(own_draws.Wanted(sizes, np.full((5, 1), np.nan, dtype=np.float32)), 8, True)
    rows = np.array([4, 1, 3, 0])
    anew = walker.walk_anew(walks, {12: rows}, 8, np.random.default_rng(1))[12]
    assert anew.n_atoms.tolist() == sizes[rows].tolist()
    before = walks[12]
    assert [len(values) for values in anew.states] == [len(values) for values in before.states]
    for number, row in enumerate(rows):
        same = [
            torch.equal(one[:, number], other[:, row]) for one, other in zip(anew.states, before.states, strict=True)
        ]
        assert not all(same)
        kept = [torch.equal(anew.states[0][k, number], before.states[0][k, row]) for k in range(len(before.states[0]))]
        left = kept.index(False)
        assert left >= 1 and not any(kept[left:])
        assert not torch.equal(anew.pos[number], before.pos[row])
    together = own_draws.joined([before, anew])
    assert len(together.n_atoms) == len(together.pos) == together.states[0].shape[1] == 9


def test_a_walk_left_at_a_state_goes_on_as_the_walk_itself_with_its_noise(
    tiny_model: MoleculeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = trainer.Trainer(copy.deepcopy(tiny_model), 3, ("a",), ema=0.9, graphs=False)
    walker, noise, step = own_draws.Walker(training, (12,)), list[torch.Tensor](), own_draws.Walker._step

    def watched(self: Any, *arguments: Any) -> Any:
        noise.append(torch.get_rng_state())
        return step(self, *arguments)

    monkeypatch.setattr(own_draws.Walker, "_step", watched)
    wanted = own_draws.Wanted(np.array([5, 9, 12]), np.full((3, 1), np.nan, dtype=np.float32))
    walks = walker.walk(wanted, 8, True)[12]
    for left in (0, 2, 4):
        torch.set_rng_state(noise[left + 1])
        again = walker._walk_from(walks, np.arange(3), 12, walker.grid(8), left)
        for one, other in zip([again.pos, *again.states], [walks.pos, *walks.states], strict=True):
            torch.testing.assert_close(one, other, atol=5e-3, rtol=5e-3)  # logits are kept in half precision
