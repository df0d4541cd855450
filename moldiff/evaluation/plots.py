"""Histograms of a sample over its reference, as PNG files."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np

from moldiff.chem.properties import PROPERTIES
from moldiff.evaluation.compare import Comparison, Distance
from moldiff.evaluation.reference import Entry, Reference
from moldiff.evaluation.sample import COMPOSITION, KINDS, Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 12
"""Types of each kind that are drawn, the most frequent ones of the reference (or of the sample without one)."""
_COLUMNS = 4
_BINS = 60
_SAMPLE, _REFERENCE = "#c1440e", "#b8bcc4"


def draw(sample: Sample, reference: Reference | None, comparison: Comparison | None) -> dict[str, bytes]:
    """Return file name -> PNG of bonds, angles, torsions, properties and composition. An empty sample draws nothing."""
    if not len(sample):
        return {}
    pictures = {}
    values = sample.geometry()
    for kind, unit in KINDS.items():
        entries = reference.geometry[kind] if reference else {}
        names = list(entries) or sorted(values[kind], key=lambda name: -len(values[kind][name]))
        shown = [name for name in names if name in entries or name in values[kind]][:PANELS]
        distances = comparison.geometry[kind].types if comparison else {}
        if shown:
            pictures[f"{kind}s.png"] = _grid(shown, values[kind], entries, distances, dict.fromkeys(shown, unit))
    units = {name: PROPERTIES[name].unit for name in sample.properties}
    pictures["properties.png"] = _grid(
        list(units),
        sample.known_properties(),
        reference.properties if reference else {},
        comparison.properties if comparison else {},
        units,
    )
    pictures["composition.png"] = _composition(sample, reference)
    return pictures


def _grid(
    names: list[str],
    values: dict[str, np.ndarray],
    entries: dict[str, Entry],
    distances: dict[str, Distance],
    units: dict[str, str],
) -> bytes:
    figure, axes = _panels(len(names))
    for name, ax in zip(names, axes, strict=False):
        _histogram(ax, values.get(name, np.zeros(0)), entries.get(name))
        ax.set_xlabel("" if units[name] == "1" else units[name], fontsize=8)
        ax.set_title(_title(name, distances.get(name)), fontsize=9)
    return _png(figure, axes[0])


def _title(name: str, distance: Distance | None) -> str:
    if distance is None or distance.w1 is None:
        return name
    floor = "" if distance.floor is None else f" (floor {distance.floor:.2g})"
    return f"{name}: W1 {distance.w1:.2g}{floor}"


def _histogram(ax: Axes, values: np.ndarray, entry: Entry | None) -> None:
    """Draw the reference as an area and the sample as a line, over the range that holds the bulk of both."""
    ends = [np.quantile(values, (0.002, 0.998))] if len(values) else []
    if entry is not None:
        ends.append(entry.distribution.cells[[0, -1]])
    if not ends:
        return
    low, high = float(np.min(ends)), float(np.max(ends))
    margin = 0.05 * (high - low) or max(abs(low), 1.0) * 0.01
    edges = np.linspace(low - margin, high + margin, _BINS + 1)
    width = edges[1] - edges[0]
    if entry is not None:
        ax.stairs(entry.distribution.density(edges) / width, edges, fill=True, color=_REFERENCE, label="reference")
    if len(values):
        density = np.histogram(values, edges)[0] / (len(values) * width)
        ax.stairs(density, edges, color=_SAMPLE, linewidth=1.2, label="sample")
    ax.set_yticks([])
    ax.tick_params(labelsize=7)


def _composition(sample: Sample, reference: Reference | None) -> bytes:
    figure, axes = _panels(len(COMPOSITION))
    counts = sample.composition()
    for field, ax in zip(COMPOSITION, axes, strict=False):
        theirs = reference.composition.get(field, {}) if reference else {}
        names = list(dict.fromkeys([*theirs, *counts[field]]))
        if field in ("size", "charge"):
            names.sort(key=int)
        place = np.arange(len(names))
        for shift, label, colour, found in (
            (-0.2, "reference", _REFERENCE, theirs),
            (0.2, "sample", _SAMPLE, counts[field]),
        ):
            if total := sum(found.values()):
                ax.bar(place + shift, [found.get(n, 0) / total for n in names], 0.4, color=colour, label=label)
        step = math.ceil(len(names) / 12)
        ax.set_xticks(place[::step], names[::step], fontsize=7)
        ax.tick_params(axis="y", labelsize=7)
        ax.set_title({"size": "atoms per molecule", "charge": "formal charge"}.get(field, field), fontsize=9)
    return _png(figure, axes[0])


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = math.ceil(count / _COLUMNS)
    figure = Figure(figsize=(3.0 * _COLUMNS, 2.1 * rows + 0.3), layout="constrained")
    FigureCanvasAgg(figure)  # the canvas draws; no window system, no global state of pyplot
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel().tolist()
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes


def _png(figure: Figure, first: Axes) -> bytes:
    handles, labels = first.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
