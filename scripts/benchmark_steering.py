"""Measure how well wanted properties are met: property x guidance scale, against honest baselines.

    python scripts/benchmark_steering.py qm9 -n 500 -o scripts/results/steering.md

Targets are drawn with sizes from the training joint. The judge is the true calculator (RDKit, GFN2-xTB) on the molecule
as drawn; plain argmax, no retries, no filters; a molecule that is not valid and connected counts as outside the band
and has no error. Baselines come from the draws of scale 0, unguided molecules of the right size: their own error
("right size only"), the error against all other targets ("unconditional", the U-bound), and the nearest of k such draws
of the same size ("best of k"), which cost as much as a guided one. A finished cell is a row of cells.csv in the working
folder; started again, the script goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from cells import Cells

from moldiff.checkpoint import load_model_folder
from moldiff.errors import MoldiffError
from moldiff.files import write_text
from moldiff.model import MoleculeModel
from moldiff.sampling.generate import generate_files
from moldiff.sampling.guidance import Guidance
from moldiff.sampling.solvers import DEFAULT_SOLVER
from moldiff.sampling.steering import Wishes
from moldiff.sampling.targets import VALUE_BAND
from moldiff.training.provenance import hardware

PROPERTIES = ("logp", "tpsa", "gfn2_gap_eV", "gfn2_dipole_D")
SCALES = (1.0, 2.0, 3.0)
SIZE_ONLY, UNCONDITIONAL, BEST = "right size only", "unconditional", "best of 2"
KEY = ("model_sha256", "property", "method", "steps", "n", "seed")
FIGURES = ("mae", "in_band", "valid", "unique")
COLUMNS = (*KEY, "evaluations", *(f"{name}{end}" for name in FIGURES for end in ("", "_se")), "date")


class Cell:
    """The draws of one generation: errors (n,), NaN where there is no valid and connected molecule, and the rest."""

    def __init__(self, path: Path, name: str) -> None:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.targets = np.array([float(row[f"target_{name}"]) for row in rows])
        self.errors = np.array([float(row[f"error_{name}"] or "nan") for row in rows])
        self.values = self.targets + self.errors
        self.sizes = np.array([int(row["n_atoms"] or 0) for row in rows])
        self.smiles = [row["smiles"] for row in rows if row["smiles"]]
        self.evaluations = float(np.mean([float(row["evaluations"]) for row in rows]))


def share(flags: np.ndarray) -> tuple[float, float]:
    """Return a share and its standard error."""
    p = float(flags.mean())
    return p, float(np.sqrt(p * (1 - p) / len(flags)))


def figures(errors: np.ndarray, smiles: Sequence[str], band: float) -> dict[str, str]:
    """Return the figures of a row from the errors of all draws, NaN = failed."""
    sound = np.isfinite(errors)
    size = np.abs(errors[sound])
    found = {
        "mae": (float(size.mean()), float(size.std(ddof=1) / np.sqrt(len(size)))) if len(size) > 1 else (np.nan,) * 2,
        "in_band": share(np.where(sound, np.abs(errors) <= band, False)),
        "valid": share(sound),
        "unique": share(np.arange(len(smiles)) < len(set(smiles))) if smiles else (np.nan, np.nan),
    }
    return {
        f"{name}{end}": f"{value:.6g}"
        for name, pair in found.items()
        for end, value in zip(("", "_se"), pair, strict=True)
    }


def unconditional_errors(cell: Cell) -> np.ndarray:
    """Return the errors of every draw against the target of another draw, all of them at random."""
    return cell.values - np.random.default_rng(0).permutation(cell.targets)


def best_errors(cell: Cell, k: int) -> np.ndarray:
    """Return for each target the smallest error among k draws of its size, drawn at random from the others."""
    generator, errors = np.random.default_rng(0), np.full(len(cell.targets), np.nan)
    for j, target in enumerate(cell.targets):
        mates = np.flatnonzero((cell.sizes == cell.sizes[j]) & (np.arange(len(cell.sizes)) != j))
        chosen = generator.choice(mates, size=min(k, len(mates)), replace=False) if len(mates) else np.array([j])
        distances = cell.values[chosen] - target
        if np.isfinite(distances).any():
            errors[j] = distances[np.nanargmin(np.abs(distances))]
    return errors


def run(name: str, scale: float, arguments: argparse.Namespace, text: str) -> Cell:
    """Generate one cell, with as many steps whatever the scale."""
    out = arguments.work / f"{name}_{scale:g}_{arguments.steps}_{arguments.n}_{arguments.seed}.sdf"
    generate_files(
        out,
        n=arguments.n,
        model=arguments.model,
        steps=arguments.steps * Guidance.of([scale]).evaluations,
        sampler=arguments.sampler,
        seed=arguments.seed,
        device=arguments.device,
        wishes=Wishes((text,), scale),
        keep_invalid=True,
        overwrite=True,
    )
    return Cell(out.with_suffix(".csv"), name)


def measure(name: str, scale: float, arguments: argparse.Namespace, model: MoleculeModel) -> list[dict[str, str]]:
    """Return the rows of one generation: one for a scale, with scale 0 those of the baselines."""
    row = model.statistics.properties[name]
    cell = run(name, scale, arguments, f"{name}={row.minimum!r}..{row.maximum!r}")
    band = VALUE_BAND * row.std
    if scale:
        made = [(f"scale {scale:g}", cell.errors, cell.evaluations)]
    else:
        made = [
            (UNCONDITIONAL, unconditional_errors(cell), cell.evaluations),
            (SIZE_ONLY, cell.errors, cell.evaluations),
            (BEST, best_errors(cell, 2), 2 * cell.evaluations),
        ]
    known = {"property": name, "date": str(datetime.date.today())}
    return [
        known | {"method": method, "evaluations": f"{evaluations:g}"} | figures(errors, cell.smiles, band)
        for method, errors, evaluations in made
    ]


def figure(row: dict[str, str], name: str, factor: float, digits: int) -> str:
    """Return "value ± standard error"."""
    return f"{factor * float(row[name]):.{digits}f} ± {factor * float(row[f'{name}_se']):.{digits}f}"


def page(rows: Sequence[dict[str, str]], arguments: argparse.Namespace, units: dict[str, str]) -> str:
    """Return the Markdown page."""
    device = torch.device("cuda" if arguments.device.startswith("cuda") else "cpu")
    name = Path(arguments.model).name
    bounds = {row["property"]: float(row["mae"]) for row in rows if row["method"] == UNCONDITIONAL}
    lines = [
        f"# Wanted properties, met: the model {name}",
        "",
        f"`python scripts/benchmark_steering.py {name} -n {arguments.n} --steps {arguments.steps} "
        f"--seed {arguments.seed}`, {max(row['date'] for row in rows)}, {hardware(device)}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, torch {torch.__version__}; model hash "
        f"`{rows[0]['model_sha256'][:16]}`; {arguments.sampler}, {arguments.steps} steps. Targets and sizes from the "
        f"training joint; judged by the true calculator on the molecule as drawn; argmax decoding, no retries, no "
        f"filters. MAE over valid and connected molecules; the band is ± {VALUE_BAND} standard deviations of the "
        f"training data, and failures are outside. ± is one standard error.",
        "",
        "| property | method | MAE | MAE / unconditional | in band, % | valid & connected, % | unique of valid, % "
        "| evaluations | n |",
        "|---" * 9 + "|",
    ]
    for row in rows:
        bound = bounds.get(row["property"])
        ratio = "-" if bound is None else f"{float(row['mae']) / bound:.3f} ± {float(row['mae_se']) / bound:.3f}"
        lines.append(
            f"| {row['property']}{units[row['property']]} | {row['method']} | {figure(row, 'mae', 1, 3)} | {ratio} "
            f"| {figure(row, 'in_band', 100, 1)} | {figure(row, 'valid', 100, 1)} | {figure(row, 'unique', 100, 1)} "
            f"| {row['evaluations']} | {row['n']} |"
        )
    return "\n".join([*lines, ""])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="built-in model or model folder")
    parser.add_argument("-n", type=int, default=500, help="molecules of each cell")
    parser.add_argument("--steps", type=int, default=50, help="steps of the sampler; guidance doubles the evaluations")
    parser.add_argument("--sampler", default=DEFAULT_SOLVER)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--properties", nargs="+", default=list(PROPERTIES))
    parser.add_argument("--scales", nargs="+", type=float, default=list(SCALES), help="beside 0, the baselines")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark_steering"), help="folder of cells and files")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the cells that are missing, and write the table after each."""
    arguments = parse()
    arguments.work.mkdir(parents=True, exist_ok=True)
    cells = Cells(arguments.work / "cells.csv", COLUMNS, KEY)
    try:
        folder = load_model_folder(arguments.model)
        model = MoleculeModel.from_folder(folder)
        shared = {"model_sha256": folder.sha256, "steps": f"{arguments.sampler} {arguments.steps}"}
        shared |= {"n": str(arguments.n), "seed": str(arguments.seed)}
        units = {name: row.unit for name, row in model.statistics.properties.items()}
        units = {name: "" if unit in ("", "1") else f", {unit}" for name, unit in units.items()}
        for name in arguments.properties:
            for scale in (0.0, *sorted(set(arguments.scales) - {0.0})):
                cell = shared | {"property": name, "method": f"scale {scale:g}" if scale else UNCONDITIONAL}
                if not cells.holds(cell):
                    cells.append([shared | row for row in measure(name, scale, arguments, model)])
                rows = [row for row in cells.rows() if all(row[key] == shared[key] for key in shared)]
                text = page(rows, arguments, units)
                if arguments.out is not None:
                    write_text(arguments.out, text)
    except MoldiffError as error:
        raise SystemExit(f"error: {error}") from error
    print(text)


if __name__ == "__main__":
    main()
