"""Shares of a counted total, with their standard errors and intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_Z95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Rate:
    """A share ``count / n`` of independent trials, or of atoms that lie in molecules (`clustered`).

    Attributes:
        count: how many had the property.
        n: how many were asked. With n = 0 the value and its error are None: nothing was measured.
        cluster_error: the standard error where the n trials are not independent; None = binomial.
    """

    count: int
    n: int
    cluster_error: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.n:
            raise ValueError(f"a rate needs 0 <= count <= n, not {self.count} of {self.n}")

    @property
    def value(self) -> float | None:
        """The share, between 0 and 1."""
        return self.count / self.n if self.n else None

    @property
    def standard_error(self) -> float | None:
        """Standard error of `value`; 0 at 0 % and 100 %, where `interval` tells more."""
        if self.value is None:
            return None
        if self.cluster_error is not None:
            return self.cluster_error
        return math.sqrt(self.value * (1 - self.value) / self.n)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval: Wilson's (1927), or value +- 1.96 cluster errors clipped to [0, 1]."""
        if self.value is None:
            return None
        if self.cluster_error is not None:
            return max(0.0, self.value - _Z95 * self.cluster_error), min(1.0, self.value + _Z95 * self.cluster_error)
        denominator = 1 + _Z95**2 / self.n
        centre = (self.value + _Z95**2 / (2 * self.n)) / denominator
        variance = self.value * (1 - self.value) / self.n + _Z95**2 / (4 * self.n**2)
        half = _Z95 * math.sqrt(variance) / denominator
        return max(0.0, centre - half), min(1.0, centre + half)

    def to_json(self) -> dict[str, object]:
        """Return value, standard_error, interval95, count and n as plain JSON types."""
        interval = self.interval
        return {
            "value": self.value,
            "standard_error": self.standard_error,
            "interval95": None if interval is None else list(interval),
            "count": self.count,
            "n": self.n,
        }


def clustered(counts: list[int], sizes: list[int]) -> Rate:
    """Return the share of trials that come in clusters (stable atoms of molecules), with the ratio estimator's error.

    Args:
        counts: successes of each cluster.
        sizes: trials of each cluster.
    """
    successes, trials = np.asarray(counts, dtype=float), np.asarray(sizes, dtype=float)
    total, clusters = int(trials.sum()), len(sizes)
    if not total:
        return Rate(0, 0)
    share = successes.sum() / total
    # Linearised ratio estimator: the residual of each cluster is independent, its trials are not.
    scatter = float(np.sum((successes - share * trials) ** 2))
    error = math.sqrt(scatter * clusters / (clusters - 1)) / total if clusters > 1 else None
    return Rate(int(successes.sum()), total, error)
