"""Errors of a property network: means over what was measured, and nothing claimed of what was not."""

import math
from pathlib import Path

import torch

from moldiff.training.callbacks import read_log
from moldiff.training.plots import plot_property_validation
from moldiff.training.property_module import PropertyErrors


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
