"""Histograms of a sample over its reference, as PNG files."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.evaluation.compare import Comparison, Distance
from moldiff.evaluation.histograms import bin_edges
from moldiff.evaluation.measurements import COMPOSITION, KINDS, NUMBERED, Measurements
from moldiff.evaluation.memorisation import Memorisation
from moldiff.evaluation.rarity import RarityReport
from moldiff.evaluation.reference import Entry, Reference
from moldiff.foreign_text import for_pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 12
"""Types of each kind that are drawn, the most frequent ones of the reference (or of the sample without one)."""
_COLUMNS = 4
_SAMPLE, _REFERENCE = "#b5350b", "#c5ccd6"
_UNITS = {"angstrom": "Å", "degree": "degrees", "angstrom^2": "Å²", "1": ""}
_HEADINGS = {"bond": "Bond lengths", "angle": "Bond angles", "torsion": "Torsions"}
_COMPOSITION_TITLES = {
    "size": "atoms per molecule", "element": "elements", "charge": "formal charges", "bond": "bonds",
}  # fmt: skip


def draw(sample: Measurements, reference: Reference | None, comparison: Comparison | None) -> dict[str, bytes]:
    """Return file name -> PNG of bonds, angles, torsions, properties and composition. An empty sample draws nothing."""
    if not len(sample):
        return {}
    pictures = {}
    against = f" against {reference.source}" if reference else ""
    values = sample.geometry()
    for kind, unit in KINDS.items():
        entries = reference.geometry[kind] if reference else {}
        names = list(entries) or sorted(values[kind], key=lambda name: -len(values[kind][name]))
        shown = names[:PANELS]
        distances = comparison.geometry[kind].types if comparison else {}
        if shown:
            heading = f"{_HEADINGS[kind]} of {len(sample)} valid molecules{against}"
            units = dict.fromkeys(shown, unit)
            pictures[f"{kind}s.png"] = _grid(heading, shown, values[kind], entries, distances, units)
    units = {name: PROPERTIES[name].unit for name in sample.properties}
    pictures["properties.png"] = _grid(
        f"Properties of {len(sample)} valid molecules{against}",
        list(units),
        sample.known_properties(),
        reference.properties if reference else {},
        comparison.properties if comparison else {},
        units,
    )
    pictures["composition.png"] = _composition(
        f"Composition of {len(sample)} valid molecules{against}", sample, reference
    )
    return pictures


def _grid(
    heading: str,
    names: list[str],
    values: dict[str, np.ndarray],
    entries: dict[str, Entry],
    distances: dict[str, Distance],
    units: dict[str, str],
) -> bytes:
    figure, axes = _panels(len(names), heading)
    for name, ax in zip(names, axes, strict=False):
        unit = _UNITS.get(units[name], units[name])
        _histogram(ax, values.get(name, np.zeros(0)), entries.get(name))
        ax.set_title(for_pictures(name.replace("_", " ")), fontsize=10, loc="left", fontweight="bold")
        ax.set_title(_distance_text(distances.get(name), unit), fontsize=7.5, loc="right", color="0.35")
        ax.set_xlabel(unit, fontsize=8, labelpad=1)
    return _png(figure, axes[: len(names)])


def _distance_text(distance: Distance | None, unit: str) -> str:
    if distance is None or distance.w1 is None:
        return ""
    floor = "" if distance.floor is None else f" (floor {distance.floor:.2g})"
    return f"$W_1$ {distance.w1:.2g}{floor}{unit and ' ' + unit.replace('degrees', '°')}"


def _histogram(ax: Axes, values: np.ndarray, entry: Entry | None) -> None:
    """Draw the reference as an area and the sample as a line, over the range that holds the bulk of both."""
    edges = bin_edges(values, entry)
    width = edges[1] - edges[0]
    if entry is not None:
        density = entry.distribution.density(edges) / width
        ax.stairs(density, edges, fill=True, color=_REFERENCE, label="reference")
    if len(values):
        density = np.histogram(values, edges)[0] / (len(values) * width)
        ax.stairs(density, edges, color=_SAMPLE, linewidth=1.3, label="sample")
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(bottom=0)
    ax.locator_params("x", nbins=6, steps=[1, 2, 3, 5, 6, 10])
    ax.set_yticks([])
    ax.spines[["left"]].set_visible(False)


def _composition(heading: str, sample: Measurements, reference: Reference | None) -> bytes:
    figure, axes = _panels(len(COMPOSITION), heading)
    counts = sample.composition()
    for field, ax in zip(COMPOSITION, axes, strict=False):
        theirs = reference.composition.get(field, {}) if reference else {}
        names = list(dict.fromkeys([*theirs, *counts[field]]))
        if field in NUMBERED:
            names.sort(key=int)
        _shares(ax, names, theirs, -0.2, _REFERENCE, "reference")
        _shares(ax, names, counts[field], 0.2, _SAMPLE, "sample")
        step = math.ceil(len(names) / 12)
        ax.set_xticks(range(0, len(names), step), [for_pictures(name.replace("+0", "0")) for name in names[::step]])
        ax.set_title(_COMPOSITION_TITLES[field], fontsize=10, loc="left", fontweight="bold")
        ax.set_ylabel("%", fontsize=8)
    return _png(figure, axes)


def draw_similarity(found: Memorisation) -> bytes:
    """Return a PNG of the similarities to the nearest training molecule, those of held-out molecules behind."""
    heading = f"Nearest of {found.training} training molecules"
    figure, axes = _panels(1, heading, columns=2)
    edges = np.linspace(0, 1, 41)
    for values, colour, label, fill in (
        (found.held_out_nearest, _REFERENCE, "reference", True),
        (found.nearest, _SAMPLE, "sample", False),
    ):
        counts = np.histogram(values, edges)[0]
        axes[0].stairs(100 * counts / len(values), edges, fill=fill, color=colour, label=label, linewidth=1.3)
    axes[0].set(xlabel="Tanimoto similarity, ECFP4", ylabel="%")
    return _png(figure, axes)


def draw_rarity(found: RarityReport) -> bytes:
    """Return a PNG of how frequent rarest ring systems are and how far weakest bonds are expected, those of held-out
    molecules behind."""
    figure, axes = _panels(2, f"Against {found.molecules} molecules of {found.source}", columns=2)
    edges = (np.linspace(0, math.log10(found.molecules + 1) + 1e-9, 31), np.linspace(0, 1, 41))
    labels = ("log10 (1 + molecules with the rarest ring system)", "association of the weakest bond (0.5 = chance)")
    for ax, label in zip(axes, labels, strict=True):
        ax.set(xlabel=label, ylabel="%")
    for one, colour, name, fill in (
        (found.held_out, _REFERENCE, "reference", True),
        (found.sample, _SAMPLE, "sample", False),
    ):
        if one is None or not len(one.rings):
            continue
        for ax, borders, values in zip(axes, edges, (np.log10(1 + one.counts), one.associations), strict=True):
            counts = np.histogram(values, borders)[0]
            ax.stairs(100 * counts / len(values), borders, fill=fill, color=colour, label=name, linewidth=1.3)
    return _png(figure, axes)


def _shares(ax: Axes, names: list[str], counts: dict[str, int], shift: float, colour: str, label: str) -> None:
    """Draw the percentage of each class; a number stands above each bar where there are few, as some are tiny."""
    if not (total := sum(counts.values())):
        return
    percent = [100 * counts.get(name, 0) / total for name in names]
    bars = ax.bar([place + shift for place in range(len(names))], percent, 0.4, color=colour, label=label)
    if len(names) <= 6:
        ax.bar_label(bars, [f"{value:.3g}" for value in percent], fontsize=6.5, padding=1, color="0.3")


def _panels(count: int, heading: str, columns: int = _COLUMNS) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = math.ceil(count / columns)
    figure = Figure(figsize=(3.1 * columns, 2.0 * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)  # the canvas draws; no window system, no global state of pyplot
    figure.suptitle(for_pictures(heading), x=0.008, ha="left", fontsize=11)
    axes: list[Axes] = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=7.5, length=2.5, pad=2)
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes


def _png(figure: Figure, axes: list[Axes]) -> bytes:
    found = {
        label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }  # one panel may show only one of the two
    if found:
        figure.legend(list(found.values()), list(found), loc="outside upper right", ncols=2, fontsize=9, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
