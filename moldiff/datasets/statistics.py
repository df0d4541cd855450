"""Statistics of the training split: what noise, priors, size sampling and normalisation need to know about the data."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from moldiff.arrays import MOST_ATOMS
from moldiff.datasets.layout import POSITION_UNIT, Arrays
from moldiff.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

CATEGORICAL = ("atom_type", "charge", "bond_type")
LARGEST = 2.0**100
"""Of a value of a property, 1.3e30, and of any figure: exact in single precision, which ends at 3e38."""
_SMALLEST_SPREAD = 2.0**-100  # by which single precision can divide
_NOISE = 1e-6  # share of the largest value below which a spread is no more than rounding of single precision


@dataclass(frozen=True)
class PropertyStatistics:
    """One property over the molecules of which it is known; all values but ``known`` in ``unit``.

    Attributes:
        unit: the unit; "1" for a plain number, "" if it is not known.
        known: number of molecules with a value; with none, the other figures are 0 and std is 1.
        std: population standard deviation; 1 if the property `is_constant`, so that it can always divide.
        q01: 1 % quantile (q99 likewise).
    """

    unit: str
    mean: float
    std: float
    minimum: float
    maximum: float
    q01: float
    q99: float
    known: int

    @classmethod
    def from_json(cls, value: object) -> PropertyStatistics:
        """Build from a JSON object of the fields; ValueError, KeyError or TypeError if it is none."""
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, not {value!r}")
        if not isinstance(value["unit"], str):
            raise TypeError(f"a unit must be a text, not {value['unit']!r:.80}")
        found = cls(
            unit=value["unit"],
            **{name: _finite(value[name], name) for name in ("mean", "std", "minimum", "maximum", "q01", "q99")},
            known=_count(value["known"], "known"),
        )
        if found.std <= 0:
            raise ValueError(f"a standard deviation must be above 0, not {found.std:g}")
        if found.minimum > found.maximum or found.q01 > found.q99:
            raise ValueError("the smallest value is above the largest")
        return found

    @classmethod
    def of(cls, values: np.ndarray, unit: str) -> PropertyStatistics:
        """Summarise (M,) values; NaN means unknown."""
        known = values[np.isfinite(values)].astype(np.float64)
        if known.size == 0:
            return cls(unit, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0)
        q01, q99 = np.quantile(known, (0.01, 0.99))
        std = float(known.std())
        std = std if std > _least_spread(float(np.abs(known).max())) else 1.0
        mean, minimum, maximum = float(known.mean()), float(known.min()), float(known.max())
        return cls(unit, mean, std, minimum, maximum, float(q01), float(q99), int(known.size))

    @property
    def is_constant(self) -> bool:
        """All values count as the same, so that ``std`` is 1 and nothing can be learnt from them."""
        # Two values lie at least two standard deviations apart, unless the 1 stands for a spread of rounding.
        largest = max(abs(self.minimum), abs(self.maximum))
        return self.known > 0 and not (self.std > _least_spread(largest) and self.maximum - self.minimum > self.std)


def tell_useless(properties: Mapping[str, PropertyStatistics], names: Iterable[str], hint: str = "") -> None:
    """Log a warning for each property that no training molecule has a value of, or that counts as constant: a model can
    be trained on it, but learns nothing.

    Args:
        properties: statistics by name.
        names: of those that are used, all of them there.
        hint: what to do, behind the message.
    """
    for name in names:
        if not (row := properties[name]).known:
            logger.warning("no training molecule has a value of '%s': nothing can be learnt of it", name)
        elif row.is_constant:
            logger.warning(
                "property '%s' counts as constant, %.6g to %.6g in the training molecules: nothing can be learnt from "
                "it%s",
                name, row.minimum, row.maximum, hint,
            )  # fmt: skip


@dataclass(frozen=True)
class DatasetStatistics:
    """Statistics of the molecules of one split.

    Attributes:
        size_counts: number of atoms n -> number of molecules, ascending in n.
        marginals: class frequencies that sum to 1, per field: "atom_type" and "charge" per atom, "bond_type" per
            unordered pair of atoms of a molecule, class 0 (no bond) included.
        position_std: n -> root mean square coordinate in angstrom per degree of freedom, sqrt(sum |x|^2 / (3 (n - 1))),
            root of the mean over the molecules of that size; sizes above one atom only.
        properties: name -> `PropertyStatistics`.
    """

    size_counts: dict[int, int]
    marginals: dict[str, list[float]]
    position_std: dict[int, float]
    properties: dict[str, PropertyStatistics]

    def to_json(self) -> dict[str, object]:
        """Return plain JSON types (keys become strings); `from_json` reads them back."""
        return {
            "size_counts": {str(n): count for n, count in self.size_counts.items()},
            "marginals": self.marginals,
            "position_std": {str(n): value for n, value in self.position_std.items()},
            "properties": {name: vars(value) for name, value in self.properties.items()},
        }

    @classmethod
    def from_json(cls, value: dict[str, dict[str, object]]) -> DatasetStatistics:
        """Build statistics from `to_json`'s output; ValueError, KeyError, TypeError or AttributeError otherwise."""
        found = cls(
            size_counts={_size(n): _count(count, "size_counts") for n, count in value["size_counts"].items()},
            marginals={field: _shares(value["marginals"][field], field) for field in CATEGORICAL},
            position_std={_size(n): _finite(std, "position_std") for n, std in value["position_std"].items()},
            properties={name: PropertyStatistics.from_json(row) for name, row in value["properties"].items()},
        )
        if not sum(found.size_counts.values()):
            raise ValueError("the statistics count no molecule")
        _count(sum(found.size_counts.values()), "size_counts")
        if any(std < 0 for std in found.position_std.values()):
            raise ValueError("position_std must not be negative")
        return found


