"""Checkpoints of a training run: tensors as safetensors, the rest as JSON, both hashed, two kept, never half-written.

A checkpoint is a folder ``step-00001000`` with ``state.safetensors`` (weights, their average, optimiser moments) and
``state.json`` (step, hash, the configuration). With batches and noise as pure functions of (seed, step), that is all
that a resumed run needs to equal an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from moldiff.deprecations import renamed_keys
from moldiff.errors import MoldiffError
from moldiff.files import atomic_writer, clear_leftovers, refuse_existing, write_json
from moldiff.folders import Ours, new_folder, standing
from moldiff.reading import read_json, read_whole, sha256_of

_TENSORS, _STATE = "state.safetensors", "state.json"
_PREFIX = "step-"
_NAME = re.compile(rf"{_PREFIX}(\d{{8,}})")
_ASIDE = "set-aside-"
_KEPT = 2
_MOST_TENSORS = 1 << 36  # bytes
_FORMAT = 2  # 1 had no hash of the state
logger = logging.getLogger(__name__)

OURS = Ours("a checkpoint", _STATE, (_TENSORS,))


@dataclass(frozen=True)
class TrainingState:
    """Content of a checkpoint.

    Attributes:
        step: number of steps taken.
        weights, average: state of the denoiser and of its moving average, by name.
        average_count: how often the average was updated.
        optimizers: one state dictionary of plain tensors for each optimiser: "<parameter number>.<entry>" -> tensor.
        config: the training configuration as plain JSON.
        seconds: time spent on training so far, all runs together.
        continued: what the run must be gone on with (`moldiff.training.continuation`); empty in older checkpoints.
        molecules_seen: by all steps so far, repeats counted; None in older checkpoints.
        sums: of losses and gradients since the last line of the log (`TrainingTask.sums`); none in older checkpoints.
        summed_from: the step from which on.
        path: where it was read from; None = from nowhere.
    """

    step: int
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    average_count: int
    optimizers: list[dict[str, Tensor]]
    config: dict[str, Any]
    seconds: float
    continued: Mapping[str, Any] = field(default_factory=dict)
    molecules_seen: int | None = None
    sums: Sequence[float] = ()
    summed_from: int = 0
    path: Path | None = None

    @property
    def source(self) -> str:
        """Words for it in messages."""
        return f"checkpoint {self.path}" if self.path is not None else f"the checkpoint of step {self.step}"


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's moments as named tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{entry}": torch.as_tensor(value) for number, row in state.items() for entry, value in row.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put moments back that `flatten_optimizer` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, entry = key.partition(".")
        state.setdefault(int(number), {})[entry] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def refuse_place(folder: Path, steps: int) -> None:
    """Raise MoldiffError unless the checkpoints of a run of so many steps can be written below ``folder``, which need
    not be there, and those that are there can be listed."""
    refuse_existing(_place(folder, steps), overwrite=True)
    try:
        names = os.listdir(folder) if folder.exists() else []
    except OSError as error:  # a glob would find nothing there, and say nothing
        raise MoldiffError(f"{folder} cannot be read: {error.strerror or error}") from error
    for name in sorted(names):
        if _NAME.fullmatch(name) and not (folder / name).is_dir():
            raise MoldiffError(f"{folder / name} is a file in the place of a checkpoint; move it away")


def _place(folder: Path, step: int) -> Path:
    return folder / f"{_PREFIX}{step:08d}"


def save_state(folder: Path, state: TrainingState) -> Path:
    """Write a checkpoint below ``folder``, check it by reading it back, and drop all but the last two.

    Raises:
        MoldiffError: a value is not finite, or it could not be written completely; older checkpoints are untouched.
    """
    final = _place(folder, state.step)
    tensors = {f"weights.{name}": value for name, value in state.weights.items()}
    tensors |= {f"average.{name}": value for name, value in state.average.items()}
    for number, moments in enumerate(state.optimizers):
        tensors |= {f"optimizer{number}.{name}": value for name, value in moments.items()}
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise MoldiffError(
                f"step {state.step}: {name} holds values that are not finite, so no checkpoint was written; go on from "
                "the last one with a lower learning rate"
            )
    clear_leftovers(final, siblings=True)
    with new_folder(final, OURS, overwrite=True) as temporary:
        with atomic_writer(temporary / _TENSORS, binary=True) as handle:
            handle.write(save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))
        info = {
            "format": _FORMAT,
            "step": state.step,
            "average_count": state.average_count,
            "seconds": state.seconds,
            "optimizers": len(state.optimizers),
            "sha256": sha256_of(temporary / _TENSORS),
            "config": state.config,
            "continued": dict(state.continued),
            "molecules_seen": state.molecules_seen,
            "sums": list(state.sums),
            "summed_from": state.summed_from,
        }
        write_json(temporary / _STATE, info | {"state_sha256": _hash(info)})
    load_state(final)
    for old in list_states(folder)[:-_KEPT]:
        if not OURS.foreign(old):
            shutil.rmtree(old, ignore_errors=True)
    return final


def _hash(info: dict[str, Any]) -> str:
    """Return the hash of a state's JSON, whatever its layout in the file."""
    rest = {key: value for key, value in info.items() if key != "state_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def list_states(folder: Path) -> list[Path]:
    """Return the checkpoints below ``folder``, oldest first; what has another name is none."""
    names = {path.name for path in folder.glob(f"{_PREFIX}*")}
    names |= {path.name[1:].removesuffix(".old") for path in folder.glob(f".{_PREFIX}*.old")}
    ours = sorted((name for name in names if _NAME.fullmatch(name)), key=_step)
    return [path for path in (standing(folder / name) for name in ours) if path.is_dir()]


def _step(name: str) -> int:
    return int(name.removeprefix(_PREFIX))


def set_aside_newer(folder: Path, step: int) -> None:
    """Rename the checkpoints beyond a step, from which a run goes on: else they would be taken for its newest."""
    for path in list_states(folder):
        number = _step(path.name.lstrip(".").removesuffix(".old"))
        if number > step:
            aside = folder / f"{_ASIDE}{_PREFIX}{number:08d}"
            if aside.exists():
                shutil.rmtree(aside)
            path.rename(aside)
            logger.warning("%s is newer than the step %d to go on from: set aside as %s", path, step, aside.name)


def load_state(path: Path) -> TrainingState:
    """Read one checkpoint.

    Raises:
        MoldiffError: a file is missing, damaged or of another format.
    """
    info = read_json(path / _STATE)
    try:
        data = read_whole(path / _TENSORS, _MOST_TENSORS)
        unchanged = info["format"] == 1 or (info["format"] == _FORMAT and info["state_sha256"] == _hash(info))
        if not unchanged or hashlib.sha256(data).hexdigest() != info["sha256"]:
            raise MoldiffError(f"checkpoint {path} is damaged: its content does not match its hash")
        groups: dict[str, dict[str, Tensor]] = {}
        for name, value in load(data).items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = value
        return TrainingState(
            step=_counted(info, "step"),
            weights=groups["weights"],
            average=groups["average"],
            average_count=_counted(info, "average_count"),
            optimizers=[groups.get(f"optimizer{number}", {}) for number in range(_counted(info, "optimizers", 100))],
            config=renamed_keys(dict(info["config"])),
            seconds=_duration(info["seconds"]),
            continued=dict(info.get("continued", {})),
            molecules_seen=None if info.get("molecules_seen") is None else _counted(info, "molecules_seen"),
            sums=[float(value) for value in info.get("sums", ())],
            summed_from=_counted(info, "summed_from") if "summed_from" in info else 0,
            path=path,
        )
    except OSError as error:
        raise MoldiffError(f"checkpoint {path} cannot be read: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise MoldiffError(f"checkpoint {path} is not a moldiff checkpoint ({error})") from error


def _counted(info: dict[str, Any], key: str, most: int = 2**53) -> int:
    """Return a count of a state; ValueError if it is none, or one that nobody counts to."""
    value = info[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"{key} is {value!r:.40}, not a count")
    return value


def _duration(value: object) -> float:
    """Return seconds of a state; ValueError if they are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise ValueError(f"seconds is {value!r:.40}, not a duration")
    return float(value)


def latest_state(folder: Path) -> TrainingState | None:
    """Return the newest readable checkpoint below ``folder``; None if there is none at all. It warns of what it passes.

    Raises:
        MoldiffError: there are checkpoints, but not one of them can be read.
    """
    problems: list[MoldiffError] = []
    for path in reversed(list_states(folder)):
        try:
            state = load_state(path)
        except MoldiffError as error:
            problems.append(error)
            continue
        for problem in problems:
            logger.warning("%s; going on from step %d", problem, state.step)
        return state
    if problems:
        raise problems[0]
    return None
