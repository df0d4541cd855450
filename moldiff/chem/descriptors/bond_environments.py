"""Bonds by the surroundings of their ends: which kind of atom is bonded to which, in a molecule's graph.

The surroundings of an end are the atom (element, charge, hydrogens, degree, ring membership) and its other neighbours
with their bonds: the bond itself is cut. They are spelled out, so that they are the same in every version of RDKit. How
usual it is that two such ends are bonded tells a plausible molecule from an odd one (Ehrt et al. 2024, LACAN).
"""

from __future__ import annotations

from dataclasses import dataclass

from rdkit import Chem

_ORDERS = {1.0: "-", 1.5: ":", 2.0: "=", 3.0: "#"}


@dataclass(frozen=True)
class BondEnvironment:
    """A bond between heavy atoms.

    Attributes:
        bond: its index in the molecule.
        ends: the surroundings of its two atoms without each other, the smaller text first.
        order: "-", ":", "=", "#", or "~" for any other.
    """

    bond: int
    ends: tuple[str, str]
    order: str

    @property
    def key(self) -> str:
        """The pair and its bond as one text."""
        return f"{self.ends[0]} {self.order} {self.ends[1]}"


def bond_environments(mol: Chem.Mol) -> list[BondEnvironment]:
    """Return every bond of a sanitised molecule whose hydrogens are no atoms, in the order of its bonds."""
    codes = [_code(atom) for atom in mol.GetAtoms()]
    around: list[list[tuple[int, str]]] = [[] for _ in codes]  # neighbour, bond and what it is
    for bond in mol.GetBonds():
        first, second, order = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), _order(bond)
        around[first].append((second, order + codes[second]))
        around[second].append((first, order + codes[first]))

    def end(atom: int, partner: int) -> str:
        others = sorted(text for neighbour, text in around[atom] if neighbour != partner)
        return f"{codes[atom]}({','.join(others)})"

    found = []
    for bond in mol.GetBonds():
        atoms = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        first_end, second_end = sorted((end(*atoms), end(*reversed(atoms))))
        found.append(BondEnvironment(bond.GetIdx(), (first_end, second_end), _order(bond)))
    return found


def _code(atom: Chem.Atom) -> str:
    """Return element, charge, hydrogens, degree and ring membership of an atom."""
    charge = f"{atom.GetFormalCharge():+d}" if atom.GetFormalCharge() else ""
    return f"{atom.GetSymbol()}{charge}h{atom.GetTotalNumHs()}d{atom.GetDegree()}{'r' if atom.IsInRing() else ''}"


def _order(bond: Chem.Bond) -> str:
    return _ORDERS.get(bond.GetBondTypeAsDouble(), "~")
