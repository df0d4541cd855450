"""Means of benchmarks, with errors that can be held against a second look. Used by the benchmarks, not run by itself.

Draws that share a molecule are alike, so that their groups are counted, not the draws. And an error bar says how far
disjoint parts of the sample should lie apart: a figure whose parts lie farther apart is no headline.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PARTS = 5
WIDEST = 1.54  # times the error bar: five parts of a fair sample lie farther apart in one case of twenty (chi-squared)


def mean_and_error(values: Sequence[float], groups: Sequence[int] | None = None) -> tuple[float, float]:
    """Return the mean of values and its standard error over the groups they belong to, by default each its own.

    Both are NaN without values; the error is so with a single group.
    """
    if not len(values):
        return np.nan, np.nan
    away = np.asarray(values, float) - np.mean(values)
    places = np.unique(np.arange(len(away)) if groups is None else np.asarray(groups), return_inverse=True)[1]
    sums = np.bincount(places, weights=away)
    if len(sums) < 2:
        return float(np.mean(values)), np.nan
    return float(np.mean(values)), float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(away))


def means_of_parts(values: Sequence[float], groups: Sequence[int] | None = None) -> list[float]:
    """Return the means of `PARTS` disjoint parts of as many groups each, in order."""
    numbers = np.arange(len(values)) if groups is None else np.asarray(groups)
    parts = [np.asarray(values, float)[np.isin(numbers, some)] for some in np.array_split(np.unique(numbers), PARTS)]
    return [float(part.mean()) if len(part) else np.nan for part in parts]


def scatter(means: Sequence[float], error: float) -> float:
    """Return how far parts lie apart, in times of what the standard error of the whole has them do (1 is expected)."""
    return float(np.std(means, ddof=1) / np.sqrt(len(means)) / error) if error else np.nan


def parts_table(rows: Sequence[tuple[str, Sequence[float], float]], digits: int) -> list[str]:
    """Return the Markdown lines of a table of parts: name, means of the parts, standard error of the whole."""
    lines = ["| | " + " | ".join(f"part {number}" for number in range(1, PARTS + 1)) + " | scatter / error bar |"]
    lines.append("|---" * (PARTS + 2) + "|")
    for name, means, error in rows:
        ratio = scatter(means, error)
        cells = " | ".join(f"{value:.{digits}f}" for value in means)
        lines.append(f"| {name} | {cells} | {f'{ratio:.1f}' if np.isfinite(ratio) else '-'} |")
    return lines
