"""Distributions small enough to travel with a model, and the distance between a sample and one of them.

A reference distribution is kept as the means of cells of equal mass, cut from the sorted values: its mean is exact, its
tails are kept, and the Wasserstein-1 distance to it is off by about (spread / number of cells), 0.0001 angstrom for a
bond. A histogram would have to be chosen per quantity and would be off by its bin width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_CELLS = 128
FLOOR_SIZES = (30, 100, 300, 1000, 3000, 10000)
"""Numbers of molecules for which a reference stores the distance between training and held-out molecules."""


@dataclass(frozen=True)
class Distribution:
    """A one-dimensional reference distribution.

    Attributes:
        cells: (K,) ascending means of K cells of equal mass, K <= MAX_CELLS; fewer values are kept as they are.
        count: number of values behind it.
        mean, std: of those values, in their unit.
    """

    cells: np.ndarray
    count: int
    mean: float
    std: float

    def to_json(self, decimals: int) -> dict[str, object]:
        """Return plain JSON types, the cells rounded to ``decimals`` places."""
        return {
            "cells": [round(float(cell), decimals) for cell in self.cells],
            "count": self.count,
            "mean": round(self.mean, decimals + 2),
            "std": round(self.std, decimals + 2),
        }

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Distribution:
        """Read `to_json`'s output; TypeError, ValueError or KeyError if it is not one."""
        cells = np.asarray(value["cells"], dtype=np.float64)
        if cells.ndim != 1 or not len(cells) or not np.all(np.isfinite(cells)):
            raise ValueError("a distribution needs a list of finite cells")
        return cls(cells, int(value["count"]), float(value["mean"]), float(value["std"]))  # type: ignore[call-overload, arg-type]

    def density(self, edges: np.ndarray) -> np.ndarray:
        """Return (len(edges) - 1,) mass between consecutive ``edges``.

        Every cell is spread evenly up to the middles between it and its neighbours; where most cells repeat (a quantity
        that takes few values, such as a count) they are taken as points.
        """
        if len(np.unique(self.cells)) < 0.7 * len(self.cells) or len(self.cells) == 1:
            return np.histogram(self.cells, edges)[0] / len(self.cells)
        middle = (self.cells[1:] + self.cells[:-1]) / 2
        borders = np.concatenate([[2 * self.cells[0] - middle[0]], middle, [2 * self.cells[-1] - middle[-1]]])
        # A few equal cells make borders repeat; the last of them carries the jump.
        unique, last = np.unique(borders[::-1], return_index=True)
        shares = (len(borders) - 1 - last) / len(self.cells)
        return np.diff(np.interp(edges, unique, shares, left=0.0, right=1.0))


def summarise(values: np.ndarray) -> Distribution:
    """Return the distribution of at least one finite value (ValueError otherwise)."""
    if not len(values) or not np.all(np.isfinite(values)):
        raise ValueError("a distribution needs at least one value, all of them finite")
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    # The integral of the quantile function over equal steps, so that a value may be shared by two cells.
    integral = np.concatenate([[0.0], np.cumsum(ordered)]) / len(ordered)
    count = min(MAX_CELLS, len(ordered))
    cells = (
        np.diff(np.interp(np.arange(count + 1) / count, np.arange(len(ordered) + 1) / len(ordered), integral)) * count
    )
    return Distribution(cells, len(ordered), float(ordered.mean()), float(ordered.std()))


def wasserstein(values: np.ndarray, reference: Distribution) -> float:
    """Return the Wasserstein-1 distance, in the values' unit, between a sample and a reference."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(values, reference.cells))


def total_variation(counts: dict[str, int], reference: dict[str, int]) -> float | None:
    """Return half the sum of |p - q| over all classes, 0 (equal) to 1 (disjoint); None if one side is empty."""
    total, reference_total = sum(counts.values()), sum(reference.values())
    if not total or not reference_total:
        return None
    names = set(counts) | set(reference)
    return 0.5 * sum(abs(counts.get(k, 0) / total - reference.get(k, 0) / reference_total) for k in names)


@dataclass(frozen=True)
class Floor:
    """The distance that real molecules of the training split have to the held-out ones, by number of molecules.

    The distance of n molecules to m others of the same law falls as sqrt(1/n + 1/m) does.

    Attributes:
        sizes: ascending numbers of molecules drawn.
        values: mean Wasserstein-1 distance of such draws; None where the draws held too few values of the type.
        against: how many held-out molecules they are measured against.
    """

    sizes: tuple[int, ...]
    values: tuple[float | None, ...]
    against: int

    def at(self, molecules: int) -> float | None:
        """Return the floor for a sample of ``molecules``.

        What a distance is of sqrt(1/n + 1/m) is linear in log-log between the sizes, and constant beyond them.
        """
        known = [(s, v) for s, v in zip(self.sizes, self.values, strict=True) if v is not None]
        if not known or molecules < 1:
            return None
        logs = np.log([max(v, 1e-12) / sampling_error(s, self.against) for s, v in known])
        ratio = np.exp(np.interp(math.log(molecules), np.log([s for s, _ in known]), logs))
        return float(ratio) * sampling_error(molecules, self.against)

    def to_json(self, decimals: int) -> dict[str, object]:
        """Return plain JSON types, values rounded to ``decimals`` places."""
        values = [None if value is None else round(value, decimals) for value in self.values]
        return {"sizes": list(self.sizes), "values": values, "against": self.against}

    @classmethod
    def from_json(cls, value: dict[str, Any], molecules: int) -> Floor:
        """Read `to_json`'s output; ValueError if it is none. Where it does not say against how many molecules, as it
        did not at first, these are all ``molecules`` of the reference."""
        against = int(value.get("against", molecules))
        sizes = tuple(int(size) for size in value["sizes"])
        if against < 1 or any(size < 1 for size in sizes):
            raise ValueError("a floor is that of at least one molecule")
        return cls(sizes, tuple(None if v is None else float(v) for v in value["values"]), against)


def sampling_error(molecules: int, others: int) -> float:
    """Return sqrt(1/n + 1/m), in which distances between two samples of one law fall."""
    return math.sqrt(1 / molecules + 1 / others)
