"""Scores of single molecules: the same in every batch, order and company."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from moldiff.arrays import MolArrays
from moldiff.diffusion.bound import BoundSettings
from moldiff.errors import MoldiffError
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS
from moldiff.nll.estimator import SCORED, LikelihoodBound, LikelihoodEstimator

SETTINGS = BoundSettings(10, 3, 2)


def molecule(n: int, seed: int = 0) -> MolArrays:
    generator = np.random.default_rng(seed)
    return MolArrays(
        pos=generator.normal(size=(n, 3)).astype(np.float32),
        atom_type=generator.integers(0, 4, n),
        charge=np.ones(n, dtype=np.int64),
        bonds=np.array([(i, i + 1, 1) for i in range(n - 1)], dtype=np.int64).reshape(-1, 3),
    )


MOLECULES = [molecule(5), molecule(9, 1), molecule(5, 2), molecule(1), molecule(12, 3)]


def close(a: LikelihoodBound, b: LikelihoodBound) -> bool:
    return all(math.isclose(a.nats[name], b.nats[name], rel_tol=1e-4, abs_tol=1e-3) for name in SCORED)


def test_a_score_does_not_depend_on_its_batch(tiny_model: MoleculeModel) -> None:
    together = LikelihoodEstimator(tiny_model, SETTINGS, batch_size=3).score(MOLECULES, range(5))
    alone = [LikelihoodEstimator(tiny_model, SETTINGS, batch_size=3).score([MOLECULES[k]], [k])[0] for k in range(5)]
    assert together == alone  # batches of one shape: bit for bit
    backwards = LikelihoodEstimator(tiny_model, SETTINGS, batch_size=1).score(MOLECULES[::-1], range(4, -1, -1))[::-1]
    assert all(close(a, b) for a, b in zip(together, backwards, strict=True))
    assert [score.n_atoms for score in together] == [5, 9, 5, 1, 12]


def test_molecules_of_one_width_share_micro_batches_of_fixed_rows(
    tiny_model: MoleculeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wide molecules are fewer at a time; missing rows repeat the last molecule, and nothing comes of them."""
    seen: list[list[int]] = []
    batch = LikelihoodEstimator._batch

    def noted(self: LikelihoodEstimator, items: list) -> list[LikelihoodBound]:
        seen.append([key for _, key, _ in items])
        return batch(self, items)

    monkeypatch.setattr(LikelihoodEstimator, "_batch", noted)
    molecules = [molecule(n, n) for n in (5, 100, 5, 6, 5, 101)]
    found = LikelihoodEstimator(tiny_model, SETTINGS, batch_size=4).score(molecules, range(10, 16))
    assert sorted(seen) == [[10, 12, 13, 14], [11], [15]]
    assert [score.n_atoms for score in found] == [5, 100, 5, 6, 5, 101]


def test_too_little_memory_makes_smaller_batches(
    tiny_model: MoleculeModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = LikelihoodEstimator(tiny_model, SETTINGS, batch_size=4).score(MOLECULES, range(5))
    batch = LikelihoodEstimator._batch

    def short(self: LikelihoodEstimator, items: list) -> list[LikelihoodBound]:
        if len(items) > 1:
            raise torch.OutOfMemoryError("no memory")
        return batch(self, items)

    monkeypatch.setattr(LikelihoodEstimator, "_batch", short)
    found = LikelihoodEstimator(tiny_model, SETTINGS, batch_size=4).score(MOLECULES, range(5))
    assert all(close(a, b) for a, b in zip(whole, found, strict=True))
    assert "going on with 1 molecules at a time" in caplog.text


def test_every_random_number_is_in_the_table(tiny_model: MoleculeModel, noise_uses: Callable[[str], set[str]]) -> None:
    LikelihoodEstimator(tiny_model, SETTINGS, batch_size=3).score(MOLECULES, range(5))
    assert noise_uses("bound") == {"noise", "steps"}


def test_a_score_does_not_depend_on_the_number_of_threads(tiny_model: MoleculeModel) -> None:
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            found.append(LikelihoodEstimator(tiny_model, SETTINGS, batch_size=1).score(MOLECULES, range(5)))
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_seed_and_id_key_the_noise(tiny_model: MoleculeModel) -> None:
    first, twin, other = (
        LikelihoodEstimator(tiny_model, SETTINGS, seed).score(MOLECULES[:1], [key])[0]
        for seed, key in ((0, 0), (0, 1), (1, 0))
    )
    assert len({first.nats["pos"], twin.nats["pos"], other.nats["pos"]}) == 3


def test_where_a_molecule_stands_does_not_matter(tiny_model: MoleculeModel) -> None:
    moved = replace(MOLECULES[1], pos=MOLECULES[1].pos + np.float32(7))
    one, two = LikelihoodEstimator(tiny_model, SETTINGS).score([MOLECULES[1], moved], [3, 3])
    assert close(one, two)


def test_the_total_and_its_error_are_those_of_the_sum(tiny_model: MoleculeModel) -> None:
    score = LikelihoodEstimator(tiny_model, BoundSettings(10, 3, 1)).score(MOLECULES[:1], [0])[0]
    assert score.nats["total"] == pytest.approx(sum(score.nats[field] for field in FIELDS))
    assert score.bound == pytest.approx(score.nats["total"] - math.log(10 / 60))
    assert math.isnan(score.errors["total"])
    repeated = LikelihoodEstimator(tiny_model, BoundSettings(10, 3, 3)).score(MOLECULES[:1], [0])[0]
    assert 0 < repeated.errors["total"] < math.inf
    assert repeated.nats["pos"] != score.nats["pos"]


def test_single_atoms_have_no_coordinates_and_no_bonds(tiny_model: MoleculeModel) -> None:
    score = LikelihoodEstimator(tiny_model, SETTINGS).score([molecule(1)], [0])[0]
    assert score.nats["pos"] == pytest.approx(0, abs=1e-6)
    assert score.nats["bond_type"] == 0
    assert score.nats["atom_type"] > 0
    assert score.size == math.inf


def test_a_batch_of_nothing_is_refused(tiny_model: MoleculeModel) -> None:
    with pytest.raises(MoldiffError, match="batch_size"):
        LikelihoodEstimator(tiny_model, SETTINGS, batch_size=0)
