"""Bond lengths, angles and torsions of molecules, sorted by type, without a loop over molecules.

A type is written like a SMILES chain: ``C-H``, ``C=O``, ``C:C`` (aromatic), ``H-C-C=O``. Read from either end it is the
same type; hydrogens come last where they can. Torsions are unsigned, because mirror images are equally likely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moldiff.chem.graph import MolGraph, symbol

_BITS = 8  # an atom's rank or a bond's order each take one byte of the integer code of a type
_H_RANK = 255  # hydrogens sort behind every other element
_DUMMY_RANK = 254  # a byte of 0 would vanish at the front of a code
_BONDS = {1: "-", 2: "=", 3: "#", 4: ":"}
LINEAR_DEGREES = 175.0
"""A torsion over an angle wider than this is undefined and left out."""


@dataclass(frozen=True)
class Terms:
    """T measured internal coordinates of one kind: (T,) int64 type codes (see `label`), (T,) float64 values."""

    codes: np.ndarray
    values: np.ndarray

    def by_type(self) -> dict[int, np.ndarray]:
        """Return the values of each type code."""
        if not len(self.codes):
            return {}
        order = np.argsort(self.codes, kind="stable")
        codes, starts = np.unique(self.codes[order], return_index=True)
        return dict(zip(codes.tolist(), np.split(self.values[order], starts[1:]), strict=True))


def label(code: int) -> str:
    """Return the readable type of a code, such as ``H-C-C=O``."""
    parts = []
    while code:
        parts.append(code & 0xFF)
        code >>= _BITS
    parts.reverse()
    text = [
        _BONDS.get(part, "~") if k % 2 else symbol({_H_RANK: 1, _DUMMY_RANK: 0}.get(part, part))
        for k, part in enumerate(parts)
    ]
    return "".join(text)


def measure(graph: MolGraph) -> dict[str, Terms]:
    """Return all ``bond`` lengths (angstrom), ``angle`` and ``torsion`` (degrees, 0 to 180) of a graph.

    Args:
        graph: any number of molecules put together by `moldiff.chem.graph.concatenate`; positions must be finite.
    """
    edges = _HalfEdges(graph)
    return {"bond": _bonds(graph, edges), "angle": _angles(graph, edges), "torsion": _torsions(graph, edges)}


class _HalfEdges:
    """Every bond in both directions, sorted by its first atom: 2m rows source -> target with the bond order."""

    def __init__(self, graph: MolGraph) -> None:
        both = np.concatenate([graph.bonds, graph.bonds[:, [1, 0, 2]]])
        both = both[np.argsort(both[:, 0], kind="stable")]
        self.source, self.target, self.order = both.T
        self.degree = np.bincount(self.source, minlength=len(graph.numbers))
        self.first = np.cumsum(self.degree) - self.degree

    def around(self, atoms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (row of ``atoms``, half-edge) for every half-edge that leaves each of the given atoms."""
        counts = self.degree[atoms]
        rows = np.repeat(np.arange(len(atoms)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return rows, self.first[atoms[rows]] + within


def _bonds(graph: MolGraph, edges: _HalfEdges) -> Terms:
    i, j, order = graph.bonds.T
    length = np.linalg.norm(graph.positions[i] - graph.positions[j], axis=1)
    return Terms(_codes(graph, [i, j], [order]), length)


def _angles(graph: MolGraph, edges: _HalfEdges) -> Terms:
    rows, other = edges.around(edges.source)
    keep = rows < other  # each unordered pair of half-edges out of one centre, once
    first, second = rows[keep], other[keep]
    centre = edges.source[first]
    a, c = edges.target[first], edges.target[second]
    value = _angle(graph.positions, a, centre, c)
    return Terms(_codes(graph, [a, centre, c], [edges.order[first], edges.order[second]]), value)


def _torsions(graph: MolGraph, edges: _HalfEdges) -> Terms:
    middle = np.flatnonzero(edges.source < edges.target)
    b, c = edges.source[middle], edges.target[middle]
    rows, left = edges.around(b)
    ends, right = edges.around(c[rows])
    middle_row, left = rows[ends], left[ends]
    a, d = edges.target[left], edges.target[right]
    b, c = b[middle_row], c[middle_row]
    keep = (a != c) & (d != b) & (a != d)  # a = d closes a three-membered ring: no torsion
    a, b, c, d, middle_row = a[keep], b[keep], c[keep], d[keep], middle_row[keep]
    left, right = left[keep], right[keep]
    bent = (_angle(graph.positions, a, b, c) < LINEAR_DEGREES) & (_angle(graph.positions, b, c, d) < LINEAR_DEGREES)
    orders = [edges.order[left], edges.order[middle[middle_row]], edges.order[right]]
    codes = _codes(graph, [a, b, c, d], orders)
    return Terms(codes[bent], _torsion(graph.positions, a[bent], b[bent], c[bent], d[bent]))


def _codes(graph: MolGraph, atoms: list[np.ndarray], orders: list[np.ndarray]) -> np.ndarray:
    """Return the int64 code of chains atom-order-atom-...; the smaller of the two reading directions."""
    rank = np.select([graph.numbers == 1, graph.numbers == 0], [_H_RANK, _DUMMY_RANK], graph.numbers)
    chain = [rank[atoms[0]]]
    for atom, order in zip(atoms[1:], orders, strict=True):
        chain += [order, rank[atom]]
    return np.minimum(_pack(chain), _pack(chain[::-1]))


def _pack(chain: list[np.ndarray]) -> np.ndarray:
    code = np.zeros_like(chain[0])
    for part in chain:
        code = (code << _BITS) | part
    return code


def _angle(x: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return the angles a-b-c in degrees; 0 where two atoms coincide."""
    u, v = x[a] - x[b], x[c] - x[b]
    # atan2 of the cross product keeps full precision near 0 and 180 degrees, where arccos loses it.
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(u, v), axis=1), np.sum(u * v, axis=1)))


def _torsion(x: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return the unsigned torsions a-b-c-d in degrees, 0 (cis) to 180 (trans)."""
    left, right = np.cross(x[b] - x[a], x[c] - x[b]), np.cross(x[c] - x[b], x[d] - x[c])
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(left, right), axis=1), np.sum(left * right, axis=1)))
