"""A sample of valid molecules against a reference: Wasserstein-1 distances and floors, composition, motifs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.evaluation.distributions import summarise, total_variation
from moldiff.evaluation.measurements import COMPOSITION, KINDS, PROPERTY_NAMES, Measurements
from moldiff.evaluation.motif_frequencies import Proportions, proportions
from moldiff.evaluation.reference import Entry, Reference, distances, weighted_average


@dataclass(frozen=True)
class Distance:
    """One quantity of a sample next to the reference.

    Attributes:
        n: values in the sample.
        mean: of the sample, None without values.
        reference_mean: of the reference.
        w1: Wasserstein-1 distance, None with too few values on a side.
        floor: the distance of as many real training molecules, None if unknown.
    """

    n: int
    mean: float | None
    reference_mean: float
    w1: float | None
    floor: float | None

    def to_json(self) -> dict[str, float | int | None]:
        """Return the attributes."""
        return dict(vars(self))


@dataclass(frozen=True)
class KindComparison:
    """All types of one kind of internal coordinate.

    Attributes:
        w1: mean distance over the types that could be measured, weighted by their frequency in the reference.
        floor: of that mean, for as many real molecules.
        measured: share of the reference's values whose type could be measured in the sample.
        unknown: share of the sample's values whose type the reference does not list.
        types: type label -> distance, most frequent in the reference first.
    """

    w1: float | None
    floor: float | None
    measured: float
    unknown: float
    types: dict[str, Distance]

    def to_json(self, unit: str) -> dict[str, Any]:
        """Return the attributes and the unit."""
        return {
            "unit": unit,
            "w1": self.w1,
            "floor": self.floor,
            "measured": self.measured,
            "unknown": self.unknown,
            "types": {name: distance.to_json() for name, distance in self.types.items()},
        }


@dataclass(frozen=True)
class Comparison:
    """A sample against a reference.

    Attributes:
        geometry: kind -> comparison.
        properties: property name -> distance.
        composition: of `COMPOSITION`, the total-variation distance (0 equal, 1 disjoint) to the reference.
        proportions: how often motifs occur; None for an empty sample or a reference that knows none.
    """

    geometry: dict[str, KindComparison]
    properties: dict[str, Distance]
    composition: dict[str, float | None]
    proportions: Proportions | None


def compare(sample: Measurements, reference: Reference) -> Comparison:
    """Measure a sample against a reference; an empty sample gives None distances."""
    values = sample.geometry()
    known = sample.known_properties()
    counts = sample.composition()
    return Comparison(
        geometry={kind: _kind(values[kind], reference, kind, len(sample)) for kind in KINDS},
        properties={
            name: _distance(known[name], entry, distances(known, {name: entry.distribution}).get(name), len(sample))
            for name, entry in reference.properties.items()
            if name in known
        },
        composition={name: total_variation(counts[name], reference.composition.get(name, {})) for name in COMPOSITION},
        proportions=proportions(sample.motifs, reference.motifs, reference.molecules),
    )


def summaries(sample: Measurements) -> dict[str, dict[str, Any]]:
    """Return count, mean and standard deviation of every property of a sample, with its unit."""
    result: dict[str, dict[str, Any]] = {}
    for name, values in sample.known_properties().items():
        found = summarise(values) if len(values) else None
        result[name] = {
            "unit": PROPERTIES[name].unit,
            "n": len(values),
            "mean": found.mean if found else None,
            "std": found.std if found else None,
        }
    return {name: result[name] for name in PROPERTY_NAMES}


def _kind(values: dict[str, np.ndarray], reference: Reference, kind: str, molecules: int) -> KindComparison:
    entries = reference.geometry[kind]
    found = distances(values, {name: entry.distribution for name, entry in entries.items()})
    weights = {name: entry.distribution.count for name, entry in entries.items()}
    total = sum(len(v) for v in values.values())
    unlisted = sum(len(v) for name, v in values.items() if name not in entries)
    empty = np.zeros(0)
    return KindComparison(
        w1=weighted_average(found, weights),
        floor=reference.averages[kind].at(molecules) if found else None,
        measured=sum(weights[name] for name in found) / sum(weights.values()) if weights else 0.0,
        unknown=unlisted / total if total else 0.0,
        types={
            name: _distance(values.get(name, empty), entry, found.get(name), molecules)
            for name, entry in entries.items()
        },
    )


def _distance(values: np.ndarray, entry: Entry, w1: float | None, molecules: int) -> Distance:
    mean = float(values.mean()) if len(values) else None
    floor = entry.floor.at(molecules) if w1 is not None else None
    return Distance(len(values), mean, entry.distribution.mean, w1, floor)
