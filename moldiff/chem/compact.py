"""Molecules as bytes, for keeping many: RDKit's own binary form takes a twentieth of the memory of a molecule."""

from __future__ import annotations

from rdkit import Chem

_EXACT = int(Chem.PropertyPickleOptions.CoordsAsDouble)


def to_bytes(mol: Chem.Mol) -> bytes:
    """Return atoms, bonds, stereo and coordinates (exactly) of a molecule; its name and other properties are left out.

    The bytes are for this process: other RDKit versions may not read them, and they are no file format.
    """
    return bytes(mol.ToBinary(_EXACT))


def from_bytes(data: bytes) -> Chem.Mol:
    """Return the molecule that `to_bytes` wrote."""
    return Chem.Mol(data)
