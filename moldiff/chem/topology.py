"""A molecular graph that waits for coordinates: spelled in a model's classes, and put together with positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rdkit import Chem
from rdkit.Geometry import Point3D

from moldiff.arrays import MolArrays
from moldiff.chem.convert import EncodingError, encode
from moldiff.chem.sanitize import MAX_ATOMS
from moldiff.vocabulary import Vocabulary


@dataclass(frozen=True)
class Skeleton:
    """A molecule without coordinates.

    Attributes:
        mol: atoms that get coordinates from a model, in the input's order (hydrogens that the input leaves out last),
            with the input's bonds and stereo marks; no conformer.
        arrays: the same in the model's classes, as a data set holds it; positions are zero.
        explicit_hydrogens: False = ``mol`` has heavy atoms alone; RDKit places the hydrogens behind them.
    """

    mol: Chem.Mol
    arrays: MolArrays
    explicit_hydrogens: bool

    def place(self, pos: np.ndarray) -> Chem.Mol:
        """Return the molecule with all its hydrogens and a conformer at (n, 3) positions in angstrom."""
        placed = Chem.Mol(self.mol)
        placed.AddConformer(_conformer(pos), assignId=True)
        return placed if self.explicit_hydrogens else Chem.AddHs(placed, addCoords=True)


def skeleton(mol: Chem.Mol, vocabulary: Vocabulary) -> Skeleton:
    """Return the graph of a sanitised molecule; coordinates that it may have are ignored.

    Raises:
        EncodingError: more than one fragment, too many atoms, or something that the vocabulary cannot spell.
    """
    bare = Chem.Mol(mol)
    bare.RemoveAllConformers()
    if len(Chem.GetMolFrags(bare)) > 1:
        raise EncodingError("more than one fragment")
    bare = Chem.AddHs(bare) if vocabulary.explicit_hydrogens else Chem.RemoveAllHs(bare)
    if bare.GetNumAtoms() > MAX_ATOMS:
        raise EncodingError(f"too large: {bare.GetNumAtoms()} atoms")
    nowhere = Chem.Mol(bare)
    nowhere.AddConformer(_conformer(np.zeros((bare.GetNumAtoms(), 3))), assignId=True)
    return Skeleton(bare, encode(nowhere, vocabulary), vocabulary.explicit_hydrogens)


def _conformer(pos: np.ndarray) -> Chem.Conformer:
    conformer = Chem.Conformer(len(pos))
    conformer.Set3D(True)
    for index, (x, y, z) in enumerate(pos.astype(np.float64).tolist()):
        conformer.SetAtomPosition(index, Point3D(x, y, z))
    return conformer
