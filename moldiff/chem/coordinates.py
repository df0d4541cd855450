"""Coordinates of a molecule, and whether they are some in angstrom: no drawing, no other unit, no atoms on one point.

One gate for every command that begins with the coordinates of a record. What it lets through need not be a good
geometry, see `moldiff.chem.filters.validity`; what it refuses can be none.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from rdkit import Chem

from moldiff.chem.sanitize import coordinate_refusal

NO_CONFORMER = "no 3D conformer"
FLAT = "flat drawing: no 3D coordinates"
COINCIDENT = "coincident atoms"  # code word
LENGTH_RANGE = (0.5, 1.6)  # a bond's length over what covalent radii give, beyond which nothing explains it
MEDIAN_RANGE = (0.62, 1.42)  # the same for the median of a molecule's bonds
UNITS = {"bohr": 1.8897, "angstrom taken for bohr": 0.52918, "nanometres": 0.1, "picometres": 100.0}

_UNIT_TOLERANCE = 0.15  # of the logarithm of the median
_EXTENT = 0.1  # angstrom: what is smaller is one point
_CLOSEST = 0.35  # angstrom between two atoms
_FLAT = 2e-3  # angstrom, root mean square distance to a plane
_EVEN = 0.006  # relative spread of lengths that are drawn, not measured
_MEASURED, _STRETCHED = 0.15, 0.05  # relative difference to radii: most of a molecule's, and of a drawing's mean
_KINDS_DIFFER = 1.04  # ratio of lengths that differ in any molecule
_DRAWN_ANGLE = (118.5, 121.5)  # degrees; a chain of single bonds has 109 to 116
_SHORTENING = np.ones(4 * 10)  # by four times the order of a bond
_SHORTENING[[8, 12, 6]] = 0.87, 0.79, 0.92  # double, triple, aromatic
_TETRAHEDRAL = frozenset({5, 6, 7, 14, 15})  # B, C, N, Si, P: with four neighbours never flat


def has_conformer(mol: Chem.Mol) -> bool:
    """Return whether a molecule has a 3D conformer, of whatever worth."""
    return mol.GetNumConformers() > 0 and bool(mol.GetConformer().Is3D())


def add_conformer(mol: Chem.Mol, positions: np.ndarray) -> None:
    """Add a 3D conformer that has the atoms at (n, 3) positions, in angstrom."""
    conformer = Chem.Conformer(len(positions))
    conformer.Set3D(True)
    conformer.SetPositions(np.asarray(positions, dtype=np.float64))
    mol.AddConformer(conformer, assignId=True)


def coordinates_problem(mol: Chem.Mol) -> str:
    """Return why the conformer of a molecule, sanitised or not, is none in angstrom: a code word, a colon and detail;
    "" where it may be one."""
    if mol.GetNumConformers() == 0:
        return NO_CONFORMER
    pos = mol.GetConformer().GetPositions()
    if reason := coordinate_refusal(pos):
        return reason
    if len(pos) < 2:
        return ""
    ends, expected = expected_lengths(mol)
    lengths = np.linalg.norm(pos[ends[:, 0]] - pos[ends[:, 1]], axis=1)
    ratio = _median(lengths / expected) if len(ends) else 0.0
    if ratio < LENGTH_RANGE[0] / 10 and float(np.ptp(pos, axis=0).max()) < _EXTENT:
        return f"{COINCIDENT}: all lie on one point"
    if len(ends):
        if is_drawing(mol, pos, lengths, expected):
            return FLAT
        if reason := unit_problem(ratio) or _length_problem(mol, ends, lengths, expected):
            return reason
    return _coincidence(pos)


def expected_lengths(mol: Chem.Mol) -> tuple[np.ndarray, np.ndarray]:
    """Return (m, 2) the ends of the bonds and (m,) the lengths that radii and orders give them, angstrom; those of a
    dummy atom (``*``, R) are left out, as it has no radius and stands for anything."""
    # matrices, as a loop over RDKit's bonds takes ten times as long
    orders = Chem.GetAdjacencyMatrix(mol, useBO=True, force=True)
    first, second = np.nonzero(np.triu(orders))
    if len(first) < mol.GetNumBonds():  # some have the order 0
        first, second = np.nonzero(np.triu(Chem.GetAdjacencyMatrix(mol, force=True)))
    shortening = _SHORTENING[(4.0 * orders[first, second]).astype(np.int64)]
    atom = mol.GetAtomWithIdx
    radii = _radii()[[atom(index).GetAtomicNum() for index in range(mol.GetNumAtoms())]]
    lengths = (radii[first] + radii[second]) * shortening
    known = (radii[first] > 0) & (radii[second] > 0)
    return np.stack([first, second], axis=1)[known], lengths[known]


def _median(values: np.ndarray) -> float:
    """Return the median, as `np.median` does in five times the time."""
    ordered, middle = np.sort(values), len(values) // 2
    return float(ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2)


@functools.cache
def _radii() -> np.ndarray:
    """Return the covalent radii by atomic number, angstrom; 0 of a dummy atom."""
    table = Chem.GetPeriodicTable()
    return np.array([table.GetRcovalent(number) for number in range(119)])


def unit_problem(ratio: float) -> str:
    """Return what is wrong with lengths that are, in the median, so many times what covalent radii give."""
    if MEDIAN_RANGE[0] <= ratio <= MEDIAN_RANGE[1]:
        return ""
    told = f"bonds are {ratio:.2g} times as long as in angstrom"
    for name, factor in UNITS.items():
        if ratio > 0 and abs(math.log(ratio / factor)) < _UNIT_TOLERANCE:
            return f"unit: looks like {name} ({told})"
    return f"unit: {told}"


def is_drawing(mol: Chem.Mol, pos: np.ndarray, lengths: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether coordinates are a flat drawing; a planar molecule is none.

    What lies in a plane is a drawing if an atom with four neighbours does, if all bonds are equally long although they
    are of different kinds, or if lengths or angles are those of a drawing and there are no hydrogens to judge by.
    """
    centred = pos - pos.mean(axis=0)
    spread = np.linalg.eigvalsh(centred.T @ centred / len(pos))[0]
    if len(pos) < 3 or spread > _FLAT**2:
        return False
    if any(_is_tetrahedral(atom) and atom.GetDegree() >= 3 for atom in mol.GetAtoms()):
        return True
    evenly = float(np.ptp(lengths)) < _EVEN * float(lengths.mean())
    if evenly and expected.max() > _KINDS_DIFFER * expected.min():
        return True
    if any(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms()):
        return False
    if not mol.GetConformer().Is3D() and float(np.abs(lengths / expected - 1.0).max()) > _MEASURED:
        return True  # the file says so itself, and no length speaks against it
    if len(pos) == 3:  # always in a plane
        return False
    stretched = abs(float(lengths.mean() / expected.mean()) - 1.0) > _STRETCHED
    return evenly and (stretched or any(_is_drawn_chain(atom, pos) for atom in mol.GetAtoms()))


