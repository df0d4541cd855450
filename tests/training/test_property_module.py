"""Errors of a property network: means over what was measured, and nothing claimed of what was not."""

import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from moldiff.scoring.network import HeldOutError
from moldiff.training.callbacks import read_log
from moldiff.training.plots import plot_property_validation
from moldiff.training.property_module import PropertyErrors


def errors(**columns: list[list[float]]) -> PropertyErrors:
    tables = {name: torch.tensor(columns[name], dtype=torch.float64) for name in ("nll", "mae", "mae_of_mean")}
    known = torch.isfinite(tables["mae"]).double()
    return PropertyErrors(("logp", "gap", "taste"), **tables, molecules=known)


def test_the_error_of_a_property_is_of_the_bins_that_tell_of_it(tmp_path: Path, pictures: None) -> None:
    nan = math.nan
    table = [[nan, 4.0, nan], [1.0, 2.0, nan], [3.0, nan, nan]]
    found = errors(nll=table, mae=table, mae_of_mean=table)
    assert found.summary() == (
        "logp error 2 (mean 2), nll 2.000  gap error 3 (mean 3), nll 3.000  "
        "taste error unknown: no molecule to validate on has it"
    )
    rows = found.rows()
    assert [row["molecules"] for row in rows] == [0, 1, 1, 1, 1, 0, 0, 0, 0]
    assert [row["mae"] for row in rows] == ["", "1", "3", "4", "2", "", "", "", ""]
    log = tmp_path / "validation.csv"
    log.write_text("\n".join([",".join(["step", *rows[0]]), *(",".join(map(str, [6, *row.values()])) for row in rows)]))
    plot_property_validation(read_log(log), tmp_path / "validation.png")
    assert (tmp_path / "validation.png").stat().st_size > 1000


def test_errors_without_noise_say_of_how_many_molecules_and_beside_the_mean(caplog: pytest.LogCaptureFixture) -> None:
    nan = math.nan
    table = [[nan, 4.0, nan], [1.0, 2.0, nan]]
    errors_of = {"logp": HeldOutError(0.26, 12, 0.25), "gap": HeldOutError(None, 0), "taste": HeldOutError(3.0, 1, 5.0)}
    found = replace(errors(nll=table, mae=table, mae_of_mean=table), finished=errors_of)
    assert found.summary() == (
        "logp error 1 (mean 1), nll 1.000, without noise 0.26 on average for 12 held-out molecules (0.25 by the mean "
        "alone)  gap error 3 (mean 3), nll 3.000, without noise not known  taste error unknown: no molecule to "
        "validate on has it, without noise 3 on average for 1 held-out molecule (5 by the mean alone)"
    )
    with caplog.at_level(logging.WARNING, "moldiff"):
        found.warn_of_useless()
    assert [record.getMessage() for record in caplog.records] == [
        "property 'logp' is told no better than by its mean: the error is 0.26 on average for 12 held-out molecules "
        "(0.25 by the mean alone)"
    ]
