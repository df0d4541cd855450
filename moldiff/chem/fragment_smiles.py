"""A fragment that is given as a SMILES: its coordinates, and where its ``*`` say that it grows."""

from __future__ import annotations

from dataclasses import dataclass

from rdkit import Chem

from moldiff.chem.fragment_stereo import StereoMarks, marks_of
from moldiff.chem.fragments import block_of, parts_of
from moldiff.chem.io.records import parse
from moldiff.chem.io.text_records import TextRecord
from moldiff.chem.isomers import placed
from moldiff.errors import MoldiffError

PLACING_S = 60  # for the coordinates
_POINTS, _LEAVES = "_moldiff_points", "_moldiff_leaves"
_FIRST_ISOTOPE = 10  # no hydrogen that a SMILES may name has so much mass


@dataclass(frozen=True)
class PlacedFragment:
    """A SMILES with coordinates.

    Attributes:
        block: mol block of its atoms, then of their hydrogens; a ``*`` is a hydrogen there.
        points: the atoms that its ``*`` hang on.
        leaving: the hydrogens that its ``*`` are, where its stereo hangs on which they are.
        marks: the stereo that it states.
    """

    block: str
    points: tuple[int, ...]
    leaving: tuple[int, ...]
    marks: StereoMarks


def placed_fragment(record: TextRecord, source: str) -> PlacedFragment:
    """Return a record without coordinates as a fragment with some.

    Args:
        record: the SMILES.
        source: where it comes from, for messages.

    Raises:
        MoldiffError: it cannot be read, has several parts, or no coordinates are found.
    """
    mol, reason = (parsed := parse(record)).mol, parsed.reason
    if mol is None:
        raise MoldiffError(f"{source}: {reason}")
    if len(parts_of(mol)) > 1:
        raise MoldiffError(f"{source}: how parts to link lie to each other needs 3D coordinates: give an SDF")
    plain = _without_points(mol, source)
    full, reason = placed(plain, seed=0, timeout_s=PLACING_S)
    if full is None:
        raise MoldiffError(f"{source}: {reason}")
    leaving = [atom.GetIdx() for atom in full.GetAtoms() if atom.HasProp(_LEAVES)]
    others = [atom.GetIdx() for atom in full.GetAtoms() if not atom.HasProp(_LEAVES)]
    full = Chem.RenumberAtoms(full, others + leaving)
    for atom in full.GetAtoms():
        if atom.HasProp(_LEAVES):
            atom.SetIsotope(0)
    marks = _renumbered(marks_of(plain), others)
    points = tuple(
        atom.GetIdx() for atom in full.GetAtoms() if atom.HasProp(_POINTS) for _ in range(atom.GetIntProp(_POINTS))
    )
    return PlacedFragment(block_of(full), points, tuple(range(len(others), len(others) + len(leaving))), marks)


def _without_points(mol: Chem.Mol, source: str) -> Chem.Mol:
    """Return a molecule with a hydrogen for each ``*``, and at the atoms that these hang on how many there are.

    Where the molecule states stereo, each of these hydrogens has an isotope of its own, so that a centre stays one.
    """
    edited, stated = Chem.RWMol(mol), marks_of(mol) != StereoMarks(frozenset(), frozenset())
    for atom in edited.GetAtoms():
        if atom.GetAtomicNum():
            continue
        others = atom.GetNeighbors()
        single = len(others) == 1 and atom.GetBonds()[0].GetBondType() == Chem.BondType.SINGLE
        if not single or not others[0].GetAtomicNum():
            raise MoldiffError(f"{source}: a * is where the fragment grows: it hangs on one atom by a single bond")
        others[0].SetIntProp(_POINTS, others[0].GetIntProp(_POINTS) + 1 if others[0].HasProp(_POINTS) else 1)
    stars = [atom.GetIdx() for atom in edited.GetAtoms() if not atom.GetAtomicNum()]
    for number, index in enumerate(stars):
        hydrogen = Chem.Atom(1)  # a new one: with an extension of CXSMILES behind the text, a * is the atom of a query
        hydrogen.SetIsotope(_FIRST_ISOTOPE + number if stated else 0)
        if stated:
            hydrogen.SetBoolProp(_LEAVES, True)
        edited.ReplaceAtom(index, hydrogen)
    return Chem.RemoveHs(edited)


def _renumbered(marks: StereoMarks, order: list[int]) -> StereoMarks:
    """Return marks in the numbers that atoms have in a new order."""
    number = {old: new for new, old in enumerate(order)}
    bonds = (sorted((number[i], number[j])) for i, j in marks.bonds)
    return StereoMarks(frozenset(number[index] for index in marks.centres), frozenset((i, j) for i, j in bonds))
