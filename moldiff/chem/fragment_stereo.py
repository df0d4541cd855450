"""The stereo that a fragment states: its centres and double bonds, new neighbours in the places of the bonds it lacks.

It is compared by geometry. R and S change with the substituents, the order of places in space does not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rdkit import Chem

from moldiff.chem.stereo import FLAT, SAME_SIDE, on_one_side, signed_volume

NEW = -1
"""Stands, among the neighbours of an atom, for the one that takes the place of its open valence."""


@dataclass(frozen=True)
class StereoMarks:
    """Atoms and double bonds whose stereo an input states; the others are free.

    Attributes:
        centres: indices of tetrahedral centres.
        bonds: the two ends of each double bond, the smaller index first.
    """

    centres: frozenset[int]
    bonds: frozenset[tuple[int, int]]


@dataclass(frozen=True)
class AskedCentre:
    """A tetrahedral centre.

    Attributes:
        atom: its index.
        neighbours: three or four in a fixed order, at most one of them `NEW`.
        positive: sign of their `moldiff.chem.stereo.signed_volume`.
    """

    atom: int
    neighbours: tuple[int, ...]
    positive: bool


@dataclass(frozen=True)
class AskedBond:
    """A double bond.

    Attributes:
        ends: indices of its two atoms.
        beside: a neighbour of each end, or `NEW`.
        one_side: these lie on the same side of the bond.
    """

    ends: tuple[int, int]
    beside: tuple[int, int]
    one_side: bool


@dataclass(frozen=True)
class AskedStereo:
    """Demands on every molecule that keeps the fragment.

    Attributes:
        centres, bonds: all that is decided once the new bonds are there.
    """

    centres: tuple[AskedCentre, ...] = ()
    bonds: tuple[AskedBond, ...] = ()

    def change(self, mol: Chem.Mol, n: int, with_hydrogens: bool) -> str:
        """Return the first centre or double bond that is another one in a molecule; empty if none is.

        Args:
            mol: with a conformer, angstrom; the fragment is its first atoms.
            n: number of these.
            with_hydrogens: new hydrogens count as new neighbours.
        """
        if not self.centres and not self.bonds:
            return ""
        pos = mol.GetConformer().GetPositions()

        def found(atom: int, place: int) -> int | None:
            """Return the neighbour in a place; None where not exactly one new atom may stand there."""
            others = [other for other in mol.GetAtomWithIdx(atom).GetNeighbors() if other.GetIdx() >= n]
            new = [other.GetIdx() for other in others if with_hydrogens or other.GetAtomicNum() != 1]
            return place if place != NEW else new[0] if len(new) == 1 else None

        for centre in self.centres:
            places = [found(centre.atom, place) for place in centre.neighbours]
            here = [place for place in places if place is not None]
            if len(here) < len(places):
                continue  # new bonds that share what was one place decide nothing
            volume = signed_volume(pos[centre.atom], pos[here])
            if abs(volume) < FLAT:
                return f"stereocentre {centre.atom} is flat"
            if (volume > 0) != centre.positive:
                return f"stereocentre {centre.atom} is inverted"
        for bond in self.bonds:
            first, second = (found(end, place) for end, place in zip(bond.ends, bond.beside, strict=True))
            if first is None or second is None:
                continue
            if on_one_side(pos, bond.ends, (first, second)) != bond.one_side:
                return f"double bond {bond.ends[0]}-{bond.ends[1]} has its other configuration"
        return ""

    @property
    def ways(self) -> frozenset[int]:
        """Atoms whose stereo hangs on where their new neighbour lies."""
        centres = {centre.atom for centre in self.centres if NEW in centre.neighbours}
        ends = {end for bond in self.bonds for end, place in zip(bond.ends, bond.beside, strict=True) if place == NEW}
        return frozenset(centres | ends)


def marks_of(mol: Chem.Mol) -> StereoMarks:
    """Return what the stereo marks of a sanitised molecule state."""
    free = Chem.ChiralType.CHI_UNSPECIFIED
    return StereoMarks(
        frozenset(atom.GetIdx() for atom in mol.GetAtoms() if atom.GetChiralTag() != free),
        frozenset(_ends(bond) for bond in mol.GetBonds() if bond.GetStereo() in SAME_SIDE),
    )


def asked_stereo(
    mol: Chem.Mol, kept: Collection[int], made: Sequence[int], marks: StereoMarks | None = None
) -> AskedStereo:
    """Return the stereo that the kept part of a molecule asks for, atoms numbered as in ``made``.

    An atom that loses one neighbour has the new one in its place. One that loses several decides nothing: which of the
    new ones stands where is free.

    Args:
        mol: the whole molecule, with a 3D conformer, angstrom.
        kept: indices of the atoms that stay, with their hydrogens.
        made: those of them that a model makes, in its order.
        marks: what is stated; None = all that the coordinates show.
    """
    stated = marks_of(_with_places(mol, kept))
    if marks is not None:
        stated = StereoMarks(stated.centres & marks.centres, stated.bonds & marks.bonds)
    number, pos = {index: order for order, index in enumerate(made)}, mol.GetConformer().GetPositions()
    centres, bonds = [], []
    for index in sorted(stated.centres & number.keys()):
        places = _places(mol, index, kept, number)
        if places is None or len(places) < 3:
            continue
        volume = signed_volume(pos[index], pos[places])
        if abs(volume) >= FLAT:
            numbers = tuple(number.get(place, NEW) for place in places)
            centres.append(AskedCentre(number[index], numbers, volume > 0))
    for ends in sorted(stated.bonds):
        if not number.keys() >= set(ends):
            continue
        beside = [_beside(mol, end, other, kept, number) for end, other in (ends, ends[::-1])]
        if beside[0] is None or beside[1] is None:
            continue
        side = on_one_side(pos, ends, (beside[0], beside[1]))
        first, second = (number.get(place, NEW) for place in (beside[0], beside[1]))
        bonds.append(AskedBond((number[ends[0]], number[ends[1]]), (first, second), side))
    return AskedStereo(tuple(centres), tuple(bonds))


def _places(mol: Chem.Mol, index: int, kept: Collection[int], number: dict[int, int]) -> list[int] | None:
    """Return the neighbours of an atom that a model makes, and behind them the one it loses; None if it loses more, or
    by more than a single bond."""
    atom = mol.GetAtomWithIdx(index)
    lost = [bond for bond in atom.GetBonds() if bond.GetOtherAtomIdx(index) not in kept]
    unlisted = atom.GetTotalNumHs() + atom.GetNumRadicalElectrons()  # they have no coordinates
    if len(lost) + unlisted > 1 or any(bond.GetBondType() != Chem.BondType.SINGLE for bond in lost):
        return None
    others = [other.GetIdx() for other in atom.GetNeighbors() if other.GetIdx() in number]
    return others + [bond.GetOtherAtomIdx(index) for bond in lost]


def _beside(mol: Chem.Mol, end: int, other: int, kept: Collection[int], number: dict[int, int]) -> int | None:
    """Return what tells the side at an end of a double bond: a kept heavy neighbour, the place of the one it loses, or
    a kept hydrogen; None if it is not decided."""
    near = [atom for atom in mol.GetAtomWithIdx(end).GetNeighbors() if atom.GetIdx() != other]
    heavy = [atom.GetIdx() for atom in near if atom.GetIdx() in number and atom.GetAtomicNum() != 1]
    if heavy:
        return heavy[0]
    places = _places(mol, end, kept, number)
    own = [] if places is None else [place for place in places if place != other]
    return own[-1] if own else None


def _with_places(mol: Chem.Mol, kept: Collection[int]) -> Chem.Mol:
    """Return the kept atoms and what hangs on them, all of it told apart, with the stereo of the coordinates."""
    part = Chem.RWMol(mol)
    around = {other.GetIdx() for index in kept for other in mol.GetAtomWithIdx(index).GetNeighbors()}
    places = around.difference(kept)
    part.BeginBatchEdit()
    for atom in part.GetAtoms():
        if atom.GetIdx() in places:
            atom.SetAtomicNum(0)
            atom.SetIsotope(atom.GetIdx() + 1)
            atom.SetIsAromatic(False)
            atom.SetFormalCharge(0)
            atom.SetNoImplicit(True)
            atom.SetNumExplicitHs(0)
        elif atom.GetIdx() not in kept:
            for other in atom.GetNeighbors():
                part.RemoveBond(atom.GetIdx(), other.GetIdx())
    for bond in part.GetBonds():
        if bond.GetBeginAtomIdx() in places and bond.GetEndAtomIdx() in places:
            part.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    part.CommitBatchEdit()
    part.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(part)
    Chem.AssignStereochemistryFrom3D(part)
    return part.GetMol()


def _ends(bond: Chem.Bond) -> tuple[int, int]:
    ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    return min(ends), max(ends)
