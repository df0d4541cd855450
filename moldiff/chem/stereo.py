"""Stereo of coordinates against that of a molecular graph: as asked for, mirrored, or another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rdkit import Chem

_LEFT, _RIGHT = Chem.ChiralType.CHI_TETRAHEDRAL_CCW, Chem.ChiralType.CHI_TETRAHEDRAL_CW
FLAT = 0.1
"""Volume of the unit vectors to three neighbours, below which a centre is flat: RDKit's own limit. A tetrahedron has
0.77."""
_OPPOSITE = {_LEFT: _RIGHT, _RIGHT: _LEFT}
_AXIS_LEFT, _AXIS_RIGHT = Chem.BondStereo.STEREOATROPCCW, Chem.BondStereo.STEREOATROPCW
_OPPOSITE_AXIS = {_AXIS_LEFT: _AXIS_RIGHT, _AXIS_RIGHT: _AXIS_LEFT}
SAME_SIDE = {
    Chem.BondStereo.STEREOZ: True,
    Chem.BondStereo.STEREOCIS: True,
    Chem.BondStereo.STEREOE: False,
    Chem.BondStereo.STEREOTRANS: False,
}
"""Marks of a double bond -> whether the two atoms that they refer to lie on the same side of it."""


@dataclass(frozen=True)
class StereoMatch:
    """Stereo of coordinates against what is asked for; what is not specified is not counted.

    Attributes:
        centres: specified tetrahedral centres, and axes of chirality (atropisomers), which a mirror inverts as well.
        as_wanted, inverted: how many of them are so; a flat one is neither.
        bonds: specified double bonds.
        bonds_wrong: how many of them have the other configuration.
    """

    centres: int
    as_wanted: int
    inverted: int
    bonds: int
    bonds_wrong: int

    @property
    def right(self) -> bool:
        """Everything is as wanted."""
        return self.as_wanted == self.centres and not self.bonds_wrong

    @property
    def mirrored(self) -> bool:
        """Everything is as wanted in the mirror image, but not here."""
        return not self.right and self.inverted == self.centres and not self.bonds_wrong

    @property
    def problem(self) -> str:
        """The fault in a few words; "" where there is none."""
        if self.right:
            return ""
        parts = []
        if self.centres:
            parts.append(f"{self.centres - max(self.as_wanted, self.inverted)} of {self.centres} centres")
        if self.bonds:
            parts.append(f"{self.bonds_wrong} of {self.bonds} double bonds")
        return f"wrong {' and '.join(parts)}"


def compare_stereo(mol: Chem.Mol) -> StereoMatch:
    """Compare the stereo marks of a molecule (wanted) with those of its own conformer (found).

    Args:
        mol: sanitised, with all the atoms that its marks refer to, and a 3D conformer.
    """
    pos = mol.GetConformer().GetPositions()
    pairs = [
        (atom.GetChiralTag(), _handedness(atom, pos)) for atom in mol.GetAtoms() if atom.GetChiralTag() in _OPPOSITE
    ]
    axes = _axes(mol)
    bonds = [bond for bond in mol.GetBonds() if bond.GetStereo() in SAME_SIDE and len(bond.GetStereoAtoms()) == 2]
    return StereoMatch(
        centres=len(pairs) + len(axes),
        as_wanted=sum(wanted == here for wanted, here in [*pairs, *axes]),
        inverted=sum(_OPPOSITE[wanted] == here for wanted, here in pairs)
        + sum(_OPPOSITE_AXIS[wanted] == here for wanted, here in axes),
        bonds=len(bonds),
        bonds_wrong=sum(_on_one_side(bond, pos) != SAME_SIDE[bond.GetStereo()] for bond in bonds),
    )


def _axes(mol: Chem.Mol) -> list[tuple[Chem.BondStereo, Chem.BondStereo]]:
    """Return the mark of each axis of chirality, and the one that the conformer gives it."""
    marked = [bond.GetIdx() for bond in mol.GetBonds() if bond.GetStereo() in _OPPOSITE_AXIS]
    here = with_stereo_of_geometry(mol) if marked else mol
    return [(mol.GetBondWithIdx(index).GetStereo(), here.GetBondWithIdx(index).GetStereo()) for index in marked]


def _handedness(atom: Chem.Atom, pos: np.ndarray) -> Chem.ChiralType | None:
    """Return the tag that an atom's neighbours give it, in the order of its bonds; None if they lie too flat, or are
    fewer than three.

    RDKit's own function looks at the elements it takes for stereocentres alone: a mark on a pyramidal nitrogen, which
    its readers accept, it never finds.
    """
    neighbours = [other.GetIdx() for other in atom.GetNeighbors()][:3]
    if len(neighbours) < 3:
        return None
    volume = signed_volume(pos[atom.GetIdx()], pos[neighbours])
    if abs(volume) < FLAT:
        return None
    return _RIGHT if volume < 0 else _LEFT


def signed_volume(middle: np.ndarray, neighbours: np.ndarray) -> float:
    """Return the volume of the unit vectors from an atom to three neighbours, or of those to four, whose sign is that
    of the first three where the fourth lies opposite to them, and whose size in a tetrahedron is the same.

    Args:
        middle: (3,) place of the atom.
        neighbours: (3, 3) or (4, 3) places of its neighbours; the order gives the sign.
    """
    ways = [_unit(place - middle) for place in neighbours]
    if len(ways) == 3:
        return float(ways[0] @ np.cross(ways[1], ways[2]))
    first, second, third = (way - ways[3] for way in ways[:3])
    return float(first @ np.cross(second, third)) / 4


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def _on_one_side(bond: Chem.Bond, pos: np.ndarray) -> bool:
    """Return whether the two atoms that a double bond's stereo refers to lie on the same side of it."""
    return on_one_side(pos, (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()), tuple(bond.GetStereoAtoms()))


def on_one_side(pos: np.ndarray, ends: Sequence[int], beside: Sequence[int]) -> bool:
    """Return whether two atoms, each beside an end of a double bond, lie on the same side of it.

    Args:
        pos: (n, 3) places of all atoms.
        ends: the two atoms of the bond.
        beside: a neighbour of each.
    """
    (begin, end), (first, second) = ends, beside
    axis = pos[end] - pos[begin]
    return bool(np.cross(axis, pos[first] - pos[begin]) @ np.cross(axis, pos[second] - pos[end]) > 0)


def with_stereo_of_geometry(mol: Chem.Mol) -> Chem.Mol:
    """Return a copy whose stereo marks are those of its conformer."""
    copy = Chem.Mol(mol)
    Chem.AssignStereochemistryFrom3D(copy)
    return copy
