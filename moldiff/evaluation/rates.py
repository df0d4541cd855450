"""Shares of a counted total, with their standard errors and intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_Z95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Rate:
    """A share ``count / n`` of independent trials, or of atoms that lie in molecules (`clustered`).

    Attributes:
        count: how many had the property.
        n: how many were asked. With n = 0 the value and its error are None: nothing was measured.
        effective: number of independent trials that would tell as much as these n; None = n.
    """

    count: int
    n: int
    effective: float | None = None

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
        return math.sqrt(self.value * (1 - self.value) / self._trials)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval (1927), of the effective number of trials (Korn and Graubard 1998)."""
        if self.value is None:
            return None
        n = self._trials
        denominator = 1 + _Z95**2 / n
        centre = (self.value + _Z95**2 / (2 * n)) / denominator
        variance = self.value * (1 - self.value) / n + _Z95**2 / (4 * n**2)
        half = _Z95 * math.sqrt(variance) / denominator
        return max(0.0, centre - half), min(1.0, centre + half)

    @property
    def _trials(self) -> float:
        return self.n if self.effective is None else self.effective

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


def distinct_share(counts: Iterable[int], n: int) -> Rate:
    """Return how many different things were drawn in n draws, as a share of n.

    Draws that repeat each other are no independent successes. The variance of their number is at most the binomial one,
    which is right where hardly any repeats, and at most the jackknife's (Efron and Stein 1981, Annals of Statistics
    9:586): f (1 - f / n) with f things that were drawn once, taken for one if there is none. The smaller of the two is
    taken; the error may still be up to about 1.6 times too large.

    Args:
        counts: how often each of them was drawn.
        n: draws in all, those of other things too.
    """
    times = list(counts)
    found, once = len(times), max(1, sum(count == 1 for count in times))
    binomial, jackknife = (value * (1 - value / max(n, 1)) for value in (found, once))
    return Rate(found, n, n * binomial / jackknife if 0 < jackknife < binomial else None)


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
    if clusters == 1 or scatter < 1e-9:  # nothing tells how dependent the trials of a cluster are: as if fully
        return Rate(int(successes.sum()), total, float(np.count_nonzero(trials)))
    variance = scatter * clusters / (clusters - 1) / total**2
    return Rate(int(successes.sum()), total, float(share * (1 - share) / variance))
