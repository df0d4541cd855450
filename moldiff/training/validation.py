"""Validation loss per field and noise-level bin, always with the same molecules, times and noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moldiff.datasets.batching import validation_batches
from moldiff.datasets.prepared import DeviceArrays
from moldiff.diffusion.joint import draw_noise
from moldiff.diffusion.levels import Denoiser
from moldiff.model import MoleculeModel
from moldiff.molecules import FIELDS
from moldiff.randomness import NoiseSource

BIN_EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # in t
_SEED = 20_240_229
_BATCH = 64


@dataclass(frozen=True)
class ValidationLoss:
    """Mean loss of each field in each bin of t, (bins,) per field, and the mean over all molecules."""

    per_bin: dict[str, Tensor]

    @property
    def mean(self) -> dict[str, float]:
        """Mean over the bins (every bin holds equally many molecules, up to one)."""
        return {field: float(values.mean()) for field, values in self.per_bin.items()}

    def total(self, weights: dict[str, float]) -> float:
        """The weighted sum of the means."""
        return sum(weights[field] * value for field, value in self.mean.items())


def validate_denoiser(
    denoiser: Denoiser, model: MoleculeModel, arrays: DeviceArrays, sizes: Tensor, rows: Tensor, bf16: bool
) -> ValidationLoss:
    """Return losses over data rows, each met once, half of them self-conditioned, without property conditions.

    Args:
        sizes: (M,) number of atoms of the data rows ``rows`` (M,).
        bf16: run matrix products in bfloat16, as in training.
    """
    bins = len(BIN_EDGES) - 1
    sums = {field: torch.zeros(bins, dtype=torch.float64) for field in FIELDS}
    counts = torch.zeros(bins, dtype=torch.float64)
    source = NoiseSource(_SEED)
    # times stratified over the rows in their own order: the same for every model and batch size
    times = (torch.arange(len(rows), dtype=torch.float64) * 0.618034) % 1
    time_of = dict(zip(rows.tolist(), times.tolist(), strict=True))
    for number, (indices, width) in enumerate(validation_batches(sizes.numpy(), _BATCH, indices=rows.numpy())):
        clean = arrays.assemble(indices, width)
        t = torch.tensor([time_of[row] for row in indices.tolist()], dtype=torch.float64, device=clean.pos.device)
        levels = model.curve.levels(t)
        noisy = model.diffusion.noise(clean, levels, draw_noise(source, clean.ids, 0, width))
        condition = torch.full_like(clean.properties, torch.nan)
        with torch.no_grad(), torch.autocast(clean.pos.device.type, torch.bfloat16, enabled=bf16):
            previous = denoiser(noisy, levels, condition, None) if number % 2 else None
            prediction = denoiser(noisy, levels, condition, previous)
        losses = model.diffusion.loss(clean, levels, prediction)
        place = torch.bucketize(t.cpu(), torch.tensor(BIN_EDGES[1:-1], dtype=torch.float64), right=True)
        counts += torch.bincount(place, minlength=bins)
        for field, value in losses.items():
            sums[field] += torch.bincount(place, weights=value.double().cpu(), minlength=bins)
    return ValidationLoss({field: value / counts.clamp(min=1) for field, value in sums.items()})
