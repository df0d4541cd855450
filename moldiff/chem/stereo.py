"""Stereo of coordinates against that of a molecular graph: as asked for, mirrored, or another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rdkit import Chem

_LEFT, _RIGHT = Chem.ChiralType.CHI_TETRAHEDRAL_CCW, Chem.ChiralType.CHI_TETRAHEDRAL_CW
_FLAT = 0.1  # volume of the unit vectors to three neighbours; 0.77 of a tetrahedron, RDKit's own limit
_OPPOSITE = {_LEFT: _RIGHT, _RIGHT: _LEFT}
_SAME_SIDE = {
    Chem.BondStereo.STEREOZ: True,
    Chem.BondStereo.STEREOCIS: True,
    Chem.BondStereo.STEREOE: False,
    Chem.BondStereo.STEREOTRANS: False,
}


@dataclass(frozen=True)
class StereoMatch:
    """Stereo of coordinates against what is asked for; what is not specified is not counted.

    Attributes:
        centres: specified tetrahedral centres.
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
    bonds = [bond for bond in mol.GetBonds() if bond.GetStereo() in _SAME_SIDE and len(bond.GetStereoAtoms()) == 2]
    return StereoMatch(
        centres=len(pairs),
        as_wanted=sum(wanted == here for wanted, here in pairs),
        inverted=sum(_OPPOSITE[wanted] == here for wanted, here in pairs),
        bonds=len(bonds),
        bonds_wrong=sum(_on_one_side(bond, pos) != _SAME_SIDE[bond.GetStereo()] for bond in bonds),
    )


def _handedness(atom: Chem.Atom, pos: np.ndarray) -> Chem.ChiralType | None:
    """Return the tag that an atom's neighbours give it, in the order of its bonds; None if they lie too flat, or are
    fewer than three.

    RDKit's own function looks at the elements it takes for stereocentres alone: a mark on a pyramidal nitrogen, which
    its readers accept, it never finds.
    """
    neighbours = [other.GetIdx() for other in atom.GetNeighbors()][:3]
    if len(neighbours) < 3:
        return None
    first, second, third = (_unit(pos[index] - pos[atom.GetIdx()]) for index in neighbours)
    volume = float(first @ np.cross(second, third))
    if abs(volume) < _FLAT:
        return None
    return _RIGHT if volume < 0 else _LEFT


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def _on_one_side(bond: Chem.Bond, pos: np.ndarray) -> bool:
    """Return whether the two atoms that a double bond's stereo refers to lie on the same side of it."""
    first, second = bond.GetStereoAtoms()
    begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    axis = pos[end] - pos[begin]
    return bool(np.cross(axis, pos[first] - pos[begin]) @ np.cross(axis, pos[second] - pos[end]) > 0)


def with_stereo_of_geometry(mol: Chem.Mol) -> Chem.Mol:
    """Return a copy whose stereo marks are those of its conformer."""
    copy = Chem.Mol(mol)
    Chem.AssignStereochemistryFrom3D(copy)
    return copy
