"""Measure how well wanted properties are met, by guidance or by a score, against honest baselines.

    python -m scripts.benchmarks.steering qm9 -n 500 -o scripts/benchmarks/results/steering.md

Targets are drawn with sizes from the training joint. The judge is the true calculator (RDKit, GFN2-xTB) on the molecule
as drawn; plain argmax, no retries, no filters; a molecule that is not valid and connected counts as outside the band
and has no error. Baselines come from the draws of scale 0, unguided molecules of the right size: their own error
("right size only"), the error against all other targets ("unconditional", the U-bound), and the nearest of k such
draws: "best of 2, right size" costs as much as a guided draw, "best of K" as much as a group of K particles. What a
different molecule costs is a column of its own: particles of a group are often copies. Diversity is the mean Tanimoto
distance (ECFP4) of two valid molecules, copies included.

Sequential Monte Carlo ("SMC") draws a group of K particles, conditioned on the target (scale 1) and of the size that
was drawn with it, for each of the first n / K targets, with the weight exp(-W distance), the distance in standard
deviations of the training data. One row counts all of the group, copies included, one counts copies of a molecule as
failed (its figures compare with those of single draws), another the nearest of each group, which compares with "best of
K". With a property network (--property-model) come the same rows with its prediction as the score, and draws pulled by
its gradient. A finished cell is a row of cells.csv in the working folder; started again, the script goes on where it
was.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from moldiff.chem.descriptors.fingerprints import mean_distances
from moldiff.choices import DEFAULTS
from moldiff.datasets.statistics import PropertyStatistics
from moldiff.errors import MoldiffError
from moldiff.files import write_text
from moldiff.generation.generate import generation_run
from moldiff.generation.options.generation_options import GenerationOptions
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.sampler_options import SamplerOptions
from moldiff.generation.options.steering_options import SteeringOptions
from moldiff.models.folder import ModelFolder, load_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.provenance import hardware
from moldiff.sampling.guidance import Guidance
from moldiff.scoring.targets import VALUE_BAND
from scripts.benchmarks.cells import Cells
from scripts.benchmarks.target_groups import TargetGroups, copies_as_failed

MEASURED = ("logp", "tpsa", "gfn2_gap_eV", "gfn2_dipole_D")
SCALES = (1.0, 2.0, 3.0)
WEIGHTS = (4.0, 16.0)
SMC, GRADIENT, BY_NETWORK = "SMC", "gradient", ", by a network"
SIZE_ONLY, UNCONDITIONAL, BEST = "right size only", "unconditional", "best of 2, right size"
FEW = (3, 6)  # "best of" so many, beside as many as a group has particles
KEY = ("model_sha256", "property", "method", "steps", "n", "seed")
FIGURES = ("mae", "in_band", "valid", "unique", "diversity")
COLUMNS = (*KEY, "evaluations", *(f"{name}{end}" for name in FIGURES for end in ("", "_se")), "date")


class Cell:
    """The draws of one generation: errors (n,) against the value that each was conditioned on, NaN where there is no
    valid and connected molecule, and the rest."""

    def __init__(self, path: Path, name: str) -> None:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.targets = np.array([float(row[f"target_{name}"]) for row in rows])
        self.values = np.array([float(row[name] or "nan") for row in rows])
        self.errors = self.values - self.targets
        self.sizes = np.array([int(row["n_atoms"] or 0) for row in rows])
        self.smiles = [row["smiles"] for row in rows if row["smiles"]]
        self.evaluations = float(np.mean([float(row["evaluations"]) for row in rows]))


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return the mean of (groups, members), NaN = missing, and its standard error: groups are independent."""
    counts = np.isfinite(values).sum(1)
    if counts.sum() == 0 or len(values) < 2:
        return (float(np.nanmean(values)) if counts.any() else np.nan), np.nan
    mean = float(np.nanmean(values))
    deviations = np.nansum(values - mean, axis=1) / counts.mean()
    return mean, float(np.sqrt((deviations**2).sum() / (len(values) - 1) / len(values)))


