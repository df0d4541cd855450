"""Validation losses are means of what was measured, and of molecules from all over the held-out ones."""

import itertools
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from moldiff.config import load_training
from moldiff.datasets.batching import evenly_spaced
from moldiff.training.callbacks import read_log
from moldiff.training.denoiser_run import TrainingRun
from moldiff.training.plots import plot_property_validation
from moldiff.training.property_module import PropertyErrors
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


def errors(**columns: list[list[float]]) -> PropertyErrors:
    tables = {name: torch.tensor(columns[name], dtype=torch.float64) for name in ("nll", "mae", "mae_of_mean")}
    return PropertyErrors(("logp", "gap", "taste"), **tables)


def test_the_error_of_a_property_is_of_the_bins_that_tell_of_it(tmp_path: Path) -> None:
    nan = math.nan
    table = [[nan, 4.0, nan], [1.0, 2.0, nan], [3.0, nan, nan]]
    found = errors(nll=table, mae=table, mae_of_mean=table)
    assert found.least_noise() == {"logp": 1.0, "gap": 4.0}, "no error is claimed where no molecule had the property"
    assert found.summary() == (
        "logp error 2, 1 at low noise (mean 2), nll 2.000  gap error 3, 4 at low noise (mean 3), nll 3.000  "
        "taste error unknown: no molecule to validate on has it"
    )
    rows = found.rows()
    assert [row["mae"] for row in rows] == ["", "1", "3", "4", "2", "", "", "", ""]
    log = tmp_path / "validation.csv"
    log.write_text("\n".join([",".join(["step", *rows[0]]), *(",".join(map(str, [6, *row.values()])) for row in rows)]))
    plot_property_validation(read_log(log), tmp_path / "validation.png")
    assert (tmp_path / "validation.png").stat().st_size > 1000


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
