"""Unique and novel molecules among the valid ones, told by canonical SMILES without and with stereo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moldiff.chem.identity import text_key
from moldiff.evaluation.assess import Assessment
from moldiff.evaluation.rates import Rate
from moldiff.evaluation.reference import TrainingKeys


def known(smiles: Sequence[str], keys: np.ndarray) -> np.ndarray:
    """Return (len(smiles),) bool: whose key is among the sorted uint64 ``keys``."""
    wanted = np.array([text_key(text) for text in smiles], dtype=np.uint64)
    if not len(keys):
        return np.zeros(len(wanted), dtype=bool)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.asarray(keys[place] == wanted, dtype=bool)


def diversity(rows: Sequence[Assessment], keys: TrainingKeys | None) -> dict[str, Rate]:
    """Return the rates of unique and novel molecules.

    ``unique``: distinct SMILES among the valid molecules. ``novel``: of those distinct ones, how many the training
    split does not hold. ``valid_unique_novel``: the latter over all records. Each also as ``..._stereo``. Without
    keys there is no novelty.
    """
    valid = [row for row in rows if row.valid]
    rates: dict[str, Rate] = {}
    for suffix, smiles, training in (
        ("", [row.smiles for row in valid], None if keys is None else keys.graph),
        ("_stereo", [row.smiles_stereo for row in valid], None if keys is None else keys.stereo),
    ):
        distinct = sorted(set(smiles))
        rates[f"unique{suffix}"] = Rate(len(distinct), len(valid))
        if training is not None:
            novel = int((~known(distinct, training)).sum())
            rates[f"novel{suffix}"] = Rate(novel, len(distinct))
            rates[f"valid_unique_novel{suffix}"] = Rate(novel, len(rows))
    return rates