def diversity(smiles: Sequence[str]) -> tuple[float, float]:
    """Return the mean Tanimoto distance (ECFP4) between two molecules, copies included, and its standard error, that of
    a U-statistic (Hoeffding 1948, section 5): 2 / sqrt(n) times the spread of the molecules' own means."""
    if len(smiles) < 3:
        return np.nan, np.nan
    means = mean_distances(smiles)
    return float(means.mean()), float(2 * means.std(ddof=1) / np.sqrt(len(means)))


def figures(errors: np.ndarray, smiles: Sequence[str], band: float) -> dict[str, str]:
    """Return the figures of a row from the errors (groups, members) of all draws, NaN = failed."""
    sound = np.isfinite(errors)
    distinct = (np.arange(len(smiles)) < len(set(smiles))).astype(float)[:, None]
    found = {
        "mae": mean_and_error(np.abs(errors)),
        "in_band": mean_and_error(np.where(sound, np.abs(errors) <= band, 0.0)),
        "valid": mean_and_error(sound.astype(float)),
        "unique": mean_and_error(distinct) if smiles else (np.nan, np.nan),
        "diversity": diversity(smiles),
    }
    return {
        f"{name}{end}": f"{value:.6g}"
        for name, pair in found.items()
        for end, value in zip(("", "_se"), pair, strict=True)
    }


def unconditional_errors(cell: Cell) -> np.ndarray:
    """Return the errors of every draw against the target of another draw, all of them at random."""
    return cell.values - np.random.default_rng(0).permutation(cell.targets)


def best_errors(cell: Cell, k: int, right_size: bool) -> np.ndarray:
    """Return for each target the smallest error among k draws, of its size or any, drawn at random from the others."""
    generator, errors = np.random.default_rng(0), np.full(len(cell.targets), np.nan)
    for j, target in enumerate(cell.targets):
        like = cell.sizes == cell.sizes[j] if right_size else np.full(len(cell.sizes), True)
        mates = np.flatnonzero(like & (np.arange(len(cell.sizes)) != j))
        chosen = generator.choice(mates, size=min(k, len(mates)), replace=False) if len(mates) else np.array([j])
        distances = cell.values[chosen] - target
        if np.isfinite(distances).any():
            errors[j] = distances[np.nanargmin(np.abs(distances))]
    return errors


def run(name: str, scale: float, arguments: argparse.Namespace, text: str) -> Cell:
    """Generate one cell, with as many steps whatever the scale; read it if that was done before."""
    hashed = load_model_folder(arguments.model).sha256[:8]
    stem = f"{hashed}_{name}_{arguments.sampler}_{scale:g}_{arguments.steps}_{arguments.n}_{arguments.seed}"
    out = arguments.work / f"{stem}.sdf"
    if out.with_suffix(".csv").exists():
        return Cell(out.with_suffix(".csv"), name)
    options = GenerationOptions(
        n=arguments.n,
        model=arguments.model,
        sampler=SamplerOptions.of(
            evaluations=arguments.steps * Guidance.of([scale]).evaluations,
            sampler=arguments.sampler,
            seed=arguments.seed,
            device=arguments.device,
        ),
        steering=SteeringOptions.of(targets=text, guidance=scale),
        output=OutputOptions(path=out, keep_invalid=True, overwrite=True),
    )
    generation_run(options).write()
    return Cell(out.with_suffix(".csv"), name)


Made = tuple[str, np.ndarray, Sequence[str], float]  # method, errors (groups, members), SMILES, evaluations


def baselines(cell: Cell, particles: int) -> list[Made]:
    """Return what unguided draws of the right size tell."""
    single, smiles = cell.evaluations, cell.smiles
    return [
        (UNCONDITIONAL, unconditional_errors(cell)[:, None], smiles, single),
        (SIZE_ONLY, cell.errors[:, None], smiles, single),
        (BEST, best_errors(cell, 2, True)[:, None], [], 2 * single),
        *((f"best of {k}", best_errors(cell, k, False)[:, None], [], k * single) for k in (*FEW, particles)),
    ]


