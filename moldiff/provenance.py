"""The header of what a run leaves behind, reports, trainings and benchmarks: who made it, when, with what."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moldiff.devices import usable_cores
from moldiff.version import VERSION

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "rdkit", "e3nn", "numpy")


def header(device: torch.device | None = None) -> dict[str, Any]:
    """Return what a record says of its run, as plain JSON.

    | key      | content                                                                |
    |----------|------------------------------------------------------------------------|
    | command  | the command line, "moldiff ..." or the script that called the package  |
    | date     | when the record was made, ISO 8601, UTC                                |
    | commit   | of the source tree; empty for an installed package                     |
    | platform | operating system and architecture                                      |
    | hardware | processor and threads, or the accelerator                              |
    | versions | of moldiff, Python and `PACKAGES`                                      |

    Args:
        device: that torch worked on; None = torch did not work.
    """
    return {
        "command": command_line(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": source_commit(),
        "platform": platform.platform(),
        "hardware": f"{_processor()}, {usable_cores()} cores" if device is None else hardware(device),
        "versions": {"python": platform.python_version(), **versions()},
    }


def versions() -> dict[str, str]:
    """Return the versions of moldiff and of the libraries that results depend on."""
    return {"moldiff": VERSION, **{package: version(package) for package in PACKAGES}}


def command_line() -> str:
    """Return the command line of this process, the installed command by its own name wherever it lies."""
    program = Path(sys.argv[0]).name
    name = "moldiff" if program in ("moldiff", "moldiff.exe", "__main__.py") else program
    return shlex.join([name, *sys.argv[1:]])


def hardware(device: torch.device) -> str:
    """Return one line on what torch works on."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).name
    return f"{_processor()}, {torch.get_num_threads()} threads"


def source_commit() -> str:
    """Return the commit of the source tree that the package runs from; an empty string for an installed package."""
    folder = Path(__file__).parents[1]
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _processor() -> str:
    """The processor's name; Linux hides it in a file."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
