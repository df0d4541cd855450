"""Makeup of a molecule: what decides whether a model can know it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdkit.Chem import Mol


@dataclass(frozen=True)
class Makeup:
    """Elements, charges and size of a molecule.

    Attributes:
        elements: symbols, without hydrogen.
        charges: formal charges of its atoms.
        heavy: number of atoms that are no hydrogen.
        hydrogens: explicit and implied.
    """

    elements: frozenset[str]
    charges: frozenset[int]
    heavy: int
    hydrogens: int

    @classmethod
    def of(cls, mol: Mol) -> Makeup:
        """Describe a sanitised molecule."""
        atoms = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1]
        implied = sum(atom.GetTotalNumHs() for atom in atoms)
        return cls(
            frozenset(atom.GetSymbol() for atom in atoms),
            frozenset(atom.GetFormalCharge() for atom in atoms),
            len(atoms),
            implied + mol.GetNumAtoms() - len(atoms),
        )

    def is_within(self, elements: Collection[str], charges: Collection[int], most: int, heavy: int) -> bool:
        """Return whether it is of given elements and charges, and has at most so many atoms and heavy atoms; hydrogens
        count where they are among the elements."""
        size = self.heavy + (self.hydrogens if "H" in elements else 0)
        has_known_atoms = self.elements <= set(elements) and self.charges <= set(charges)
        return has_known_atoms and size <= most and self.heavy <= heavy
