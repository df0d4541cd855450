"""`moldiff train`: from a training file to a model folder, resumable at any time."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from moldiff.arguments import check_text, name_list, path, repeated, texts
from moldiff.config import PropertyTrainConfig, RunConfig, TrainConfig, load_training
from moldiff.datasets import layout
from moldiff.devices import whatever_the_default
from moldiff.errors import MoldiffError, blaming
from moldiff.evaluation import write_report
from moldiff.files import refuse_existing_files
from moldiff.folders import Ours, claimed_folder, refuse_folder, refuse_other_kinds
from moldiff.models import folder as model_folder
from moldiff.training import checkpoint
from moldiff.training.acceleration import rank_of
from moldiff.training.base_run import FILES
from moldiff.training.checkpoint import TrainingState, latest_state, list_states, load_state, refuse_place
from moldiff.training.denoiser_run import TrainingRun
from moldiff.training.property_run import PropertyRun
from moldiff.training.session import own_settings

_OTHERS = (
    layout.OURS, model_folder.OURS, checkpoint.OURS, write_report.OURS,
    Ours("a screening run", "plan.json", ()),
)  # fmt: skip
"""Folders of ours that a run is never written into."""


@whatever_the_default
def train(
    config_path: Path | str,
    overrides: Sequence[str] | str = (),
    *,
    resume: Path | str | None = None,
    max_time: str | None = None,
    init_from: Path | str | None = None,
    teacher: Path | str | None = None,
    conditions: Sequence[str] | str = (),
    out: Path | str | None = None,
) -> Path:
    """Train a model and write it to ``<output>/model``.

    What a session has set of PyTorch (number type, threads, random numbers) is as before when this returns.

    Args:
        config_path: YAML file, see `moldiff.config.TrainConfig`, and for a property network `PropertyTrainConfig`.
        overrides: ``key=value`` with dotted keys, one or several.
        resume: ``auto`` goes on from the newest checkpoint if there is one; a path goes on from that checkpoint.
        max_time: stop in time, ``HH:MM:SS``; the checkpoint and the model are saved.
        init_from: model folder or built-in name to start from, instead of the file's: its weights, network, noise,
            vocabulary and conditions are taken; a file that states another network, curve or conditions is refused.
        teacher: model folder or built-in name that mends own draws, instead of the file's ``on_policy.teacher``; also
            what to start from unless that is given.
        conditions: properties that can be asked for when sampling, instead of the file's: a list, or a text with
            commas.
        out: output folder, instead of the file's.

    Returns:
        The model folder.

    Raises:
        MoldiffError: anything wrong with the arguments or the files, a non-finite loss, a full disk.
    """
    config_path, overrides = path(config_path, "config_path"), texts(overrides, "overrides")
    conditions = name_list(conditions, "conditions")
    resume, init_from, teacher = (
        None if value is None else str(path(value, name))
        for name, value in (("resume", resume), ("init_from", init_from), ("teacher", teacher))
    )
    seconds = None if max_time is None else parse_duration(max_time)
    config = _read(config_path, overrides)
    if out is not None:
        config = config.model_copy(update={"output": path(out, "out")})
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
    with _begun(config, resume) as state, own_settings(config.training.threads):
        if isinstance(config, PropertyTrainConfig):
            return PropertyRun(config, state, seconds).fit()
        return TrainingRun(config, state, seconds).fit()


def _read(file: Path, overrides: Sequence[str]) -> TrainConfig | PropertyTrainConfig:
    """Return the configuration of a training file with overrides; errors name that of the two which is wrong."""
    try:
        return load_training(file, list(overrides))
    except MoldiffError as error:
        keys = [re.escape(override.partition("=")[0].strip()) for override in overrides]
        blamed = any(re.search(rf"(?<![\w.]){key}(?![\w])", str(error)) for key in keys)
        error.argument = "overrides" if blamed else error.argument or "config_path"
        raise


def _with_conditions(config: TrainConfig, conditions: Sequence[str]) -> TrainConfig:
    """Return the configuration with other conditions; MoldiffError where one stands twice."""
    if (name := repeated(conditions)) is not None:
        raise MoldiffError(f"condition '{name}' is given twice", argument="conditions", word="")
    return config.model_copy(update={"conditions": tuple(conditions)})


def _with_teacher(config: TrainConfig, teacher: str) -> TrainConfig:
    """Return the configuration with another teacher; MoldiffError where none is asked."""
    if not config.on_policy.share:
        told = "a teacher mends own draws, and the config trains on none: set on_policy.share"
        raise MoldiffError(told, argument="teacher", word="")
    own = config.on_policy.model_copy(update={"teacher": teacher})
    return config.model_copy(update={"on_policy": own})


def parse_duration(text: str) -> float:
    """Return seconds from ``HH:MM:SS`` or ``MM:SS``; MoldiffError otherwise."""
    check_text(text, "max_time")
    if not re.fullmatch(r"(\d+:)?[0-5]?\d:[0-5]\d", text):
        raise MoldiffError(f"max_time {text!r} must look like 00:09:00 (hours, minutes, seconds)", argument="max_time")
    seconds = 0
    for part in text.split(":"):
        seconds = 60 * seconds + int(part)
    return float(seconds)


@contextlib.contextmanager
def _begun(config: RunConfig, resume: str | None) -> Iterator[TrainingState | None]:
    """Give the checkpoint to go on from, and the sole right to write into the output, which the first of a run's
    processes holds for all of them; MoldiffError where another run has it, or something is in the way."""
    with blaming("out"):
        _refuse_output(config)
    if rank_of(config.training):
        yield _find_state(config, resume)
        return
    with claimed_folder(config.output):
        state = _find_state(config, resume)
        _refuse_places(config.output)
        if state is None and os.path.lexists(config.output / "model"):
            raise MoldiffError(
                f"{config.output} holds a model, and no checkpoint to go on from; choose another output", argument="out"
            )
        yield state


def _refuse_places(folder: Path) -> None:
    """Raise MoldiffError if something stands where a run is to write, which would else show after the first steps."""
    refuse_existing_files([folder / name for name in FILES], overwrite=True)
    refuse_folder(folder / "model", model_folder.OURS, overwrite=True)


def _refuse_output(config: RunConfig) -> None:
    """Raise MoldiffError for an output where no checkpoint can be, or that is another folder of ours."""
    refuse_place(config.output / "checkpoints", config.training.steps)
    refuse_other_kinds(config.output, _OTHERS)
    if list_states(config.output):
        raise MoldiffError(
            f"{config.output} holds the checkpoints of a run; it is not written into, choose another output",
            argument="out",
        )


def _find_state(config: RunConfig, resume: str | None) -> TrainingState | None:
    """Return the checkpoint to go on from; refuse to start afresh over earlier checkpoints."""
    folder = config.output / "checkpoints"
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
    if not (chosen / checkpoint.OURS.mark).is_file():
        there = list_states(chosen) or list_states(chosen / "checkpoints")
        newest = f"; the newest there is {there[-1]}" if there else ""
        raise MoldiffError(
            f"{chosen} is no checkpoint, a folder such as checkpoints/step-00001000{newest}; resume auto takes the "
            "newest of the output",
            argument="resume",
        )
    if list_states(folder) and chosen.resolve().parent != folder.resolve():
        raise MoldiffError(
            f"{config.output} holds an earlier run, which {chosen} is no checkpoint of; choose another output",
            argument="out",
        )
    return load_state(chosen)
