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
from typing import Any, NamedTuple

import numpy as np

FREQUENT = 0.01
"""A reference keeps the motifs that this share of its molecules or more has."""


@dataclass(frozen=True)
class Frequency:
    """Occurrences of a motif in a molecule: mean and standard deviation over the molecules."""

    mean: float
    std: float


class Difference(NamedTuple):
    """A motif in a sample and in a reference: both means, and their signed difference in standard deviations of the
    reference."""

    mean: float
    reference_mean: float
    deviation: float


@dataclass(frozen=True)
class Proportions:
    """A sample next to a reference.

    Attributes:
        deviation: mean over the motifs of |mean of the sample - mean of the reference|, in standard deviations of the
            reference.
        floor: what is expected of as many molecules of the reference's own distribution.
        motifs: motif -> difference, most deviant first.
    """

    deviation: float
    floor: float
    motifs: dict[str, Difference]

    def to_json(self) -> dict[str, Any]:
        """Return the attributes."""
        motifs = {name: found._asdict() for name, found in self.motifs.items()}
        return {"deviation": self.deviation, "floor": self.floor, "motifs": motifs}


def frequent(counts: Sequence[Mapping[str, int]], share: float) -> list[str]:
    """Return what at least this share of the molecules has, most frequent first; ``counts`` as in `table`."""
    occurrences = Counter(name for one in counts for name in one)
    return [name for name, found in occurrences.most_common() if found >= share * len(counts)]


def table(counts: Sequence[Mapping[str, int]], names: Sequence[str]) -> np.ndarray:
    """Return (M, F) float64: how often each of F named things occurs in each of M molecules.

    Args:
        counts: of each molecule; what is not named counts 0.
        names: the columns.
    """
    column = {name: index for index, name in enumerate(names)}
    result = np.zeros((len(counts), len(names)))
    for row, one in enumerate(counts):
        for name in one.keys() & column.keys():
            result[row, column[name]] = one[name]
    return result


def frequencies(counts: Sequence[Mapping[str, int]]) -> dict[str, Frequency]:
    """Return the frequent motifs that do not occur alike in every molecule, most frequent first.

    Args:
        counts: motifs of each molecule.
    """
    names = frequent(counts, FREQUENT)
    values = table(counts, names)
    spreads = zip(names, values.mean(axis=0).tolist(), values.std(axis=0).tolist(), strict=True)
    return {name: Frequency(mean, std) for name, mean, std in spreads if std > 0}


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
    means = table(counts, list(reference)).mean(axis=0).tolist()
    motifs = {
        name: Difference(mean, wanted.mean, (mean - wanted.mean) / wanted.std)
        for (name, wanted), mean in zip(reference.items(), means, strict=True)
    }
    ordered = dict(sorted(motifs.items(), key=lambda item: -abs(item[1].deviation)))
    deviation = float(np.mean([abs(found.deviation) for found in ordered.values()]))
    return Proportions(deviation, math.sqrt(2 / math.pi * (1 / len(counts) + 1 / molecules)), ordered)
