"""Contents of a model folder's configuration: classes, statistics of the training data, conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moldiff.config import SamplingConfig
from moldiff.errors import MoldiffError
from moldiff.models.folder import DENOISER, ModelFolder
from moldiff.sections import validate
from moldiff.vocabulary import Vocabulary

if TYPE_CHECKING:
    from moldiff.datasets.statistics import DatasetStatistics


def vocabulary_of_model(model: ModelFolder) -> Vocabulary:
    """Return the vocabulary that a model was trained with; MoldiffError if its configuration holds none."""
    try:
        return Vocabulary.from_json(model.config["vocabulary"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MoldiffError(f"{model.path}: the configuration holds no valid vocabulary") from error


def sampling_of_model(model: ModelFolder) -> SamplingConfig:
    """Return how a model is sampled where a user does not say; MoldiffError if its configuration is damaged."""
    return validate(SamplingConfig, model.config.get("sampling", {}), f"{model.path}: sampling")


def statistics_of_model(model: ModelFolder) -> DatasetStatistics:
    """Return the statistics of the data that a model was trained on; MoldiffError if its configuration holds none."""
    from moldiff.datasets.statistics import DatasetStatistics

    try:
        return DatasetStatistics.from_json(model.config["statistics"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MoldiffError(f"{model.path}: the configuration holds no valid statistics") from error


def conditions_of_model(model: ModelFolder) -> list[str]:
    """Return the properties that a model can be asked for, in the order of its input; of a property network, those
    that it predicts."""
    conditions: Any = model.config.get("conditions" if model.kind == DENOISER else "properties", [])
    if not isinstance(conditions, list) or not all(isinstance(name, str) for name in conditions):
        raise MoldiffError(f"{model.path}: the configuration's conditions are not a list of names")
    return conditions
