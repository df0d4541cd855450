"""Training of a property network: for the noise and the vocabulary of the model that it is to guide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from moldiff.config import PropertyTrainConfig
from moldiff.datasets.batching import BatchPlan, evenly_spaced
from moldiff.datasets.prepared import PREPARE_AGAIN, DeviceArrays
from moldiff.datasets.statistics import tell_useless
from moldiff.diffusion.preconditioning import PreconditionedPredictor
from moldiff.errors import MoldiffError, blaming, nearest_name
from moldiff.models.folder import PROPERTY
from moldiff.models.loaded import load_model
from moldiff.models.property_model import PropertyModel
from moldiff.models.references import CONDITION_ROWS
from moldiff.scoring.network import HeldOutError
from moldiff.training.base_run import Run
from moldiff.training.callbacks import loss_columns, read_log
from moldiff.training.card import property_card
from moldiff.training.checkpoint import TrainingState
from moldiff.training.lightning_module import TrainingTask
from moldiff.training.plots import plot_property_validation, plot_training
from moldiff.training.property_module import PropertyErrors, PropertyTask, finished_errors, validate_predictor
from moldiff.training.references import condition_rows
from moldiff.training.scales import with_scales
from moldiff.training.session import seed_weights


class PropertyRun(Run):
    """Trains a property network."""

    config: PropertyTrainConfig
    model: PropertyModel
    kind = PROPERTY
    validation_columns = ("property", "bin", "nll", "mae", "mae_of_mean", "molecules")
    held_out_errors: Mapping[str, HeldOutError] = MappingProxyType({})  # as last validated

    def __init__(self, config: PropertyTrainConfig, state: TrainingState | None, max_seconds: float | None) -> None:
        with blaming("config_path"):
            self.guided = load_model(config.guided_model, device="cpu", precision="float32")
        self.loss_names = loss_columns(config.properties)
        super().__init__(config, state, max_seconds)

    def _build_model(self) -> PropertyModel:
        """Return a network with fresh weights; MoldiffError for a property that the data lacks or does not know."""
        seed_weights(self.config.training.seed)
        known, names = self.dataset.property_names, self.config.properties
        for name in names:
            if name not in known:
                raise MoldiffError(
                    f"'{name}' is not a property of {self.config.data}{nearest_name(name, known)}; "
                    f"it has {', '.join(known) or 'none'}"
                )
            if not self.dataset.statistics.properties[name].known:
                raise MoldiffError(f"no training molecule of {self.config.data} has a value of '{name}'")
        tell_useless(self.dataset.statistics.properties, names, f"; if it is not, {PREPARE_AGAIN}")
        before = None if self.state is None else self.state.config["network"]
        network = with_scales(self.config.network, self.dataset.statistics, before)
        self.config = self.config.model_copy(update={"network": network})
        return PropertyModel.guiding(self.guided.model, network, self.dataset.statistics, names)

    def _names(self) -> tuple[str, ...]:
        return self.model.properties

    def _others(self) -> dict[str, str]:
        return {"guided model": self.guided.sha256}

    def _arrays(self, device: torch.device) -> DeviceArrays:
        return DeviceArrays(self.dataset, device, properties=self.model.properties, vocabulary=self.model.vocabulary)

    def _build_task(self, plan: BatchPlan, first_step: int) -> PropertyTask:
        return PropertyTask(self.model, self.config, self.arrays, plan, first_step)

    def _validate(self, task: TrainingTask) -> PropertyErrors:
        assert isinstance(task.averaged, PreconditionedPredictor)
        rows, sizes = self.validation_rows()
        found = validate_predictor(task.averaged, self.model, self.arrays, sizes, rows)
        if len(self.dataset.indices("validation")):
            rows, sizes = self.held_out_rows()
            self.held_out_errors = finished_errors(task.averaged, self.model, self.arrays, sizes, rows)
            found = replace(found, finished=self.held_out_errors)
        if task.step == self.config.training.steps:
            found.warn_of_useless()
        return found

    def held_out_rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (rows (M,) of held-out molecules, their numbers of atoms (M,)): those that have a value of a property,
        of each property all, or as many as are to be validated on."""
        held_out, most = self.dataset.indices("validation"), self.config.training.validation_molecules
        columns = self.dataset.property_columns(self.model.properties)
        values = self.dataset.arrays["properties"][held_out][:, columns]
        found = {row for column in values.T for row in evenly_spaced(held_out[np.isfinite(column)].tolist(), most)}
        rows = torch.tensor(sorted(found), dtype=torch.int64)
        return rows, torch.from_numpy(self.dataset.sizes)[rows]

    def _plot(self) -> None:
        output = self.config.output
        plot_training(read_log(output / "metrics.csv"), output / "metrics.png", self.loss_names, "linear")
        plot_property_validation(read_log(output / "validation.csv"), output / "validation.png")

    def _provenance(self, step: int) -> dict[str, Any]:
        errors = {name: error.to_json() for name, error in self.held_out_errors.items()}
        return {**super()._provenance(step), "guided_model_sha256": self.guided.sha256, "held_out_errors": errors}

    def _card(self, provenance: dict[str, Any]) -> str:
        return property_card(provenance, self.model, self.guided.name)

    def _references(self, final: bool) -> dict[str, torch.Tensor]:
        """Return sizes and properties of training molecules, of which sizes are drawn that suit what is wanted."""
        return {CONDITION_ROWS: condition_rows(self.dataset, self.model.properties)}
