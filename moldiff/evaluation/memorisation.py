"""Does the model repeat its training molecules? Judged beside held-out molecules, which cannot be repeats.

In a narrow set such as QM9 any new molecule resembles some old one, so similarity to the training set says something
only beside that of held-out molecules: more alike than these are is memorised, less alike is off the distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moldiff.chem.descriptors.fingerprints import nearest_similarity
from moldiff.evaluation.metrics import known
from moldiff.evaluation.rates import Rate
from moldiff.evaluation.reference import Reference
from moldiff.shares import percent

THRESHOLDS = (0.5, 0.7, 0.9, 1.0)
"""Similarities from which shares are counted; two different molecules can have the same fingerprint, thus 1."""
MOST_MOLECULES = 2000
"""Molecules of either side that are compared with the training molecules drawn; 2 s for both."""


@dataclass(frozen=True)
class Memorisation:
    """Distinct valid molecules of a sample beside held-out molecules; graphs without stereo.

    Attributes:
        seen: how many of the sample the training split holds (all of the split).
        held_out_seen: the same for the held-out molecules.
        training: molecules drawn from the training split for the similarities.
        nearest: similarity of the sample's molecules to the most similar of these.
        held_out_nearest: the same for the held-out molecules.
    """

    seen: Rate
    held_out_seen: Rate
    training: int
    nearest: np.ndarray
    held_out_nearest: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "in_training": self.seen.to_json(),
            "held_out_in_training": self.held_out_seen.to_json(),
            "training": self.training,
            "sample": _summary(self.nearest),
            "held_out": _summary(self.held_out_nearest),
        }

    def line(self) -> str:
        """Return one line for the terminal."""
        mine, theirs = (float(np.median(values)) for values in (self.nearest, self.held_out_nearest))
        return (
            f"memorisation: {_percent(self.seen)} of the distinct molecules are in the training set"
            f" (held-out molecules: {_percent(self.held_out_seen)}); nearest of {self.training} training molecules:"
            f" median similarity {mine:.3f} (held-out molecules: {theirs:.3f})"
        )


def memorisation(smiles: Sequence[str], reference: Reference, seed: int = 0) -> Memorisation | None:
    """Compare a sample with the training split; None unless the reference knows that, and there is a molecule.

    Args:
        smiles: canonical, without stereo, of the valid molecules.
        reference: of a prepared data set.
        seed: which molecules are compared, if there are more than `MOST_MOLECULES`.
    """
    distinct, held_out = sorted(set(smiles)), sorted(set(reference.smiles))
    if reference.keys is None or not reference.training_smiles or not distinct or not held_out:
        return None
    seen, theirs = (Rate(int(known(side, reference.keys.graph).sum()), len(side)) for side in (distinct, held_out))
    generator = np.random.default_rng(seed)
    nearest, their_nearest = (
        nearest_similarity(_drawn(side, generator), reference.training_smiles) for side in (distinct, held_out)
    )
    readable = nearest[np.isfinite(nearest)], their_nearest[np.isfinite(their_nearest)]
    if not all(map(len, readable)):
        return None
    return Memorisation(seen, theirs, len(reference.training_smiles), *readable)


def _drawn(smiles: list[str], generator: np.random.Generator) -> list[str]:
    if len(smiles) <= MOST_MOLECULES:
        return smiles
    return [smiles[place] for place in np.sort(generator.choice(len(smiles), MOST_MOLECULES, replace=False))]


def _summary(values: np.ndarray) -> dict[str, Any]:
    return {
        "n": len(values),
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "share_from": {str(threshold): float((values >= threshold).mean()) for threshold in THRESHOLDS},
    }


def _percent(rate: Rate) -> str:
    return "-" if rate.value is None else percent(rate.value)
