"""Training and validation of a property network: Gaussian negative log-likelihood of the properties that are known."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from moldiff.config import PropertyTrainConfig
from moldiff.datasets.batching import BatchPlan, validation_batches
from moldiff.datasets.prepared import DeviceArrays
from moldiff.diffusion.joint import draw_noise
from moldiff.diffusion.levels import Levels
from moldiff.diffusion.preconditioning import PreconditionedPredictor
from moldiff.diffusion.property_likelihood import log_density
from moldiff.models.property_model import PropertyModel
from moldiff.molecules import MolBatch, PropertyPrediction, SoftBatch
from moldiff.randomness import training_counter
from moldiff.scoring.network import MEASURED_AT, HeldOutError
from moldiff.training.callbacks import loss_columns
from moldiff.training.lightning_module import TrainingTask
from moldiff.training.step_graphs import Kind, StepInputs
from moldiff.training.validation import BATCH, BINS, logged, noised_rows, refuse_not_finite

logger = logging.getLogger(__name__)


class PropertyTask(TrainingTask):
    """One training step: rows of the data set -> noisy batch -> predicted laws -> likelihood -> weights.

    Args:
        model: the model to train.
        config, arrays, plan, first_step: as for `TrainingTask`; the batches hold the model's properties.
    """

    def __init__(
        self, model: PropertyModel, config: PropertyTrainConfig, arrays: DeviceArrays, plan: BatchPlan, first_step: int
    ) -> None:
        super().__init__(
            model.predictor, model.schedule, config, arrays, plan, first_step, loss_columns(model.properties)
        )
        self.model = replace(model, diffusion=model.diffusion.to(arrays.device))
        self._processes = config.training.devices

    def inputs(self, step: int) -> StepInputs:
        """Return what a step reads, on the CPU; a function of (seed, step)."""
        rows, width = self.plan.batch(step)
        return StepInputs(Kind.DATA, width, rows, self.plan.turns(step), torch.tensor(step))

    def setup_batch(self, inputs: StepInputs) -> tuple[MolBatch, Levels]:
        """Return noisy molecules with their true properties, and their levels."""
        clean = self.arrays.assemble(inputs.rows, inputs.width)
        keys = self._keys(clean, inputs)
        levels = self.schedule.levels(*self._times(keys, inputs.step))
        noise = draw_noise(self.source, keys, training_counter(inputs.step), inputs.width)
        return self.model.diffusion.noise(clean, levels, noise), levels

    def losses(self, inputs: StepInputs) -> tuple[Tensor, Tensor]:
        """Return the mean of -ln p over the properties, and that of each."""
        noisy, levels = self.setup_batch(inputs)
        with torch.autocast(noisy.pos.device.type, torch.bfloat16, enabled=self._bf16, cache_enabled=False):
            prediction = self.trained(SoftBatch.of(noisy, self.model.vocabulary.sizes), levels)
        values = self.model.predictor.standardised(noisy.properties)
        losses = likelihood_losses(prediction, values, self._processes)
        return losses.mean(), losses


def likelihood_losses(prediction: PropertyPrediction, values: Tensor, processes: int = 1) -> Tensor:
    """Return (P,) the mean of -ln p over the molecules whose property is known; 0 where none is.

    Args:
        prediction: for B molecules.
        values: (B, P) standardised, NaN = unknown.
        processes: that share a batch: the average of what they return is the mean over all its molecules.
    """
    known = torch.isfinite(values)
    # the unknown is replaced before it meets any weight, so NaN never spreads into a gradient
    loss = -log_density(prediction, torch.where(known, values, 0.0)) * known
    if processes == 1:
        return loss.sum(0) / known.sum(0).clamp(min=1)
    count = known.sum(0)
    torch.distributed.all_reduce(count)
    return processes * loss.sum(0) / count.clamp(min=1)


@dataclass(frozen=True)
class PropertyErrors:
    """Errors of a property network by bin of t, means over the molecules of known property, NaN = there is none in the
    bin; and those without noise.

    Attributes:
        properties: P names.
        nll: (bins, P) -ln p in standardised units; of the data's normal law it would be 1.42 on average.
        mae: (bins, P) mean absolute error, natural units.
        mae_of_mean: (bins, P) the same of a constant, the mean of the training data.
        molecules: (bins, P) how many of the bin have a known value.
        finished: of molecules without noise that nothing learnt from, by property; none where none are held out.
    """

    properties: tuple[str, ...]
    nll: Tensor
    mae: Tensor
    mae_of_mean: Tensor
    molecules: Tensor
    finished: Mapping[str, HeldOutError] = field(default_factory=dict)

    def rows(self) -> list[dict[str, object]]:
        """Return a row for each property and bin."""
        return [
            {
                "property": name,
                "bin": number,
                "nll": logged(float(self.nll[number, column]), ".5f"),
                "mae": logged(float(self.mae[number, column]), ".6g"),
                "mae_of_mean": logged(float(self.mae_of_mean[number, column]), ".6g"),
                "molecules": int(self.molecules[number, column]),
            }
            for column, name in enumerate(self.properties)
            for number in range(len(self.nll))
        ]

    def summary(self) -> str:
        """Return each property's error over all bins, and without noise."""
        parts = []
        for column, name in enumerate(self.properties):
            mae, constant, nll = (_known(table[:, column]) for table in (self.mae, self.mae_of_mean, self.nll))
            told = (
                f"error {float(mae.mean()):.4g} (mean {float(constant.mean()):.4g}), nll {float(nll.mean()):.3f}"
                if len(mae)
                else "error unknown: no molecule to validate on has it"
            )
            parts.append(f"{name} {told}{f', without noise {found}' if (found := self.finished.get(name)) else ''}")
        return "  ".join(parts)

    def warn_of_useless(self) -> None:
        """Log a warning for each property that the network tells no better than the mean of the training molecules."""
        for name, found in self.finished.items():
            if not found.is_of_use:
                logger.warning("property '%s' is told no better than by its mean: the error is %s", name, found)


