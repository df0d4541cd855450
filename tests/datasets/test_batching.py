"""Batches are a pure function of (seed, step), of one width each, and draw every molecule equally often."""

from collections import Counter

import numpy as np
import pytest
import torch

from moldiff.datasets.batching import BatchPlan, bucket_width, group_by_width, validation_batches

SIZES = np.random.default_rng(3).integers(3, 30, size=500)


@pytest.mark.parametrize(
    ("n", "width"), [(1, 2), (2, 2), (9, 10), (32, 32), (33, 36), (64, 64), (65, 72), (118, 120), (999, 1000)]
)
def test_bucket_width(n: int, width: int) -> None:
    assert bucket_width(n) == width


def test_a_width_is_its_own_bucket_and_widths_never_shrink() -> None:
    widths = [bucket_width(n) for n in range(1, 300)]
    assert all(bucket_width(width) == width for width in widths)
    assert widths == sorted(widths)
    with pytest.raises(ValueError, match="at least 1"):
        bucket_width(0)


def test_a_batch_depends_on_seed_and_step_only() -> None:
    plan = BatchPlan(SIZES, 16, seed=5)
    forward = [plan.batch(step) for step in range(200)]
    for step in (199, 0, 57, 120, 57):  # another plan, asked in another order: what a resumed run does
        rows, width = BatchPlan(SIZES, 16, seed=5).batch(step)
        assert width == forward[step][1]
        assert torch.equal(rows, forward[step][0])
    other = [BatchPlan(SIZES, 16, seed=6).batch(step) for step in range(20)]
    assert any(not torch.equal(a[0], b[0]) for a, b in zip(forward, other, strict=False))


def test_the_sequence_is_the_same_on_every_machine_and_version() -> None:
    """Stored figures: a change of NumPy or of this code that reorders batches breaks the resumption of runs."""
    plan = BatchPlan(np.array([3, 4, 3, 4, 9, 9, 9, 10, 10, 3]), 4, seed=1)
    assert [(rows.tolist(), width) for rows, width in map(plan.batch, range(5))] == [
        ([2, 9, 3, 0], 4),
        ([8, 4, 6, 5], 10),
        ([7, 5, 7, 4], 10),
        ([1, 0, 3, 2], 4),
        ([1, 9, 2, 9], 4),
    ]


def test_batches_are_full_and_of_one_width() -> None:
    plan = BatchPlan(SIZES, 16, seed=0)
    for step in range(300):
        rows, width = plan.batch(step)
        assert rows.shape == (16,)
        assert rows.dtype == torch.int64
        assert {bucket_width(int(n)) for n in SIZES[rows.numpy()]} == {width}


def test_every_molecule_is_drawn_equally_often() -> None:
    plan = BatchPlan(SIZES, 16, seed=0)
    epochs = 64
    steps = plan._first_step(epochs)
    assert steps == pytest.approx(epochs * len(SIZES) / 16, abs=len(plan.widths))
    drawn = Counter(row for step in range(steps) for row in plan.batch(step)[0].tolist())
    for members in group_by_width(SIZES, np.arange(len(SIZES))).values():
        counts = [drawn[row] for row in members.tolist()]
        assert max(counts) - min(counts) <= 1
        assert abs(sum(counts) - epochs * len(counts)) < 16  # short of its share by less than a batch


def test_a_molecule_comes_once_before_it_comes_again() -> None:
    plan = BatchPlan(np.full(50, 9), 7, seed=0)  # 7 does not divide 50: batches run across the end of a permutation
    stream = [row for step in range(50) for row in plan.batch(step)[0].tolist()]
    turns = [stream[start : start + 50] for start in range(0, 350, 50)]
    assert all(sorted(turn) == list(range(50)) for turn in turns)
    assert turns[0] != turns[1]


def test_a_bucket_smaller_than_a_batch_is_rare_not_repeated() -> None:
    """One methane among 160 molecules gets 1/161 of the rows, not a batch of its own in every epoch."""
    plan = BatchPlan(np.array([5] + [18] * 160), 16, seed=0)
    rows = torch.cat([plan.batch(step)[0] for step in range(161 * 4)])
    assert (rows == 0).sum() == 4 * 16


def test_turns_tell_the_copies_of_a_molecule_in_a_batch_apart() -> None:
    plan = BatchPlan(np.full(5, 9), 12, seed=0)
    for step in range(20):
        rows, turns = plan.batch(step)[0].tolist(), plan.turns(step).tolist()
        assert len(set(zip(rows, turns, strict=True))) == 12
        assert turns[0] == 0
    ranks = [BatchPlan(np.full(5, 9), 12, seed=0, rank=rank, world_size=3) for rank in range(3)]
    assert all(torch.equal(ranks[rank].turns(7), plan.turns(7)[rank::3]) for rank in range(3))
    assert not BatchPlan(SIZES, 16, seed=0).turns(0).any()


def test_rows_of_the_data_set_are_returned() -> None:
    indices = np.arange(1000, 1500)
    rows, _ = BatchPlan(SIZES, 16, seed=0, indices=indices).batch(3)
    assert torch.equal(rows, BatchPlan(SIZES, 16, seed=0).batch(3)[0] + 1000)


def test_ranks_share_a_global_batch() -> None:
    whole = BatchPlan(SIZES, 12, seed=2)
    ranks = [BatchPlan(SIZES, 12, seed=2, rank=rank, world_size=3) for rank in range(3)]
    for step in range(50):
        rows, width = whole.batch(step)
        shares = [plan.batch(step) for plan in ranks]
        assert {share[1] for share in shares} == {width}
        assert all(torch.equal(share[0], rows[rank::3]) for rank, share in enumerate(shares))


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 0},
        {"batch_size": 5, "world_size": 2},
        {"batch_size": 4, "rank": 2, "world_size": 2},
        {"batch_size": 4, "indices": np.arange(3)},
    ],
)
def test_senseless_plans_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match=r"expected|must be"):
        BatchPlan(SIZES, seed=0, **arguments)
    with pytest.raises(ValueError, match="count from 0"):
        BatchPlan(SIZES, 4, seed=0).batch(-1)


def test_validation_batches_hold_every_molecule_once() -> None:
    batches = list(validation_batches(SIZES, 32, indices=np.arange(500) * 2))
    assert sorted(torch.cat([rows for rows, _ in batches]).tolist()) == list(range(0, 1000, 2))
    assert all(len(rows) <= 32 for rows, _ in batches)
    assert all({bucket_width(int(SIZES[row // 2])) for row in rows.tolist()} == {width} for rows, width in batches)
    assert [width for _, width in batches] == sorted(width for _, width in batches)
