"""What a rough estimate of a molecule is about, long before it is a molecule: its skeleton of heavy atoms."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from moldiff.arrays import MolArrays
from moldiff.chem.convert import Conversion, decode
from moldiff.vocabulary import Vocabulary


def sketch(arrays: MolArrays, vocabulary: Vocabulary) -> Conversion:
    """Build the largest connected piece of the heavy atoms, with hydrogens wherever RDKit misses them.

    Half-way down, a model's estimate has hydrogens too few or too many, or loose atoms, but elements and bonds of the
    skeleton can already be read from it. Hydrogens of the estimate are ignored; coordinates of heavy atoms are kept.
    """
    heavy = np.array([symbol != "H" for symbol in vocabulary.elements])[arrays.atom_type]
    bonds = arrays.bonds[heavy[arrays.bonds[:, :2]].all(1)]
    n = len(heavy)
    links = coo_array((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n, n))
    _, piece = connected_components(links, directed=False)
    sizes = np.bincount(piece, weights=heavy, minlength=1)
    kept = heavy & (piece == sizes.argmax())
    place = np.cumsum(kept) - 1
    inside = bonds[kept[bonds[:, :2]].all(1)]
    rows = np.column_stack([place[inside[:, :2]], inside[:, 2]]).astype(np.int64)
    skeleton = MolArrays(arrays.pos[kept], arrays.atom_type[kept], arrays.charge[kept], rows)
    return decode(skeleton, dataclasses.replace(vocabulary, explicit_hydrogens=False))
