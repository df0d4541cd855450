"""Size and condition of each draw, drawn together as they occur in training."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from moldiff.randomness import NoiseSource, Stream
from moldiff.scoring.targets import Target, scaled_distances

logger = logging.getLogger(__name__)

BANDWIDTH = 0.25  # of the kernel around a wanted value, in standard deviations of the training data
LEAST_ROWS = 30.0  # effective number of training molecules that sizes are drawn from


class ConditionSampler(Protocol):
    """Gives every draw its size and condition: a function of the seed and the draw's number."""

    def draw(self, numbers: Tensor, source: NoiseSource) -> tuple[np.ndarray, np.ndarray]:
        """Return sizes (M,) int64 and conditions (M, P) float32, NaN = free, of draws ``numbers`` (M,)."""
        ...


class UnconditionalSampler:
    """Sizes of the training data, every property free.

    Args:
        size_counts: number of atoms -> training molecules.
        allowed: inclusive range of sizes; None = all of the training data's.
        properties: P.
    """

    def __init__(self, size_counts: dict[int, int], allowed: tuple[int, int] | None, properties: int) -> None:
        self._sizes, self._cumulative = size_distribution(size_counts, allowed)
        self._properties = properties

    def draw(self, numbers: Tensor, source: NoiseSource) -> tuple[np.ndarray, np.ndarray]:
        sizes = self._sizes[_places(self._cumulative, uniform(numbers, source, 0))]
        return sizes, np.full((len(numbers), self._properties), np.nan, dtype=np.float32)


class TargetConditionSampler:
    """Sizes and conditions of training molecules that are as wanted, drawn together.

    A training molecule counts if it lies in every wanted range and its size is allowed, with a weight for its distance
    from every wanted value: exp(-(distance / h)^2 / 2), distance in standard deviations of the property. h is
    `BANDWIDTH`, doubled until the weights amount to `LEAST_ROWS` molecules, (sum w)^2 / sum w^2, or to nearly all that
    count. A draw takes the size of a molecule, the wanted values exactly, and of a range the molecule's own value, so
    that what is asked for together occurs together. Properties that are not asked for stay free.

    Where no training molecule lies in all the ranges, distances from them are weighed likewise and the condition is the
    nearest end. Where none has an allowed size, size and condition are drawn apart.

    Args:
        targets: at least one.
        conditions: the model's properties, in order.
        rows: (R, 1 + P) number of atoms and properties of training molecules, NaN = unknown.
        std: (P,) standard deviations.
        size_counts, allowed: as for `UnconditionalSampler`.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        conditions: Sequence[str],
        rows: np.ndarray,
        std: np.ndarray,
        size_counts: dict[int, int],
        allowed: tuple[int, int] | None,
    ) -> None:
        columns = [conditions.index(target.name) for target in targets]
        rows = rows[np.isfinite(rows[:, [1 + column for column in columns]]).all(1)]
        self._apart = None
        if allowed is not None:
            fitting = rows[(rows[:, 0] >= allowed[0]) & (rows[:, 0] <= allowed[1])]
            if len(fitting):
                rows = fitting
            else:
                self._apart = size_distribution(size_counts, allowed)
        distances = scaled_distances(targets, rows[:, [1 + column for column in columns]], std[columns])
        ranges = np.array([not target.is_value for target in targets])
        inside = (distances[ranges] == 0).all(0)
        if inside.any():
            rows, distances = rows[inside], distances[:, inside]
        else:
            logger.warning("no training molecule lies in all the ranges asked for; sizes are those of the nearest")
        self._cumulative = np.cumsum(kernel_weights((distances**2).sum(0)))
        self._atoms = rows[:, 0].astype(np.int64)
        self._values = np.full((len(rows), len(conditions)), np.nan)
        for target, column in zip(targets, columns, strict=True):
            self._values[:, column] = rows[:, 1 + column].clip(target.low, target.high)

    def draw(self, numbers: Tensor, source: NoiseSource) -> tuple[np.ndarray, np.ndarray]:
        chosen = _places(self._cumulative, uniform(numbers, source, 0))
        sizes = self._atoms[chosen]
        if self._apart is not None:
            sizes = self._apart[0][_places(self._apart[1], uniform(numbers, source, 1))]
        return sizes, self._values[chosen].astype(np.float32)


@dataclass(frozen=True)
class MappedConditionSampler:
    """Sizes and conditions of a sampler that knows other properties than the model: those that both know.

    Attributes:
        sampler: gives sizes, and values of their own properties.
        columns: place of each of the model's properties among those; None = free.
    """

    sampler: ConditionSampler
    columns: tuple[int | None, ...]

    def draw(self, numbers: Tensor, source: NoiseSource) -> tuple[np.ndarray, np.ndarray]:
        sizes, values = self.sampler.draw(numbers, source)
        condition = np.full((len(numbers), len(self.columns)), np.nan, dtype=np.float32)
        for place, column in enumerate(self.columns):
            if column is not None:
                condition[:, place] = values[:, column]
        return sizes, condition


@dataclass(frozen=True)
class PinnedConditionSampler:
    """Sizes and conditions of another sampler, with some properties set to one value in every draw.

    Attributes:
        sampler: gives sizes and all other properties.
        certain: place of a property in the condition -> its value.
    """

    sampler: ConditionSampler
    certain: Mapping[int, float]

    def draw(self, numbers: Tensor, source: NoiseSource) -> tuple[np.ndarray, np.ndarray]:
        sizes, condition = self.sampler.draw(numbers, source)
        for place, value in self.certain.items():
            condition[:, place] = value
        return sizes, condition


def kernel_weights(squares: np.ndarray) -> np.ndarray:
    """Return weights (R,) of squared distances (R,), the largest 1: a Gaussian kernel, see `TargetConditionSampler`."""
    squares, bandwidth = squares - squares.min(), BANDWIDTH
    while True:
        weights = np.exp(-0.5 * squares / bandwidth**2)
        if weights.sum() ** 2 / (weights**2).sum() >= min(LEAST_ROWS, 0.9 * len(weights)):
            return weights
        bandwidth *= 2


def size_distribution(counts: dict[int, int], allowed: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return sizes (S,) and cumulative weights (S,): training frequencies within the allowed range.

    Where the range holds no size seen in training, every size in it is equally likely.
    """
    low, high = allowed or (min(counts), max(counts))
    sizes = np.arange(low, high + 1)
    weights = np.array([counts.get(int(n), 0) for n in sizes], dtype=np.float64)
    return sizes, np.cumsum(weights if weights.any() else np.ones_like(weights))


def uniform(numbers: Tensor, source: NoiseSource, element: int) -> np.ndarray:
    """Return (M,) float64 in (0, 1): the number of each draw ``numbers`` (M,) by which its size is drawn."""
    found: np.ndarray = source.uniform(numbers, 0, Stream.SIZE, element + 1)[:, element].to(torch.float64).numpy()
    return found


def _places(cumulative: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return indices drawn with the weights behind ``cumulative``."""
    places = np.searchsorted(cumulative, numbers * cumulative[-1], side="right")
    return np.minimum(places, len(cumulative) - 1)
