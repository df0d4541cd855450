"""Plots of a training run: any name of a property is a title."""

from pathlib import Path

import pytest

from moldiff.training.plots import plot_property_validation, plot_training

pytestmark = pytest.mark.usefixtures("pictures")

NAME = r"a$\b$"


def test_names_are_no_formulas(tmp_path: Path) -> None:
    plot_training([{"step": "1", NAME: "0.5"}, {"step": "2", NAME: "0.4"}], tmp_path / "a.png", [NAME])
    row = {"step": "2", "property": NAME, "bin": "3", "mae": "0.1", "mae_of_mean": "0.4"}
    plot_property_validation([row], tmp_path / "b.png")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("a.png", "b.png"))
