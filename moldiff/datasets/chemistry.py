"""Chemistry that occurs in training: charged atoms, total charges and the range of every kind of bond length.

It travels in a model folder (about 2 kB), so that what a model proposes can be held against its training data by
someone who does not have these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from moldiff.arrays import MolArrays
from moldiff.datasets.layout import POSITION_UNIT
from moldiff.errors import MoldiffError
from moldiff.reading import parse_json
from moldiff.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

    from moldiff.datasets.prepared import PreparedDataset

TENSOR = "seen_json"
Kind = tuple[str, str, str]
"""Two element symbols in alphabetical order and the name of a bond: ("C", "H", "single")."""


FEWEST_BONDS = 100  # of a kind, for its shortest and longest to be limits


@dataclass(frozen=True)
class TrainingChemistry:
    """Chemistry of the training split, with counts.

    Attributes:
        atoms: (element symbol, formal charge) -> atoms.
        total_charges: sum of a molecule's formal charges -> molecules.
        lengths: kind of bond -> (number, shortest, longest), angstrom.
    """

    atoms: dict[tuple[str, int], int]
    total_charges: dict[int, int]
    lengths: dict[Kind, tuple[int, float, float]]

    def length_problem(
        self, arrays: MolArrays, vocabulary: Vocabulary, widening: float, rare_widening: float | None = None
    ) -> str:
        """Return which bond is shorter or longer than any of its kind in training, or of no kind seen; "" if none is.

        Args:
            arrays: a molecule.
            vocabulary: its class labels; bonds must be spelled as in the training data (aromatic or Kekule).
            widening: angstrom allowed beyond the range at either end.
            rare_widening: the same for kinds of which training had fewer than `FEWEST_BONDS`: few rings say little of
                chains; kinds that it had none of then have no limits. None = they are like any other.
        """
        for i, j, bond in arrays.bonds.tolist():
            kind = bond_kind(vocabulary.elements[arrays.atom_type[i]], vocabulary.elements[arrays.atom_type[j]],
                             vocabulary.bonds[bond])  # fmt: skip
            length = float(np.linalg.norm(arrays.pos[i].astype(np.float64) - arrays.pos[j]))
            if kind not in self.lengths and rare_widening is not None:
                continue
            label = f"{kind[2]} {kind[0]}-{kind[1]} of {length:.3f} angstrom"
            if kind not in self.lengths:
                return f"{label}, no such bond was seen in training"
            count, shortest, longest = self.lengths[kind]
            margin = widening if rare_widening is None or count >= FEWEST_BONDS else rare_widening
            if not shortest - margin <= length <= longest + margin:
                return f"{label}, seen in training: {shortest:.3f} to {longest:.3f} (+-{margin:g})"
        return ""

    def fitting(self, pos: np.ndarray, vocabulary: Vocabulary, widening: float) -> np.ndarray:
        """Return (n, n, K, A, A) bool: whether a bond of a class between two elements was seen at a pair's distance.

        Args:
            pos: (n, 3) angstrom.
            vocabulary: gives K bond classes and A elements.
            widening: angstrom allowed beyond the range at either end.
        """
        distances = np.linalg.norm(pos[:, None].astype(np.float64) - pos[None, :], axis=-1)
        fits = np.zeros((*distances.shape, len(vocabulary.bonds), *[len(vocabulary.elements)] * 2), dtype=bool)
        for (first, second, bond), (_, shortest, longest) in self.lengths.items():
            if {first, second} <= set(vocabulary.elements) and bond in vocabulary.bonds:
                a, b, k = (vocabulary.elements.index(first), vocabulary.elements.index(second),
                           vocabulary.bonds.index(bond))  # fmt: skip
                inside = (distances >= shortest - widening) & (distances <= longest + widening)
                fits[:, :, k, a, b] = fits[:, :, k, b, a] = inside
        return fits

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the tensor for a model folder: JSON text as bytes."""
        import torch

        value = {
            "atoms": [[symbol, charge, count] for (symbol, charge), count in self.atoms.items()],
            "total_charges": [[charge, count] for charge, count in self.total_charges.items()],
            "lengths": [[*kind, *row] for kind, row in self.lengths.items()],
        }
        text = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
        return {TENSOR: torch.frombuffer(bytearray(text), dtype=torch.uint8)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], source: str) -> TrainingChemistry:
        """Read `to_tensors`'s output.

        Raises:
            MoldiffError: it is not among the tensors, or damaged; the message names ``source``.
        """
        if TENSOR not in tensors:
            raise MoldiffError(
                f"{source} does not say which bond lengths were seen in training; 'moldiff models pack' adds that"
            )
        try:
            value: dict[str, Any] = parse_json(bytes(tensors[TENSOR].numpy()), source)
            return cls(
                atoms={(str(symbol), int(charge)): int(count) for symbol, charge, count in value["atoms"]},
                total_charges={int(charge): int(count) for charge, count in value["total_charges"]},
                lengths={
                    (str(a), str(b), str(bond)): (int(count), float(low), float(high))
                    for a, b, bond, count, low, high in value["lengths"]
                },
            )
        except (KeyError, TypeError, ValueError, MoldiffError) as error:
            raise MoldiffError(f"{source}: what was seen in training is damaged ({error!r})") from error


