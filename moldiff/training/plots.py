"""Plots of a training run's logs, drawn from the CSV files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from moldiff.files import atomic_writer
from moldiff.molecules import FIELDS


def plot_training(rows: list[dict[str, str]], path: Path) -> None:
    """Draw the running loss of each field against the step as PNG."""
    _draw(
        {field: ([int(row["step"]) for row in rows], [float(row[field]) for row in rows]) for field in FIELDS},
        "step",
        path,
        "o" if len(rows) == 1 else "",
    )


def plot_validation(rows: list[dict[str, str]], path: Path) -> None:
    """Draw, for the newest validation and the first, each field's loss against the noise-level bin as PNG."""
    steps = sorted({int(row["step"]) for row in rows})
    curves = {}
    for field in FIELDS:
        newest = [
            (int(r["bin"]), float(r["loss"])) for r in rows if r["field"] == field and int(r["step"]) == steps[-1]
        ]
        curves[field] = ([bin_ / 10 + 0.05 for bin_, _ in newest], [loss for _, loss in newest])
    _draw(curves, f"t (0 = data, 1 = noise), step {steps[-1]}", path, "o")


def _draw(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], label: str, path: Path, marker: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    for axes, (field, (x, y)) in zip(figure.subplots(2, 2).flat, curves.items(), strict=True):
        axes.plot(x, y, marker=marker)
        axes.set(title=field, xlabel=label, ylabel="loss", yscale="log")
        axes.grid(alpha=0.3)
    with atomic_writer(path, binary=True) as handle:
        figure.savefig(handle, format="png", dpi=120)
