"""A fragment that is given as a SMILES: its coordinates, and where its ``*`` say that it grows."""

from __future__ import annotations

from rdkit import Chem

from moldiff.chem.fragments import block_of, parts_of
from moldiff.chem.io.records import parse
from moldiff.chem.io.text_records import TextRecord
from moldiff.chem.isomers import placed
from moldiff.errors import MoldiffError

PLACING_S = 60  # for the coordinates
_POINTS = "_moldiff_points"


def placed_block(record: TextRecord, source: str) -> tuple[str, tuple[int, ...]]:
    """Return a record without coordinates as a mol block with some, and the atoms that its ``*`` hang on.

    Hydrogens come behind its atoms; a ``*`` is none of them.

    Raises:
        MoldiffError: it cannot be read, has several parts, or no coordinates are found.
    """
    mol, reason = (parsed := parse(record)).mol, parsed.reason
    if mol is None:
        raise MoldiffError(f"{source}: {reason}")
    if len(parts_of(mol)) > 1:
        raise MoldiffError(f"{source}: how parts to link lie to each other needs 3D coordinates: give an SDF")
    mol, points = _without_points(mol, source)
    full, reason = placed(mol, seed=0, timeout_s=PLACING_S)
    if full is None:
        raise MoldiffError(f"{source}: {reason}")
    return block_of(full), points


def _without_points(mol: Chem.Mol, source: str) -> tuple[Chem.Mol, tuple[int, ...]]:
    """Return a molecule with a hydrogen for each ``*``, and the atoms that these hang on."""
    edited = Chem.RWMol(mol)
    for atom in edited.GetAtoms():
        if atom.GetAtomicNum():
            continue
        others = atom.GetNeighbors()
        single = len(others) == 1 and atom.GetBonds()[0].GetBondType() == Chem.BondType.SINGLE
        if not single or not others[0].GetAtomicNum():
            raise MoldiffError(f"{source}: a * is where the fragment grows: it hangs on one atom by a single bond")
        others[0].SetIntProp(_POINTS, others[0].GetIntProp(_POINTS) + 1 if others[0].HasProp(_POINTS) else 1)
    for atom in edited.GetAtoms():
        if not atom.GetAtomicNum():
            atom.SetAtomicNum(1)
            atom.SetIsotope(0)
            atom.SetAtomMapNum(0)
    plain = Chem.RemoveHs(edited)
    points = [
        atom.GetIdx() for atom in plain.GetAtoms() if atom.HasProp(_POINTS) for _ in range(atom.GetIntProp(_POINTS))
    ]
    return plain, tuple(points)
