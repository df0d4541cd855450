"""Walks that begin with draws: their grids, and that a walk depends on its draw, its key and its number alone."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from methane import METHANE, METHYL

from moldiff.arrays import MolArrays, RawSample
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.partial_walks import PartialWalks
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS

START = 0.5


def same(one: MolArrays | None, other: MolArrays | None) -> bool:
    assert one is not None
    assert other is not None
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def walked(
    sampler: MoleculeSampler, draws: Sequence[RawSample], walk: int = 1, keys: Sequence[int] | None = None
) -> dict[int, RawSample]:
    return {draw.number: draw for draw in PartialWalks.late(sampler, START).run(draws, walk, keys)}


@pytest.fixture
def molecule_sampler(tiny_model: MoleculeModel) -> MoleculeSampler:
    return MoleculeSampler(tiny_model, SOLVERS["ddpm"], 10, 0, grid=GRIDS["uniform"])


def test_a_late_walk_starts_at_the_last_time_of_the_grid_before_the_start(molecule_sampler: MoleculeSampler) -> None:
    walks = PartialWalks.late(molecule_sampler, 0.35)
    assert walks.grid.tolist() == pytest.approx([0.3, 0.2, 0.1, 0.0])
    assert walks.evaluations == 3
    assert PartialWalks.late(molecule_sampler, 0.01).evaluations == 1


@pytest.mark.parametrize(
    ("solver", "calls", "times", "evaluations"),
    [
        ("ddpm", 5, [0.5, 0.4, 0.3, 0.2, 0.1, 0.0], 5),
        ("edm", 5, [0.5, 0.3, 0.1, 0.0], 5),  # two evaluations a step
        ("edm", 4, [0.5, 0.1, 0.0], 3),
        ("ddpm", 1, [0.5, 0.0], 1),
    ],
)
def test_an_even_walk_ends_at_the_samplers_own_last_level(
    tiny_model: MoleculeModel, solver: str, calls: int, times: list[float], evaluations: int
) -> None:
    ten_steps = 10 if solver == "ddpm" else 19
    sampler = MoleculeSampler(tiny_model, SOLVERS[solver], ten_steps, 0, grid=GRIDS["uniform"])
    walks = PartialWalks.evenly(sampler, 0.5, calls)
    assert walks.grid.tolist() == pytest.approx(times)
    assert walks.evaluations == evaluations


def test_with_next_to_no_noise_the_coordinates_hardly_move(
    tiny_model: MoleculeModel, molecule_sampler: MoleculeSampler
) -> None:
    """Only the preconditioning holds an untrained network to its input, so only small noise is a test."""
    walks = PartialWalks(molecule_sampler, torch.tensor([0.001, 0.0], dtype=torch.float64))
    sigma = float(tiny_model.schedule.levels(walks.grid[:1]).sigma)
    (again,) = walks.run([RawSample(0, METHANE, -1)], 1)
    assert again.arrays is not None
    assert np.abs(again.arrays.pos - METHANE.pos).max() < 6 * sigma


@pytest.mark.parametrize("mates", [0, 3, 9])
def test_a_walk_does_not_depend_on_its_batch(molecule_sampler: MoleculeSampler, mates: int) -> None:
    others = [RawSample(100 + k, METHYL, -1) for k in range(mates)]
    alone = walked(molecule_sampler, [RawSample(7, METHANE, -1)])[7]
    together = walked(molecule_sampler, [*others, RawSample(7, METHANE, -1)])
    assert together.keys() == {7, *(draw.number for draw in others)}
    assert same(alone.arrays, together[7].arrays)


def test_walks_draws_keys_and_seeds_differ(tiny_model: MoleculeModel, molecule_sampler: MoleculeSampler) -> None:
    draw = RawSample(7, METHANE, -1)
    first = walked(molecule_sampler, [draw])[7].arrays
    assert not same(first, walked(molecule_sampler, [draw], 2)[7].arrays)
    assert not same(first, walked(molecule_sampler, [RawSample(8, METHANE, -1)])[8].arrays)
    assert same(first, walked(molecule_sampler, [draw], keys=[7])[7].arrays), "the number is the key by default"
    assert not same(first, walked(molecule_sampler, [draw], keys=[8])[7].arrays)
    other_seed = MoleculeSampler(tiny_model, SOLVERS["ddpm"], 10, 1, grid=GRIDS["uniform"])
    assert not same(first, walked(other_seed, [draw])[7].arrays)


def test_predictions_are_handed_on(tiny_model: MoleculeModel) -> None:
    molecule_sampler = MoleculeSampler(tiny_model, SOLVERS["ddpm"], 4, 0, keep_predictions=True)
    new = walked(molecule_sampler, [RawSample(7, METHANE, -1)])[7]
    assert new.log_probabilities is not None
    assert new.arrays is not None
    assert np.array_equal(new.log_probabilities.atom_type.argmax(-1), new.arrays.atom_type)


def test_a_draw_that_was_not_finite_has_nothing_to_start_from(molecule_sampler: MoleculeSampler) -> None:
    found = walked(molecule_sampler, [RawSample(3, None, 5), RawSample(7, METHANE, -1)], keys=[1, 2])
    assert found.keys() == {7}
    assert same(found[7].arrays, walked(molecule_sampler, [RawSample(7, METHANE, -1)], keys=[2])[7].arrays)
