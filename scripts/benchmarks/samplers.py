"""Compare samplers on one model: sampler x grid x network evaluations, each cell generated and evaluated like a user's.

    python -m scripts.benchmarks.samplers qm9 --data data/qm9 -n 500 -o scripts/benchmarks/results/samplers.md

A finished cell is a row of cells.csv in the working folder; started again, the script goes on where it was. Plain
argmax decoding, no retries, no filters; all requested molecules count. Every cell starts from the same seed, so that
the cells share their sizes and their prior noise. With --data, a row for as many molecules of the test split.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import itertools
import os
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moldiff.choices import DEFAULTS
from moldiff.devices import DEFAULT_PRECISION, PRECISIONS, name_of, resolve_device, resolve_precision
from moldiff.errors import MoldiffError
from moldiff.evaluation.compare import compare
from moldiff.evaluation.evaluate import evaluate
from moldiff.evaluation.load_reference import load_reference
from moldiff.evaluation.measurements import KINDS
from moldiff.evaluation.reference import Reference
from moldiff.evaluation.report import EvaluationReport
from moldiff.files import write_text
from moldiff.generation.generate import generation_run
from moldiff.generation.options.generation_options import GenerationOptions
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.sampler_options import SamplerOptions
from moldiff.models.folder import load_model_folder
from moldiff.provenance import hardware
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS
from scripts.benchmarks.cells import Cells
from scripts.benchmarks.model import write_held_out

EVALUATIONS = (10, 20, 30, 50, 100)
HELD_OUT = "held-out data"  # stands for a sampler in the row of real molecules
RATES = {
    "valid_connected": "valid & connected",
    "molecule_stability": "stable",
    "edm_molecule_stability": "stable, EDM rule",
    "unique": "unique of valid",
}
BOOTSTRAPS = 20
KEY = ("model_sha256", "sampler", "grid", "asked", "n", "seed", "precision")
COLUMNS = (
    *KEY,
    "evaluations",
    *itertools.chain.from_iterable((name, f"{name}_se") for name in (*RATES, *KINDS)),
    *(f"{kind}_floor" for kind in KINDS),
    "motifs",
    "motifs_floor",
    "seconds_per_1000",
    "device",
    "date",
)


def bootstrap_errors(report: EvaluationReport, reference: Reference) -> dict[str, float | None]:
    """Return the standard error of each kind's W1 distance, from molecules drawn again with replacement."""
    generator, count = np.random.default_rng(0), len(report.sample)
    drawn: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(BOOTSTRAPS if count else 0):
        geometry = compare(report.sample.take(generator.integers(count, size=count)), reference).geometry
        for kind, found in geometry.items():
            if found.w1 is not None:
                drawn[kind].append(found.w1)
    return {kind: float(np.std(values, ddof=1)) if len(values) > 1 else None for kind, values in drawn.items()}


def measured(report: EvaluationReport, reference: Reference) -> dict[str, Any]:
    """Return the figures of one evaluated file, by column."""
    row: dict[str, Any] = {}
    for name in RATES:
        row[name], row[f"{name}_se"] = report.metrics[name].value, report.metrics[name].standard_error
    errors = bootstrap_errors(report, reference)
    for kind, found in report.comparison.geometry.items() if report.comparison is not None else ():
        row[kind], row[f"{kind}_se"], row[f"{kind}_floor"] = found.w1, errors[kind], found.floor
    made = report.comparison.proportions if report.comparison is not None else None
    row["motifs"], row["motifs_floor"] = (made.deviation, made.floor) if made is not None else (None, None)
    return {name: "" if value is None else f"{value:.6g}" for name, value in row.items()}


def run_cell(cell: dict[str, str], arguments: argparse.Namespace, reference: Reference) -> dict[str, Any]:
    """Generate and evaluate one cell; return its row."""
    out = arguments.work / "_".join(["sampler", cell["sampler"], cell["grid"], cell["asked"], cell["seed"]])
    n = int(cell["n"])
    started = time.perf_counter()
    options = GenerationOptions(
        n=n,
        model=arguments.model,
        sampler=SamplerOptions.of(
            evaluations=int(cell["asked"]),
            sampler=cell["sampler"],
            grid=cell["grid"],
            seed=int(cell["seed"]),
            device=arguments.device,
            precision=cell["precision"],
        ),
        output=OutputOptions(path=out.with_suffix(".sdf"), keep_invalid=True, overwrite=True),
    )
    generation_run(options).write()
    seconds = time.perf_counter() - started
    with out.with_suffix(".csv").open(encoding="utf-8") as file:
        evaluations = next(csv.DictReader(file))["evaluations"]
    report = evaluate(out.with_suffix(".sdf"), reference, requested=n, hydrogens="explicit", posebusters=0)
    return {
        **cell,
        **measured(report, reference),
        "evaluations": evaluations,
        "seconds_per_1000": f"{1000 * seconds / n:.4g}",
        "device": arguments.device,
        "date": str(datetime.date.today()),
    }


def run_held_out(cell: dict[str, str], arguments: argparse.Namespace, reference: Reference) -> dict[str, Any]:
    """Evaluate as many molecules of the test split; return their row."""
    out = arguments.work / f"held_out_{cell['n']}_{cell['seed']}.sdf"
    write_held_out(arguments.data, int(cell["n"]), int(cell["seed"]), out)
    report = evaluate(out, reference, requested=int(cell["n"]), hydrogens="explicit", posebusters=0)
    known = {"evaluations": "0", "seconds_per_1000": "0", "device": "", "date": str(datetime.date.today())}
    return {**cell, **measured(report, reference), **known}


