"""A property network beside the model that generates: what of a user's targets it pursues, and how."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from moldiff.datasets.statistics import PropertyStatistics
from moldiff.errors import MoldiffError, blaming
from moldiff.models.folder import ModelFolder
from moldiff.models.loaded import load_property_model
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.property_model import PropertyModel
from moldiff.sampling.property_guidance import DEFAULT_PROPERTY_SCALE, Goal, PropertyGradient
from moldiff.scoring.network import HeldOutError, predicted_value
from moldiff.scoring.targets import VALUE_BAND, Target

if TYPE_CHECKING:
    from rdkit.Chem import Mol


@dataclass(frozen=True)
class PropertyGuide:
    """A property network that fits the model at hand.

    Attributes:
        folder, model: the network.
        scale: how strongly its gradient pulls.
    """

    folder: ModelFolder
    model: PropertyModel
    scale: float

    @classmethod
    @blaming("property_model", "property_scale")
    def load(
        cls, name: str | None, scale: float | None, generator: MoleculeModel, guided: str, device: torch.device
    ) -> PropertyGuide | None:
        """Load the network of a folder; None if none is asked for.

        Args:
            name: the folder.
            scale: see `PropertyGradient`; None = the default.
            generator, guided: the model that generates, and its name.
            device: to load it on.

        Raises:
            MoldiffError: it is no property network or does not fit the model; a scale that is no number from 0 up.
        """
        if name is None:
            return None
        scale = DEFAULT_PROPERTY_SCALE if scale is None else scale
        if not (math.isfinite(scale) and scale >= 0):
            raise MoldiffError(f"property_scale must be a number from 0 up, not {scale}", argument="property_scale")
        network = load_property_model(name, device=device)
        network.model.check_guides(generator, str(network.path), guided)
        return cls(network.folder, network.model, scale)

    @property
    def statistics(self) -> Mapping[str, PropertyStatistics]:
        """Of the properties that it knows, in its training data."""
        return {name: self.model.statistics.properties[name] for name in self.model.properties}

    @property
    def estimators(self) -> dict[str, Callable[[Mol], float | None]]:
        """From a molecule to each property that it knows; None where it cannot read the molecule."""
        return {name: partial(predicted_value, self.model, name) for name in self.model.properties}

    @property
    def errors(self) -> dict[str, HeldOutError]:
        """Its errors on held-out molecules, by property, as far as they are on record."""
        found = self.folder.config.get("training", {}).get("held_out_errors", {})
        read = (
            {name: HeldOutError.from_json(value) for name, value in found.items()} if isinstance(found, Mapping) else {}
        )
        return {name: error for name, error in read.items() if error is not None}

    @blaming("property_model")
    def pursued(self, targets: Sequence[Target]) -> tuple[Target, ...]:
        """Return the targets that it pursues; MoldiffError if there is none."""
        pursued = tuple(target for target in targets if target.name in self.model.properties)
        if not pursued:
            raise MoldiffError(
                f"the property network {self.folder.path} needs a target to pull towards, for example "
                f"{self.model.properties[0]}=...; it knows {', '.join(self.model.properties)}"
            )
        return pursued

    def gradient(self, targets: Sequence[Target]) -> PropertyGradient:
        """Return what pulls towards targets that it knows."""
        goals = []
        for target in targets:
            row = self.statistics[target.name]
            low, high = ((end - row.mean) / row.std for end in (target.low, target.high))
            goals.append(Goal(self.model.properties.index(target.name), low, high, VALUE_BAND))
        predictor = self.model.predictor
        return PropertyGradient(
            predictor, tuple(goals), self.model.vocabulary.sizes, predictor.position_std, self.scale
        )
