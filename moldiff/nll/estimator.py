"""Molecules to scores: the bound of each, with its standard error, in batches that do not change it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from moldiff.arguments import count
from moldiff.arrays import MolArrays
from moldiff.datasets.batching import bucket_width
from moldiff.diffusion.bound import BoundSettings, bound_terms, size_nats
from moldiff.geometry import center
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, collate
from moldiff.randomness import NoiseSource
from moldiff.sampling.microbatches import MicroBatches
from moldiff.threads import workers_for

ROWS = {"cpu": 16, "cuda": 512}  # molecules of a batch by default
_WIDE = 64  # atoms; batches of wider molecules are smaller, as pairs grow with the square of the width
TOTAL = "total"
SCORED = (*FIELDS, TOTAL)
"""What has an estimate and a z-score: the four fields and their sum; -ln p(N) is in neither."""


_Item = tuple[MolArrays, int, int]  # a molecule, the key of its noise, its padded width


@dataclass(frozen=True)
class LikelihoodBound:
    """The bound of one molecule in nats; see `moldiff.diffusion.bound`.

    Attributes:
        n_atoms: N.
        nats: `SCORED` name -> mean of the repeats; the total is that of the fields, given N.
        errors: `SCORED` name -> standard error of that mean; NaN with a single repeat.
        size: -ln p(N); infinite for a size that no training molecule has.
    """

    n_atoms: int
    nats: dict[str, float]
    errors: dict[str, float]
    size: float

    @property
    def bound(self) -> float:
        """The bound of -ln p(molecule): all fields and the size."""
        return self.nats[TOTAL] + self.size

    @property
    def finite(self) -> bool:
        """The fields' estimates are finite; if not, they mean nothing."""
        return math.isfinite(self.nats[TOTAL])


class LikelihoodEstimator:
    """Scores molecules with one model.

    Args:
        model: on the device that the work is done on.
        settings: which bound, and how well it is estimated.
        seed: of the noise.
        batch_size: molecules at a time; None = by the device. It may change the last digits of a float, nothing else.
    """

    def __init__(
        self, model: MoleculeModel, settings: BoundSettings, seed: int = 0, batch_size: int | None = None
    ) -> None:
        if batch_size is not None:
            count(batch_size, "batch_size")
        self.model, self.settings, self.source = model, settings, NoiseSource(seed)
        self.device = model.device
        self.batch_size = batch_size or ROWS[self.device.type]

    def score(
        self, molecules: Sequence[MolArrays], ids: Sequence[int], progress: Callable[[int], None] | None = None
    ) -> list[LikelihoodBound]:
        """Return the score of each molecule: a function of (model, settings, seed, id, molecule).

        Args:
            molecules: at most `MOST_ATOMS` atoms each, classes of the model's vocabulary, coordinates in angstrom.
            ids: keys of the noise, one for each molecule, from 0 up.
            progress: called with the number of molecules done so far.

        Raises:
            MoldiffError: memory does not suffice for a single molecule.
        """
        widths = [bucket_width(len(molecule.atom_type)) for molecule in molecules]
        items = list(zip(molecules, ids, widths, strict=True))
        by_rows: dict[int, list[int]] = {}
        for place, width in enumerate(widths):
            by_rows.setdefault(max(1, int(self.batch_size * min(1.0, (_WIDE / width) ** 2))), []).append(place)
        scores: dict[int, LikelihoodBound] = {}
        with workers_for(self.device) as workers:
            runs = []
            for rows, places in by_rows.items():
                some = [items[place] for place in places]
                micro_batches = MicroBatches(self.device, workers, rows)
                runs.append((places, micro_batches.run(some, [width for *_, width in some], self._batch)))
            for places, found in runs:
                for place, score in found:
                    scores[places[place]] = score
                    if progress is not None:
                        progress(len(scores))
        return [scores[place] for place in range(len(molecules))]

    def _batch(self, items: list[_Item]) -> list[LikelihoodBound]:
        """Return the bounds of molecules of one padded width."""
        model = self.model
        molecules, ids, widths = zip(*items, strict=True)
        free = torch.full((len(items), len(model.conditions)), torch.nan, dtype=torch.float32)
        padded = collate(list(molecules), torch.tensor(ids, dtype=torch.int64), widths[0], free)
        batch = padded.replace(pos=center(padded.pos.double(), padded.mask).float()).to(self.device)
        terms = bound_terms(
            model.denoiser.without_feedback(), model.diffusion, model.schedule, batch, self.settings, self.source
        )
        table = torch.stack([terms[field] for field in FIELDS]).cpu().numpy()  # (4, rows, repeats)
        counts = model.statistics.size_counts
        return [
            _score(table[:, row], len(molecule.atom_type), size_nats(counts, len(molecule.atom_type)))
            for row, molecule in enumerate(molecules)
        ]


def _score(estimates: np.ndarray, n_atoms: int, size: float) -> LikelihoodBound:
    """Return a score from the (4, repeats) estimates of one molecule."""
    values = np.concatenate([estimates, estimates.sum(0, keepdims=True)])
    repeats = values.shape[1]
    errors = values.std(1, ddof=1) / math.sqrt(repeats) if repeats > 1 else np.full(len(values), math.nan)
    means = values.mean(1)
    return LikelihoodBound(
        n_atoms,
        dict(zip(SCORED, means.tolist(), strict=True)),
        dict(zip(SCORED, errors.tolist(), strict=True)),
        size,
    )
