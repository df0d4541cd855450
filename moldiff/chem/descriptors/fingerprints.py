"""Tanimoto similarity of two molecules, of Morgan fingerprints (Rogers and Hahn 2010, ECFP4)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator
from rdkit.SimDivFilters import rdSimDivPickers

from moldiff.chem.descriptors.rdkit_descriptors import without_explicit_hydrogens

RADIUS, BITS = 2, 2048


def nearest_similarity(smiles: Sequence[str], pool: Sequence[str]) -> np.ndarray:
    """Return (len(smiles),) the similarity of each molecule to the most similar of the pool, 0 to 1.

    A SMILES that RDKit cannot read gives NaN, and is left out of the pool. Nothing is like an empty pool: 0.
    """
    known = [found for found in _fingerprints(pool) if found is not None]
    return np.array(
        [
            np.nan if one is None else max(DataStructs.BulkTanimotoSimilarity(one, known), default=0.0)
            for one in _fingerprints(smiles)
        ],
        dtype=np.float64,
    )


def mean_distances(smiles: Sequence[str]) -> np.ndarray:
    """Return (len(smiles),) each molecule's mean Tanimoto distance (1 - similarity) from the others.

    Their mean is the internal diversity (Polykovskiy et al. 2020, "MOSES", eq. 2, without the pairs of a molecule with
    itself). A SMILES that RDKit cannot read gives NaN, and is left out of the others' means; so does a single molecule.
    """
    prints = _fingerprints(smiles)
    known = [found for found in prints if found is not None]
    if len(known) < 2:
        return np.full(len(prints), np.nan)
    # of its own fingerprint, a molecule has the similarity 1
    return np.array(
        [
            np.nan
            if one is None
            else (len(known) - sum(DataStructs.BulkTanimotoSimilarity(one, known))) / (len(known) - 1)
            for one in prints
        ]
    )


def leaders(smiles: Sequence[str], distance: float, n: int) -> list[int]:
    """Return the places of at most n molecules, in their order, each more than ``distance`` (1 - similarity, 0 to 1)
    from all before it that are among them: sphere exclusion (Taylor 1995).

    A SMILES that RDKit cannot read is left out.
    """
    prints = [(place, found) for place, found in enumerate(_fingerprints(smiles)) if found is not None]
    if not prints:
        return []
    pool, size = [found for _, found in prints], len(prints)
    picked = rdSimDivPickers.LeaderPicker().LazyBitVectorPick(pool, size, distance, min(n, size))
    return [prints[one][0] for one in picked]


def fingerprint(mol: Chem.Mol) -> Any:
    """Return the bit vector of a sanitised molecule, hydrogens explicit or not: the result is the same."""
    bare = mol if mol.GetNumHeavyAtoms() == mol.GetNumAtoms() else without_explicit_hydrogens(mol)
    return _generator().GetFingerprint(mol if bare is None else bare)


@cache
def _generator() -> Any:
    return rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)


def _fingerprints(smiles: Sequence[str]) -> list[Any]:
    with rdBase.BlockLogs():
        molecules = [Chem.MolFromSmiles(text) for text in smiles]
    return [None if mol is None else fingerprint(mol) for mol in molecules]
