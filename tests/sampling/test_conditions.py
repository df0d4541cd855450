"""Sizes and conditions of draws: together as in training, the wanted values exactly, the same in any batch."""

import numpy as np
import pytest
import torch

from moldiff.config import TrainingConfig
from moldiff.randomness import NoiseSource
from moldiff.sampling.conditions import (
    BANDWIDTH,
    LEAST_ROWS,
    PinnedConditionSampler,
    TargetConditionSampler,
    UnconditionalSampler,
    kernel_weights,
)
from moldiff.scoring.targets import parse_target
from moldiff.training.on_policy.collect import TrainingConditionSampler

CONDITIONS = ["logp", "gap", "tpsa"]
STD = np.array([1.0, 2.0, 20.0])
NUMBERS = torch.arange(4000)


def rows() -> np.ndarray:
    """Return 3,000 molecules of 10 to 29 atoms: logp grows with size, gap falls with it, tpsa is partly unknown."""
    generator = np.random.default_rng(0)
    n = generator.integers(10, 30, size=3000)
    logp = (n - 20) / 5 + 0.1 * generator.standard_normal(3000)
    gap = 20 - 0.5 * n + 0.2 * generator.standard_normal(3000)
    tpsa = np.where(n % 2 == 0, 3.0 * n, np.nan)
    return np.stack([n, logp, gap, tpsa], axis=1)


def starts(*words: str, allowed: tuple[int, int] | None = None) -> TargetConditionSampler:
    counts = {int(n): 1 for n in range(10, 30)}
    return TargetConditionSampler([parse_target(word) for word in words], CONDITIONS, rows(), STD, counts, allowed)


