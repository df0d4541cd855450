"""Measure training: molecules/s against batch size and molecule size, and the parts of a step. Writes Markdown.

    python -m scripts.benchmarks.training configs/qm9.yaml --data data/qm9 -o scripts/benchmarks/results/training.md

Run it while nothing else runs. Figures are medians after a warm-up, of the network in the training file with fresh
weights, without self-conditioning (which adds a forward pass to its share of the steps).
"""

from __future__ import annotations

import argparse
import datetime
import platform
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from moldiff.config import TrainConfig, load_training
from moldiff.datasets.batching import bucket_width
from moldiff.datasets.prepared import PreparedDataset
from moldiff.devices import resolve_device
from moldiff.diffusion.joint import draw_noise
from moldiff.diffusion.levels import Levels
from moldiff.files import write_text
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch, empty_batch
from moldiff.provenance import hardware
from moldiff.randomness import NoiseSource
from moldiff.training.optimizers import build_optimizers

SIZES = (10, 18, 29, 60)
BATCHES = (16, 48, 128)
WARM_UP, REPEATS = 2, 5


class Bench:
    """A model under training on random molecules."""

    def __init__(self, config: TrainConfig, dataset: PreparedDataset, device: torch.device) -> None:
        torch.manual_seed(0)
        self.config, self.device = config, device
        self.model = MoleculeModel.build(
            config.network, config.curve, dataset.vocabulary, dataset.statistics, config.conditions
        )
        self.model.denoiser.to(device).train()
        self.optimizers = build_optimizers(self.model.denoiser, config.optimizer)

    def batch(self, n_atoms: int, rows: int) -> tuple[MolBatch, Levels]:
        """Return molecules of ``n_atoms`` random atoms and levels in the middle of the curve."""
        width = bucket_width(n_atoms)
        template = empty_batch(torch.full((rows,), n_atoms), torch.arange(rows), width, len(self.model.conditions)).to(
            self.device
        )
        levels = self.model.schedule.levels(torch.full((rows,), 0.5, dtype=torch.float64, device=self.device))
        noise = draw_noise(NoiseSource(0), template.ids, 0, width)
        return self.model.diffusion.sample_prior(template, levels, noise), levels

    def gradient(self, batch: MolBatch, levels: Levels) -> None:
        """Forward and backward."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.training.bf16):
            prediction = self.model.denoiser(batch, levels, batch.properties, None)
        losses = self.model.diffusion.loss(batch, levels, prediction)
        self.model.denoiser.zero_grad(set_to_none=True)
        torch.stack([losses[field].mean() for field in FIELDS]).sum().backward()

    def update(self) -> None:
        """Step the optimisers with the gradient that is there."""
        for optimizer in self.optimizers:
            optimizer.step()

    def median_seconds(self, work: Callable[[], object]) -> float:
        """Return the median time of a call, the device's work included."""
        times = []
        for _ in range(WARM_UP + REPEATS):
            start = time.perf_counter()
            work()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        return statistics.median(times[WARM_UP:])


def main() -> None:
    """Read the arguments, measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="prepared data set: vocabulary and statistics")
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    config = load_training(arguments.config, [])
    if not isinstance(config, TrainConfig):
        parser.error(f"{arguments.config} trains no model that generates molecules")
    bench = Bench(config, PreparedDataset.open(arguments.data), device)
    parameters = sum(parameter.numel() for parameter in bench.model.denoiser.parameters())

    lines = [
        "# Training, measured",
        "",
        f"`python -m scripts.benchmarks.training {arguments.config}`, {datetime.date.today()}, {hardware(device)}, "
        f"torch {torch.__version__}, Python {platform.python_version()}; {parameters:,} parameters.",
        "",
        "Molecules/s, forward and backward:",
        "",
        "| atoms | " + " | ".join(f"batch {rows}" for rows in BATCHES) + " |",
        "|---" * (len(BATCHES) + 1) + "|",
    ]
    for n_atoms in SIZES:
        cells = []
        for rows in BATCHES:
            batch, levels = bench.batch(n_atoms, rows)
            cells.append(f"{rows / bench.median_seconds(partial(bench.gradient, batch, levels)):.0f}")
        lines.append(f"| {n_atoms} | " + " | ".join(cells) + " |")
    lines += ["", f"Optimiser step: {1e3 * bench.median_seconds(bench.update):.1f} ms, whatever the batch."]
    lines += [f"Peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB."]
    if device.type == "cuda":
        lines.append(f"Peak memory on the device: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB.")
    text = "\n".join([*lines, ""])
    print(text)
    if arguments.out is not None:
        write_text(arguments.out, text)


if __name__ == "__main__":
    main()
