"""Measure sampling: network cost against molecule size and rows, and where the time of a generation goes.

    python -m scripts.benchmarks.sampling qm9 -o scripts/benchmarks/results/sampling.md

Run it while nothing else runs. Figures are medians after a warm-up. A "molecule evaluation" is one molecule through the
network once; a molecule costs as many as its sampler has evaluations. On a CPU, a micro-batch computes on one thread:
all tables are of one thread, and the line on speed is of all of them.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from moldiff.choices import DEFAULTS
from moldiff.datasets.batching import bucket_width
from moldiff.devices import PRECISIONS, name_of, resolve_device, resolve_precision
from moldiff.diffusion.joint import draw_noise
from moldiff.files import write_text
from moldiff.generation.decoding.decoders import ArgmaxDecoder
from moldiff.generation.generate import generate
from moldiff.generation.molecule_result import assess
from moldiff.generation.result_counts import ResultCounts
from moldiff.models.loaded import load_model
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import empty_batch
from moldiff.provenance import hardware
from moldiff.randomness import NoiseSource
from moldiff.sampling.microbatches import MicroBatches
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.solvers import SOLVERS

SIZES = (10, 18, 29, 60, 120)
ROW_COUNTS = (1, 4, 8, 16, 32)
WARM_UP, REPEATS = 2, 7


def synchronised(device: torch.device) -> float:
    """Return the time once the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def median_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(WARM_UP + REPEATS):
        start = synchronised(device)
        work()
        times.append(synchronised(device) - start)
    return statistics.median(times[WARM_UP:])


def network_seconds(model: MoleculeModel, device: torch.device, n_atoms: int, rows: int) -> float:
    """Return the seconds of one network evaluation of ``rows`` molecules of ``n_atoms`` atoms."""
    width = bucket_width(n_atoms)
    ids = torch.arange(rows)
    template = empty_batch(torch.full((rows,), n_atoms), ids, width, len(model.conditions)).to(device)
    levels = model.schedule.levels(torch.full((rows,), 0.5, dtype=torch.float64, device=device))
    noisy = model.diffusion.sample_prior(template, levels, draw_noise(NoiseSource(0), template.ids, 0, width))
    with torch.no_grad():
        previous = model.denoiser(noisy, levels, template.properties, None)
        return median_seconds(lambda: model.denoiser(noisy, levels, template.properties, previous), device)


def shares(model: MoleculeModel, device: torch.device, n: int) -> dict[str, float]:
    """Return the seconds of a generation of n molecules: network, rest of the sampling loop, RDKit."""
    network, started = 0.0, 0.0

    def before(*_: object) -> None:
        nonlocal started
        started = synchronised(device)

    def after(*_: object) -> None:
        nonlocal network
        network += synchronised(device) - started

    hooks = [model.denoiser.register_forward_pre_hook(before), model.denoiser.register_forward_hook(after)]
    molecule_sampler = MoleculeSampler(model, SOLVERS[DEFAULTS.sampler], DEFAULTS.evaluations, seed=0)
    start = synchronised(device)
    draws = sorted(molecule_sampler.draw(0, n), key=lambda draw: draw.number)
    drawn = synchronised(device)
    decoder, counts = ArgmaxDecoder(model.vocabulary), ResultCounts()
    for draw in draws:
        result = counts.take(assess(draw, decoder))
        result.sdf_record(result.row(), 0, "benchmark")
    end = time.perf_counter()
    for hook in hooks:
        hook.remove()
    return {
        "network": network,
        "noise, posteriors, the rest of the loop": drawn - start - network,
        "RDKit: conversion, checks, properties, records": end - drawn,
    }


def molecules_per_second(model: str, device: str, precision: str, n: int) -> float:
    """Return the speed of a whole generation, conversion and checks included, without imports."""
    generate(8, model=model, device=device, precision=precision)
    start = time.perf_counter()
    generate(n, model=model, device=device, precision=precision)
    return n / (time.perf_counter() - start)


def main() -> None:
    """Read the arguments, measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="built-in model or model folder")
    parser.add_argument("-n", type=int, default=100, help="molecules of the generation")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="number type of the network")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    precision = resolve_precision(arguments.precision, device)
    model = load_model(arguments.model, device=device, precision=precision).model
    rows, threads = MicroBatches(device, precision=precision).rows, torch.get_num_threads()
    speed = molecules_per_second(arguments.model, arguments.device, arguments.precision, arguments.n)
    torch.set_num_threads(1)

    lines = [
        "# Sampling, measured",
        "",
        f"`python -m scripts.benchmarks.sampling {Path(arguments.model).name} -n {arguments.n}`, "
        f"{datetime.date.today()}, {hardware(device)}, network in {name_of(precision)}, "
        f"torch {torch.__version__}, Python {platform.python_version()}.",
        "",
        f"## Cost against size ({rows} rows)",
        "",
        "| atoms | ms per molecule evaluation | relative to 18 atoms |",
        "|---|---|---|",
    ]
    cost = {n: network_seconds(model, device, n, rows) / rows for n in SIZES}
    lines += [f"| {n} | {1e3 * seconds:.2f} | {seconds / cost[18]:.2f} |" for n, seconds in cost.items()]
    lines += ["", "## Cost against rows (18 atoms)", "", "| rows | ms per molecule evaluation |", "|---|---|"]
    lines += [f"| {count} | {1e3 * network_seconds(model, device, 18, count) / count:.2f} |" for count in ROW_COUNTS]

    parts = shares(model, device, arguments.n)
    total = sum(parts.values())
    lines += [
        "",
        f"## A generation of {arguments.n} molecules, {DEFAULTS.sampler}, {DEFAULTS.evaluations} evaluations",
        "",
        f"{speed:.1f} molecules/s on {'all ' + str(threads) + ' threads' if device.type == 'cpu' else device}, "
        "loading of the model included. Where the time of one thread goes:",
        "",
        "| part | seconds | share |",
        "|---|---|---|",
        *(f"| {name} | {seconds:.2f} | {seconds / total:.1%} |" for name, seconds in parts.items()),
        "",
        f"Peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB.",
    ]
    if device.type == "cuda":
        lines.append(f"Peak memory on the device: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB.")
    text = "\n".join([*lines, ""])
    torch.set_num_threads(threads)
    print(text)
    if arguments.out is not None:
        write_text(arguments.out, text)


if __name__ == "__main__":
    main()
