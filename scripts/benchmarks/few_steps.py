"""Compare models at few network evaluations, with what few steps may cost: validity, geometry, novelty, diversity.

    python -m scripts.benchmarks.few_steps qm9 distilled=runs/distilled/model --data data/qm9 -o few_steps.md

All generate with the default sampler, plain argmax decoding, no retries, no filters; all requested molecules count.
Diversity is the mean Tanimoto distance (ECFP4) of two valid molecules.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch

from moldiff.chem.descriptors.fingerprints import mean_distances
from moldiff.devices import DEFAULT_PRECISION, name_of, resolve_device, resolve_precision
from moldiff.errors import MoldiffError
from moldiff.evaluation.evaluate import evaluate
from moldiff.evaluation.load_reference import load_reference
from moldiff.evaluation.reference import Reference
from moldiff.files import write_text
from moldiff.generation.generate import generation_run
from moldiff.generation.options.generation_options import GenerationOptions
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.sampler_options import SamplerOptions
from moldiff.models.folder import load_model_folder
from moldiff.provenance import hardware
from scripts.benchmarks.samplers import figure, measured, motif_figure

EVALUATIONS = (6, 8, 10, 20)
HEADS = (
    "model", "evaluations", "valid & connected, %", "stable, EDM rule, %", "unique of valid, %", "novel of unique, %",
    "diversity", "W1 bonds, Å", "W1 angles, °", "W1 torsions, °", "motifs (floor)", "s per 1,000",
)  # fmt: skip


def row(label: str, model: str, evaluations: int, arguments: argparse.Namespace, reference: Reference) -> str:
    """Generate, evaluate, and return a line of the table."""
    out = arguments.work / f"{label}_{evaluations}.sdf"
    started = time.perf_counter()
    options = GenerationOptions(
        n=arguments.n,
        model=model,
        sampler=SamplerOptions.of(evaluations=evaluations, seed=arguments.seed),
        output=OutputOptions(path=out, keep_invalid=True, overwrite=True),
    )
    generation_run(options).write()
    seconds = time.perf_counter() - started
    report = evaluate(out, reference, requested=arguments.n, hydrogens="explicit", posebusters=0)
    found = measured(report, reference)
    novel = report.metrics["novel"]
    named = {"novel": novel.value, "novel_se": novel.standard_error}
    found |= {name: "" if value is None else f"{value:.6g}" for name, value in named.items()}
    distances = mean_distances([one.smiles for one in report.rows if one.valid])
    rates = [figure(found, name, 100, 1) for name in ("valid_connected", "edm_molecule_stability", "unique", "novel")]
    geometry = [figure(found, kind, 1, 4 if kind == "bond" else 2) for kind in ("bond", "angle", "torsion")]
    cells = [label, str(evaluations), *rates, f"{np.nanmean(distances):.4f}", *geometry, motif_figure(found)]
    return f"| {' | '.join(cells)} | {1000 * seconds / arguments.n:.3g} |"


def parse() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="built-in models or model folders, NAME=FOLDER for another name")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set: the reference")
    parser.add_argument("-n", type=int, default=1000, help="molecules of each cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluations", nargs="+", type=int, default=list(EVALUATIONS))
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark_few_steps"), help="folder of the files made")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    return parser.parse_args()


def main() -> None:
    """Measure every model at every number of evaluations."""
    arguments = parse()
    arguments.work.mkdir(parents=True, exist_ok=True)
    models = [name.split("=", 1) if "=" in name else (Path(name).name, name) for name in arguments.models]
    device = resolve_device("auto")
    try:
        reference = load_reference(arguments.data)
        hashes = ", ".join(f"{label} `{load_model_folder(model).sha256[:16]}`" for label, model in models)
        lines = [row(label, model, e, arguments, reference) for label, model in models for e in arguments.evaluations]
    except MoldiffError as error:
        raise SystemExit(f"error: {error}") from error
    names = " ".join(label for label, _ in models)
    text = "\n".join(
        [
            "# Few network evaluations",
            "",
            f"`python -m scripts.benchmarks.few_steps {names} --data {arguments.data} -n {arguments.n} "
            f"--seed {arguments.seed} --evaluations {' '.join(map(str, arguments.evaluations))}`, "
            f"{datetime.date.today()}, {hardware(device)}, {os.cpu_count()} cores, network in "
            f"{name_of(resolve_precision(DEFAULT_PRECISION, device))}, Python {platform.python_version()}, torch "
            f"{torch.__version__}. Model hashes: {hashes}. Default sampler and grid, argmax decoding, no retries, no "
            f"filters; all requested molecules count. ± is one standard error. W1 distances to {reference.source}. "
            "Motifs: how often an atom, bond, ring or angle type occurs in a molecule, mean deviation in standard "
            "deviations of the reference (floor: real molecules). Diversity: mean Tanimoto "
            "distance (ECFP4) of two valid molecules.",
            "",
            f"| {' | '.join(HEADS)} |",
            "|---" * len(HEADS) + "|",
            *lines,
            "",
        ]
    )
    if arguments.out is not None:
        write_text(arguments.out, text)
    print(text)


if __name__ == "__main__":
    main()
