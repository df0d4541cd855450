"""Micro-batches of given molecules: a walk does not know its mates, and memory that runs short costs no walk."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from moldiff.arrays import MolArrays, RawSample
from moldiff.errors import MoldiffError
from moldiff.generation.vary import noised_walk
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import MolBatch
from moldiff.randomness import record_key
from moldiff.sampling.molecule_sampler import MoleculeSampler, Task, TaskRunner
from moldiff.sampling.sampler import Sample
from moldiff.sampling.solvers import SOLVERS

Walk = Callable[[MolBatch, Tensor], Sample]


def molecule(n: int) -> MolArrays:
    """Return a chain of n carbon atoms."""
    pos = np.arange(3 * n, dtype=np.float32).reshape(n, 3) / n
    atoms = np.arange(n)
    bonds = np.stack([atoms[:-1], atoms[1:], np.ones(n - 1, dtype=np.int64)], axis=1)
    return MolArrays(pos - pos.mean(0), np.ones(n, dtype=np.int64), np.ones(n, dtype=np.int64), bonds)


@pytest.fixture
def molecule_sampler(tiny_model: MoleculeModel) -> MoleculeSampler:
    return MoleculeSampler(tiny_model, SOLVERS["ddpm"], 4, 0)


def by_number(draws: list[RawSample]) -> dict[int, MolArrays]:
    assert all(draw.arrays is not None for draw in draws)
    return {draw.number: draw.arrays for draw in draws if draw.arrays is not None}


def same(one: MolArrays, other: MolArrays) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def test_every_random_number_is_in_the_table(
    molecule_sampler: MoleculeSampler, noise_uses: Callable[[str], set[str]]
) -> None:
    list(molecule_sampler.walks(0, 3, 2))
    list(TaskRunner(molecule_sampler, noised_walk(molecule_sampler)).run([Task(record_key(7, 1, 2), molecule(6), 0.4)]))
    used = {
        "noise of a draw", "noise of a variation, its record's key the id", "which states of a walk are kept",
        "size, and the training molecule that gives",
    }  # fmt: skip
    assert {what.partition(" size and")[0] for what in noise_uses("sampling")} == used


@pytest.mark.parametrize("mates", [0, 2, 11])
def test_a_walk_does_not_depend_on_its_mates(molecule_sampler: MoleculeSampler, mates: int) -> None:
    task = Task(5, molecule(6), 0.4)
    others = [Task(100 + k, molecule(5 + k % 3), 0.1 + 0.07 * k) for k in range(mates)]
    runner = TaskRunner(molecule_sampler, noised_walk(molecule_sampler))
    alone = by_number(list(runner.run([task])))
    together = by_number(list(runner.run([*others, task])))
    assert together.keys() == {5, *(other.key for other in others)}
    assert same(alone[5], together[5])
    assert len(together[5].atom_type) == 6


def test_key_molecule_and_start_decide(molecule_sampler: MoleculeSampler) -> None:
    runner = TaskRunner(molecule_sampler, noised_walk(molecule_sampler))
    tasks = [Task(1, molecule(6), 0.4), Task(2, molecule(6), 0.4), Task(3, molecule(7), 0.4)]
    first, other, longer = by_number(list(runner.run(tasks))).values()
    (later,) = by_number(list(runner.run([Task(1, molecule(6), 0.5)]))).values()
    assert not same(first, other)
    assert not same(first, later)
    assert len(longer.atom_type) == 7


def short_of_memory(walk: Walk, most_rows: int) -> Walk:
    """Return a walk that fails as PyTorch does where a batch has more rows."""

    def limited(batch: MolBatch, starts: Tensor) -> Sample:
        if len(batch) > most_rows:
            raise torch.OutOfMemoryError("no memory")
        return walk(batch, starts)

    return limited


def test_short_memory_costs_no_walk(molecule_sampler: MoleculeSampler, caplog: pytest.LogCaptureFixture) -> None:
    walk = noised_walk(molecule_sampler)
    tasks = [Task(k, molecule(6), 0.3) for k in range(5)]
    plain = by_number(list(TaskRunner(molecule_sampler, walk).run(tasks)))
    halved = by_number(list(TaskRunner(molecule_sampler, short_of_memory(walk, 2)).run(tasks)))
    assert halved.keys() == plain.keys()
    assert all(np.allclose(halved[key].pos, plain[key].pos, atol=1e-4) for key in plain)
    assert [record.getMessage() for record in caplog.records] == [
        f"out of memory: going on with {rows} molecules at a time (last digits may differ)" for rows in (4, 2)
    ]
    with pytest.raises(MoldiffError, match="memory does not suffice for one molecule of up to 6 atoms on cpu"):
        list(TaskRunner(molecule_sampler, short_of_memory(walk, 0)).run(tasks))
