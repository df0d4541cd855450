"""How alike two molecules are: Tanimoto similarity of Morgan fingerprints (Rogers and Hahn 2010, ECFP4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator

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


def _fingerprints(smiles: Sequence[str]) -> list[Any]:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
    with rdBase.BlockLogs():
        molecules = [Chem.MolFromSmiles(text) for text in smiles]
    return [None if mol is None else generator.GetFingerprint(mol) for mol in molecules]