def _is_tetrahedral(atom: Chem.Atom) -> bool:
    if atom.GetAtomicNum() not in _TETRAHEDRAL:
        return False
    atom.UpdatePropertyCache(strict=False)
    return bool(atom.GetTotalDegree() == 4)


def _is_drawn_chain(atom: Chem.Atom, pos: np.ndarray) -> bool:
    """Return whether a tetrahedral atom with two neighbours has the angle of a drawing."""
    if atom.GetDegree() != 2 or not _is_tetrahedral(atom):
        return False
    first, second = (pos[other.GetIdx()] - pos[atom.GetIdx()] for other in atom.GetNeighbors())
    cosine = float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second) + 1e-9))
    return _DRAWN_ANGLE[0] <= math.degrees(math.acos(max(-1.0, min(1.0, cosine)))) <= _DRAWN_ANGLE[1]


def _length_problem(mol: Chem.Mol, ends: np.ndarray, lengths: np.ndarray, expected: np.ndarray) -> str:
    """Return which bond is furthest beyond its end of `LENGTH_RANGE`."""
    ratios = np.log(np.maximum(lengths / expected, 1e-9))
    ways = ratios / np.log(np.where(ratios > 0.0, LENGTH_RANGE[1], LENGTH_RANGE[0]))  # 1 at either end
    worst = int(ways.argmax())
    if ways[worst] <= 1.0:
        return ""
    first, second = (mol.GetAtomWithIdx(int(index)).GetSymbol() for index in ends[worst])
    return f"bond length: {first}-{second} of {lengths[worst]:.2f} angstrom, where radii give {expected[worst]:.2f}"


def _coincidence(pos: np.ndarray) -> str:
    squares = (pos**2).sum(1)
    distances = squares[:, None] + squares[None, :] - 2.0 * pos @ pos.T
    np.fill_diagonal(distances, np.inf)
    close = int(np.count_nonzero(distances < _CLOSEST**2)) // 2
    return f"{COINCIDENT}: {close} pairs lie on top of each other" if close else ""
