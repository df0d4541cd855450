"""Picture of what was wanted against what was measured."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from moldiff.datasets.statistics import PropertyStatistics
from moldiff.foreign_text import for_pictures
from moldiff.scoring.targets import Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 2
_MOLECULE, _WANTED = "#b5350b", "#c5ccd6"


def draw_calibration(
    targets: Sequence[Target],
    measured: Mapping[str, Sequence[tuple[float, float]]],
    statistics: Mapping[str, PropertyStatistics],
) -> bytes | None:
    """Return a PNG with a panel for each target that was measured; None if none was.

    Where draws were conditioned on several values, every molecule is a point over its own; with a single wanted value,
    or none (the nearest wanted one stands for it), the measured ones form a histogram. What counts as wanted is shaded.

    Args:
        targets: what was wanted.
        measured: property -> (wanted, measured) of every valid molecule.
        statistics: of the properties in the training data.
    """
    shown = [target for target in targets if measured.get(target.name)]
    if not shown:
        return None
    # after this check: most generations draw nothing, and the import takes a good part of a second
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = math.ceil(len(shown) / _COLUMNS), min(len(shown), _COLUMNS)
    figure = Figure(figsize=(4.2 * columns, 3.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)  # the canvas draws; no window system, no global state of pyplot
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for ax, target in zip(axes, shown, strict=False):
        row = statistics[target.name]
        pairs, (low, high) = np.array(measured[target.name], dtype=float), target.band(row.std)
        counted = _is_counted(target, pairs)
        _panel(ax, target, pairs, (low, high), counted)
        within = int(target.is_met(pairs[:, 1], row.std).sum())
        unit = "" if row.unit in ("", "1") else for_pictures(f", {row.unit}")
        ax.set_title(for_pictures(f"{target.name}{target.text}"), fontsize=10, loc="left", fontweight="bold")
        ax.set_title(f"{within} of {len(pairs)} as wanted", fontsize=9, loc="right")
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
        (ax.set_xlabel if counted else ax.set_ylabel)(f"measured{unit}", fontsize=9)
        (ax.set_ylabel if counted else ax.set_xlabel)("molecules" if counted else f"wanted{unit}", fontsize=9)
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _is_counted(target: Target, pairs: np.ndarray) -> bool:
    """Return whether no molecule had a wanted value of its own: the (wanted, measured) pairs make a histogram."""
    return target.is_value or all(wanted == target.nearest(found) for wanted, found in pairs.tolist())


def _panel(ax: Axes, target: Target, pairs: np.ndarray, band: tuple[float, float], counted: bool) -> None:
    """Draw the (wanted, measured) pairs (n, 2) of one target, and what counts as wanted."""
    from matplotlib.ticker import MaxNLocator

    wanted, found = pairs.T
    low, high = (end if math.isfinite(end) else None for end in band)
    ends = [*found, *([] if counted else wanted), *(end for end in (low, high) if end is not None)]
    margin = 0.05 * (max(ends) - min(ends)) or 0.05 * abs(ends[0]) or 1.0
    span = min(ends) - margin, max(ends) + margin
    inside = span[0] if low is None else low, span[1] if high is None else high
    if counted:
        ax.axvspan(*inside, color=_WANTED, lw=0)
        if target.is_value:
            ax.axvline(target.low, color="0.4", lw=1)
        whole = bool((found == np.round(found)).all() and target.is_value and target.low == round(target.low))
        if whole:
            span = math.floor(span[0]) - 0.5, math.ceil(span[1]) + 0.5
        count = round(span[1] - span[0]) if whole else max(8, math.isqrt(len(found)) * 2)
        ax.hist(found, bins=count, range=span, color=_MOLECULE, histtype="step", lw=1.4)
        ax.set_xlim(span)
        for axis, is_whole in ((ax.xaxis, whole), (ax.yaxis, True)):
            if is_whole:
                axis.set_major_locator(MaxNLocator(integer=True))
        return
    ax.axhspan(*inside, color=_WANTED, lw=0)
    ax.plot(span, span, color="0.4", lw=1)
    ax.plot(wanted, found, "o", ms=3, alpha=0.6, color=_MOLECULE, mew=0)
    ax.set(xlim=span, ylim=span)
