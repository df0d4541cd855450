"""One molecule as NumPy arrays, what a model believes of it, and a draw of one. Without torch, as RDKit workers are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_ATOMS = 999
"""Of a molecule: the V2000 format has three digits for a count."""


@dataclass(frozen=True)
class MolArrays:
    """One molecule of n atoms as NumPy arrays: what the data set stores and what RDKit conversion takes and gives.

    Attributes:
        pos: (n, 3) float, angstrom.
        atom_type: (n,) int, element class.
        charge: (n,) int, charge class.
        bonds: (m, 3) int, rows (i, j, bond class) with i < j and class > 0, each unordered pair at most once.
    """

    pos: np.ndarray
    atom_type: np.ndarray
    charge: np.ndarray
    bonds: np.ndarray


@dataclass(frozen=True)
class LogProbabilities:
    """Beliefs of a model about one molecule of n atoms: natural logarithms, normalised over the last axis.

    Attributes:
        atom_type: (n, A) float.
        charge: (n, C) float.
        bond_type: (n, n, K) float, symmetric in the atoms; the diagonal means nothing.
    """

    atom_type: np.ndarray
    charge: np.ndarray
    bond_type: np.ndarray


@dataclass(frozen=True)
class RawSample:
    """One draw: its number, its arrays, or the step at which its state stopped being finite; and on demand the
    log-probabilities behind the arrays."""

    number: int
    arrays: MolArrays | None
    failed_at: int
    log_probabilities: LogProbabilities | None = None
