"""Validation losses are means of what was measured, and of molecules from all over the held-out ones."""

import itertools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from moldiff.config import load_training
from moldiff.datasets.batching import evenly_spaced
from moldiff.diffusion.joint import JointDiffusion
from moldiff.errors import MoldiffError
from moldiff.training.denoiser_run import TrainingRun
from moldiff.training.validation import BINS, ValidationLoss, validate_denoiser

WEIGHTS = {"pos": 1.0, "atom_type": 2.0, "charge": 1.0, "bond_type": 3.0}


@pytest.fixture
def losses_of(training_file: Callable[..., Path]) -> Callable[[int], ValidationLoss]:
    run = TrainingRun(load_training(training_file(), []), None, None)  # type: ignore[arg-type]

    def losses(count: int) -> ValidationLoss:
        rows = torch.from_numpy(run.dataset.indices("train")[:count])
        sizes = torch.from_numpy(run.dataset.sizes)[rows]
        return validate_denoiser(run.model.denoiser, run.model, run.arrays, sizes, rows, WEIGHTS, bf16=False)

    return losses


@pytest.mark.parametrize("count", [1, 2, 6])
def test_bins_without_a_molecule_count_for_nothing(losses_of: Callable[[int], ValidationLoss], count: int) -> None:
    few = losses_of(count)
    places = sorted({int(10 * (number * 0.618034 % 1)) for number in range(count)})
    for field, values in few.per_bin.items():
        assert (~values.isnan()).nonzero().flatten().tolist() == places
        assert few.mean[field] == pytest.approx(float(values[places].mean()))
    assert few.total == pytest.approx(sum(WEIGHTS[field] * value for field, value in few.mean.items()))
    written = {(str(row["field"]), row["bin"]): row["loss"] for row in few.rows()}
    assert len(written) == 4 * BINS
    assert {place for (field, place), loss in written.items() if field == "pos" and loss} == set(places)


def test_few_molecules_have_losses_like_those_of_many(losses_of: Callable[[int], ValidationLoss]) -> None:
    """A network that knows nothing is wrong about each type alike, however many are asked."""
    assert losses_of(2).mean["atom_type"] == pytest.approx(losses_of(120).mean["atom_type"], rel=0.35)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_no_validation(
    losses_of: Callable[[int], ValidationLoss], monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    """A bin without molecules has no loss either, and NaN stands for it: of these it is told apart."""
    assert any(values.isnan().any() for values in losses_of(2).per_bin.values())
    right = JointDiffusion.loss

    def wrong(self: JointDiffusion, *arguments: Any) -> dict[str, torch.Tensor]:
        return right(self, *arguments) | {"charge": torch.tensor([loss]).expand(len(arguments[0].pos))}

    monkeypatch.setattr(JointDiffusion, "loss", wrong)
    with pytest.raises(MoldiffError, match=r"validation loss is not finite.*lower optimizer\.learning_rate"):
        losses_of(2)


def test_molecules_to_validate_on_come_from_all_over_the_set(training_file: Callable[..., Path]) -> None:
    def rows(count: int) -> list[int]:
        run = TrainingRun(
            load_training(training_file(training=TRAINING | {"validation_molecules": count}), []), None, None
        )  # type: ignore[arg-type]
        held_out = run.dataset.indices("validation").tolist()
        chosen = run.validation_rows()[0].tolist()
        return [held_out.index(row) for row in chosen]

    whole = rows(1000)
    assert whole == list(range(len(whole)))
    assert rows(2) == [0, len(whole) // 2]


TRAINING: Mapping[str, object] = {"steps": 8, "batch_size": 4, "bf16": False, "device": "cpu", "threads": 1}


@pytest.mark.parametrize(("count", "most"), [(0, 3), (3, 3), (10, 3), (10, 9), (1000, 7), (5, 1)])
def test_evenly_spaced(count: int, most: int) -> None:
    chosen = evenly_spaced(range(count), most)
    assert len(chosen) == min(count, most)
    gaps = [after - before for before, after in itertools.pairwise(chosen)]
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert not chosen or (chosen[0] == 0 and count - chosen[-1] <= max(gaps, default=count) + 1)
