"""Vocabulary of a set of molecules: the elements, charges and bond orders that they hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rdkit import Chem

from moldiff.vocabulary import BOND_ORDERS, Vocabulary

BOND_NAMES: dict[Chem.BondType, str] = {
    Chem.BondType.SINGLE: "single",
    Chem.BondType.DOUBLE: "double",
    Chem.BondType.TRIPLE: "triple",
    Chem.BondType.AROMATIC: "aromatic",
}


@dataclass(frozen=True)
class Survey:
    """The categories that occur in one or more molecules; unions are written ``a | b``.

    Attributes:
        elements: element symbols ("*" for a dummy atom).
        charges: formal charges.
        bonds: names out of `BOND_ORDERS`, or RDKit's upper-case name of a bond order that has no class ("DATIVE").
    """

    elements: frozenset[str] = frozenset()
    charges: frozenset[int] = frozenset()
    bonds: frozenset[str] = frozenset()

    def __or__(self, other: Survey) -> Survey:
        return Survey(self.elements | other.elements, self.charges | other.charges, self.bonds | other.bonds)


def survey(mol: Chem.Mol) -> Survey:
    """Return the elements, formal charges and bond orders of a sanitised molecule (aromatic bonds as "aromatic")."""
    return Survey(
        frozenset(atom.GetSymbol() for atom in mol.GetAtoms()),
        frozenset(atom.GetFormalCharge() for atom in mol.GetAtoms()),
        frozenset(BOND_NAMES.get(bond.GetBondType(), str(bond.GetBondType())) for bond in mol.GetBonds()),
    )


def build_vocabulary(surveys: Iterable[Survey], *, aromatic: bool, explicit_hydrogens: bool) -> Vocabulary:
    """Return the smallest vocabulary that spells every molecule surveyed.

    Args:
        surveys: what `survey` returned for the molecules, or unions of that.
        aromatic: True keeps a class for aromatic bonds; False spells them as single and double (Kekule form).
        explicit_hydrogens: False leaves out hydrogen; RDKit places it again when decoding.

    Raises:
        ValueError: no molecule was surveyed, or a bond order (dative, zero, ...) has no class.
    """
    union = Survey()
    for one in surveys:
        union |= one
    bonds = set(union.bonds)
    if unknown := sorted(bonds - set(BOND_ORDERS)):
        raise ValueError(f"bond order {', '.join(unknown)} has no class; known are {', '.join(BOND_ORDERS[1:])}")
    if not aromatic and "aromatic" in bonds:
        bonds = bonds - {"aromatic"} | {"single", "double"}
    elements = union.elements if explicit_hydrogens else union.elements - {"H"}
    if not elements:
        raise ValueError("no molecule to build a vocabulary from")
    table = Chem.GetPeriodicTable()
    return Vocabulary(
        elements=tuple(sorted(elements, key=table.GetAtomicNumber)),
        charges=tuple(sorted(union.charges | {0})),
        bonds=tuple(name for name in BOND_ORDERS if name == BOND_ORDERS[0] or name in bonds),
        explicit_hydrogens=explicit_hydrogens,
    )
