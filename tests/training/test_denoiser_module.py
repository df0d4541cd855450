"""One training step: its batch is a function of (seed, step) alone, and shares come out as they were asked for."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from moldiff.config import load_training
from moldiff.molecules import FIELDS, MolBatch
from moldiff.randomness import Stream
from moldiff.training.denoiser_module import DenoisingTask, dropped_properties
from moldiff.training.denoiser_run import TrainingRun

Make = Callable[..., DenoisingTask]


@pytest.fixture
def make_task(training_file: Callable[..., Path]) -> Make:
    """Build the task of a training file with some overrides."""

    def make(*overrides: str) -> DenoisingTask:
        return TrainingRun(load_training(training_file(), list(overrides)), None, None).task

    return make


def same(one: MolBatch, other: MolBatch) -> bool:
    return all(torch.equal(getattr(one, field), getattr(other, field)) for field in FIELDS)


def test_a_batch_is_a_function_of_seed_and_step(make_task: Make) -> None:
    task, again, other = make_task(), make_task(), make_task("training.seed=1")
    clean, levels, noisy = task.setup_batch(task.inputs(3))
    for earlier in (0, 1):
        again.setup_batch(again.inputs(earlier))  # what came before does not matter
    clean_again, levels_again, noisy_again = again.setup_batch(again.inputs(3))
    assert same(clean, clean_again)
    assert same(noisy, noisy_again)
    assert torch.equal(levels.stacked(), levels_again.stacked())
    torch.testing.assert_close(noisy.properties, noisy_again.properties, rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(levels.stacked(), task.setup_batch(task.inputs(4))[1].stacked())
    assert not torch.equal(levels.stacked(), other.setup_batch(other.inputs(3))[1].stacked())


def test_every_random_number_is_in_the_table(make_task: Make, noise_uses: Callable[[str], set[str]]) -> None:
    task = make_task("training.self_conditioning=1.0")
    task.example(task.inputs(3))
    assert noise_uses("training") >= {
        "noise of a batch", "noise of the step before", "times", "dropped properties",
        "self-conditioning, a coin", "self-conditioning, the gap",
    }  # fmt: skip


def test_the_same_molecule_meets_other_noise_in_another_step(make_task: Make) -> None:
    task = make_task("training.batch_size=32")
    seen: dict[int, dict[int, tuple[float, float]]] = {}  # molecule -> step -> level and noise
    for step in range(40):
        clean, levels, noisy = task.setup_batch(task.inputs(step))
        standard = (noisy.pos - clean.pos)[:, 0, 0] / levels.sigma
        for number, *values in zip(clean.ids.tolist(), levels.pos.tolist(), standard.tolist(), strict=True):
            seen.setdefault(number, {})[step] = (values[0], values[1])
    repeated = [list(values.values()) for values in seen.values() if len(values) > 1]
    assert repeated
    for values in repeated:
        level, noise = zip(*values, strict=True)
        assert len(set(level)) == len(values)
        assert min(abs(a - b) for a, b in itertools.combinations(noise, 2)) > 1e-4


def test_a_molecule_that_stands_twice_in_a_batch_meets_other_noise(make_task: Make) -> None:
    task = make_task("training.batch_size=96")  # more rows than the small data set has molecules of a width
    clean, levels, noisy = task.setup_batch(task.inputs(0))
    first = int(clean.ids[0])
    rows = (clean.ids == first).nonzero()[:, 0].tolist()
    assert len(rows) > 1
    assert len({float(levels.pos[row]) for row in rows}) == len(rows)
    standard = [float((noisy.pos - clean.pos)[row, 0, 0] / levels.sigma[row]) for row in rows]
    assert min(abs(a - b) for a, b in itertools.combinations(standard, 2)) > 1e-4


def test_noise_has_the_size_of_its_level(make_task: Make) -> None:
    task = make_task("training.batch_size=64")
    clean, levels, noisy = task.setup_batch(task.inputs(0))
    difference = ((noisy.pos - clean.pos) ** 2).sum((1, 2)) / (3 * (clean.n_atoms - 1))
    ratio = difference / levels.sigma**2
    assert float(ratio.mean()) == pytest.approx(1, abs=0.15)
    untouched = (noisy.atom_type == clean.atom_type) & clean.mask
    clean_rows = levels.abar("atom_type") > 0.999
    assert bool(((untouched.sum(1) / clean.n_atoms)[clean_rows] > 0.9).all())


@pytest.mark.parametrize(("each", "whole"), [(0.5, 0.5), (0.3, 0.1), (0.0, 0.0), (0.0, 1.0)])
def test_properties_are_dropped_as_often_as_asked(make_task: Make, each: float, whole: float) -> None:
    task, count = make_task(f"training.property_dropout={each}", f"training.p_unconditional={whole}"), 20_000
    clean, _, _ = task.setup_batch(task.inputs(0))
    many = clean.replace(properties=torch.ones(count, 2), ids=torch.arange(count))
    kept = ~torch.isnan(task._drop_properties(many, many.ids, torch.tensor(0)))
    for found, expected in (
        (kept[:, 0], (1 - whole) * (1 - each)),
        (kept[:, 1], (1 - whole) * (1 - each)),
        (kept.all(1), (1 - whole) * (1 - each) ** 2),
    ):
        error = math.sqrt(expected * (1 - expected) / count)
        assert abs(float(found.double().mean()) - expected) <= 3 * error


@pytest.mark.parametrize("single", [0.0, 0.4, 0.9])
def test_one_known_property_is_asked_for_alone_as_often_as_asked(make_task: Make, single: float) -> None:
    task = make_task(
        "training.property_dropout=0", "training.p_unconditional=0.1", f"training.p_single_property={single}"
    )
    clean, _, _ = task.setup_batch(task.inputs(0))
    count = 20_000
    given = torch.ones(count, 3)
    given[: count // 2, 0] = torch.nan  # unknown in half of the data: one of the others is given alone
    many = clean.replace(properties=given, ids=torch.arange(count))
    uniform = task.source.uniform(many.ids, 0, Stream.CONDITION, 4)
    known = torch.isfinite(given)
    kept = known & ~dropped_properties(uniform, known, task.config.training)
    number = kept.sum(1)
    error = 3 * math.sqrt(0.25 / count)
    assert abs(float((number == 0).double().mean()) - 0.1) <= error
    assert abs(float((number == 1).double().mean()) - single) <= error
    alone = kept[(number == 1)]
    if single:
        shares = alone.double().mean(0)  # of the first half 1/2 each of two, of the second 1/3 each of three
        expected = torch.tensor([1 / 6, 5 / 12, 5 / 12], dtype=torch.float64)
        assert float((shares - expected).abs().max()) <= 3 * math.sqrt(0.25 / len(alone))


def test_a_property_that_the_data_lack_stays_absent(make_task: Make) -> None:
    task = make_task("training.property_dropout=0", "training.p_unconditional=0")
    clean, _, _ = task.setup_batch(task.inputs(0))
    absent = clean.replace(properties=torch.full_like(clean.properties, torch.nan))
    assert bool(torch.isnan(task._drop_properties(absent, absent.ids, torch.tensor(0))).all())


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_self_conditioning_is_as_frequent_as_asked(make_task: Make, share: float) -> None:
    task, steps = make_task(f"training.self_conditioning={share}"), 2000
    found = sum(task._self_conditioned(step) for step in range(steps)) / steps
    assert abs(found - share) <= 3 * math.sqrt(share * (1 - share) / steps)


def test_without_a_gap_the_network_meets_the_same_state_twice(make_task: Make) -> None:
    task = make_task("training.self_conditioning_gap=0")
    _, levels, noisy = task.setup_batch(task.inputs(2))
    earlier, earlier_levels = task.earlier(noisy, levels, task.inputs(2))
    assert same(noisy, earlier)
    assert torch.equal(levels.stacked(), earlier_levels.stacked())


def test_what_came_earlier_is_noisier_by_no_more_than_the_gap(make_task: Make) -> None:
    task = make_task("training.self_conditioning_gap=0.1", "density.clean_graph_share=0.5", "training.batch_size=64")
    gaps, clean_graphs = [], 0
    for step in range(4):
        clean, levels, noisy = task.setup_batch(task.inputs(step))
        earlier, earlier_levels = task.earlier(noisy, levels, task.inputs(step))
        curve = task.model.schedule
        before, now = (curve.time_of_sigma(at.sigma) for at in (earlier_levels, levels))
        gaps.append(before - now)
        clean_level = curve.levels(torch.zeros(1).double()).bond_type
        still = levels.bond_type == clean_level
        clean_graphs += int(still.sum())
        assert bool((earlier_levels.abar("bond_type") <= levels.abar("bond_type")).all())
        assert bool((earlier_levels.bond_type == clean_level)[still].all())
        # noise is added to the noisy state, not drawn anew: what changed has the variance of the difference
        variance = earlier_levels.sigma.double() ** 2 - levels.sigma.double() ** 2
        change = ((earlier.pos - noisy.pos).double() ** 2).sum((1, 2)) / (3 * (clean.mask.sum(1) - 1))
        ratio = (change / variance)[variance > 1e-6]
        assert float(ratio.mean()) == pytest.approx(1, abs=0.15)
    found = torch.cat(gaps)
    assert float(found.min()) > -1e-9
    assert float(found.max()) < 0.1 + 1e-9
    assert float(found.mean()) == pytest.approx(0.05, abs=0.01)
    assert clean_graphs > 0


def test_the_previous_prediction_is_made_earlier(make_task: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task("training.self_conditioning=1")
    _, levels, noisy = task.setup_batch(task.inputs(0))
    earlier, earlier_levels = task.earlier(noisy, levels, task.inputs(0))
    calls = []
    forward = type(task.denoiser).forward

    def watched(self, batch, at, condition, previous):
        calls.append((batch, at, previous))
        return forward(self, batch, at, condition, previous)

    monkeypatch.setattr(type(task.denoiser), "forward", watched)
    task.losses(task.inputs(0))
    (first, first_at, nothing), (second, second_at, previous) = calls
    assert nothing is None
    assert previous is not None
    assert same(first, earlier)
    assert torch.equal(first_at.stacked(), earlier_levels.stacked())
    assert same(second, noisy)
    assert torch.equal(second_at.stacked(), levels.stacked())
