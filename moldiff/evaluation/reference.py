"""Reference of a comparison: distributions of held-out molecules and the hashed keys of the training molecules.

A `Reference` fits into a model folder (about 250 kB of text, 16 bytes per training molecule), so that a stranger
without the data set gets the same figures. It also holds the floor: the distance that as many real molecules of the
training split have to the held-out ones. A model at its floor cannot be told from the data by that figure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from moldiff.errors import MoldiffError
from moldiff.evaluation.distributions import (
    FLOOR_SIZES,
    Distribution,
    Floor,
    sampling_error,
    summarise,
    wasserstein,
)
from moldiff.evaluation.measurements import KINDS, NUMBERED, PROPERTY_NAMES, Measurements
from moldiff.evaluation.motif_frequencies import Frequency, frequencies
from moldiff.evaluation.rates import Rate
from moldiff.models.references import HISTOGRAMS, RARITY, TRAINING_KEYS, References, TrainingKeys

if TYPE_CHECKING:
    from torch import Tensor

    from moldiff.chem.descriptors.rarity import RarityTables

FORMAT = "moldiff-reference"
FORMAT_VERSION = 1
MOST_TYPES = {"bond": 30, "angle": 40, "torsion": 60}
"""How many types of each kind a reference keeps, the most frequent ones."""
MIN_VALUES = 20
"""A type with fewer values than this, on either side, gets no distance of its own."""
FLOOR_REPEATS = 10

_DECIMALS = {"bond": 4, "angle": 2, "torsion": 2}
_PROPERTY_DECIMALS = 4


@dataclass(frozen=True)
class Entry:
    """One reference distribution and the floor of its Wasserstein-1 distance."""

    distribution: Distribution
    floor: Floor


@dataclass(frozen=True)
class Reference:
    """Distributions of held-out molecules, and what a sample is novel against.

    Attributes:
        source: where it comes from, one line for the report.
        molecules: held-out molecules behind the distributions.
        geometry: kind -> type label -> entry, most frequent type first.
        averages: kind -> floor of the average over types, weighted by the types' frequency in the reference.
        properties: property name -> entry.
        composition: as `Measurements.composition`.
        motifs: motif -> how often it occurs in a molecule; empty in references of early models.
        keys: training molecules, or None if novelty cannot be told.
        smiles: canonical, without stereo, of the held-out molecules; empty in references of early models.
        training_smiles: the same of training molecules; only at hand beside the data set, never stored.
        rarity: counts of ring systems and bonds in the training molecules; None = not at hand.
        rates: of the reference's own molecules, by the names of `moldiff.evaluation.metrics`; empty in references of
            early models.
    """

    source: str
    molecules: int
    geometry: dict[str, dict[str, Entry]]
    averages: dict[str, Floor]
    properties: dict[str, Entry]
    composition: dict[str, dict[str, int]]
    keys: TrainingKeys | None
    smiles: tuple[str, ...]
    training_smiles: tuple[str, ...] = ()
    motifs: dict[str, Frequency] = field(default_factory=dict)
    rarity: RarityTables | None = None
    rates: dict[str, Rate] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the keys as plain JSON types."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "source": self.source,
            "molecules": self.molecules,
            "geometry": {
                kind: {name: _entry_json(entry, _DECIMALS[kind]) for name, entry in types.items()}
                for kind, types in self.geometry.items()
            },
            "averages": {kind: floor.to_json(_DECIMALS[kind] + 2) for kind, floor in self.averages.items()},
            "properties": {name: _entry_json(e, _PROPERTY_DECIMALS) for name, e in self.properties.items()},
            "composition": self.composition,
            "motifs": {name: [_rounded(one.mean), _rounded(one.std)] for name, one in self.motifs.items()},
            "smiles": list(self.smiles),
            "rates": {name: [rate.count, rate.n, rate.effective] for name, rate in self.rates.items()},
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], keys: TrainingKeys | None = None) -> Reference:
        """Read `to_json`'s output.

        Raises:
            MoldiffError: it is no reference, of another version, or damaged.
        """
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise MoldiffError("the reference is not one of moldiff's; build it again from a prepared data set")
        if value.get("version") != FORMAT_VERSION:
            raise MoldiffError(f"the reference has version {value.get('version')}, this moldiff reads {FORMAT_VERSION}")
        try:
            molecules = int(value["molecules"])
            return cls(
                source=str(value["source"]),
                molecules=molecules,
                geometry={
                    kind: {name: _entry(entry, molecules) for name, entry in value["geometry"][kind].items()}
                    for kind in KINDS
                },
                averages={kind: Floor.from_json(value["averages"][kind], molecules) for kind in KINDS},
                properties={name: _entry(entry, molecules) for name, entry in value["properties"].items()},
                composition={k: _counts(k, v) for k, v in value["composition"].items()},
                keys=keys,
                smiles=tuple(str(text) for text in value.get("smiles", [])),
                motifs={name: Frequency(*map(float, one)) for name, one in value.get("motifs", {}).items()},
                rates={name: Rate(*one) for name, one in value.get("rates", {}).items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MoldiffError(f"the reference is damaged ({error!r}); build it again") from error

    def to_tensors(self) -> dict[str, Tensor]:
        """Return tensors for a model folder: the JSON text as bytes, the keys as (M, 2) int64 with the same bits."""
        import torch

        text = json.dumps(self.to_json(), separators=(",", ":"), allow_nan=False).encode()
        tensors = {HISTOGRAMS: torch.frombuffer(bytearray(text), dtype=torch.uint8)}
        if self.keys is not None:
            tensors[TRAINING_KEYS] = self.keys.to_tensor()
        return tensors

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Reference:
        """Read `to_tensors`'s output; MoldiffError if there is no reference among the tensors or it is damaged."""
        found = References(tensors, "the model")
        read = cls.from_json(found.histograms, found.training_keys if TRAINING_KEYS in tensors else None)
        return replace(read, rarity=found.rarity) if set(RARITY) <= tensors.keys() else read


