"""Means of this machine, by the words of the user: device, number type of the network, CPU cores."""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from moldiff.arguments import choice, refusal
from moldiff.choices import Precision
from moldiff.errors import MoldiffError

if TYPE_CHECKING:
    import torch

P = ParamSpec("P")
R = TypeVar("R")

_PROCESS_GROUPS = Path("/proc/self/cgroup")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_MOST_WORKERS = 32  # of some 200 MB each
_OUT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def device_name(device: object) -> str:
    """Return the word for a device that is given by a word or as PyTorch's own; MoldiffError if it is neither."""
    if isinstance(device, str):
        return device
    import torch

    if not isinstance(device, torch.device):
        raise refusal("device", "a text or a torch.device", device)
    return device.type if device.type != "cuda" and not device.index else str(device)


def precision_name(precision: object) -> Precision:
    """Return the member of `Precision` for a word or for PyTorch's own number type; MoldiffError if it is neither."""
    import torch

    return choice(name_of(precision) if isinstance(precision, torch.dtype) else precision, Precision, "precision")


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda``, ``cuda:<number>`` or for PyTorch's own. ``cuda`` is the card
    that PyTorch has as the current one, the first unless a session has chosen; ``auto`` likewise if there is any, else
    the CPU.

    Raises:
        MoldiffError: the name is none of these, or this machine has no such device.
    """
    import torch

    name = device_name(device)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if name == "mps":
        raise MoldiffError("device mps: an Apple GPU has no float64, which moldiff needs; use cpu", argument="device")
    if kind not in ("cpu", "cuda") or (":" in name and not (kind == "cuda" and number.isascii() and number.isdigit())):
        raise MoldiffError(f"unknown device '{name}'; known are auto, cpu, cuda and cuda:<number>", argument="device")
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise MoldiffError(f"device {name}: this PyTorch sees no CUDA device; use cpu", argument="device")
        if number and int(number) >= torch.cuda.device_count():
            raise MoldiffError(
                f"device {name}: there are only {torch.cuda.device_count()} CUDA devices, from cuda:0",
                argument="device",
            )
    return torch.device(name)


def is_on(place: torch.device, asked: torch.device) -> bool:
    """Return whether what lies in a place is on the device that is asked for: on any card, if that names none."""
    return place.type == asked.type and (asked.index is None or (place.index or 0) == asked.index)


PRECISIONS = tuple(map(str, Precision))
DEFAULT_PRECISION = Precision.AUTO


def resolve_precision(precision: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Return the number type of the network's matrix products on a device, by one of `PRECISIONS` or as PyTorch's own.

    ``auto`` is bfloat16 where the processor has instructions for it (on CPUs AVX-512 BF16 or AMX, of which an older
    PyTorch cannot tell), which is faster, else float32. Coordinates, noise and sums are float32 at least in any case.

    Raises:
        MoldiffError: the name is none of these.
    """
    import torch

    name = precision_name(precision)
    if name is not Precision.AUTO:
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    if device.type == "cuda":
        with torch.cuda.device(-1 if device.index is None else device.index):  # it looks at the current card
            native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        tell: Callable[[], Mapping[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
        abilities = tell() if device.type == "cpu" else {}
        native = bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    return torch.bfloat16 if native else torch.float32


def name_of(precision: torch.dtype) -> str:
    """Return what users call a number type."""
    return str(precision).removeprefix("torch.")


def usable_cores() -> int:
    """Return how many CPU cores this process may use: `taskset`, containers and schedulers can allow less than all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS, Windows
    return max(1, math.floor(min(cores, _quota())))


def _quota() -> float:
    """Return the cores' worth of time that control groups of Linux, which containers are made of, let this process
    have: the least of its group and those above it. Infinity = as many as there are."""
    try:
        groups = [line.split(":", 2)[1:] for line in _PROCESS_GROUPS.read_text().splitlines()]
    except OSError:
        return math.inf
    found = [math.inf]
    for controllers, path in groups:
        version_2 = not controllers
        if not version_2 and "cpu" not in controllers.split(","):
            continue
        root = _CONTROL_GROUPS if version_2 else _CONTROL_GROUPS / "cpu"
        inside = PurePosixPath(path.lstrip("/"))  # in a container it may not be there; the root is the container's own
        names = ("cpu.max",) if version_2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        for folder in {root / part for part in (inside, *inside.parents)}:
            try:
                quota, period = " ".join((folder / name).read_text() for name in names).split()
                found.append(float(quota) / float(period) if float(quota) > 0 else math.inf)
            except (OSError, ValueError, ZeroDivisionError):  # not there, or "max"
                continue
    return min(found)


def chemistry_workers(device: torch.device) -> int:
    """Return how many processes for chemistry keep up with a device: one with a CPU; a CUDA device keeps several
    busy."""
    return min(max(1, usable_cores() - 1), _MOST_WORKERS) if device.type == "cuda" else 1


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory did not suffice; the CPU's allocator and CUDA's libraries say so in plain RuntimeErrors."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)
    )


def describe_devices() -> list[str]:
    """Return one line for each device that PyTorch can use here, the CPU first."""
    import torch

    precision = name_of(resolve_precision("auto", torch.device("cpu")))
    lines = [f"cpu: {torch.get_num_threads()} threads, {precision}"]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        lines.append(f"cuda:{index}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    return lines


def whatever_the_default(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that works on its own devices, whichever a session has made torch's default, and in its own
    modes, see `apart_from_session`.

    Not for generators: between two items, the session's own work would be under it.
    """

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        with apart_from_session():
            return function(*args, **kwargs)

    return called


@contextmanager
def apart_from_session() -> Iterator[None]:
    """Let nothing that a session has set for PyTorch reach into this thread's work: threads of our own know none of it.

    Inference mode: a weight that is made in it has no gradient for the rest of its life, nor has anything to it.
    Autocast: float32 would be another number type. PyTorch is not loaded for this.
    """
    if "torch" not in sys.modules:
        yield
        return
    import torch

    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        for kind in filter(torch.is_autocast_enabled, ("cpu", "cuda")):
            stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield
