"""Confidence of the model in each atom: the probability that its last prediction gives to what was decoded.

It is the model's own opinion, uncalibrated: a value near 1 says that the model saw no alternative, not that there is
none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from moldiff.arrays import LogProbabilities, MolArrays

_MISSING = "n/a"
# RDKit's own "atom.dprop." would make every reader that leaves hydrogens out warn of each molecule
TYPE_TAG, BOND_TAG = "moldiff_type_confidence", "moldiff_bond_confidence"


@dataclass(frozen=True)
class Confidence:
    """Probabilities of a decoded molecule of n atoms under the final prediction.

    Attributes:
        types: (n,) of each atom's element.
        bonds: (n,) mean over each atom's bonds of the probability of that bond's class; NaN for an atom without any.
    """

    types: np.ndarray
    bonds: np.ndarray

    def tags(self, n_atoms: int) -> dict[str, str]:
        """Return tag -> list of ``n_atoms`` values, parted by blanks, in the order of the atoms; those added later have
        none, "n/a"."""
        added = [math.nan] * (n_atoms - len(self.types))
        lists = {TYPE_TAG: [*self.types.tolist(), *added], BOND_TAG: [*self.bonds.tolist(), *added]}
        return {
            name: " ".join(_MISSING if math.isnan(value) else f"{value:.3f}" for value in values)
            for name, values in lists.items()
        }


def confidence(arrays: MolArrays, log_probabilities: LogProbabilities) -> Confidence:
    """Return the confidence in decoded arrays, which may differ from the argmax of the probabilities."""
    n = len(arrays.atom_type)
    types = np.exp(log_probabilities.atom_type[np.arange(n), arrays.atom_type].astype(np.float64))
    i, j, kind = arrays.bonds.T
    each = np.exp(log_probabilities.bond_type[i, j, kind].astype(np.float64))
    ends = np.concatenate([i, j])
    total, count = np.bincount(ends, np.tile(each, 2), minlength=n), np.bincount(ends, minlength=n)
    return Confidence(types, np.where(count > 0, total / np.maximum(count, 1), math.nan))
