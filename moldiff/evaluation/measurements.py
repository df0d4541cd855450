"""Measurements of valid molecules: geometry by type, composition, motifs, properties. One form for samples and
references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from moldiff.chem.descriptors.motifs import motifs
from moldiff.chem.descriptors.rdkit_descriptors import REPORTED, compute
from moldiff.chem.graph import MolGraph, concatenate, graph, symbol
from moldiff.evaluation.geometry import label, measure

if TYPE_CHECKING:
    from rdkit.Chem import Mol

KINDS = {"bond": "angstrom", "angle": "degree", "torsion": "degree"}
"""Kinds of internal coordinates and their units."""
COMPOSITION = ("size", "element", "charge", "bond")
NUMBERED = ("size", "charge")  # of these, classes that are numbers
"""What is counted: molecules by number of atoms, atoms by element and by formal charge, bonds by class."""
PROPERTY_NAMES = tuple(name for name in REPORTED if name != "heavy_atom_count")
"""Properties whose distribution is compared (sizes belong to the composition)."""

_BOND_CLASSES = {1: "single", 2: "double", 3: "triple", 4: "aromatic"}


@dataclass(frozen=True)
class Measured:
    """One molecule, measured.

    Attributes:
        graph: its atoms, coordinates, bonds.
        properties: values of `PROPERTY_NAMES`, NaN where a calculator failed.
        motifs: counts of motifs.
    """

    graph: MolGraph
    properties: Mapping[str, float]
    motifs: Mapping[str, int]

    @classmethod
    def of(cls, mol: Mol) -> Measured:
        """Measure a sanitised molecule with a conformer."""
        return cls(graph(mol), compute(mol, PROPERTY_NAMES), motifs(mol))


@dataclass(frozen=True)
class Measurements:
    """M molecules, as arrays and property values.

    Attributes:
        graphs: M molecules with finite coordinates.
        properties: property name -> (M,) values in the units of the table of properties, NaN where a calculator failed.
        motifs: M counts of motifs (`moldiff.chem.descriptors.motifs`).
    """

    graphs: tuple[MolGraph, ...]
    properties: dict[str, np.ndarray]
    motifs: tuple[Mapping[str, int], ...]

    @classmethod
    def of(cls, molecules: Iterable[Mol]) -> Measurements:
        """Measure sanitised molecules with a conformer, one at a time."""
        return cls.gathered(map(Measured.of, molecules))

    @classmethod
    def gathered(cls, molecules: Iterable[Measured]) -> Measurements:
        """Gather molecules that were measured."""
        rows = list(molecules)
        columns = {name: np.array([row.properties[name] for row in rows], dtype=np.float64) for name in PROPERTY_NAMES}
        return cls(tuple(row.graph for row in rows), columns, tuple(row.motifs for row in rows))

    def __len__(self) -> int:
        return len(self.graphs)

    def take(self, rows: np.ndarray) -> Measurements:
        """Return the molecules ``rows`` (integer indices)."""
        columns = {name: values[rows] for name, values in self.properties.items()}
        return Measurements(tuple(self.graphs[row] for row in rows), columns, tuple(self.motifs[row] for row in rows))

    def geometry(self) -> dict[str, dict[str, np.ndarray]]:
        """Return kind -> type label -> values, units as in `KINDS`."""
        terms = measure(concatenate(list(self.graphs)))
        return {kind: {label(code): values for code, values in terms[kind].by_type().items()} for kind in KINDS}

    def known_properties(self) -> dict[str, np.ndarray]:
        """Return the finite values of each property."""
        return {name: values[np.isfinite(values)] for name, values in self.properties.items()}

    def composition(self) -> dict[str, dict[str, int]]:
        """Return, for each of `COMPOSITION`, class -> count."""
        whole = concatenate(list(self.graphs))
        sizes = np.array([len(g.numbers) for g in self.graphs], dtype=np.int64)
        return {
            "size": {str(n): count for n, count in _counts(sizes)},
            "element": {symbol(number): count for number, count in _counts(whole.numbers)},
            "charge": {f"{charge:+d}": count for charge, count in _counts(whole.charges)},
            "bond": {_BOND_CLASSES.get(order, "other"): count for order, count in _counts(whole.bonds[:, 2])},
        }


def _counts(values: np.ndarray) -> list[tuple[int, int]]:
    classes, counts = np.unique(values, return_counts=True)
    return list(zip(classes.tolist(), counts.tolist(), strict=True))