def _known(values: Tensor) -> Tensor:
    """Return what was measured, from the least noise on."""
    return values[~values.isnan()]


def validate_predictor(
    predictor: PreconditionedPredictor, model: PropertyModel, arrays: DeviceArrays, sizes: Tensor, rows: Tensor
) -> PropertyErrors:
    """Return errors over data rows (M,) with ``sizes`` (M,) atoms, each met once at a noise level of its own."""
    count = len(model.properties)
    sums = {name: torch.zeros(BINS, count, dtype=torch.float64) for name in ("nll", "mae", "mae_of_mean", "known")}
    std = predictor.property_std
    for batch in noised_rows(model.schedule, model.diffusion, arrays, sizes, rows):
        values = predictor.standardised(batch.clean.properties)
        with torch.no_grad():
            prediction = predictor(SoftBatch.of(batch.noisy, model.vocabulary.sizes), batch.levels)
        found = {
            "nll": -log_density(prediction, values),
            "mae": (values - prediction.mean).abs() * std,
            "mae_of_mean": values.abs() * std,
            "known": torch.ones_like(values),
        }
        known = torch.isfinite(values)
        for name, value in found.items():
            sums[name].index_add_(0, batch.bins, torch.where(known, value, 0.0).double().cpu())
    refuse_not_finite(sums)
    molecules = sums.pop("known")
    nll, mae, mae_of_mean = (sums[name] / molecules for name in ("nll", "mae", "mae_of_mean"))
    return PropertyErrors(model.properties, nll, mae, mae_of_mean, molecules)


def finished_errors(
    predictor: PreconditionedPredictor, model: PropertyModel, arrays: DeviceArrays, sizes: Tensor, rows: Tensor
) -> dict[str, HeldOutError]:
    """Return how well each property is told of data rows (M,) with ``sizes`` (M,) atoms, each met once without noise,
    as `moldiff.scoring.network.predicted_value` meets a generated molecule."""
    sums = {name: torch.zeros(len(model.properties), dtype=torch.float64) for name in ("error", "of_mean", "molecules")}
    std = predictor.property_std
    for indices, width in validation_batches(sizes.numpy(), BATCH, indices=rows.numpy()):
        clean = arrays.assemble(indices, width)
        t = torch.full((len(indices),), MEASURED_AT, dtype=torch.float64, device=clean.pos.device)
        values = predictor.standardised(clean.properties)
        with torch.no_grad():
            prediction = predictor(SoftBatch.of(clean, model.vocabulary.sizes), model.schedule.levels(t))
        found = {
            "error": (values - prediction.mean).abs() * std,
            "of_mean": values.abs() * std,
            "molecules": torch.ones_like(values),
        }
        known = torch.isfinite(values)
        for name, value in found.items():
            sums[name] += torch.where(known, value, 0.0).double().sum(0).cpu()
    refuse_not_finite(sums)
    return {
        name: HeldOutError(error / count, int(count), of_mean / count) if count else HeldOutError(None, 0)
        for name, error, of_mean, count in zip(
            model.properties, *(total.tolist() for total in sums.values()), strict=True
        )
    }
