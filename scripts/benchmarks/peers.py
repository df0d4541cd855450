"""Time networks of other projects beside ours: one evaluation each, in one run, on one machine. Writes Markdown.

    python -m scripts.benchmarks.peers --edm CLONE --semlaflow CLONE --midi CLONE --eqgat CLONE -o peers.md

CLONE is a folder with a checkout of the project, for which its own packages must be installed here; what is not named,
not there or cannot be imported is skipped with one line. Networks have their published sizes and random weights; rows
are molecules of one size in one batch. Rounds take turns, so that all meet the same machine; figures are medians. On a
CPU the figure is CPU seconds, which depend least on what else the machine does.

| project | repository | network |
|---|---|---|
| EDM | ehoogeboom/e3_diffusion_for_molecules | both sizes, coordinates and atoms, no bonds |
| SemlaFlow | rssrwn/semla-flow | that for drugs |
| MiDi | cvignac/MiDi | that for drugs |
| EQGAT-diff | tuanle618/eqgat-diff | that for drugs |

An evaluation is not a molecule: the projects take from 20 to 1,000 of them, and ours knows no hydrogens of drugs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from moldiff.files import write_text
from moldiff.provenance import hardware

NETWORKS = {
    "edm_qm9": ("EDM, for QM9", "edm"),
    "edm_drugs": ("EDM, for drugs", "edm"),
    "semlaflow": ("SemlaFlow", "semlaflow"),
    "midi": ("MiDi", "midi"),
    "eqgat": ("EQGAT-diff", "eqgat"),
}
"""Network -> what it is called, and the option that names its clone."""


@dataclass(frozen=True)
class Timing:
    """One round of one network: its parameters, and the seconds of an evaluation."""

    parameters: int
    cpu: float
    wall: float


class Skipped(Exception):
    """A network cannot be evaluated here; the text says why, in one line."""


def evaluated(network: str, source: str, atoms: int, arguments: argparse.Namespace) -> Timing:
    """Return one round; Skipped if it fails."""
    command = [
        sys.executable, "-W", "ignore", "-m", "scripts.benchmarks.peer_networks", network, source,
        "--atoms", str(atoms), "--rows", str(arguments.rows), "--device", arguments.device,
        "--seconds", str(arguments.seconds),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [*done.stderr.strip().splitlines(), "it said nothing"]
    if done.returncode:
        raise Skipped(lines[-2] if len(lines) > 1 else lines[-1])
    return Timing(**json.loads(done.stdout.strip().splitlines()[-1]))


def asked(arguments: argparse.Namespace) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return network -> (what it is called, source) of those that are named, and a line for each that is not there."""
    found = {"ours": (f"moldiff, {Path(arguments.model).name}", str(arguments.model))}
    skipped = []
    for network, (title, option) in NETWORKS.items():
        clone: Path | None = getattr(arguments, option)
        if clone is None:
            skipped.append(f"{title}: no clone is named (--{option})")
        elif not clone.is_dir():
            skipped.append(f"{title}: no folder {clone}")
        else:
            found[network] = (title, str(clone))
    return found, skipped


def commit_of(source: str) -> str:
    """Return the commit of a clone, shortened; an empty string where the folder is none."""
    if not (Path(source) / ".git").exists():
        return ""
    done = subprocess.run(["git", "-C", source, "rev-parse", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip()[:12]


def measure(arguments: argparse.Namespace) -> tuple[dict[tuple[str, int], list[Timing]], dict[str, str], list[str]]:
    """Return (network, atoms) -> its rounds, network -> what it is called, and a line for each that was skipped."""
    sources, skipped = asked(arguments)
    found: dict[tuple[str, int], list[Timing]] = {}
    for line in skipped:
        print(f"skipped {line}", flush=True)
    for _ in range(arguments.rounds):
        for network, (title, source) in list(sources.items()):
            try:
                for atoms in arguments.atoms:
                    timing = evaluated(network, source, atoms, arguments)
                    found.setdefault((network, atoms), []).append(timing)
            except Skipped as reason:
                if network == "ours":
                    raise SystemExit(f"error: {reason}") from reason
                skipped.append(f"{title}: {reason}")
                print(f"skipped {skipped[-1]}", flush=True)
                del sources[network]
    titles = {
        network: title if not (commit := commit_of(source)) else f"{title} `{commit}`"
        for network, (title, source) in sources.items()
    }
    return found, titles, skipped


def page(
    found: dict[tuple[str, int], list[Timing]],
    titles: dict[str, str],
    skipped: Sequence[str],
    arguments: argparse.Namespace,
) -> str:
    """Return the table as Markdown."""
    device = torch.device(arguments.device)
    what = "wall" if device.type == "cuda" else "cpu"

    def median(network: str, atoms: int) -> float:
        return statistics.median(getattr(timing, what) for timing in found[network, atoms])

    heads = [f"{atoms} atoms: {'' if what == 'wall' else 'CPU '}ms a molecule (to ours)" for atoms in arguments.atoms]
    lines = [
        "# One evaluation of a network, beside those of other projects",
        "",
        f"`python -m scripts.benchmarks.peers --atoms {' '.join(map(str, arguments.atoms))} --rows {arguments.rows} "
        f"--rounds {arguments.rounds} --device {arguments.device} ...`, {datetime.date.today()}, {hardware(device)}, "
        f"torch {torch.__version__}, Python {platform.python_version()}; float32, random weights but for ours, "
        f"{arguments.rows} molecules of one size in a batch, medians of {arguments.rounds} rounds that took turns.",
        "",
        f"| network | parameters | {' | '.join(heads)} |",
        "|---" * (2 + len(heads)) + "|",
    ]
    for network, title in titles.items():
        parameters = found[network, arguments.atoms[0]][0].parameters
        cells = [
            f"{1e3 * median(network, atoms) / arguments.rows:.3g} "
            f"({median(network, atoms) / median('ours', atoms):.2f})"
            for atoms in arguments.atoms
        ]
        lines.append(f"| {title} | {parameters:,} | {' | '.join(cells)} |")
    lines += ["", *(f"- Skipped {line}." for line in skipped)]
    return "\n".join([*lines, ""])


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="drugs", help="of ours: built-in model or model folder")
    for option in dict.fromkeys(option for _, option in NETWORKS.values()):
        parser.add_argument(f"--{option}", type=Path, help="folder of a clone")
    parser.add_argument("--atoms", nargs="+", type=int, default=[24, 44], help="atoms of a molecule")
    parser.add_argument("--rows", type=int, default=16, help="molecules of a batch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each network, size and round")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    arguments = parse(words)
    text = page(*measure(arguments), arguments)
    print(text)
    if arguments.out is not None:
        write_text(arguments.out, text)


if __name__ == "__main__":
    main()
