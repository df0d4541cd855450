"""The package as users get it: a wheel in an empty environment, with the lowest and the newest versions it allows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.scoreboard.findings import Finding, Share
from scripts.scoreboard.named_tests import ROOT

ENDS = {"lowest": "lowest-direct", "newest": "highest"}
"""How uv names them."""
SHOWN = ("torch", "rdkit", "numpy", "e3nn", "torch-geometric", "pytorch-lightning")
LONGEST_S = 1800.0
_VERSIONS = "import importlib.metadata as m, sys; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
_COMMANDS = (
    ("generate", "-n", "4", "--model", "qm9_fast", "--device", "cpu", "--seed", "1", "-o", "drawn.sdf"),
    ("filter", str(ROOT / "data" / "sample.sdf"), "--where", "mw<500", "-o", "kept.csv"),
    ("evaluate", "drawn.sdf", "--reference", "qm9_fast", "--posebusters", "0", "-o", "report"),
)
_MADE = ("drawn.sdf", "kept.csv", "report/report.json")


def measure_wheels(share: Share) -> Iterator[Finding]:
    """R25: commands of the wheel, built anew, at both ends of the versions."""
    if not share.long:
        yield Finding("clean wheels at both ends of the versions (--long)", holds=None)
        return
    if shutil.which("uv") is None:
        yield Finding("clean wheels at both ends of the versions: uv, which installs them, is not there", holds=None)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if problem := _said(["uv", "build", "-q", "--wheel", "-o", str(folder), str(ROOT)], folder):
            yield Finding(f"the wheel cannot be built: {problem}", holds=False)
            return
        (wheel,) = folder.glob("moldiff-*.whl")
        for end, resolution in ENDS.items():
            yield _installed(wheel, folder / end, end, resolution)


def _installed(wheel: Path, folder: Path, end: str, resolution: str) -> Finding:
    """Return whether a wheel works in a new environment of its own."""
    folder.mkdir()
    python = folder / "venv" / "bin" / "python"
    asked, chosen = str(ROOT / "pyproject.toml"), str(folder / "versions.txt")
    install = ["uv", "pip", "install", "-q", "--python", str(python)]
    steps: list[Sequence[str]] = [
        ["uv", "venv", "-q", "--python", sys.executable, str(folder / "venv")],
        # of a wheel, uv would take the lowest versions of nothing but itself
        ["uv", "pip", "compile", "-q", "--python", str(python), "--resolution", resolution, asked, "-o", chosen],
        [*install, "-r", chosen],
        [*install, "--no-deps", str(wheel)],
        *([str(python.with_name("moldiff")), *words] for words in _COMMANDS),
    ]
    for step in steps:
        if problem := _said(step, folder):
            return Finding(f"clean wheel, {end} versions: {' '.join(step[:3])}: {problem}", holds=False)
    versions = subprocess.run([python, "-c", _VERSIONS, *SHOWN], cwd=folder, check=True, capture_output=True, text=True)
    made = all((folder / name).is_file() for name in _MADE)
    figure = f"clean wheel, {end} versions ({versions.stdout.strip()}): "
    return Finding(figure + f"{len(_COMMANDS)} commands {'work' if made else 'write nothing'}", holds=made)


def _said(command: Sequence[str], folder: Path) -> str:
    """Run a command as a user would, who has not this folder; return its last line if it fails, "" if it does not."""
    environment = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=LONGEST_S
        )
    except subprocess.TimeoutExpired:
        return f"not done within {LONGEST_S:g} s"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
