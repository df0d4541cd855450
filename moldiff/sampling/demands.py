"""What a model believes of a molecule, and what is demanded of it beyond chemistry. Arrays alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Kept:
    """The first k atoms of a molecule, which stay as they are.

    Attributes:
        atom_type, charge: (k,) int class indices.
        bond_type: (k, k) int class indices of the bonds among them, symmetric.
        open_valences: (k,) int sum of the orders of each atom's bonds to other atoms, none of them aromatic.
    """

    atom_type: np.ndarray
    charge: np.ndarray
    bond_type: np.ndarray
    open_valences: np.ndarray


@dataclass(frozen=True)
class Demands:
    """What is asked of a molecule beyond chemistry; None = nothing.

    Attributes:
        total_charge: sum of the formal charges.
        allowed: for each of the A elements, whether it may occur.
        counts: number of atoms of each of the A elements.
        kept: atoms that stay as they are.
    """

    total_charge: int | None = None
    allowed: tuple[bool, ...] | None = None
    counts: tuple[int, ...] | None = None
    kept: Kept | None = None


NO_DEMANDS = Demands()
