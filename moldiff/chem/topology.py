"""Molecular graphs: one that waits for coordinates, spelled in a model's classes and put together with positions; and
the skeleton of heavy atoms of a rough estimate, long before it is a molecule."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rdkit import Chem

from moldiff.arrays import MOST_ATOMS, MolArrays
from moldiff.chem.convert import (
    RADICALS,
    Conversion,
    EncodingError,
    classes_of,
    decode,
    from_bytes,
    parts_problem,
    rdkit_errors,
    to_bytes,
)  # fmt: skip
from moldiff.chem.coordinates import add_conformer
from moldiff.chem.hydrogens import without_hydrogen_atoms
from moldiff.vocabulary import Vocabulary


@dataclass(frozen=True)
class Topology:
    """A molecule without coordinates.

    Attributes:
        mol: atoms that get coordinates from a model, in the input's order (hydrogens that the input leaves out last),
            with the input's bonds and stereo marks; no conformer.
        arrays: the same in the model's classes, as a data set holds it; positions are zero.
        explicit_hydrogens: False = ``mol`` has heavy atoms alone; RDKit places the hydrogens.
        order: of heavy atoms and hydrogens behind them, as RDKit places these, the order that the input has.
        isotopes: (atom, isotope) of the hydrogens that have one and that RDKit places, in the order of the input.
    """

    mol: Chem.Mol
    arrays: MolArrays
    explicit_hydrogens: bool
    order: tuple[int, ...] = ()
    isotopes: tuple[tuple[int, int], ...] = ()

    def __reduce__(self) -> tuple[Callable[..., Topology], tuple[object, ...]]:
        """Say how the graph travels between processes: bytes, as everywhere."""
        return _arrived, (to_bytes(self.mol), self.arrays, self.explicit_hydrogens, self.order, self.isotopes)

    def place(self, pos: np.ndarray) -> Chem.Mol:
        """Return the molecule with all its hydrogens and a conformer at (n, 3) positions in angstrom."""
        placed = Chem.Mol(self.mol)
        add_conformer(placed, pos)
        if self.explicit_hydrogens:
            return placed
        whole = Chem.RenumberAtoms(Chem.AddHs(placed, addCoords=True), self.order)
        for atom, isotope in self.isotopes:
            whole.GetAtomWithIdx(atom).SetIsotope(isotope)
        return whole


def _arrived(
    mol: bytes,
    arrays: MolArrays,
    explicit_hydrogens: bool,
    order: tuple[int, ...],
    isotopes: tuple[tuple[int, int], ...],
) -> Topology:
    return Topology(from_bytes(mol), arrays, explicit_hydrogens, order, isotopes)


@rdkit_errors()
def topology_of(mol: Chem.Mol, vocabulary: Vocabulary) -> Topology:
    """Return the graph of a sanitised molecule; coordinates that it may have are ignored, isotopes stay.

    Raises:
        EncodingError: more than one fragment, too many atoms, or something that the vocabulary cannot spell.
    """
    bare = Chem.Mol(mol)
    bare.RemoveAllConformers()
    if len(Chem.GetMolFrags(bare)) > 1:
        raise EncodingError(parts_problem(mol) if mol.GetNumConformers() else "more than one fragment")
    if any(atom.GetNumRadicalElectrons() for atom in bare.GetAtoms()):
        raise EncodingError(RADICALS)
    bare, order, isotopes = Chem.AddHs(bare), tuple[int, ...](), tuple[tuple[int, int], ...]()
    if not vocabulary.explicit_hydrogens:
        isotopes = _isotopes_of_hydrogens(bare)
        order, bare = _order_of(bare), without_hydrogen_atoms(bare)
        Chem.SanitizeMol(bare)
    if bare.GetNumAtoms() > MOST_ATOMS:
        raise EncodingError(f"too large: {bare.GetNumAtoms()} {vocabulary.atoms}")
    nowhere = Chem.Mol(bare)
    add_conformer(nowhere, np.zeros((bare.GetNumAtoms(), 3)))
    return Topology(bare, classes_of(nowhere, vocabulary), vocabulary.explicit_hydrogens, order, isotopes)


def _isotopes_of_hydrogens(mol: Chem.Mol) -> tuple[tuple[int, int], ...]:
    """Return the hydrogens that have an isotope; refuse those whose place decides about stated stereo, as RDKit knows
    no places of theirs."""
    found = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 1 and atom.GetIsotope()]
    for hydrogen in found:
        for atom in hydrogen.GetNeighbors():
            hydrogens = sum(other.GetAtomicNum() == 1 for other in atom.GetNeighbors())
            centre = atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED
            bond = any(bond.GetStereo() > Chem.BondStereo.STEREOANY for bond in atom.GetBonds())
            if hydrogens > 1 and (centre or bond):
                raise EncodingError(
                    f"stereo that only isotopes of hydrogen decide, at atom {atom.GetIdx()} ({atom.GetSymbol()}): "
                    "a model of heavy atoms cannot place it; one with hydrogens can"
                )
    return tuple((atom.GetIdx(), atom.GetIsotope()) for atom in found)


def _order_of(mol: Chem.Mol) -> tuple[int, ...]:
    """Return for each atom of a molecule its place once hydrogens are taken away and put behind the heavy atoms anew,
    in the order of these."""
    heavy = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1]
    around = [other.GetIdx() for atom in heavy for other in atom.GetNeighbors() if other.GetAtomicNum() == 1]
    anew = [*(atom.GetIdx() for atom in heavy), *around]
    if len(anew) != mol.GetNumAtoms():
        raise EncodingError("a hydrogen that is not bonded to one heavy atom")
    return tuple(int(place) for place in np.argsort(anew))


def heavy_atom_skeleton(arrays: MolArrays, vocabulary: Vocabulary) -> Conversion:
    """Build the largest connected piece of the heavy atoms, with hydrogens wherever RDKit misses them.

    Half-way down, a model's estimate has hydrogens too few or too many, or loose atoms, but elements and bonds of the
    skeleton can already be read from it. Hydrogens of the estimate are ignored; coordinates of heavy atoms are kept.
    """
    heavy = np.array([symbol != "H" for symbol in vocabulary.elements])[arrays.atom_type]
    bonds = arrays.bonds[heavy[arrays.bonds[:, :2]].all(1)]
    n = len(heavy)
    # imported here: most commands never come here, and it is a tenth of a second of their start
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n, n))
    _, piece = connected_components(links, directed=False)
    sizes = np.bincount(piece, weights=heavy, minlength=1)
    kept = heavy & (piece == sizes.argmax())
    place = np.cumsum(kept) - 1
    inside = bonds[kept[bonds[:, :2]].all(1)]
    rows = np.column_stack([place[inside[:, :2]], inside[:, 2]]).astype(np.int64)
    skeleton = MolArrays(arrays.pos[kept], arrays.atom_type[kept], arrays.charge[kept], rows)
    return decode(skeleton, dataclasses.replace(vocabulary, explicit_hydrogens=False))
