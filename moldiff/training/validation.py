"""Validation by noise-level bin, always with the same molecules, times and noise; the losses of a denoiser."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from moldiff.datasets.batching import validation_batches
from moldiff.datasets.prepared import DeviceArrays
from moldiff.diffusion.joint import JointDiffusion, draw_noise
from moldiff.diffusion.levels import Levels
from moldiff.diffusion.preconditioning import PreconditionedDenoiser
from moldiff.diffusion.schedule import NoiseSchedule
from moldiff.errors import MoldiffError
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch
from moldiff.randomness import NoiseSource

BIN_EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # in t
BINS = len(BIN_EDGES) - 1
_SEED = 20_240_229
BATCH = 64


def logged(value: float, form: str) -> str:
    """Return a figure as the log has it; "" for NaN, where nothing was measured."""
    return "" if math.isnan(value) else format(value, form)


class Validated(Protocol):
    """Findings of a validation."""

    def rows(self) -> list[dict[str, object]]:
        """Return the rows of the log."""
        ...

    def summary(self) -> str:
        """Return the figures of a progress line."""
        ...


@dataclass(frozen=True)
class ValidationLoss:
    """Losses of a denoiser.

    Attributes:
        per_bin: mean loss of each field in each bin of t, (bins,); NaN = no molecule fell into it.
        weights: of the fields in the total.
    """

    per_bin: dict[str, Tensor]
    weights: dict[str, float]

    @property
    def mean(self) -> dict[str, float]:
        """Mean over the bins that are not empty (each of these holds equally many molecules, up to one)."""
        return {field: float(values.nanmean()) for field, values in self.per_bin.items()}

    @property
    def total(self) -> float:
        """The weighted sum of the means."""
        return sum(self.weights[field] * value for field, value in self.mean.items())

    def rows(self) -> list[dict[str, object]]:
        """Return a row for each field and bin."""
        return [
            {"field": field, "bin": number, "loss": logged(value, ".6f")}
            for field, values in self.per_bin.items()
            for number, value in enumerate(values.tolist())
        ]

    def summary(self) -> str:
        """Return the means and the total."""
        return "  ".join(f"{field} {value:.4f}" for field, value in self.mean.items()) + f"  total {self.total:.4f}"


@dataclass(frozen=True)
class NoisedRows:
    """Some validation molecules with their noise.

    Attributes:
        clean, noisy: molecules before and after.
        levels: their noise levels.
        bins: (B,) int64 place of each molecule's t among `BIN_EDGES`, on the CPU.
    """

    clean: MolBatch
    noisy: MolBatch
    levels: Levels
    bins: Tensor


def noised_rows(
    schedule: NoiseSchedule, diffusion: JointDiffusion, arrays: DeviceArrays, sizes: Tensor, rows: Tensor
) -> Iterator[NoisedRows]:
    """Yield data rows (M,) of so many atoms, ``sizes`` (M,), each met once, with times and noise of their own."""
    source = NoiseSource(_SEED)
    # times stratified over the rows in their own order: the same for every model and batch size
    times = (torch.arange(len(rows), dtype=torch.float64) * 0.618034) % 1
    time_of = dict(zip(rows.tolist(), times.tolist(), strict=True))
    for indices, width in validation_batches(sizes.numpy(), BATCH, indices=rows.numpy()):
        clean = arrays.assemble(indices, width)
        t = torch.tensor([time_of[row] for row in indices.tolist()], dtype=torch.float64, device=clean.pos.device)
        levels = schedule.levels(t)
        noisy = diffusion.noise(clean, levels, draw_noise(source, clean.ids, 0, width))
        place = torch.bucketize(t.cpu(), torch.tensor(BIN_EDGES[1:-1], dtype=torch.float64), right=True)
        yield NoisedRows(clean, noisy, levels, place)


def refuse_not_finite(sums: Mapping[str, Tensor]) -> None:
    """Raise MoldiffError if a sum of losses is not finite: weights may be finite and yet too large to compute with."""
    if not all(bool(torch.isfinite(value).all()) for value in sums.values()):
        raise MoldiffError(
            "the validation loss is not finite: the averaged weights can be of no use. Resume from an earlier "
            "checkpoint, or begin anew, with a lower optimizer.learning_rate or optimizer.weight_decay"
        )


def validate_denoiser(
    denoiser: PreconditionedDenoiser,
    model: MoleculeModel,
    arrays: DeviceArrays,
    sizes: Tensor,
    rows: Tensor,
    weights: dict[str, float],
    bf16: bool,
) -> ValidationLoss:
    """Return losses over data rows, each met once, half of them self-conditioned: without property conditions, or told
    all properties where the denoiser has a feedback, which is at work only then.

    Args:
        sizes: (M,) number of atoms of the data rows ``rows`` (M,).
        weights: of the fields in the total.
        bf16: run matrix products in bfloat16, as in training.
    """
    told = denoiser.feedback is not None
    sums = {field: torch.zeros(BINS, dtype=torch.float64) for field in FIELDS}
    counts = torch.zeros(BINS, dtype=torch.float64)
    for number, batch in enumerate(noised_rows(model.schedule, model.diffusion, arrays, sizes, rows)):
        noisy, levels = batch.noisy, batch.levels
        condition = noisy.properties if told else torch.full_like(noisy.properties, torch.nan)
        with torch.no_grad(), torch.autocast(noisy.pos.device.type, torch.bfloat16, enabled=bf16):
            previous = denoiser(noisy, levels, condition, None) if number % 2 else None
            prediction = denoiser(noisy, levels, condition, previous)
        losses = model.diffusion.loss(batch.clean, levels, prediction)
        counts += torch.bincount(batch.bins, minlength=BINS)
        for field, value in losses.items():
            sums[field] += torch.bincount(batch.bins, weights=value.double().cpu(), minlength=BINS)
    refuse_not_finite(sums)
    return ValidationLoss({field: value / counts for field, value in sums.items()}, weights)
