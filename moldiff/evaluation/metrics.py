"""Rates over all records of a file: valid, stable, unique, novel, and why the others failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from moldiff.chem.identity import text_key
from moldiff.evaluation.assess import Assessment
from moldiff.evaluation.rates import Rate, clustered, distinct_share
from moldiff.models.references import TrainingKeys
from moldiff.status import Status


def validity(rows: Sequence[Assessment]) -> dict[str, Rate]:
    """Return ``valid_connected`` (sanitises, one piece, no radical or open valence), ``valid`` (that with a plausible
    geometry, what `moldiff generate` calls valid) and ``sanitised``, of all."""
    return {
        "valid_connected": Rate(sum(row.valid for row in rows), len(rows)),
        "valid": Rate(sum(row.status == Status.VALID for row in rows), len(rows)),
        "sanitised": Rate(sum(row.sanitises for row in rows), len(rows)),
    }


def stability(rows: Sequence[Assessment]) -> dict[str, Rate]:
    """Return stability by the bonds of the file, and by EDM's distance table (``edm_...``).

    A molecule is stable if all its atoms are; a record without a molecule is not. Atom rates are over the atoms that
    could be read; their errors treat the atoms of one molecule as dependent.
    """
    sizes = [row.n_atoms for row in rows]
    return {
        "atom_stability": clustered([row.stable_atoms for row in rows], sizes),
        "molecule_stability": Rate(sum(row.stable for row in rows), len(rows)),
        "edm_atom_stability": clustered([row.distance_stable_atoms for row in rows], sizes),
        "edm_molecule_stability": Rate(sum(row.distance_stable for row in rows), len(rows)),
    }


def failures(rows: Sequence[Assessment]) -> dict[str, dict[str, int]]:
    """Return code word -> full reason -> count of the records that are not valid, most frequent first."""
    words: Counter[str] = Counter()
    details: dict[str, Counter[str]] = {}
    for row in rows:
        if not row.valid:
            word = row.reason.split(":", 1)[0]
            words[word] += 1
            details.setdefault(word, Counter())[row.reason] += 1
    return {word: dict(details[word].most_common()) for word, _ in words.most_common()}


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
        times = Counter(smiles)
        distinct = sorted(times)
        rates[f"unique{suffix}"] = distinct_share(times.values(), len(valid))
        if training is not None:
            new = ~known(distinct, training)
            rates[f"novel{suffix}"] = Rate(int(new.sum()), len(distinct))
            found = [times[text] for text, is_new in zip(distinct, new, strict=True) if is_new]
            rates[f"valid_unique_novel{suffix}"] = distinct_share(found, len(rows))
    return rates