def compute_statistics(
    arrays: Arrays, indices: np.ndarray, vocabulary: Vocabulary, names: Sequence[str], units: Sequence[str]
) -> DatasetStatistics:
    """Compute the statistics of the molecules ``indices`` (M,) of a prepared folder's arrays.

    Args:
        arrays: the arrays of `moldiff.datasets.layout`.
        indices: rows of the molecules to describe.
        vocabulary: class labels; gives the number of classes.
        names: property names, one per column of ``arrays["properties"]``.
        units: their units.
    """
    sizes = np.diff(arrays["atom_offsets"])
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[indices] = True
    atom_owner = np.repeat(np.arange(len(sizes)), sizes)
    bond_owner = np.repeat(np.arange(len(sizes)), np.diff(arrays["bond_offsets"]))
    atoms = chosen[atom_owner]

    counts = np.bincount(sizes[indices])
    squares = (arrays["positions"].astype(np.float64) ** 2).sum(1) * POSITION_UNIT**2
    per_molecule = np.bincount(atom_owner, weights=squares, minlength=len(sizes))
    position_std = {}
    for n in np.flatnonzero(counts).tolist():
        if n > 1:
            mean_square = per_molecule[indices][sizes[indices] == n].mean() / (3 * (n - 1))
            position_std[n] = float(np.sqrt(mean_square))

    bonds = np.bincount(arrays["bonds"][chosen[bond_owner], 2], minlength=vocabulary.sizes["bond_type"])
    bonds[0] = (sizes[indices] * (sizes[indices] - 1) // 2).sum() - bonds[1:].sum()
    marginals = {"bond_type": _frequencies(bonds)}
    for field in ("atom_type", "charge"):
        marginals[field] = _frequencies(np.bincount(arrays[field][atoms], minlength=vocabulary.sizes[field]))

    columns = arrays["properties"][indices]
    return DatasetStatistics(
        size_counts={n: int(counts[n]) for n in np.flatnonzero(counts).tolist()},
        marginals=marginals,
        position_std=position_std,
        properties={
            name: PropertyStatistics.of(values, unit)
            for name, unit, values in zip(names, units, columns.T, strict=True)
        },
    )


def _least_spread(largest: float) -> float:
    """Return the standard deviation that values must exceed to count as different, by the largest of them.

    It follows from the values alone: a concentration in mol/L spreads by 1e-8. Values are in single precision, so that
    equal ones beside a large mean differ by 1e-7 of it.
    """
    return max(_NOISE * largest, _SMALLEST_SPREAD)


def _frequencies(counts: np.ndarray) -> list[float]:
    total = counts.sum()
    if total == 0:  # only single atoms: no pair exists, so "no bond" is as good as certain
        return [1.0] + [0.0] * (len(counts) - 1)
    frequencies: list[float] = (counts / total).tolist()
    return frequencies


def _finite(value: object, name: str) -> float:
    """Return a finite number of a JSON file."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: expected a number, not {value!r:.80}")
    if not abs(value) <= LARGEST:  # NaN is neither
        raise ValueError(f"{name}: {value!r:.80} is out of range")
    return float(value)


def _count(value: object, name: str) -> int:
    """Return a count of a JSON file."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise ValueError(f"{name}: expected a count, not {value!r:.80}")
    return value


def _size(text: str) -> int:
    """Return a number of atoms, a key of a JSON file."""
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= MOST_ATOMS):
        raise ValueError(f"expected a number of atoms from 1 to {MOST_ATOMS}, not {text!r:.80}")
    return int(text)


def _shares(value: object, field: str) -> list[float]:
    """Return shares of classes, none negative and not all zero, of a JSON file."""
    if not isinstance(value, list):
        raise TypeError(f"expected a list of numbers, not {value!r:.80}")
    shares = [_finite(x, field) for x in value]
    if not shares or min(shares) < 0 or not sum(shares):
        raise ValueError(f"the frequencies of {field} are none")
    return shares
