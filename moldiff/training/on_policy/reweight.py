"""Weights under which a model's draws are made of the same parts as the data.

A generator may be sound in every molecule and still wrong in their proportions: too many small rings, too few aromatic
ones. Among all weightings of its draws that bring the mean of every feature to that of the data, the one nearest to no
weights at all (in relative entropy) is w(x) proportional to exp(lambda . f(x)) (Csiszar 1975, "I-divergence geometry",
theorem 3.1). Training on draws weighted so moves the model towards the data and no further than that takes; the like
for language models: Khalifa et al. 2021, arXiv 2012.11635.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import minimize

from moldiff.errors import MoldiffError
from moldiff.evaluation.motif_frequencies import frequent, table

RARE = 0.0025
"""A feature found in a smaller share of the data than this is left to itself: its mean is not known well enough."""
PRIOR = 0.01
"""Variance of a mean, in squared spreads of the feature, that is taken for chance."""
_ITERATIONS = 1000


def log_weights(
    found: Sequence[Mapping[str, int]], wanted: Sequence[Mapping[str, int]], prior: float = PRIOR
) -> np.ndarray:
    """Return (D,) log weights of draws; the weights sum to D.

    The means are met up to a Gaussian prior on lambda (maximum a posteriori; Chen and Rosenfeld 2000, "A survey of
    smoothing techniques for ME models"), so that no weight runs away where the draws lack a feature.

    Args:
        found: features of each of D draws, with counts; what is not named counts 0.
        wanted: the same of molecules of the data.
        prior: precision of the Gaussian: more keeps the weights more even, and the means further from the data's.

    Raises:
        MoldiffError: one of the two is empty.
    """
    if not found or not wanted:
        raise MoldiffError("weights of draws need draws and molecules of the data; there are none")
    names = sorted(frequent(wanted, RARE))
    data = table(wanted, names)
    mean, spread = data.mean(axis=0), data.std(axis=0)
    varying = spread > 0
    draws = (table(found, names) - mean)[:, varying] / spread[varying]

    def dual(slopes: np.ndarray) -> tuple[float, np.ndarray]:
        logits = draws @ slopes
        largest = logits.max()
        weights = np.exp(logits - largest)
        total = weights.sum()
        value = largest + np.log(total / len(draws)) + 0.5 * prior * slopes @ slopes
        return float(value), weights @ draws / total + prior * slopes

    fitted = minimize(dual, np.zeros(draws.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS})
    logits = draws @ fitted.x
    return np.asarray(logits - np.logaddexp.reduce(logits) + np.log(len(logits)), dtype=np.float64)
