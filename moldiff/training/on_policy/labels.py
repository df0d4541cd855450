"""Weights of a model's sound draws as labels of its training: made of what the data is made of, and as usual.

A draw may be sound and still odd: a ring that nobody makes, two groups that are never bonded. How usual a molecule is
stands in tables of the training molecules (`moldiff.chem.descriptors.rarity`): how many of them have its rarest ring
system, and how far its weakest bond is expected. No count makes a draw a label and no count forbids it. Draws of each
level of rarity become as frequent as molecules of that level are in the data, each of which is judged by tables that do
not count it: rare rings stay, but as rare as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from moldiff.training.on_policy.reweight import PRIOR, log_weights

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from moldiff.chem.descriptors.rarity import RarityTables

_SHARES = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.7)
"""A level holds the molecules that are rarer than this share of the data; the levels lie in each other."""
_EVEN = 0.2  # prior where rarity counts: of some thousand draws few are usual in all; this leaves twice as many in play


@dataclass(frozen=True)
class Traits:
    """Counted features of a molecule.

    Attributes:
        motifs: with its size.
        ring: reference molecules that have its rarest ring system.
        bond: association of its weakest bond, see `WeakestBond`.
    """

    motifs: Mapping[str, int]
    ring: float = 0.0
    bond: float = 0.0

    @classmethod
    def of(cls, mol: Mol, tables: RarityTables | None = None, *, counted: bool = False) -> Traits:
        """Describe a sanitised molecule.

        Args:
            mol: the molecule.
            tables: None = its rarity is of no interest.
            counted: the molecule is one of those that the tables count: it is no witness of itself.
        """
        from moldiff.chem.descriptors.motifs import motifs

        made_of = motifs(mol) + Counter([f"{mol.GetNumAtoms()} atoms"])
        if tables is None:
            return cls(made_of)
        others = tables.without(mol) if counted else tables
        return cls(made_of, float(others.rarest_ring(mol).count), others.weakest_bond(mol).association)


def label_log_weights(
    draws: Sequence[Traits], data: Sequence[Traits], *, strength: float = 1.0, known: float = 0.0
) -> np.ndarray:
    """Return (D,) log weights of draws; the weights sum to D.

    The weights are a mixture of two, each of which brings the motifs to the data's proportions: one of ``known`` that
    brings the levels of rarity there too, and one of the rest that does not look at them.

    Args:
        draws: of a model.
        data: molecules to be like.
        strength: exponent of the weights; beyond 1 they lead further than to the data; 0 = motifs play no part.
        known: share of the labels that are chosen by rarity; 0 to 1.

    Raises:
        MoldiffError: there are no draws, or no molecules of the data.
    """
    parts, prior = [], _EVEN if known else PRIOR
    if known < 1:
        motifs_of = [one.motifs for one in draws], [one.motifs for one in data]
        parts.append((1 - known, strength * log_weights(*motifs_of, prior) if strength else np.zeros(len(draws))))
    if known:
        edges = [np.unique(np.quantile([getattr(one, name) for one in data], _SHARES)) for name in ("ring", "bond")]
        found, wanted = ([_features(one, edges, bool(strength)) for one in some] for some in (draws, data))
        parts.append((known, (strength or 1.0) * log_weights(found, wanted, prior)))
    logs = np.stack([np.log(share) + _normal(part) for share, part in parts])
    return np.asarray(np.logaddexp.reduce(logs, axis=0), dtype=np.float64)


def _features(traits: Traits, edges: Sequence[np.ndarray], with_motifs: bool) -> Counter[str]:
    """Return motifs, and a feature for every level of rarity that a molecule lies in."""
    found = Counter(traits.motifs) if with_motifs else Counter[str]()
    for name, value, ends in zip(("ring", "bond"), (traits.ring, traits.bond), edges, strict=True):
        found.update(f"rarity of its {name}: level {level}" for level, end in enumerate(ends) if value <= end)
    return found


def _normal(logits: np.ndarray) -> np.ndarray:
    """Return log weights whose weights sum to their number."""
    return np.asarray(logits - np.logaddexp.reduce(logits) + np.log(len(logits)), dtype=np.float64)
