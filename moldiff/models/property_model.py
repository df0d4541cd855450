"""A whole property network: predictor, the noise that it was trained on, vocabulary and statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from moldiff.config import CurveConfig, PropertyNetworkConfig
from moldiff.datasets.statistics import DatasetStatistics
from moldiff.diffusion.joint import JointDiffusion
from moldiff.diffusion.preconditioning import PreconditionedPredictor
from moldiff.diffusion.schedule import NoiseSchedule
from moldiff.errors import MoldiffError
from moldiff.models.building import Description, described, with_weights
from moldiff.models.folder import PROPERTY, ModelFolder
from moldiff.models.molecule_model import (
    MoleculeModel,
    diffusion_of,
    position_std_table,
    property_scales,
    schedule_from_config,
)
from moldiff.nn.property import PropertyNetwork
from moldiff.vocabulary import Vocabulary


@dataclass(frozen=True)
class PropertyModel:
    """Everything that guidance by properties needs.

    Attributes:
        predictor: in evaluation mode on its device.
        diffusion, schedule, vocabulary: the noise and the classes of the model that it guides.
        statistics: sizes and properties of its own training data; marginals and scales of the model that it guides.
        properties: names, in the order of the predictor's output.
        network_config, curve_config: what predictor and schedule were built from.
    """

    predictor: PreconditionedPredictor
    diffusion: JointDiffusion
    schedule: NoiseSchedule
    vocabulary: Vocabulary
    statistics: DatasetStatistics
    properties: tuple[str, ...]
    network_config: PropertyNetworkConfig
    curve_config: CurveConfig

    @classmethod
    def build(
        cls,
        network_config: PropertyNetworkConfig,
        curve_config: CurveConfig,
        vocabulary: Vocabulary,
        statistics: DatasetStatistics,
        properties: Sequence[str],
    ) -> PropertyModel:
        """Build a model with fresh weights (drawn from torch's global generator); KeyError for an unknown property."""
        said = Description(network_config, curve_config, vocabulary, statistics, tuple(properties))
        return cls._of(said, _predictor(said, *_tables(said)))

    @classmethod
    def guiding(
        cls,
        model: MoleculeModel,
        network_config: PropertyNetworkConfig,
        data: DatasetStatistics,
        properties: Sequence[str],
    ) -> PropertyModel:
        """Build a model with fresh weights that can guide ``model`` towards some properties of other data."""
        known = {name: data.properties[name] for name in properties}
        statistics = replace(model.statistics, size_counts=data.size_counts, properties=known)
        return cls.build(network_config, model.curve_config, model.vocabulary, statistics, properties)

    @classmethod
    def from_folder(cls, folder: ModelFolder, device: torch.device | str = "cpu") -> PropertyModel:
        """Build the model that a checked model folder describes; MoldiffError if it describes no property network."""
        if folder.kind != PROPERTY:
            raise MoldiffError(
                f"{folder.path} is no property network but a model that generates molecules; "
                "'moldiff train property' trains a property network"
            )
        said = described(folder, PropertyNetworkConfig, "properties")
        tables = _tables(said)
        return cls._of(said, with_weights(lambda: _predictor(said, *tables), folder, device))

    @classmethod
    def _of(cls, said: Description[PropertyNetworkConfig], predictor: PreconditionedPredictor) -> PropertyModel:
        return cls(
            predictor=predictor,
            diffusion=diffusion_of(said.statistics),
            schedule=schedule_from_config(said.curve),
            vocabulary=said.vocabulary,
            statistics=said.statistics,
            properties=said.names,
            network_config=said.network,
            curve_config=said.curve,
        )

    @property
    def device(self) -> torch.device:
        """Device of the predictor."""
        return next(self.predictor.parameters()).device

    def config_json(self) -> dict[str, Any]:
        """Return the plain configuration that `from_folder` reads."""
        return {
            "kind": PROPERTY,
            "network": self.network_config.model_dump(),
            "curve": self.curve_config.model_dump(),
            "vocabulary": self.vocabulary.to_json(),
            "statistics": self.statistics.to_json(),
            "properties": list(self.properties),
        }

    def check_guides(self, model: MoleculeModel, source: str, guided: str) -> None:
        """Raise MoldiffError if a model's noisy molecules are not what this network was trained on.

        Args:
            model: to be guided.
            source, guided: names of this network and of the model, for the message.
        """
        for what, own, other in (
            ("vocabulary", self.vocabulary, model.vocabulary),
            ("noise curve", self.curve_config, model.curve_config),
        ):
            if own != other:
                raise MoldiffError(
                    f"the property network {source} cannot guide {guided}: its {what} differs "
                    f"({_difference(own, other)}); train one with guided_model: {guided}"
                )


def _tables(said: Description[PropertyNetworkConfig]) -> tuple[Tensor, Tensor, Tensor]:
    """Return sigma_data by number of atoms, and means and standard deviations of the properties: no weights."""
    return position_std_table(said.statistics.position_std), *property_scales(said.statistics, said.names)


def _predictor(
    said: Description[PropertyNetworkConfig], position_std: Tensor, mean: Tensor, std: Tensor
) -> PreconditionedPredictor:
    """Return a predictor with fresh weights."""
    network = PropertyNetwork(said.network, said.vocabulary.sizes, len(said.names))
    return PreconditionedPredictor(network, position_std, mean, std)


def _difference(own: Vocabulary | CurveConfig, other: Vocabulary | CurveConfig) -> str:
    """Return the first field in which two records of a kind differ."""
    names = [name for name in vars(own) if getattr(own, name) != getattr(other, name)]
    return f"{names[0]} {getattr(own, names[0])}, not {getattr(other, names[0])}"
