"""Means that make training fast on a card, by the words of a training file."""

from __future__ import annotations

import importlib.util
import os
import shutil

import torch

from moldiff.config import PaceConfig
from moldiff.devices import resolve_device
from moldiff.errors import MoldiffError

_RANK = "LOCAL_RANK"
_COMPILERS = {"cuda": ("CC", ("cc", "gcc", "clang")), "cpu": ("CXX", ("g++", "clang++", "c++"))}


def wants_compilation(config: PaceConfig, device: torch.device) -> bool:
    """Tell whether layers go through PyTorch's compiler: where it is asked for, and by itself on a CUDA device.

    Raises:
        MoldiffError: it is asked for, and the compiler is not there.
    """
    if config.compile == "auto":
        return device.type == "cuda" and missing_compiler(device) is None
    if config.compile and (missing := missing_compiler(device)) is not None:
        raise MoldiffError(f"training.compile=true needs {missing}; install it or set training.compile=false")
    return config.compile


def wants_graphs(config: PaceConfig, device: torch.device) -> bool:
    """Tell whether steps are captured and replayed: where it is asked for, and by itself on one CUDA device.

    Raises:
        MoldiffError: it is asked for with several processes, whose talk cannot be captured.
    """
    if config.graphs == "auto":
        return device.type == "cuda" and config.devices == 1
    if config.graphs and config.devices > 1:
        raise MoldiffError("training.graphs=true is for one process: set training.devices=1 or training.graphs=false")
    return config.graphs


def device_of(config: PaceConfig) -> torch.device:
    """Return the device that a training file asks for; MoldiffError, with the file's key, for none that is here."""
    try:
        return resolve_device(config.device)
    except MoldiffError as error:
        raise MoldiffError(str(error).replace("device", "training.device", 1)) from None


def check_processes(config: PaceConfig, device: torch.device) -> None:
    """Raise MoldiffError unless this machine has a device for each of ``training.devices`` processes."""
    if config.devices == 1 or device.type == "cpu":
        return
    there = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.index is not None:
        raise MoldiffError(
            f"training.devices={config.devices} takes the first cards, and training.device={config.device} names one: "
            f"set training.device={device.type} or training.devices=1"
        )
    if config.devices > there:
        raise MoldiffError(f"training.devices={config.devices}: there are {there} {device.type} devices; set {there}")


def rank_of(config: PaceConfig) -> int:
    """Return which of a run's processes this is, from 0; those that Lightning starts are told by the environment."""
    return 0 if config.devices == 1 else int(os.environ.get(_RANK, "0"))


def is_first_process() -> bool:
    """Tell whether this process speaks for a run, whatever number of processes it has."""
    return os.environ.get(_RANK, "0") == "0"


def missing_compiler(device: torch.device) -> str | None:
    """Return what PyTorch's compiler lacks on this machine to compile for a device; None if it is all there."""
    if device.type not in _COMPILERS:
        return f"a CPU or a CUDA device, not {device.type}"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton"
    variable, names = _COMPILERS[device.type]
    if os.environ.get(variable) or any(shutil.which(name) for name in names):
        return None
    return f"a compiler, {' or '.join(names)}"
