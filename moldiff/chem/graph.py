"""A molecule as plain arrays of atoms, coordinates and bonds, for code that measures geometry without RDKit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from rdkit.Chem import BondType, GetPeriodicTable, Mol

_ORDERS = {BondType.SINGLE: 1, BondType.DOUBLE: 2, BondType.TRIPLE: 3, BondType.AROMATIC: 4}
OTHER_ORDER = 7
"""Order index of every bond that is not single, double, triple or aromatic (dative, quadruple, zero order)."""


@dataclass(frozen=True)
class MolGraph:
    """n atoms and m bonds of one molecule, or of several put together (`concatenate`).

    Attributes:
        numbers: (n,) int64 atomic numbers.
        charges: (n,) int64 formal charges.
        positions: (n, 3) float64, angstrom.
        bonds: (m, 3) int64 rows (i, j, order): 1 single, 2 double, 3 triple, 4 aromatic, `OTHER_ORDER`.
    """

    numbers: np.ndarray
    charges: np.ndarray
    positions: np.ndarray
    bonds: np.ndarray


def graph(mol: Mol) -> MolGraph:
    """Return the arrays of a molecule; aromatic flags count as order 4.

    Raises:
        ValueError: the molecule has no conformer.
    """
    rows = [
        (b.GetBeginAtomIdx(), b.GetEndAtomIdx(), 4 if b.GetIsAromatic() else _ORDERS.get(b.GetBondType(), OTHER_ORDER))
        for b in mol.GetBonds()
    ]
    return MolGraph(
        np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64),
        np.array([atom.GetFormalCharge() for atom in mol.GetAtoms()], dtype=np.int64),
        mol.GetConformer().GetPositions(),
        np.array(rows, dtype=np.int64).reshape(-1, 3),
    )


def concatenate(graphs: list[MolGraph]) -> MolGraph:
    """Return one graph that holds all atoms in order; bonds never cross from one molecule into another."""
    if not graphs:
        nothing = np.zeros(0, dtype=np.int64)
        return MolGraph(nothing, nothing, np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    offsets = np.cumsum([0, *(len(g.numbers) for g in graphs[:-1])])
    bonds = [g.bonds + np.array([offset, offset, 0]) for g, offset in zip(graphs, offsets, strict=True)]
    return MolGraph(
        np.concatenate([g.numbers for g in graphs]),
        np.concatenate([g.charges for g in graphs]),
        np.concatenate([g.positions for g in graphs]),
        np.concatenate(bonds),
    )


def molar_mass(composition: Mapping[str, int]) -> float:
    """Return the mass of atoms by element, g/mol."""
    table = GetPeriodicTable()
    return float(sum(count * table.GetAtomicWeight(name) for name, count in composition.items()))


def symbol(number: int) -> str:
    """Return the element symbol of an atomic number ("*" for 0)."""
    return str(GetPeriodicTable().GetElementSymbol(int(number)))
