"""`moldiff train`: from a training file to a model folder, resumable at any time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from moldiff.config import PropertyTrainConfig, RunConfig, TrainConfig, load_training
from moldiff.errors import MoldiffError
from moldiff.files import refuse_existing
from moldiff.training.checkpoint import TrainingState, latest_state, list_states, load_state
from moldiff.training.denoiser_run import TrainingRun
from moldiff.training.property_run import PropertyRun


def train(
    config_path: Path,
    overrides: list[str],
    *,
    resume: str | None = None,
    max_time: str | None = None,
    init_from: str | None = None,
    teacher: str | None = None,
    conditions: Sequence[str] = (),
    out: Path | None = None,
) -> Path:
    """Train a model and write it to ``<output>/model``.

    Args:
        config_path: YAML file, see `moldiff.config.TrainConfig`, and for a property network `PropertyTrainConfig`.
        overrides: ``key=value`` with dotted keys.
        resume: ``auto`` goes on from the newest checkpoint if there is one; a path goes on from that checkpoint.
        max_time: stop in time, ``HH:MM:SS``; the checkpoint and the model are saved.
        init_from: model folder or built-in name to start from, instead of the file's: its weights, network, noise,
            vocabulary and conditions are taken; a file that states another network, curve or conditions is refused.
        teacher: model folder or built-in name that mends own draws, instead of the file's ``on_policy.teacher``; also
            what to start from unless that is given.
        conditions: properties that can be asked for when sampling, instead of the file's.
        out: output folder, instead of the file's.

    Returns:
        The model folder.

    Raises:
        MoldiffError: anything wrong with the files, a non-finite loss, a full disk.
    """
    config = load_training(config_path, overrides)
    if out is not None:
        config = config.model_copy(update={"output": out})
    if isinstance(config, PropertyTrainConfig) and (init_from is not None or teacher is not None or conditions):
        raise MoldiffError(
            "a property network starts from nothing, its file names the properties: init_from, teacher and "
            "conditions are for models that generate molecules",
            argument="init_from",
        )
    if isinstance(config, TrainConfig) and teacher is not None:
        config = _with_teacher(config, teacher)
    if init_from is not None:
        config = config.model_copy(update={"init_from": init_from})
    if conditions and isinstance(config, TrainConfig):
        config = _with_conditions(config, conditions)
    seconds = None if max_time is None else parse_duration(max_time)
    state = _find_state(config, resume)
    if isinstance(config, PropertyTrainConfig):
        return PropertyRun(config, state, seconds).fit()
    return TrainingRun(config, state, seconds).fit()


def _with_conditions(config: TrainConfig, conditions: Sequence[str]) -> TrainConfig:
    """Return the configuration with other conditions; MoldiffError where one stands twice."""
    for name in conditions:
        if list(conditions).count(name) > 1:
            raise MoldiffError(f"condition '{name}' is given twice")
    return config.model_copy(update={"conditions": tuple(conditions)})


def _with_teacher(config: TrainConfig, teacher: str) -> TrainConfig:
    """Return the configuration with another teacher; MoldiffError where none is asked."""
    if not config.on_policy.share:
        raise MoldiffError("a teacher mends own draws, and the config trains on none: set on_policy.share")
    own = config.on_policy.model_copy(update={"teacher": teacher})
    return config.model_copy(update={"on_policy": own})


def parse_duration(text: str) -> float:
    """Return seconds from ``HH:MM:SS`` or ``MM:SS``; MoldiffError otherwise."""
    if not re.fullmatch(r"(\d+:)?[0-5]?\d:[0-5]\d", text):
        raise MoldiffError(f"max_time {text!r} must look like 00:09:00 (hours, minutes, seconds)", argument="max_time")
    seconds = 0
    for part in text.split(":"):
        seconds = 60 * seconds + int(part)
    return float(seconds)


def _find_state(config: RunConfig, resume: str | None) -> TrainingState | None:
    """Return the checkpoint to go on from; refuse to start afresh over earlier checkpoints, and an output where
    no folder can be."""
    folder = config.output / "checkpoints"
    refuse_existing(folder, overwrite=True)
    if resume is None:
        if folder.exists() and any(folder.iterdir()):
            raise MoldiffError(
                f"{config.output} holds an earlier run; go on with resume auto or choose another output",
                argument="resume",
            )
        return None
    if resume == "auto":
        return latest_state(folder)
    chosen = Path(resume)
    if list_states(folder) and chosen.resolve().parent != folder.resolve():
        raise MoldiffError(
            f"{config.output} holds an earlier run, which {chosen} is no checkpoint of; choose another output",
            argument="out",
        )
    return load_state(chosen)
