"""Demands of constraints on a decoded molecule, as plain data: no torch here, RDKit workers live without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Rule = Callable[["Mol"], str]
"""From a decoded molecule to how it breaks a constraint; empty if it does not."""


@dataclass(frozen=True)
class FixedAtoms:
    """The first k atoms of a molecule, which stay as they are.

    Attributes:
        atom_type, charge: (k,) int class indices.
        bond_type: (k, k) int class indices of the bonds among them, symmetric.
        open_valences: (k,) int sum of the orders of each atom's bonds to other atoms, none of them aromatic.
        least: (k,) int the least that they may add up to, where hydrogens that are no atoms fill the rest; None = they
            fill the open valences.
    """

    atom_type: np.ndarray
    charge: np.ndarray
    bond_type: np.ndarray
    open_valences: np.ndarray
    least: np.ndarray | None = None


@dataclass(frozen=True)
class DecodingConstraints:
    """Demands on a decoded molecule beyond chemistry; None = nothing.

    Attributes:
        total_charge: sum of the formal charges.
        allowed: for each of the A elements, whether it may occur.
        counts: number of atoms of each of the A elements.
        hydrogens: number of hydrogens, where these are no atoms of the model.
        kept: atoms that stay as they are.
    """

    total_charge: int | None = None
    allowed: tuple[bool, ...] | None = None
    counts: tuple[int, ...] | None = None
    hydrogens: int | None = None
    kept: FixedAtoms | None = None


NO_CONSTRAINTS = DecodingConstraints()


@dataclass(frozen=True)
class Without:
    """None of some elements."""

    elements: frozenset[str]

    def __call__(self, mol: Mol) -> str:
        found = {atom.GetSymbol() for atom in mol.GetAtoms()} & self.elements
        return f"holds {', '.join(sorted(found))}" if found else ""


@dataclass(frozen=True)
class Formula:
    """Exactly these elements, so many atoms of each.

    Attributes:
        counts: atoms of each element.
        any_hydrogens: there may be any number of hydrogens.
    """

    counts: Mapping[str, int]
    any_hydrogens: bool

    def __call__(self, mol: Mol) -> str:
        symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
        found = {symbol: symbols.count(symbol) for symbol in set(symbols)}
        counted = {symbol: count for symbol, count in found.items() if symbol != "H" or not self.any_hydrogens}
        return "" if counted == self.counts else f"is {''.join(f'{s}{n}' for s, n in sorted(found.items()))}"


@dataclass(frozen=True)
class Charge:
    """Formal charges that add up to a total."""

    total: int

    def __call__(self, mol: Mol) -> str:
        found = sum(atom.GetFormalCharge() for atom in mol.GetAtoms())
        return "" if found == self.total else f"has a total charge of {found:+d}"
