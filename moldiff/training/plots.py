"""Plots of a training run's logs, drawn from the CSV files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from moldiff.files import atomic_writer
from moldiff.foreign_text import for_pictures
from moldiff.molecules import FIELDS

Curve = tuple[Sequence[float], Sequence[float]]


def plot_training(rows: list[dict[str, str]], path: Path, names: Sequence[str], scale: str = "log") -> None:
    """Draw the running losses of some names against the step as PNG."""
    steps = [int(row["step"]) for row in rows]
    curves = {name: {"": (steps, [float(row[name]) for row in rows])} for name in names}
    _draw(curves, "step", path, "o" if len(rows) == 1 else "", scale)


def plot_validation(rows: list[dict[str, str]], path: Path) -> None:
    """Draw each field's newest loss against the noise-level bin as PNG."""
    newest = rows[-1]["step"]
    curves = {
        field: {"": _by_bin([row for row in rows if (row["step"], row["field"]) == (newest, field)], "loss")}
        for field in FIELDS
    }
    _draw(curves, f"t (0 = data, 1 = noise), step {newest}", path, "o", "log")


def plot_property_validation(rows: list[dict[str, str]], path: Path) -> None:
    """Draw each property's newest error against the noise-level bin, beside that of the constant predictor, as PNG."""
    newest = [row for row in rows if row["step"] == rows[-1]["step"]]
    curves = {}
    for name in dict.fromkeys(row["property"] for row in newest):
        own = [row for row in newest if row["property"] == name]
        curves[name] = {label: _by_bin(own, column) for label, column in (("network", "mae"), ("mean", "mae_of_mean"))}
    label = f"t (0 = data, 1 = noise), step {rows[-1]['step']}"
    _draw(curves, label, path, "o", "linear", "mean absolute error")


def _by_bin(rows: list[dict[str, str]], column: str) -> Curve:
    """Return the values of a column at the middle of each bin that has one."""
    rows = [row for row in rows if row[column]]
    return [int(row["bin"]) / 10 + 0.05 for row in rows], [float(row[column]) for row in rows]


def _draw(
    panels: Mapping[str, Mapping[str, Curve]], label: str, path: Path, marker: str, scale: str, quantity: str = "loss"
) -> None:
    """Draw a panel for each name, two in a row, with its labelled curves."""
    from matplotlib.figure import Figure

    lines = math.ceil(len(panels) / 2)
    figure = Figure(figsize=(10, 3 * lines), layout="constrained")
    grid = figure.subplots(lines, 2, squeeze=False)
    for axes, (name, curves) in zip(grid.flat, panels.items(), strict=False):
        for text, (x, y) in curves.items():
            axes.plot(x, y, marker=marker, label=text)
        positive = any(value > 0 for _, y in curves.values() for value in y)
        axes.set(title=for_pictures(name), xlabel=label, ylabel=quantity, yscale=scale if positive else "linear")
        axes.grid(alpha=0.3)
        if len(curves) > 1:
            axes.legend()
    for axes in list(grid.flat)[len(panels) :]:
        axes.remove()
    with atomic_writer(path, binary=True) as handle:
        figure.savefig(handle, format="png", dpi=120)