def bond_kind(first: str, second: str, bond: str) -> Kind:
    """Return the kind of a bond between two elements."""
    return (*sorted((first, second)), bond)  # type: ignore[return-value]


def training_chemistry(dataset: PreparedDataset) -> TrainingChemistry:
    """Measure the training split of a prepared data set (a second for two million bonds)."""
    arrays, vocabulary = dataset.arrays, dataset.vocabulary
    train = np.zeros(len(dataset), dtype=bool)
    train[dataset.indices("train")] = True
    atoms = np.repeat(train, dataset.sizes)
    charges = np.array(vocabulary.charges)
    pairs = np.bincount(
        arrays["atom_type"][atoms].astype(np.int64) * len(charges) + arrays["charge"][atoms],
        minlength=len(vocabulary.elements) * len(charges),
    )
    totals = np.add.reduceat(charges[arrays["charge"]], arrays["atom_offsets"][:-1])[train]
    return TrainingChemistry(
        atoms={
            (vocabulary.elements[k // len(charges)], vocabulary.charges[k % len(charges)]): int(pairs[k])
            for k in np.flatnonzero(pairs).tolist()
        },
        total_charges=dict(zip(*(a.tolist() for a in np.unique(totals, return_counts=True)), strict=True)),
        lengths=_lengths(dataset, train),
    )


def _lengths(dataset: PreparedDataset, train: np.ndarray) -> dict[Kind, tuple[int, float, float]]:
    """Return number, shortest and longest of each kind of bond among the molecules of an (M,) mask."""
    arrays, vocabulary = dataset.arrays, dataset.vocabulary
    counts = np.diff(arrays["bond_offsets"])
    bonds = arrays["bonds"][np.repeat(train, counts)].astype(np.int64)
    ends = bonds[:, :2] + np.repeat(arrays["atom_offsets"][:-1][train], counts[train])[:, None]
    pos = arrays["positions"][ends].astype(np.float64) * POSITION_UNIT  # (bonds, 2, 3)
    lengths = np.linalg.norm(pos[:, 0] - pos[:, 1], axis=1)
    elements, classes = len(vocabulary.elements), len(vocabulary.bonds)
    first, second = np.sort(arrays["atom_type"][ends].astype(np.int64), axis=1).T
    codes = (first * elements + second) * classes + bonds[:, 2]
    found: dict[Kind, tuple[int, float, float]] = {}
    for code in np.unique(codes).tolist():
        chosen = lengths[codes == code]
        atoms, bond = divmod(code, classes)
        one, other = divmod(atoms, elements)
        kind = bond_kind(vocabulary.elements[one], vocabulary.elements[other], vocabulary.bonds[bond])
        found[kind] = (len(chosen), round(float(chosen.min()), 4), round(float(chosen.max()), 4))
    return found
