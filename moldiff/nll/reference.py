"""Bounds of held-out molecules, by number of atoms: the yardstick of z-scores.

The size alone moves every field's bound, so a score says something about a molecule only beside the scores of
held-out molecules of its size. Sizes with few of these borrow from their neighbours along a straight line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from moldiff.arrays import MOST_ATOMS, MolArrays
from moldiff.chem.convert import EncodingError, encode
from moldiff.chem.io.ready import ready_records
from moldiff.chem.io.records import LeftOut
from moldiff.datasets.batching import evenly_spaced
from moldiff.datasets.prepared import PreparedDataset
from moldiff.diffusion.bound import BoundSettings
from moldiff.errors import MoldiffError
from moldiff.foreign_text import readable
from moldiff.models.references import LIKELIHOOD_SETTINGS, LIKELIHOODS
from moldiff.nll.estimator import SCORED, LikelihoodBound, LikelihoodEstimator
from moldiff.processes import THIS_PROCESS, Pool
from moldiff.vocabulary import Vocabulary

if TYPE_CHECKING:
    from rdkit.Chem import Mol

MOST_MOLECULES = 1000
"""Held-out molecules that are scored at most; evenly spaced over those that there are."""
FEWEST_MOLECULES = 40
"""Molecules that a size's mean and spread rest on at least, those of neighbouring sizes included."""
_LEAST_SPREAD = 1e-3  # nats


@dataclass(frozen=True)
class LikelihoodReference:
    """Mean and spread of held-out scores for each number of atoms.

    Attributes:
        settings: the bound that was estimated. Its noise is part of the spread, so it fits no other settings.
        molecules: how many were scored.
        sizes: (S,) int64, ascending.
        means, spreads: (S, 5) nats, columns as in `SCORED`.
    """

    settings: BoundSettings
    molecules: int
    sizes: np.ndarray
    means: np.ndarray
    spreads: np.ndarray

    @classmethod
    def of(cls, scores: Sequence[LikelihoodBound], settings: BoundSettings) -> LikelihoodReference:
        """Summarise the scores of held-out molecules; MoldiffError for fewer than `FEWEST_MOLECULES`."""
        kept = [score for score in scores if score.finite]
        if len(kept) < FEWEST_MOLECULES:
            raise MoldiffError(f"z-scores need {FEWEST_MOLECULES} held-out molecules or more, not {len(kept)}")
        n = np.array([score.n_atoms for score in kept])
        values = np.array([[score.nats[name] for name in SCORED] for score in kept])
        sizes = np.arange(n.min(), n.max() + 1)
        rows = [_mean_and_spread(n, values, int(size)) for size in sizes]
        return cls(settings, len(kept), sizes, np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows]))

    def z_scores(self, score: LikelihoodBound) -> dict[str, float] | None:
        """Return `SCORED` name -> standard deviations above the mean of its size; None for a size without one."""
        place = score.n_atoms - int(self.sizes[0])
        if not 0 <= place < len(self.sizes):
            return None
        values = (np.array([score.nats[name] for name in SCORED]) - self.means[place]) / self.spreads[place]
        return dict(zip(SCORED, values.tolist(), strict=True))

    def to_tensors(self) -> dict[str, Tensor]:
        """Return what a model folder stores; `from_tensors` reads it back."""
        table = np.concatenate([self.sizes[:, None], self.means, self.spreads], axis=1)
        settings = [self.settings.steps, self.settings.evaluations, self.settings.repeats, self.molecules]
        return {LIKELIHOODS: torch.from_numpy(table), LIKELIHOOD_SETTINGS: torch.tensor(settings)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], source: str) -> LikelihoodReference | None:
        """Return the reference of a model folder, None if it has none; MoldiffError names ``source`` if damaged."""
        if LIKELIHOODS not in tensors:
            return None
        table, settings = tensors[LIKELIHOODS].double().numpy(), tensors.get(LIKELIHOOD_SETTINGS)
        sizes, columns = table[:, 0] if table.ndim == 2 else np.zeros(0), len(SCORED)
        if (
            settings is None
            or settings.shape != (4,)
            or table.shape != (len(sizes), 1 + 2 * columns)
            or not len(sizes)
            or not np.isfinite(table).all()
            or not (table[:, 1 + columns :] > 0).all()
            or not np.array_equal(sizes, sizes[0] + np.arange(len(sizes)))
        ):
            raise MoldiffError(f"{source}: its reference of scores is damaged")
        steps, evaluations, repeats, molecules = settings.tolist()
        return cls(
            BoundSettings(steps, evaluations, repeats),
            molecules,
            sizes.astype(np.int64),
            table[:, 1 : 1 + columns],
            table[:, 1 + columns :],
        )