def by_score(groups: TargetGroups, method: str, weight: float, network: str | None) -> list[Made]:
    """Return what sequential Monte Carlo makes for the targets of the baselines."""
    errors, smiles, single = groups.by_score(weight, network)
    nearest = np.where(np.isfinite(errors), errors, np.inf).min(1)
    nearest = np.where(np.isfinite(nearest), nearest, np.nan)
    different = copies_as_failed(errors, smiles)
    return [
        (method, errors, valid_of(smiles), single),
        (f"{method}, copies as failed", different, [], single),
        (f"{method}, nearest", nearest[:, None], [], groups.members * single),
    ]


def by_gradient(groups: TargetGroups, method: str, scale: float, arguments: argparse.Namespace) -> list[Made]:
    """Return what a property network pulls towards the targets of the baselines, alone and on top of scale 1."""
    made: list[Made] = []
    for name, guidance in ((method, None), (f"{method}, on scale 1", 1.0)):
        errors, smiles, single = groups.by_gradient(arguments.property_model, scale, guidance)
        made.append((name, errors, valid_of(smiles), single))
    return made


def valid_of(smiles: list[list[str]]) -> list[str]:
    """Return those of valid molecules."""
    return [one for own in smiles for one in own if one]


def smc_name(weight: float, particles: int) -> str:
    """Return what a row of sequential Monte Carlo is called."""
    return f"{SMC}, {particles} particles, W {weight:g}"


def measure(
    name: str, method: str, value: float, arguments: argparse.Namespace, folder: ModelFolder, row: PropertyStatistics
) -> list[dict[str, str]]:
    """Return the rows of one generation, by the method's scale or weight: with scale 0 those of the baselines."""
    text = f"{name}={row.minimum!r}..{row.maximum!r}"
    if method.startswith(SMC):
        network = arguments.property_model if method.endswith(BY_NETWORK) else None
        made = by_score(TargetGroups(name, text, arguments, folder), method, value, network)
    elif method.startswith(GRADIENT):
        made = by_gradient(TargetGroups(name, text, arguments, folder), method, value, arguments)
    elif value:
        cell = run(name, value, arguments, text)
        made = [(method, cell.errors[:, None], cell.smiles, cell.evaluations)]
    else:
        made = baselines(run(name, 0.0, arguments, text), arguments.particles)
    known = {"property": name, "date": str(datetime.date.today())}
    return [
        known | {"method": method, "evaluations": f"{evaluations:g}"} | figures(errors, smiles, VALUE_BAND * row.std)
        for method, errors, smiles, evaluations in made
    ]


def figure(row: dict[str, str], name: str, factor: float, digits: int) -> str:
    """Return "value ± standard error", or a dash where there is none."""
    if row[name] == "nan":
        return "-"
    return f"{factor * float(row[name]):.{digits}f} ± {factor * float(row[f'{name}_se']):.{digits}f}"


def evaluations_per_unique(row: dict[str, str]) -> float:
    """Return the network evaluations that a different valid molecule costs; what is chosen from several is different
    as it is."""
    unique = 1.0 if row["unique"] == "nan" else float(row["unique"])
    return float(row["evaluations"]) / max(float(row["valid"]) * unique, 1e-9)


def _lists(arguments: argparse.Namespace) -> str:
    """Return the methods as they stand on the command line."""
    scales, weights = (" ".join(f"{one:g}" for one in own) for own in (arguments.scales, arguments.weights))
    network = "" if arguments.property_model is None else f"--property-model {Path(arguments.property_model).name}"
    return " ".join(["", *f"--scales {scales} --weights {weights} {network}".split()])


