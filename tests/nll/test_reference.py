"""The yardstick of z-scores, against laws whose mean and spread are known."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import PreparedDataset
from moldiff.diffusion.bound import BoundSettings
from moldiff.errors import MoldiffError
from moldiff.models.molecule_model import MoleculeModel
from moldiff.nll.estimator import SCORED, LikelihoodBound, LikelihoodEstimator
from moldiff.nll.reference import LikelihoodReference, calibrate, encoded_records, translated

SETTINGS = BoundSettings(4, 2, 1)


def score(n: int, value: float) -> LikelihoodBound:
    return LikelihoodBound(n, dict.fromkeys(SCORED, value), dict.fromkeys(SCORED, math.nan), 0.0)


def scores(sizes: list[int], each: int) -> list[LikelihoodBound]:
    """Values of mean -3 n and standard deviation 2."""
    generator = np.random.default_rng(0)
    return [score(n, -3 * n + 2 * generator.normal()) for n in sizes for _ in range(each)]


def test_z_scores_are_standard_deviations_from_the_mean_of_the_size() -> None:
    reference = LikelihoodReference.of(scores([10, 11, 12], 400), SETTINGS)
    for n in (10, 11, 12):
        found = reference.z_scores(score(n, -3 * n + 6))
        assert found is not None
        assert list(found) == list(SCORED)
        assert list(found.values()) == pytest.approx([3] * 5, abs=0.35)


def test_rare_sizes_borrow_from_their_neighbours_along_a_line() -> None:
    reference = LikelihoodReference.of(scores([10, 11, 13, 14], 100), SETTINGS)
    found = reference.z_scores(score(12, -36))  # no molecule of this size at all
    assert found is not None
    assert found["pos"] == pytest.approx(0, abs=0.3)
    assert reference.spreads[2] == pytest.approx([2] * 5, rel=0.15)


def test_sizes_beyond_the_reference_have_no_z_scores() -> None:
    reference = LikelihoodReference.of(scores([10, 12], 40), SETTINGS)
    assert reference.z_scores(score(9, 0)) is None
    assert reference.z_scores(score(13, 0)) is None


def test_scores_that_are_not_finite_do_not_count() -> None:
    good = scores([10], 40)
    assert LikelihoodReference.of([*good, score(10, math.nan)], SETTINGS).molecules == 40
    with pytest.raises(MoldiffError, match="40 held-out molecules or more, not 39"):
        LikelihoodReference.of([*good[1:], score(10, math.inf)], SETTINGS)


def test_a_reference_survives_its_model_folder() -> None:
    reference = LikelihoodReference.of(scores([10, 12], 40), SETTINGS)
    back = LikelihoodReference.from_tensors(reference.to_tensors(), "m")
    assert back is not None
    assert (back.settings, back.molecules) == (SETTINGS, 80)
    for name in ("sizes", "means", "spreads"):
        assert np.array_equal(getattr(back, name), getattr(reference, name)), name
    assert LikelihoodReference.from_tensors({}, "m") is None


@pytest.mark.parametrize("damage", ["settings", "columns", "nan", "spread", "sizes", "empty"])
def test_a_damaged_reference_is_named(damage: str) -> None:
    tensors = LikelihoodReference.of(scores([10, 12], 40), SETTINGS).to_tensors()
    table = tensors["score_reference"]
    if damage == "settings":
        del tensors["score_settings"]
    elif damage == "columns":
        tensors["score_reference"] = table[:, 1:]
    elif damage == "empty":
        tensors["score_reference"] = table[:0]
    else:
        place, value = {"nan": ((0, 2), math.nan), "spread": ((0, 8), 0.0), "sizes": ((1, 0), 40.0)}[damage]
        table[place] = value
    with pytest.raises(MoldiffError, match="the model m: its reference of scores is damaged"):
        LikelihoodReference.from_tensors(tensors, "the model m")


def test_held_out_molecules_of_a_prepared_set(tiny_model: MoleculeModel, sample_path: Path, tmp_path: Path) -> None:
    prepare([sample_path], tmp_path / "set", vocabulary=tiny_model.vocabulary)
    dataset = PreparedDataset.open(tmp_path / "set")
    held_out = np.concatenate([dataset.indices("validation"), dataset.indices("test")])
    scorer = LikelihoodEstimator(tiny_model, SETTINGS)
    if len(held_out) < 40:
        with pytest.raises(MoldiffError, match=f"not {len(held_out)}"):
            calibrate(scorer, tmp_path / "set")
    seen: list[int] = []
    reference = calibrate(scorer, sample_path, seen.append)
    assert reference.molecules == 200 == seen[-1]


def test_classes_are_translated() -> None:
    from moldiff.arrays import MolArrays

    tables = {
        "atom_type": np.array([1, 0, 3], dtype=np.uint8),
        "charge": np.array([2, 1], dtype=np.uint8),
        "bond_type": np.array([0, 2, 1], dtype=np.uint8),
    }
    arrays = MolArrays(np.zeros((3, 3)), np.array([0, 1, 2]), np.array([0, 1, 1]), np.array([[0, 1, 1], [1, 2, 2]]))
    found = translated(arrays, tables)
    assert found.atom_type.tolist() == [1, 0, 3]
    assert found.charge.tolist() == [2, 1, 1]
    assert found.bonds.tolist() == [[0, 1, 2], [1, 2, 1]]
    assert arrays.bonds.tolist() == [[0, 1, 1], [1, 2, 2]]
    assert torch.from_numpy(found.atom_type).dtype == torch.int64


def test_held_out_records_that_cannot_be_scored_are_told(
    tiny_model: MoleculeModel, sample_texts: list[str], record: Callable[..., str], write: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    sulfide = record("s", [("S", 0.0, 0.0, 0.1), ("H", 1.34, 0.0, 0.0), ("H", -0.1, 1.33, 0.0)], [(1, 2, 1), (1, 3, 1)])
    scorer = LikelihoodEstimator(tiny_model, SETTINGS)
    path = write(*sample_texts[:20], sulfide, *sample_texts[20:40], "nonsense\n$$$$\n", name="held.sdf")
    assert calibrate(scorer, path).molecules == 40
    (message,) = [entry.getMessage() for entry in caplog.records]
    expected = "held.sdf: 2 records count for nothing; the first, record 20: element S is outside the vocabulary"
    assert message == expected
    caplog.clear()
    with pytest.raises(MoldiffError, match=r"more, not 1; 2 records count for nothing; the first, record 1: element S"):
        calibrate(scorer, write(sample_texts[0], sulfide, sulfide, name="few.sdf"))
    assert calibrate(scorer, write(*sample_texts[:40])).molecules == 40
    assert not caplog.records


def test_a_held_out_molecule_that_is_too_large_is_told(
    tiny_model: MoleculeModel, sample_texts: list[str], write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr("moldiff.nll.reference.MOST_ATOMS", 18)
    calibrate(LikelihoodEstimator(tiny_model, SETTINGS), path := write(*sample_texts, name="held.sdf"))
    few = len(list(encoded_records(path, tiny_model.vocabulary)))
    assert 40 < few < 200
    (message,) = [entry.getMessage() for entry in caplog.records]
    assert message.startswith(f"held.sdf: {200 - few} records count for nothing; the first, record ")
    assert message.endswith(" atoms, more than 18")