def _mean_and_spread(n: np.ndarray, values: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (F,) at a size, from values (M, F) of molecules of n (M,) atoms near it."""
    distance = np.abs(n - size)
    reach = np.sort(distance)[FEWEST_MOLECULES - 1]  # ties belong to it
    near = distance <= reach
    shift, here = (n[near] - size).astype(np.float64), values[near]
    columns = [np.ones_like(shift)] + ([shift] if np.ptp(shift) else [])
    design = np.stack(columns, axis=1)
    fit = np.linalg.lstsq(design, here, rcond=None)[0]
    freedom = len(here) - len(columns)
    spread = np.sqrt(((here - design @ fit) ** 2).sum(0) / freedom)
    return fit[0], np.maximum(spread, _LEAST_SPREAD)


def calibrate(
    scorer: LikelihoodEstimator,
    path: Path,
    progress: Callable[[int], None] | None = None,
    *,
    add_hydrogens: bool = False,
    pool: Pool = THIS_PROCESS,
) -> LikelihoodReference:
    """Score held-out molecules: those of a prepared set's validation and test splits, or all of an SDF.

    Args:
        scorer: its settings are those that the reference will fit.
        path: a prepared folder, or a molecule file.
        progress: called with the number of molecules done so far.
        add_hydrogens: place the hydrogens that records of a file leave out.
        pool: reads a file.

    Raises:
        MoldiffError: neither, or fewer than `FEWEST_MOLECULES` that the model knows.
    """
    if (path / "dataset.json").is_file():
        return calibrate_on_dataset(scorer, PreparedDataset.open(path), MOST_MOLECULES, progress)
    left_out = LeftOut(readable(path.name))
    vocabulary = scorer.model.vocabulary
    molecules = list(encoded_records(path, vocabulary, left_out, add_hydrogens=add_hydrogens, pool=pool))
    return _reference(scorer, evenly_spaced(molecules, MOST_MOLECULES), progress, left_out)


def calibrate_on_dataset(
    scorer: LikelihoodEstimator, dataset: PreparedDataset, most: int, progress: Callable[[int], None] | None = None
) -> LikelihoodReference:
    """Score up to ``most`` held-out molecules of a prepared set; errors as in `calibrate`."""
    tables = dataset.class_tables(scorer.model.vocabulary)
    rows = np.concatenate([dataset.indices("validation"), dataset.indices("test")]).tolist()
    return _reference(
        scorer, [translated(dataset.molecule(row), tables) for row in evenly_spaced(rows, most)], progress
    )


def translated(molecule: MolArrays, tables: dict[str, np.ndarray]) -> MolArrays:
    """Return a molecule in the classes of another vocabulary; tables of `PreparedDataset.class_tables`."""
    bonds = molecule.bonds.copy()
    bonds[:, 2] = tables["bond_type"][bonds[:, 2]]
    return replace(
        molecule,
        atom_type=tables["atom_type"][molecule.atom_type].astype(np.int64),
        charge=tables["charge"][molecule.charge].astype(np.int64),
        bonds=bonds,
    )


def encoded_records(
    path: Path,
    vocabulary: Vocabulary,
    left_out: LeftOut | None = None,
    *,
    add_hydrogens: bool = False,
    pool: Pool = THIS_PROCESS,
) -> Iterator[MolArrays]:
    """Yield the molecules of a file that a vocabulary can spell, and take note of the other records."""
    encoded = partial(_encoded, vocabulary=vocabulary)
    for found in ready_records(path, encoded, add_hydrogens=add_hydrogens, pool=pool):
        if found.item is not None:
            yield found.item
        elif left_out is not None:
            left_out.add(found.record.index, found.reason)


def _encoded(mol: Mol, vocabulary: Vocabulary) -> MolArrays:
    arrays = encode(mol, vocabulary)
    if (n := len(arrays.atom_type)) > MOST_ATOMS:
        raise EncodingError(f"too large: {n} {vocabulary.atoms}, more than {MOST_ATOMS}")
    return arrays


def _reference(
    scorer: LikelihoodEstimator,
    molecules: list[MolArrays],
    progress: Callable[[int], None] | None,
    left_out: LeftOut | None = None,
) -> LikelihoodReference:
    told = "" if left_out is None else left_out.told
    if len(molecules) < FEWEST_MOLECULES:
        hint = f"; {told}" if told else ""
        raise MoldiffError(
            f"z-scores need {FEWEST_MOLECULES} held-out molecules or more, not {len(molecules)}{hint}",
            argument="calibration",
        )
    if left_out is not None:
        left_out.tell()
    return LikelihoodReference.of(scorer.score(molecules, range(len(molecules)), progress), scorer.settings)