def build_reference(
    source: str,
    held_out: Measurements,
    training: Measurements | None,
    keys: TrainingKeys | None,
    *,
    smiles: Sequence[str] = (),
    seed: int = 0,
) -> Reference:
    """Summarise held-out molecules and measure the floor.

    Args:
        source: one line that names the data.
        held_out: molecules that the model has not seen.
        training: molecules of the training split, for the floor; None = draws of ``held_out`` against the rest of it.
        keys: all training molecules.
        smiles: canonical, without stereo, of the held-out molecules, for the Frechet ChemNet distance.
        seed: which molecules the floor draws.

    Raises:
        MoldiffError: there is no held-out molecule.
    """
    if not len(held_out):
        raise MoldiffError(f"{source} holds no valid molecule to compare with")
    values = held_out.geometry()
    kept = {kind: _most_frequent(values[kind], MOST_TYPES[kind]) for kind in KINDS}
    weights = {kind: {name: len(v) for name, v in types.items()} for kind, types in kept.items()}
    generator = np.random.default_rng(seed)
    if training is None:
        draws = _split_draws(held_out, kept, generator)
    else:
        draws = _training_draws(held_out, training, kept, generator)
    floors = _floors(draws, weights, len(held_out))
    return Reference(
        source=source,
        molecules=len(held_out),
        geometry={
            kind: {name: Entry(summarise(v), floors[kind, name]) for name, v in types.items()}
            for kind, types in kept.items()
        },
        averages={kind: floors[kind, ""] for kind in KINDS},
        properties={
            name: Entry(summarise(v), floors["property", name])
            for name, v in held_out.known_properties().items()
            if len(v)
        },
        composition=held_out.composition(),
        keys=keys,
        smiles=tuple(smiles),
        motifs=frequencies(held_out.motifs),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def weighted_average(distances: dict[str, float], weights: dict[str, int]) -> float | None:
    """Return the mean distance over the measured types, weighted by their frequency in the reference."""
    total = sum(weights[name] for name in distances)
    return sum(weights[name] * value for name, value in distances.items()) / total if total else None


def distances(
    values: dict[str, np.ndarray], distributions: dict[str, Distribution], minimum: int = MIN_VALUES
) -> dict[str, float]:
    """Return the Wasserstein-1 distance of every type that has at least ``minimum`` values on both sides."""
    return {
        name: wasserstein(values[name], distribution)
        for name, distribution in distributions.items()
        if len(values.get(name, ())) >= minimum and distribution.count >= minimum
    }


@dataclass(frozen=True)
class _Target:
    """The distributions that the floor's draws are measured against, by kind (with ``property`` as a fourth)."""

    distributions: dict[str, dict[str, Distribution]]

    @classmethod
    def of(cls, sample: Measurements, kept: dict[str, dict[str, np.ndarray]]) -> _Target:
        values = {
            kind: {name: v for name, v in types.items() if name in kept[kind]}
            for kind, types in sample.geometry().items()
        }
        values["property"] = {name: v for name, v in sample.known_properties().items() if len(v)}
        return cls({kind: {name: summarise(v) for name, v in types.items()} for kind, types in values.items()})

    def distances(self, sample: Measurements) -> dict[str, dict[str, float]]:
        values = {**sample.geometry(), "property": sample.known_properties()}
        return {kind: distances(values[kind], wanted) for kind, wanted in self.distributions.items()}


_Draws = dict[int, list[dict[str, dict[str, float]]]]
"""Number of molecules -> for each repeat: kind -> name -> distance."""


def _training_draws(
    held_out: Measurements,
    training: Measurements,
    kept: dict[str, dict[str, np.ndarray]],
    generator: np.random.Generator,
) -> _Draws:
    """Measure draws of training molecules against all held-out ones."""
    target = _Target.of(held_out, kept)
    return {
        size: [target.distances(_some(training, size, generator)) for _ in range(FLOOR_REPEATS)]
        for size in FLOOR_SIZES
        if size <= len(training)
    }


def _split_draws(
    held_out: Measurements, kept: dict[str, dict[str, np.ndarray]], generator: np.random.Generator
) -> _Draws:
    """Measure draws of up to half the molecules against the rest, which is fewer: scaled to what all would give."""
    half = len(held_out) // 2
    draws: _Draws = {}
    for size in sorted({*(size for size in FLOOR_SIZES if size < half), half} - {0}):
        draws[size] = []
        for _ in range(FLOOR_REPEATS):
            order = generator.permutation(len(held_out))
            target = _Target.of(held_out.take(order[size:]), kept)
            scale = sampling_error(size, len(held_out)) / sampling_error(size, len(held_out) - size)
            found = target.distances(held_out.take(order[:size]))
            draws[size].append({kind: {name: scale * w1 for name, w1 in of.items()} for kind, of in found.items()})
    return draws


def _some(sample: Measurements, size: int, generator: np.random.Generator) -> Measurements:
    return sample.take(generator.permutation(len(sample))[:size])


def _floors(draws: _Draws, weights: dict[str, dict[str, int]], against: int) -> dict[tuple[str, str], Floor]:
    """Average the repeats of each size; the key (kind, "") is the weighted average over the types of a kind."""
    sizes = tuple(draws)
    floors = {}
    for kind, names in {**weights, "property": dict.fromkeys(PROPERTY_NAMES, 1)}.items():
        for name in names:
            means = (_mean([draw[kind].get(name) for draw in draws[size]]) for size in sizes)
            floors[kind, name] = Floor(sizes, tuple(means), against)
    for kind, weight in weights.items():
        means = (_mean([weighted_average(draw[kind], weight) for draw in draws[size]]) for size in sizes)
        floors[kind, ""] = Floor(sizes, tuple(means), against)
    return floors


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _most_frequent(values: dict[str, np.ndarray], most: int) -> dict[str, np.ndarray]:
    names = sorted(values, key=lambda name: (-len(values[name]), name))[:most]
    return {name: values[name] for name in names}


def _entry_json(entry: Entry, decimals: int) -> dict[str, Any]:
    return {**entry.distribution.to_json(decimals), "floor": entry.floor.to_json(decimals + 2)}


def _counts(field: str, value: dict[str, Any]) -> dict[str, int]:
    """Return how many there are of each class; ValueError if one that should be a number is none."""
    if field in NUMBERED:
        list(map(int, value))
    return {name: int(count) for name, count in value.items()}


def _entry(value: dict[str, Any], molecules: int) -> Entry:
    return Entry(Distribution.from_json(value), Floor.from_json(value["floor"], molecules))
