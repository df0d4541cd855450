"""Histograms of properties over a reference: common bins, and shares of both in them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.evaluation.reference import Entry
from moldiff.pages.report import Histogram

_FEWEST_BINS, _MOST_BINS = 16, 60
_WHOLE_NUMBERS = 40  # a quantity of whole numbers that spans at most this much gets a bin for each


def bin_edges(values: np.ndarray, entry: Entry | None) -> np.ndarray:
    """Return the borders of bins that hold the bulk of both: between whole numbers, or evenly spaced and fewer for a
    small sample.

    Args:
        values: (n,) finite, n may be 0.
        entry: the reference.
    """
    ends = [np.quantile(values, (0.002, 0.998))] if len(values) else []
    if entry is not None:
        ends.append(entry.distribution.cells[[0, -1]])
    low, high = (float(np.min(ends)), float(np.max(ends))) if ends else (0.0, 1.0)
    if len(values) and np.array_equal(values, np.rint(values)) and high - low <= _WHOLE_NUMBERS:
        return np.arange(math.floor(low), math.ceil(high) + 2) - 0.5
    margin = 0.05 * (high - low) or 0.01 * (abs(low) or 1.0)
    bins = int(np.clip(2 * math.sqrt(len(values)), _FEWEST_BINS, _MOST_BINS))
    return np.linspace(low - margin, high + margin, bins + 1)


def property_histograms(values: Mapping[str, np.ndarray], entries: Mapping[str, Entry]) -> list[Histogram]:
    """Return a histogram of each property that has a finite value.

    Args:
        values: name -> (n,) values; NaN = unknown. Those in `PROPERTIES` have a unit.
        entries: reference distributions by the same names, as far as there are any.
    """
    found = []
    for name, column in values.items():
        known = column[np.isfinite(column)]
        if not len(known):
            continue
        entry = entries.get(name)
        edges = bin_edges(known, entry)
        sample = np.histogram(known, edges)[0] / len(known)
        reference = None if entry is None else tuple(_rounded(entry.distribution.density(edges)))
        low, high = float(edges[0]), float(edges[-1])
        unit = PROPERTIES[name].unit if name in PROPERTIES else "1"
        found.append(Histogram(name, unit, low, high, tuple(_rounded(sample)), reference))
    return found


def _rounded(shares: np.ndarray) -> list[float]:
    return [round(float(share), 5) for share in shares]
