"""Compare training recipes at equal molecules, batches and noise, by validation loss. Writes a Markdown table.

    python -m scripts.benchmarks.recipe data/qm9 --kekule data/qm9_kekule -o scripts/benchmarks/results/ablations.md

Each variant is a short `moldiff train configs/qm9.yaml` that ends in a decay. A variant that is finished is not run
again, so the script can be stopped and started. The loss is that of the averaged weights on held-out molecules, always
with the same molecules, times and noise; in bins of t, so that recipes can be told apart where they differ.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from moldiff.files import write_text
from moldiff.provenance import hardware

FIELDS = ("pos", "atom_type", "bond_type")
BINS = 10
SHORT = {"optimizer.warmup_steps": "50", "optimizer.ema_decay": "0.95", "training.validation_molecules": "1024"}


@dataclass(frozen=True)
class Variant:
    """One recipe: its name in the table and what it changes in the training file."""

    name: str
    changes: dict[str, str]
    kekule: bool = False


VARIANTS = (
    Variant("the recipe (Muon 6e-3, l <= 1, aromatic class, 6 layers of 192)", {}),
    Variant(
        "AdamW 1.2e-3 alone instead of Muon",
        {"optimizer.muon_learning_rate": "0", "optimizer.learning_rate": "1.2e-3"},
    ),
    Variant("l <= 2", {"network.l_max": "2"}),
    Variant("4 layers of 240 instead of 6 of 192", {"network.layers": "4", "network.node_width": "240"}),
    Variant("Kekule bonds instead of an aromatic class", {}, kekule=True),
)


def run(variant: Variant, folder: Path, data: Path, steps: int, threads: int) -> None:
    """Train one variant into ``folder`` unless its last validation is there."""
    if (folder / "validation.csv").exists() and _losses(folder, steps):
        return
    settings = {
        **SHORT,
        "data": str(data),
        "output": str(folder),
        "training.steps": str(steps),
        "training.validate_every": str(steps),
        "training.log_every": "50",
        "optimizer.decay_steps": str(steps // 4),
        "training.threads": str(threads),
        **variant.changes,
    }
    command = [sys.executable, "-m", "moldiff", "train", "configs/qm9.yaml", "--resume", "auto"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    subprocess.run(command, check=True)


def _losses(folder: Path, step: int) -> dict[str, list[float]]:
    """Return field -> loss by bin at ``step``; empty if it is not there."""
    losses: dict[str, list[float]] = {}
    with open(folder / "validation.csv", encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            if int(row["step"]) == step:
                losses.setdefault(row["field"], [0.0] * BINS)[int(row["bin"])] = float(row["loss"])
    return losses


def _pace(folder: Path) -> float:
    """Return the median of molecules/s over the run."""
    with open(folder / "metrics.csv", encoding="utf-8", newline="") as handle:
        paces = sorted(float(row["molecules_per_second"]) for row in csv.DictReader(handle))
    return paces[len(paces) // 2]


def table(results: dict[str, Path], steps: int, arguments: argparse.Namespace) -> str:
    """Return the Markdown text."""
    losses = {name: _losses(folder, steps) for name, folder in results.items()}
    lines = [
        "# Training recipes, compared",
        "",
        f"`python -m scripts.benchmarks.recipe {arguments.data.name} --steps {steps}`, {datetime.date.today()}, "
        f"{hardware(torch.device('cpu'))}, torch {torch.__version__}.",
        f"Each variant saw the same {steps * 48:,} molecules in batches of 48 with the same noise, the last quarter "
        "with a falling rate. Losses of the averaged weights on 1,024 held-out molecules; pos is the weighted squared "
        "error, the others are nats per atom and per unordered pair. The pace depends on what else ran; compare it "
        "with care. Losses of the Kekule variant are of another vocabulary: its bond loss cannot be compared.",
        "",
        "| variant | pos | atom_type | bond_type | molecules/s |",
        "|---|---|---|---|---|",
    ]
    for name, folder in results.items():
        means = " | ".join(f"{sum(losses[name][field]) / BINS:.4f}" for field in FIELDS)
        lines.append(f"| {name} | {means} | {_pace(folder):.0f} |")
    edges = " | ".join(f"{number / BINS:.1f}-{(number + 1) / BINS:.1f}" for number in range(BINS))
    for field in FIELDS:
        lines += ["", f"## {field}, by t (0 = data, 1 = noise)", "", f"| variant | {edges} |", "|---" * 11 + "|"]
        lines += [
            f"| {name} | " + " | ".join(f"{value:.3f}" for value in losses[name][field]) + " |" for name in results
        ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Read the arguments, train what is missing, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="prepared data set with an aromatic class")
    parser.add_argument("--kekule", type=Path, help="the same molecules prepared with --bonds kekule")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/recipes"), help="folder of the runs")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    results = {}
    for number, variant in enumerate(VARIANTS):
        if variant.kekule and arguments.kekule is None:
            continue
        folder = arguments.work / f"variant-{number}"
        run(variant, folder, arguments.kekule if variant.kekule else arguments.data, arguments.steps, arguments.threads)
        results[variant.name] = folder
    text = table(results, arguments.steps, arguments)
    print(text)
    if arguments.out is not None:
        write_text(arguments.out, text)


if __name__ == "__main__":
    main()
