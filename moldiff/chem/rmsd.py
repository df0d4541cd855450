"""Distance of two conformers after alignment, whichever of atoms that are alike is laid on which.

RDKit tries every way, and there are too many of them for four CF3 or tert-butyl groups: 10,368 on biphenyl. So where
there are more than a thousand, the ends of such groups are told apart by where they lie: one way for each symmetry of
the rest, aligned by turns with the choice of which end is laid on which. The distance may then be a little too large,
where that choice ends in a local minimum, and is 0 of what differs by numbering alone.
"""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdMolAlign

_MOST_WAYS = 1000
_MOST_TURNS = 8

Way = list[tuple[int, int]]
"""Pairs of atoms, of the first conformer and of the second."""
Kind = tuple[int, ...]
Ends = dict[int, dict[Kind, list[int]]]
"""Atoms that end a chain, by the atom that they are bonded to and by what makes them alike; two or more of each."""


def symmetric_rmsd(one: Chem.Mol, other: Chem.Mol) -> float:
    """Return the root mean square distance of two conformers of one molecule after alignment, in angstrom.

    Args:
        one, other: of the same atoms in the same order, without hydrogen atoms; both stay as they are.
    """
    if one.GetNumAtoms() < 2:
        return 0.0
    moved, ends = Chem.Mol(one), _ends(one)
    rest = _symmetries_of_rest(one, ends)
    orders = math.prod(math.factorial(len(alike)) for of in ends.values() for alike in of.values())
    if len(rest) * orders <= _MOST_WAYS:
        return float(rdMolAlign.GetBestRMS(moved, other, maxMatches=_MOST_WAYS))
    return min(_descended(moved, other, way, ends) for way in rest)


def _ends(mol: Chem.Mol) -> Ends:
    """Return the ends of which several that are alike are bonded to one atom."""
    found: Ends = {}
    for atom in mol.GetAtoms():
        if atom.GetDegree() == 1:
            (bond,) = atom.GetBonds()
            kind = (int(bond.GetBondType()), atom.GetFormalCharge(), atom.GetTotalNumHs())
            # as RDKit has it, the two oxygens of a carboxylate or nitro group are alike
            kind = (0, 0, 0) if bond.GetIsConjugated() and atom.GetSymbol() in ("O", "N") else kind
            kind = (atom.GetAtomicNum(), atom.GetIsotope(), *kind)
            found.setdefault(bond.GetOtherAtomIdx(atom.GetIdx()), {}).setdefault(kind, []).append(atom.GetIdx())
    several = {atom: {kind: ends for kind, ends in of.items() if len(ends) > 1} for atom, of in found.items()}
    return {atom: of for atom, of in several.items() if of}


def _symmetries_of_rest(mol: Chem.Mol, ends: Ends) -> list[Way]:
    """Return the ways in which a molecule without its ends can be laid on itself."""
    gone = {end for of in ends.values() for alike in of.values() for end in alike}
    labels: dict[tuple[object, ...], int] = {}
    rest = Chem.RWMol(mol)
    for atom in rest.GetAtoms():
        bears = sorted((kind, len(alike)) for kind, alike in ends.get(atom.GetIdx(), {}).items())
        atom.SetIsotope(1 + labels.setdefault((atom.GetIsotope(), *bears), len(labels)))
    numbers = [k for k in range(mol.GetNumAtoms()) if k not in gone]
    for atom in sorted(gone, reverse=True):
        rest.RemoveAtom(atom)
    found = rest.GetSubstructMatches(rest, uniquify=False, maxMatches=_MOST_WAYS)
    return [[(numbers[k], numbers[match[k]]) for k in range(len(numbers))] for match in found]


def _descended(moved: Chem.Mol, other: Chem.Mol, rest: Way, ends: Ends) -> float:
    """Return the distance where the rest lies as said, and the ends as is nearest; by turns with the alignment."""
    where, onto = other.GetConformer().GetPositions(), dict(rest)
    pairs = [(alike, ends[onto[atom]][kind]) for atom, of in ends.items() for kind, alike in of.items()]
    way, rms = rest, math.inf
    for _ in range(_MOST_TURNS):
        rms = rdMolAlign.AlignMol(moved, other, atomMap=way)
        here = moved.GetConformer().GetPositions()
        nearest = list(rest)
        for alike, places in pairs:
            far = ((here[alike][:, None] - where[places][None]) ** 2).sum(-1)
            nearest += [(end, places[k]) for end, k in zip(alike, _least(far), strict=True)]
        if nearest == way:
            break
        way = nearest
    return rms


def _least(far: np.ndarray) -> tuple[int, ...]:
    """Return the order of columns in which a square matrix has the least trace."""
    rows = range(len(far))
    return min(permutations(rows), key=lambda order: float(far[rows, order].sum()))
