"""Reference tensors, which travel with a model beside its weights: by name, and what they are.

| tensor          | what it holds                                                  | read by                       |
|-----------------|----------------------------------------------------------------|-------------------------------|
| condition_rows  | sizes and properties of training molecules, drawn for targets  | `References.condition_rows`   |
| seen_json       | chemistry of the training split: charges, bond lengths         | `TrainingChemistry`           |
| training_keys   | hashed keys of the training molecules (novelty)                | `References.training_keys`    |
| reference_json  | histograms of held-out molecules (evaluation without the data) | `References.histograms`       |
| rarity.*        | counts of ring systems and bonds in training molecules         | `References.rarity`           |
| score_reference | likelihoods of held-out molecules by size (z-scores)           | `LikelihoodReference`         |
| score_settings  | settings of the bound that these were estimated with           | the same, in `moldiff.nll`    |

A training writes the first five; the last come with `moldiff models pack --score-molecules`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from moldiff.errors import MoldiffError
from moldiff.reading import parse_json

if TYPE_CHECKING:
    from torch import Tensor

    from moldiff.chem.descriptors.rarity import RarityTables

CONDITION_ROWS = "condition_rows"
CHEMISTRY = "seen_json"  # of `moldiff.datasets.chemistry`
TRAINING_KEYS = "training_keys"
HISTOGRAMS = "reference_json"
LIKELIHOODS, LIKELIHOOD_SETTINGS = "score_reference", "score_settings"
RARITY = tuple(f"rarity.{name}" for name in ("molecules", "ring_keys", "ring_counts", "pair_keys", "pair_counts",
                                             "environment_keys", "environment_counts"))  # fmt: skip
"""Tensors of `moldiff.chem.descriptors.rarity`."""
NEEDED = (CONDITION_ROWS, CHEMISTRY, TRAINING_KEYS, HISTOGRAMS)
"""What every model that is given away carries of its data."""
OF_DATA = (*NEEDED, *RARITY)
"""Those that depend on the data and not on the weights. Models of earlier releases carry no tables of rarity."""


@dataclass(frozen=True)
class TrainingKeys:
    """Sorted uint64 keys (`moldiff.chem.identity.text_key`) of canonical SMILES without and with stereo."""

    graph: np.ndarray
    stereo: np.ndarray

    @classmethod
    def of(cls, columns: np.ndarray) -> TrainingKeys:
        """Sort the (M, 2) keys of M molecules, as a prepared data set holds them."""
        return cls(np.sort(columns[:, 0]), np.sort(columns[:, 1]))

    def joined(self, other: TrainingKeys) -> TrainingKeys:
        """Return the keys of both, each once, and the last of the shorter column again until both are of one length.
        Where the other has no key of its own, these."""
        if np.isin(other.graph, self.graph).all() and np.isin(other.stereo, self.stereo).all():
            return self
        columns = [np.union1d(self.graph, other.graph), np.union1d(self.stereo, other.stereo)]
        length = max(map(len, columns))
        return TrainingKeys(*(np.pad(column, (0, length - len(column)), mode="edge") for column in columns))

    def to_tensor(self) -> Tensor:
        """Return (M, 2) int64 with the same bits."""
        import torch

        return torch.from_numpy(np.stack([self.graph, self.stereo], axis=1).view(np.int64))


@dataclass(frozen=True)
class ConditionRows:
    """Sizes and properties of training molecules.

    Attributes:
        names: P properties.
        table: (R, 1 + P) float64: number of atoms, then properties in natural units, NaN = unknown.
    """

    names: tuple[str, ...]
    table: np.ndarray


class References:
    """The reference tensors of a model folder as what they are; each is read when it is first asked for.

    Args:
        tensors: of the folder.
        source: the folder, for error messages.
    """

    def __init__(self, tensors: Mapping[str, Tensor], source: str) -> None:
        self.tensors, self.source = tensors, source

    def condition_rows(self, names: Sequence[str]) -> ConditionRows:
        """Return sizes and properties ``names`` of training molecules; MoldiffError if they are not there or others."""
        rows = self.tensors.get(CONDITION_ROWS)
        if rows is None or rows.ndim != 2 or rows.shape[1] != 1 + len(names):
            raise MoldiffError(
                f"{self.source} does not carry the sizes and properties of training molecules, which targets need; "
                "'moldiff models pack' adds them"
            )
        return ConditionRows(tuple(names), rows.numpy().astype(np.float64))

    @cached_property
    def training_keys(self) -> TrainingKeys:
        """Keys of the training molecules; MoldiffError if they are not there."""
        keys = self.tensors.get(TRAINING_KEYS)
        if keys is None or keys.ndim != 2 or keys.shape[1] != 2:
            raise MoldiffError(
                f"{self.source} does not carry keys of its training molecules, which novelty needs; "
                "'moldiff models pack' with the data adds them"
            )
        return TrainingKeys.of(keys.numpy().view(np.uint64))

    @cached_property
    def rarity(self) -> RarityTables:
        """Counts of ring systems and bonds in the training molecules; MoldiffError if they are not there or damaged."""
        from moldiff.chem.descriptors.rarity import RarityTables

        carried = {name: self.tensors[name].numpy() for name in RARITY if name in self.tensors}
        if not carried:
            raise _without_tables(self.source)
        return RarityTables.from_tensors(carried, self.source)

    @cached_property
    def histograms(self) -> dict[str, Any]:
        """Distributions of held-out molecules, as `moldiff.evaluation.reference.Reference.to_json` writes them."""
        if HISTOGRAMS not in self.tensors:
            raise MoldiffError(
                f"{self.source} holds no reference distributions ('moldiff models pack' with the data adds them); "
                "pass a data set or SDF"
            )
        try:
            found: dict[str, Any] = parse_json(bytes(self.tensors[HISTOGRAMS].numpy()), HISTOGRAMS)
        except MoldiffError as error:
            raise MoldiffError(f"{self.source}: the reference is damaged ({error})") from error
        return found


def _without_tables(source: str) -> MoldiffError:
    """Return the error that a model carries no tables of rarity: nobody packs a built-in model again."""
    from moldiff.models.folder import built_in_name, built_in_with

    name = built_in_name(source)
    who = f"the built-in model {name}" if name else source
    pack = "" if name else " 'moldiff models pack' with the data adds them, or"
    there = ", ".join([*built_in_with(RARITY), "a model that you packed", "or a file of molecules"])
    return MoldiffError(
        f"{who} carries no tables of ring systems and bonds;{pack} take others (ring_table): {there}",
        word="ring_table",
    )
