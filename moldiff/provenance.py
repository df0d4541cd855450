"""What a trained model's card says of the machine and the source."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import torch


def hardware(device: torch.device) -> str:
    """Return one line on what the training ran on."""
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
