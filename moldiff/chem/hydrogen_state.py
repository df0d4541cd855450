"""State of a record's hydrogens: all are atoms, none, or only some. It is told of every record, never of a file."""

from __future__ import annotations

from enum import StrEnum

from rdkit import Chem


class Hydrogens(StrEnum):
    """State of the hydrogens of a record."""

    EXPLICIT = "explicit"
    """Every hydrogen is an atom, or there is none; one that is missing is an open valence."""
    IMPLICIT = "implicit"
    """None is an atom, although there are some."""
    PARTIAL = "partial"
    """Only some are atoms, such as the polar ones of a docked pose."""


def hydrogen_counts(mol: Chem.Mol) -> tuple[int, int]:
    """Return how many hydrogens are atoms of a molecule, sanitised or not, and how many RDKit still sees."""
    copy = Chem.Mol(mol)
    copy.UpdatePropertyCache(strict=False)
    return (
        sum(atom.GetAtomicNum() == 1 for atom in copy.GetAtoms()),
        sum(atom.GetTotalNumHs() for atom in copy.GetAtoms()),
    )


def hydrogens_of(mol: Chem.Mol) -> Hydrogens:
    """Return how a molecule, sanitised or not, has its hydrogens.

    Some are left out on purpose where no carbon has any and all that are missing belong to carbons, or where more are
    missing than are there. Otherwise a missing one is an open valence.
    """
    listed, missing = hydrogen_counts(mol)
    if not missing:
        return Hydrogens.EXPLICIT
    if not listed:
        return Hydrogens.IMPLICIT
    return Hydrogens.PARTIAL if missing > listed or _only_polar(mol) else Hydrogens.EXPLICIT


def _only_polar(mol: Chem.Mol) -> bool:
    copy = Chem.Mol(mol)
    copy.UpdatePropertyCache(strict=False)
    for atom in copy.GetAtoms():
        is_carbon = atom.GetAtomicNum() == 6
        if is_carbon and any(other.GetAtomicNum() == 1 for other in atom.GetNeighbors()):
            return False
        if not is_carbon and atom.GetTotalNumHs():
            return False
    return True


def partial_problem(mol: Chem.Mol) -> str:
    """Return why a record with only some of its hydrogens cannot be worked on; "" if it has all or none."""
    if hydrogens_of(mol) != Hydrogens.PARTIAL:
        return ""
    listed, missing = hydrogen_counts(mol)
    return f"{missing} hydrogens without coordinates (partial: {listed} are atoms; adding hydrogens places the others)"