def figure(row: dict[str, str], name: str, factor: float, digits: int) -> str:
    """Return "value ± standard error"."""
    if not row[name]:
        return "-"
    error = f" ± {factor * float(row[f'{name}_se']):.{digits}f}" if row[f"{name}_se"] else ""
    return f"{factor * float(row[name]):.{digits}f}{error}"


def motif_figure(row: dict[str, str]) -> str:
    """Return "deviation of the motifs (floor)"."""
    return f"{float(row['motifs']):.3f} ({float(row['motifs_floor']):.3f})" if row["motifs"] else "-"


def table(rows: Sequence[dict[str, str]]) -> Iterable[str]:
    """Yield the lines of the Markdown table."""
    units = {"bond": "Å", "angle": "°", "torsion": "°"}
    heads = [f"{label}, %" for label in RATES.values()] + [f"W1 {kind}s, {units[kind]}" for kind in KINDS]
    yield f"| sampler | grid | evaluations | {' | '.join(heads)} | motifs (floor) | s per 1,000 | n |"
    yield "|---" * (len(heads) + 6) + "|"
    order = [HELD_OUT, *SOLVERS]
    for row in sorted(
        rows, key=lambda row: (order.index(row["sampler"]), row["grid"], int(row["asked"]), int(row["n"]))
    ):
        cells = [figure(row, name, 100, 1) for name in RATES]
        cells += [figure(row, kind, 1, 4 if kind == "bond" else 2) for kind in KINDS]
        cells.append(motif_figure(row))
        yield (
            f"| {row['sampler']} | {row['grid']} | {row['evaluations']} | {' | '.join(cells)} | "
            f"{float(row['seconds_per_1000']):.3g} | {row['n']} |"
        )


def text(rows: Sequence[dict[str, str]], arguments: argparse.Namespace, reference: Reference) -> str:
    """Return the Markdown page."""
    name = Path(arguments.model).name
    floors = [f"{kind}s {float(rows[0][f'{kind}_floor']):.4g}" for kind in KINDS if rows[0][f"{kind}_floor"]]
    floor = f"; as many real training molecules have {', '.join(floors)}" if floors else ""
    device = torch.device("cuda" if arguments.device.startswith("cuda") else "cpu")
    network = rows[0]["precision"]
    lines = [
        f"# Samplers of the model {name}",
        "",
        f"`python -m scripts.benchmarks.samplers {name} -n {arguments.n} --seed {arguments.seed} --samplers "
        f"{' '.join(arguments.samplers)} --evaluations {' '.join(map(str, arguments.evaluations))}`, "
        f"{max(row['date'] for row in rows)}, {hardware(device)}, {os.cpu_count()} cores, "
        f"network in {network}, Python {platform.python_version()}, torch {torch.__version__}; model hash "
        f"`{rows[0]['model_sha256'][:16]}`. Argmax decoding, no retries, no filters; all requested molecules count. "
        f"± is one standard error (of W1: over {BOOTSTRAPS} bootstraps of the molecules). W1 distances to "
        f"{reference.source}{floor}. Motifs: mean deviation of how often an atom, bond, ring or angle type "
        "occurs in a molecule, in standard deviations of the reference (floor: real molecules). "
        "Seconds include loading the model.",
        "",
        *table(rows),
        "",
    ]
    return "\n".join(lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="built-in model or model folder")
    parser.add_argument(
        "--data", type=Path, help="prepared data set: adds a row of real molecules, and is the reference"
    )
    parser.add_argument("--reference", help="data set, SDF, JSON or model to compare with, instead of data or model")
    parser.add_argument("-n", type=int, default=500, help="molecules of each cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samplers", nargs="+", default=list(SOLVERS), choices=list(SOLVERS))
    parser.add_argument("--grids", nargs="+", default=[DEFAULTS.grid], choices=list(GRIDS))
    parser.add_argument("--evaluations", nargs="+", type=int, default=list(EVALUATIONS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default=DEFAULT_PRECISION, help="number type of the network")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark_samplers"), help="folder of cells and files")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the cells that are missing, cheapest first, and write the table after each."""
    arguments = parse()
    cells = Cells(arguments.work / "cells.csv", COLUMNS, KEY)
    try:
        sha256 = load_model_folder(arguments.model).sha256
        reference = load_reference(arguments.reference or arguments.data or arguments.model)
        precision = name_of(resolve_precision(arguments.precision, resolve_device(arguments.device)))
    except MoldiffError as error:
        raise SystemExit(f"error: {error}") from error
    wanted = [
        (s, g, str(e)) for e in sorted(arguments.evaluations) for s in arguments.samplers for g in arguments.grids
    ]
    if arguments.data is not None:
        wanted.insert(0, (HELD_OUT, "", "0"))
    for kind in wanted:
        cell = dict(zip(KEY, (sha256, *kind, str(arguments.n), str(arguments.seed), precision), strict=True))
        if not cells.holds(cell):
            run = run_held_out if cell["sampler"] == HELD_OUT else run_cell
            cells.append([run(cell, arguments, reference)])
        rows = cells.matching({"model_sha256": sha256, "precision": precision})
        if arguments.out is not None:
            write_text(arguments.out, text(rows, arguments, reference))
        print(list(table(rows[-1:]))[-1], flush=True)


if __name__ == "__main__":
    main()
