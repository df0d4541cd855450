"""Stability: does every atom have a valence that its element and formal charge allow?

Valences are sums of integer bond orders; aromatic bonds are Kekulised first. (A sum of 1.5s cast to an integer is the
bug that inflated the published stability of several models.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from types import MappingProxyType
from typing import NamedTuple

from rdkit import Chem, rdBase

# Closed-shell valences (hydrogens counted) of main-group atoms by element and formal charge; isolated ions have
# valence 0.
ALLOWED_VALENCES: Mapping[tuple[str, int], frozenset[int]] = MappingProxyType(
    {
        key: frozenset(valences)
        for key, valences in {
            ("H", -1): {0},
            ("H", 0): {1},
            ("H", 1): {0},
            ("Li", 0): {1},
            ("Li", 1): {0},
            ("B", -1): {4},
            ("B", 0): {3},
            ("C", -1): {3},
            ("C", 0): {4},
            ("C", 1): {3},
            ("N", -2): {1},
            ("N", -1): {2},
            ("N", 0): {3},
            ("N", 1): {4},
            ("O", -2): {0},
            ("O", -1): {1},
            ("O", 0): {2},
            ("O", 1): {3},
            ("F", -1): {0},
            ("F", 0): {1},
            ("Na", 1): {0},
            ("Mg", 2): {0},
            ("Al", -1): {4},
            ("Al", 0): {3},
            ("Si", -2): {6},
            ("Si", -1): {3, 5},
            ("Si", 0): {4},
            ("Si", 1): {3},
            ("P", -1): {2, 4, 6},
            ("P", 0): {3, 5},
            ("P", 1): {4},
            ("S", -2): {0},
            ("S", -1): {1, 3, 5},
            ("S", 0): {2, 4, 6},
            ("S", 1): {3, 5},
            ("S", 2): {4},
            ("Cl", -1): {0},
            ("Cl", 0): {1},
            ("Cl", 1): {2},
            ("Cl", 2): {3},
            ("Cl", 3): {4},
            ("K", 1): {0},
            ("Ca", 2): {0},
            ("Zn", 2): {0},
            ("Ge", 0): {4},
            ("As", 0): {3, 5},
            ("As", 1): {4},
            ("Se", -1): {1},
            ("Se", 0): {2, 4, 6},
            ("Se", 1): {3, 5},
            ("Br", -1): {0},
            ("Br", 0): {1},
            ("Br", 1): {2},
            ("Br", 2): {3},
            ("Br", 3): {4},
            ("Sn", 0): {4},
            ("Te", 0): {2, 4, 6},
            ("I", -1): {0},
            ("I", 0): {1, 3, 5},
            ("I", 1): {2},
            ("I", 2): {3},
            ("I", 3): {4},
        }.items()
    }
)

_ORDER = {Chem.BondType.SINGLE: 1, Chem.BondType.DOUBLE: 2, Chem.BondType.TRIPLE: 3}


class ClosedShell(NamedTuple):
    """A state of an atom: element symbol, formal charge, valence (hydrogens counted), and whether it may sit in an
    aromatic ring without a double bond, because it has a lone pair or an empty orbital."""

    symbol: str
    charge: int
    valence: int
    gives_to_ring: bool


def closed_shell_states(elements: Iterable[str], charges: Iterable[int]) -> list[ClosedShell]:
    """Return every allowed state of atoms of these elements and formal charges, by element, charge, valence."""
    table, states = Chem.GetPeriodicTable(), []
    for symbol, charge in product(elements, charges):
        for valence in sorted(ALLOWED_VALENCES.get((symbol, charge), ())):
            electrons = table.GetNOuterElecs(symbol) - charge
            lone_pair, empty_orbital = electrons - valence >= 2, electrons + valence <= 6
            states.append(ClosedShell(symbol, charge, valence, lone_pair or empty_orbital))
    return states


def is_stable(symbol: str, charge: int, valence: int) -> bool:
    """Return whether `ALLOWED_VALENCES` has this valence; an element and charge not in the table are never stable."""
    return valence in ALLOWED_VALENCES.get((symbol, charge), frozenset())


def atom_stability(mol: Chem.Mol) -> list[bool]:
    """Return for each atom whether its valence is allowed; works on sanitised and unsanitised molecules.

    Hydrogens that are no atoms of the molecule count only if none is (a file of heavy atoms): where hydrogens are
    atoms, a missing one is an open valence. An aromatic system without a Kekule form makes its atoms unstable, and so
    does a bond that is neither single, double nor triple (dative, zero order).
    """
    copy = Chem.Mol(mol)
    unstable: set[int] = set()
    try:
        with rdBase.BlockLogs():
            Chem.Kekulize(copy, clearAromaticFlags=True)
    except (ValueError, RuntimeError):
        copy = Chem.Mol(mol)
    valence = [0] * copy.GetNumAtoms()
    for bond in copy.GetBonds():
        ends = (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        order = _ORDER.get(bond.GetBondType())
        for index in ends:
            valence[index] += order or 0
        if order is None:
            unstable.update(ends)
    hydrogens = unlisted_hydrogens(mol)
    return [
        atom.GetIdx() not in unstable
        and is_stable(atom.GetSymbol(), atom.GetFormalCharge(), valence[atom.GetIdx()] + hydrogens[atom.GetIdx()])
        for atom in copy.GetAtoms()
    ]


def unlisted_hydrogens(mol: Chem.Mol) -> list[int]:
    """Return per atom the hydrogens that are not atoms but legitimately implied: all 0 if any atom is a hydrogen."""
    if any(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms()):
        return [0] * mol.GetNumAtoms()
    copy = Chem.Mol(mol)
    copy.UpdatePropertyCache(strict=False)
    return [atom.GetTotalNumHs() for atom in copy.GetAtoms()]