def page(rows: Sequence[dict[str, str]], arguments: argparse.Namespace, units: dict[str, str]) -> str:
    """Return the Markdown page."""
    device = torch.device("cuda" if arguments.device.startswith("cuda") else "cpu")
    name = Path(arguments.model).name
    bounds = {row["property"]: float(row["mae"]) for row in rows if row["method"] == UNCONDITIONAL}
    latest = max(row["date"] for row in rows)
    lines = [
        f"# Wanted properties, met: the model {name}",
        "",
        f"`python -m scripts.benchmarks.steering {name} -n {arguments.n} --steps {arguments.steps} "
        f"--seed {arguments.seed} --particles {arguments.particles}{_lists(arguments)}`, {latest}, {hardware(device)}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}; model hash "
        f"`{rows[0]['model_sha256'][:16]}`; {arguments.sampler}, {arguments.steps} steps. Targets and sizes from the "
        f"training joint; judged by the true calculator on the molecule as drawn; argmax decoding, no retries, no "
        f"filters. MAE over valid and connected molecules; the band is ± {VALUE_BAND} standard deviations of the "
        f"training data, and failures are outside. SMC: conditioned at scale 1, of the target's size, "
        f"n / {arguments.particles} targets; what guides it is the judge itself, as in 'best of', or a property "
        f"network. Gradient: of that network, at that scale. ± is one standard error, over targets.",
        "",
        "| property | method | MAE | MAE / unconditional | in band, % | valid & connected, % | unique of valid, % "
        "| diversity | evaluations | per unique molecule | n |",
        "|---" * 11 + "|",
    ]
    for row in rows:
        bound = bounds.get(row["property"])
        ratio = "-" if bound is None else f"{float(row['mae']) / bound:.3f} ± {float(row['mae_se']) / bound:.3f}"
        lines.append(
            f"| {row['property']}{units[row['property']]} | {row['method']} | {figure(row, 'mae', 1, 3)} | {ratio} "
            f"| {figure(row, 'in_band', 100, 1)} | {figure(row, 'valid', 100, 1)} | {figure(row, 'unique', 100, 1)} "
            f"| {figure(row, 'diversity', 1, 3)} | {row['evaluations']} | {evaluations_per_unique(row):.0f} "
            f"| {row['n']} |"
        )
    return "\n".join([*lines, ""])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="built-in model or model folder")
    parser.add_argument("-n", type=int, default=500, help="molecules of each cell")
    parser.add_argument("--steps", type=int, default=50, help="steps of the sampler; guidance doubles the evaluations")
    parser.add_argument("--sampler", default=DEFAULTS.sampler)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--properties", nargs="+", default=list(MEASURED))
    parser.add_argument("--scales", nargs="*", type=float, default=list(SCALES), help="beside 0, the baselines")
    parser.add_argument("--weights", nargs="*", type=float, default=list(WEIGHTS), help="of sequential Monte Carlo")
    parser.add_argument("--particles", type=int, default=16, help="of a group of sequential Monte Carlo")
    parser.add_argument("--property-model", help="folder of a property network")
    parser.add_argument("--property-scales", nargs="*", type=float, default=[3.0], help="of its gradient")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark_steering"), help="folder of cells and files")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the cells that are missing, and write the table after each."""
    arguments = parse()
    cells = Cells(arguments.work / "cells.csv", COLUMNS, KEY)
    try:
        folder = load_model_folder(arguments.model)
        model = MoleculeModel.from_folder(folder)
        shared = {"model_sha256": folder.sha256, "steps": f"{arguments.sampler} {arguments.steps}"}
        shared |= {"n": str(arguments.n), "seed": str(arguments.seed)}
        units = {name: row.unit for name, row in model.statistics.properties.items()}
        units = {name: "" if unit in ("", "1") else f", {unit}" for name, unit in units.items()}
        methods = [
            (UNCONDITIONAL, 0.0),
            *((f"scale {scale:g}", scale) for scale in sorted(set(arguments.scales) - {0.0})),
        ]
        methods += [(smc_name(weight, arguments.particles), weight) for weight in arguments.weights]
        if arguments.property_model is not None:
            methods += [
                (f"{smc_name(weight, arguments.particles)}{BY_NETWORK}", weight) for weight in arguments.weights
            ]
            methods += [(f"{GRADIENT} {scale:g}", scale) for scale in arguments.property_scales]
        asked = [
            (
                {"property": name, "method": method},
                partial(measure, name, method, value, arguments, folder, model.statistics.properties[name]),
            )
            for name in arguments.properties
            for method, value in methods
        ]
        for rows in cells.complete(shared, asked):
            text = page(rows, arguments, units)
            if arguments.out is not None:
                write_text(arguments.out, text)
    except MoldiffError as error:
        raise SystemExit(f"error: {error}") from error
    print(text)


if __name__ == "__main__":
    main()
