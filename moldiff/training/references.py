"""References that a model carries of its training data, so that a stranger without the data can use all of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from moldiff.datasets.batching import evenly_spaced
from moldiff.datasets.chemistry import training_chemistry
from moldiff.datasets.prepared import PreparedDataset
from moldiff.errors import MoldiffError
from moldiff.evaluation.load_reference import molecules_of, reference_from_dataset
from moldiff.models.folder import ModelFolder
from moldiff.models.references import CONDITION_ROWS, HISTOGRAMS, RARITY, TRAINING_KEYS, References, TrainingKeys

if TYPE_CHECKING:
    from moldiff.chem.descriptors.rarity import RarityTables

_CONDITION_ROWS = 10_000
_CHUNK = 1000  # molecules in memory while they are counted

logger = logging.getLogger(__name__)


def sampling_references(
    dataset: PreparedDataset, conditions: Sequence[str], before: ModelFolder | None = None
) -> dict[str, Tensor]:
    """Return what sampling needs: rows of (size, conditions), chemistry and keys of the training molecules.

    Args:
        dataset: the training data.
        conditions: of the model.
        before: the model that it was trained from, whose training molecules it has seen too: none of them is novel.
    """
    return {
        CONDITION_ROWS: condition_rows(dataset, conditions),
        TRAINING_KEYS: keys_of(dataset, before).to_tensor(),
        **training_chemistry(dataset).to_tensors(),
    }


def keys_of(dataset: PreparedDataset, before: ModelFolder | None) -> TrainingKeys:
    """Return the keys of the training molecules of a set and of a model; arguments as for `sampling_references`."""
    keys = TrainingKeys.of(dataset.arrays["keys"][dataset.indices("train")])
    if before is None or TRAINING_KEYS not in before.references:
        return keys
    return keys.joined(References(before.references, str(before.path)).training_keys)


def all_references(
    dataset: PreparedDataset, conditions: Sequence[str], before: ModelFolder | None = None
) -> dict[str, Tensor]:
    """Return the same, and what evaluation needs: histograms of held-out molecules, and counts of ring systems and
    bonds, which take minutes for 100,000 drug-like molecules; left out, with a warning, for data that gives none.

    Args:
        dataset: the training data.
        conditions: of the model.
        before: as for `sampling_references`; histograms and counts of the same data are taken from it.
    """
    if before is not None and TRAINING_KEYS not in before.references:
        logger.warning(
            "%s carries no keys of its training molecules: what it learnt from them will count as novel", before.path
        )
    found = sampling_references(dataset, conditions, before)
    try:
        histograms = _carried(before, dataset, (HISTOGRAMS,)) or _histograms(dataset.folder, _hash(dataset))
        found = histograms | found  # a reference has keys too, of this data alone
        tables = rarity_tables(dataset, before).to_tensors()
        return found | {name: torch.from_numpy(values) for name, values in tables.items()}
    except MoldiffError as error:
        logger.warning("the model carries no distributions for evaluation: %s", error)
        return found


def rarity_tables(dataset: PreparedDataset, carrier: ModelFolder | None = None) -> RarityTables:
    """Return the counts of ring systems and bonded environments in the training molecules; MoldiffError if there are
    none.

    Args:
        dataset: the training data.
        carrier: a model that may carry them, if its data is the same.
    """
    if tensors := _carried(carrier, dataset, RARITY):
        return References(tensors, "the model").rarity
    return _rarity_tables(dataset.folder, _hash(dataset))


def _carried(carrier: ModelFolder | None, dataset: PreparedDataset, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the tensors of these names that a model of the same data carries; nothing if it is of other data, or
    lacks one."""
    if carrier is None or (carrier.config.get("training") or {}).get("data_sha256") != _hash(dataset):
        return {}
    return {name: carrier.references[name] for name in names} if set(names) <= carrier.references.keys() else {}


def _hash(dataset: PreparedDataset) -> str:
    return str(dataset.info["data_hash"])


@lru_cache(maxsize=2)
def _histograms(folder: Path, data_hash: str) -> dict[str, Tensor]:
    """Return the tensors of a prepared set's reference; the hash tells sets of one folder apart."""
    return reference_from_dataset(PreparedDataset.open(folder)).to_tensors()


@lru_cache(maxsize=2)
def _rarity_tables(folder: Path, data_hash: str) -> RarityTables:
    """Count, once for a process; the hash tells sets of one folder apart."""
    from moldiff.chem.descriptors.rarity import RarityTables

    dataset = PreparedDataset.open(folder)
    rows = dataset.indices("train")
    logger.info("counting ring systems and bonds of %d training molecules", len(rows))
    parts = (molecules_of(dataset, rows[start : start + _CHUNK]) for start in range(0, len(rows), _CHUNK))
    return RarityTables.of(mol for part in parts for mol in part)


def condition_rows(dataset: PreparedDataset, names: Sequence[str]) -> Tensor:
    """Return (R, 1 + P) float32: number of atoms and properties of up to 10,000 training molecules, evenly spaced;
    NaN = unknown, or not there at all."""
    rows = evenly_spaced(dataset.indices("train").tolist(), _CONDITION_ROWS)
    properties = torch.from_numpy(dataset.property_table(names, absent_as_unknown=True)[rows])
    return torch.cat([torch.from_numpy(dataset.sizes[rows]).float()[:, None], properties], dim=1)