def draw(made: TargetConditionSampler | UnconditionalSampler, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return made.draw(NUMBERS, NoiseSource(seed))


def test_a_value_is_given_exactly_and_sizes_are_those_of_molecules_near_it() -> None:
    sizes, conditions = draw(starts("logp=1"))
    assert (conditions[:, 0] == 1).all()
    assert np.isnan(conditions[:, 1:]).all()
    # size = 20 + 5 logp, give or take the kernel (0.25 standard deviations of 1) and the noise (0.1)
    assert abs(sizes.mean() - 25) < 0.1
    assert abs(sizes.std() - 5 * np.hypot(BANDWIDTH, 0.1)) < 0.2


def test_the_kernel_is_in_standard_deviations() -> None:
    sizes, _ = draw(starts("gap=10"))
    assert abs(sizes.mean() - 20) < 0.3
    assert abs(sizes.std() - 2 * np.hypot(BANDWIDTH * STD[1], 0.2)) < 0.2


def test_a_range_gives_the_training_data_inside_it() -> None:
    sizes, conditions = draw(starts("gap=6..8"))
    gap, data = conditions[:, 1], rows()
    inside = data[(data[:, 2] >= 6) & (data[:, 2] <= 8)]
    assert set(gap.tolist()) <= set(inside[:, 2].astype(np.float32).tolist())
    assert abs(gap.mean() - inside[:, 2].mean()) < 0.03
    assert np.abs(gap - (20 - 0.5 * sizes)).max() < 1, "size and condition belong together"
    assert np.isnan(conditions[:, [0, 2]]).all()


def test_a_bound_is_a_range_with_one_end() -> None:
    assert draw(starts("logp<0"))[1][:, 0].max() <= 0
    assert draw(starts("logp>0"))[1][:, 0].min() >= 0


def test_the_end_of_a_strict_bound_is_no_condition_of_a_draw() -> None:
    """Every molecule of an even number of atoms has three times as much tpsa as atoms."""
    assert set(draw(starts("tpsa<36"))[1][:, 2]) == {30.0}
    assert set(draw(starts("tpsa<=36"))[1][:, 2]) == {30.0, 36.0}


def test_targets_are_met_together() -> None:
    sizes, conditions = draw(starts("logp=1", "gap=7..20"))
    assert (conditions[:, 0] == 1).all()
    assert conditions[:, 1].min() >= 7
    assert 24 < sizes.mean() < 26


def test_molecules_without_the_property_do_not_count() -> None:
    sizes, conditions = draw(starts("tpsa=30..60"))
    assert (sizes % 2 == 0).all()
    assert np.array_equal(conditions[:, 2], 3.0 * sizes)


def test_a_value_far_outside_widens_the_kernel() -> None:
    sizes, conditions = draw(starts("logp=9"))
    assert (conditions[:, 0] == 9).all()
    assert sizes.mean() > 27, "the nearest molecules are the largest"
    assert len(set(sizes.tolist())) > 1


def test_a_range_without_training_molecules_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    sizes, conditions = draw(starts("logp=7..8"))
    assert "no training molecule lies in all the ranges" in caplog.text
    assert (conditions[:, 0] == 7).all()
    assert sizes.mean() > 27


def test_allowed_sizes_hold() -> None:
    sizes, conditions = draw(starts("logp=1", allowed=(20, 22)))
    assert set(sizes.tolist()) <= {20, 21, 22}
    assert (conditions[:, 0] == 1).all()


def test_sizes_that_no_training_molecule_has_are_drawn_apart() -> None:
    sizes, conditions = draw(starts("gap=6..8", allowed=(40, 41)))
    assert abs((sizes == 40).mean() - 0.5) < 0.03
    assert conditions[:, 1].min() >= 6
    assert abs(np.corrcoef(sizes, conditions[:, 1])[0, 1]) < 0.06


def test_a_draw_does_not_depend_on_its_batch_but_on_the_seed() -> None:
    made = starts("gap=6..8")
    sizes, conditions = made.draw(NUMBERS, NoiseSource(3))
    some, few = made.draw(NUMBERS[100:105], NoiseSource(3))
    assert np.array_equal(some, sizes[100:105])
    assert np.array_equal(few, conditions[100:105], equal_nan=True)
    assert not np.array_equal(made.draw(NUMBERS, NoiseSource(4))[0], sizes)


def test_free_draws_have_no_condition() -> None:
    sizes, conditions = draw(UnconditionalSampler({5: 1, 9: 3}, None, 3))
    assert abs((sizes == 9).mean() - 0.75) < 0.03
    assert conditions.shape == (4000, 3)
    assert np.isnan(conditions).all()


def test_what_is_certain_stands_in_every_condition_and_changes_nothing_else() -> None:
    other = starts("gap=6..8")
    sizes, conditions = other.draw(NUMBERS, NoiseSource(0))
    same, told = PinnedConditionSampler(other, {2: 40.0}).draw(NUMBERS, NoiseSource(0))
    assert np.array_equal(same, sizes)
    assert (told[:, 2] == 40).all()
    assert np.array_equal(told[:, :2], conditions[:, :2], equal_nan=True)


def test_the_kernel_is_wide_enough_for_its_rows() -> None:
    near = kernel_weights(np.linspace(0, 1, 1000) ** 2)
    np.testing.assert_allclose(near, np.exp(-0.5 * (np.linspace(0, 1, 1000) / BANDWIDTH) ** 2))
    sparse = kernel_weights((100 + 0.5 * np.arange(400)) ** 2)
    assert sparse.max() == 1
    assert sparse.sum() ** 2 / (sparse**2).sum() >= LEAST_ROWS
    assert (kernel_weights(np.array([0.0, 50.0])) > 0.5).all()


def test_training_starts_are_training_molecules_of_which_some_properties_are_asked_for() -> None:
    data, dropout, free = rows(), 0.3, 0.25
    training = TrainingConfig(property_dropout=dropout, p_unconditional=free)
    sizes, conditions = TrainingConditionSampler(data.astype(np.float32), training).draw(NUMBERS, NoiseSource(3))
    known = {tuple(row) for row in data[:, :2].astype(np.float32).tolist()}
    asked = np.isfinite(conditions)
    for size, value in zip(sizes[asked[:, 0]].tolist(), conditions[asked[:, 0], 0].tolist(), strict=True):
        assert (size, value) in known, "size and value are one molecule's"
    for column, part in ((0, 1.0), (1, 1.0), (2, np.isfinite(data[:, 3]).mean())):
        expected = part * (1 - free) * (1 - dropout)
        assert abs(asked[:, column].mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / len(NUMBERS))
    expected = free + (1 - free) * dropout**2 * (1 - (1 - dropout) * np.isfinite(data[:, 3]).mean())
    assert abs((~asked).all(1).mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / len(NUMBERS))
