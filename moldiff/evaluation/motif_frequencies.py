"""In which proportions molecules are made of motifs, next to a reference.

A generator may be sound in every molecule, and near to the data in every bond length, and still make too many small
rings or too few aromatic ones. This shows it: how often each motif (`moldiff.chem.descriptors.motifs`) occurs in a
molecule.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FREQUENT = 0.01
"""A reference keeps the motifs that this share of its molecules or more has."""


@dataclass(frozen=True)
class Frequency:
    """How often a motif occurs in a molecule: mean and standard deviation over the molecules."""

    mean: float
    std: float


@dataclass(frozen=True)
class Proportions:
    """A sample next to a reference.

    Attributes:
        deviation: mean over the motifs of |mean of the sample - mean of the reference|, in standard deviations of the
            reference.
        floor: what is expected of as many molecules of the reference's own distribution.
        motifs: motif -> (mean of the sample, mean of the reference, their signed difference in standard deviations),
            most deviant first.
    """

    deviation: float
    floor: float
    motifs: dict[str, tuple[float, float, float]]

    def to_json(self) -> dict[str, Any]:
        """Return the attributes, with names for the parts."""
        parts = ("mean", "reference_mean", "deviation")
        motifs = {name: dict(zip(parts, found, strict=True)) for name, found in self.motifs.items()}
        return {"deviation": self.deviation, "floor": self.floor, "motifs": motifs}


def frequencies(counts: Sequence[Mapping[str, int]]) -> dict[str, Frequency]:
    """Return the frequent motifs that do not occur alike in every molecule, most frequent first.

    Args:
        counts: motifs of each molecule.
    """
    occurrences = Counter(name for one in counts for name in one)
    frequent = [name for name, found in occurrences.most_common() if found >= FREQUENT * len(counts)]
    found = {name: _frequency(name, counts) for name in frequent}
    return {name: one for name, one in found.items() if one.std > 0}


def proportions(
    counts: Sequence[Mapping[str, int]], reference: Mapping[str, Frequency], molecules: int
) -> Proportions | None:
    """Compare a sample with a reference.

    The floor is that of Gaussian means: sqrt(2/pi (1/n + 1/m)) for n and m molecules.

    Args:
        counts: motifs of each molecule of the sample.
        reference: its frequent motifs.
        molecules: of the reference.

    Returns:
        None if the sample is empty or the reference knows no motifs.
    """
    if not counts or not reference:
        return None
    motifs = {}
    for name, wanted in reference.items():
        mean = _frequency(name, counts).mean
        motifs[name] = (mean, wanted.mean, (mean - wanted.mean) / wanted.std)
    ordered = dict(sorted(motifs.items(), key=lambda item: -abs(item[1][2])))
    deviation = float(np.mean([abs(found[2]) for found in ordered.values()]))
    return Proportions(deviation, math.sqrt(2 / math.pi * (1 / len(counts) + 1 / molecules)), ordered)


def _frequency(name: str, counts: Sequence[Mapping[str, int]]) -> Frequency:
    values = np.array([one.get(name, 0) for one in counts], dtype=np.float64)
    return Frequency(float(values.mean()), float(values.std()))
