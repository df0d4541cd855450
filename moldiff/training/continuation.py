"""Data, classes, properties, network and noise that a checkpoint's weights belong to: a run goes on with the same.

Weights and moments say nothing by themselves: with other classes a row that was fluorine is chlorine. So a checkpoint
records what it was made with, under names that a user knows, and a run that has something else is refused. Pace, rates,
logs and devices are not among it; they may change from one part of a run to the next.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from moldiff.config import CurveConfig, LayersConfig, OptimizerConfig
from moldiff.datasets.prepared import PreparedDataset
from moldiff.datasets.statistics import DatasetStatistics
from moldiff.errors import MoldiffError
from moldiff.journal import differences
from moldiff.models.folder import DENOISER, PROPERTY
from moldiff.sections import Section
from moldiff.training.checkpoint import TrainingState
from moldiff.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

NAMES = {DENOISER: "conditions", PROPERTY: "properties"}
"""Kind of a model -> the key of a training file that names its properties."""
_RATE = "optimizer.muon_learning_rate"


class Continued(Protocol):
    """A model as its checkpoints describe it."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Class labels."""
        ...

    @property
    def statistics(self) -> DatasetStatistics:
        """Statistics that the values of properties are scaled by."""
        ...

    @property
    def network_config(self) -> LayersConfig:
        """Sizes and scales of the network."""
        ...

    @property
    def curve_config(self) -> CurveConfig:
        """Noise levels along t."""
        ...


def of_data(kind: str, dataset: PreparedDataset) -> dict[str, Any]:
    """Return what is known of a run before its model is built: name -> plain value.

    Args:
        kind: of the model, a key of `NAMES`.
        dataset: the prepared set.
    """
    return {"kind": kind, "data": f"{len(dataset)} molecules of sha256 {dataset.info['data_hash']}"}


def of_model(kind: str, model: Continued, names: tuple[str, ...], others: Mapping[str, str]) -> dict[str, Any]:
    """Return what a run's weights belong to, beside the data: name -> plain value, sections with dotted names.

    Args:
        kind: of the model, a key of `NAMES`.
        model: what is trained.
        names: of the properties that it knows, in the order of its input or output.
        others: what another model is to the run ("teacher") -> its SHA-256, and whatever else tells what is trained.
    """
    known = {name: model.statistics.properties[name] for name in names}
    # six digits: the same data prepared on another machine may differ in the last bit of a mean
    scales = {f"{NAMES[kind]}.{name}": f"mean {row.mean:.6g}, spread {row.std:.6g}" for name, row in known.items()}
    return {
        **_flat("vocabulary", model.vocabulary.to_json()),
        NAMES[kind]: ", ".join(names),
        **scales,
        **_flat("network", model.network_config.model_dump(mode="json")),
        **_flat("curve", model.curve_config.model_dump()),
        **others,
    }


def refuse_another(state: TrainingState, now: Mapping[str, Any], sections: Mapping[str, Section]) -> None:
    """Raise MoldiffError, in one line that names checkpoint and differences, unless a run has what a checkpoint had.

    Args:
        state: the checkpoint to go on from.
        now: what the run has, or a part of it.
        sections: the run's sections of numbers, by name; what a checkpoint does not say of them is their default, since
            it was written before there was such a key.
    """
    before = _recorded(state)
    for name, section in sections.items():
        defaults = {key: field.default for key, field in type(section).model_fields.items()}
        if any(key.startswith(f"{name}.") for key in before):
            before = _flat(name, defaults) | before
    told = differences({name: before[name] for name in now if name in before}, {n: now[n] for n in now if n in before})
    if told:
        raise MoldiffError(
            f"{state.source} is of another run ({told}); go on with it as it was begun, or start from its model in an "
            "output of its own, with init_from",
            argument="resume",
        )
    if "data" in now and "data" not in before:
        logger.warning("%s does not say which data it was trained on: make sure that it was this", state.source)


def refuse_other_optimizers(state: TrainingState, config: OptimizerConfig) -> None:
    """Raise MoldiffError unless a run has the optimisers whose moments a checkpoint holds: rates may change, but Muon
    neither come nor go.

    Args:
        state: the checkpoint to go on from.
        config: the run's section.
    """
    before, now = ("above 0" if muon else "0" for muon in (len(state.optimizers) > 1, config.muon_learning_rate > 0))
    if before != now:
        raise MoldiffError(
            f"{state.source} is of another run ({_RATE} {before}, now {now}); a rate may change, but Muon neither come "
            "nor go: go on as it was begun",
            argument="resume",
        )


def _recorded(state: TrainingState) -> dict[str, Any]:
    """Return what a checkpoint was made with; of one from before that was recorded, what its training file says."""
    if state.continued:
        return dict(state.continued)
    config = state.config
    kind = str(config.get("kind", DENOISER))
    found: dict[str, Any] = {"kind": kind}
    if config.get("init_from") is not None:
        return found  # the rest was the model's, whatever the file said
    if isinstance(names := config.get(NAMES.get(kind, "")), list):
        found[NAMES[kind]] = ", ".join(map(str, names))
    for name in ("network", "curve"):
        if isinstance(section := config.get(name), dict):
            found |= _flat(name, section)
    return found


def _flat(name: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section with dotted names and values that JSON gives back as they are."""
    return {
        f"{name}.{key}": ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        for key, value in section.items()
    }
