"""Measure how much of a molecule is left in its variations: similarity to the seed against the strength of the noise.

    python -m scripts.benchmarks.vary qm9 --data data/qm9 -o scripts/benchmarks/results/vary.md

Seeds are held-out molecules. Plain argmax, no retries, no filters. The similarity is Tanimoto's of Morgan fingerprints
(radius 2, 2048 bits), over valid variations; its floor is that between different held-out molecules of the same size.
A PNG of the same name goes beside the table. A finished strength is a row of cells.csv in the working folder; started
again, the script goes on where it was.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rdkit.Chem import Mol

from moldiff.chem.convert import decode
from moldiff.chem.descriptors.fingerprints import nearest_similarity
from moldiff.chem.identity import canonical_smiles
from moldiff.choices import DEFAULTS
from moldiff.datasets.prepared import PreparedDataset
from moldiff.errors import MoldiffError
from moldiff.files import atomic_writer, write_text
from moldiff.generation.variations import OTHER, SAME, STEREOISOMER
from moldiff.generation.vary import vary
from moldiff.models.folder import load_model_folder
from moldiff.provenance import hardware
from scripts.benchmarks.cells import Cells
from scripts.benchmarks.means import PARTS, mean_and_error, means_of_parts, parts_table

STRENGTHS = (0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9)
KEY = ("model_sha256", "strength", "steps", "seeds", "n", "seed")
FIGURES = ("valid", "similarity", SAME, STEREOISOMER, "similarity_other")
COLUMNS = (*KEY, *(f"{name}{end}" for name in FIGURES for end in ("", "_se")), "parts", "date")


def held_out(data: Path, count: int, seed: int) -> tuple[list[Mol], float]:
    """Return molecules of the test split at random, and the mean similarity of pairs of the same size."""
    dataset = PreparedDataset.open(data)
    order = np.random.default_rng(seed).permutation(dataset.indices("test"))
    sizes = dataset.sizes
    seeds, pairs = [], []
    for row in order[:count].tolist():
        mate = next(other for other in order[::-1].tolist() if sizes[other] == sizes[row])
        one, other = (decode(dataset.molecule(k), dataset.vocabulary).mol for k in (row, mate))
        if one is None or other is None:
            continue
        seeds.append(one)
        if mate != row:
            smiles = [canonical_smiles(mol, stereo=True) for mol in (one, other)]
            pairs.append(float(nearest_similarity(smiles[:1], smiles[1:])[0]))
    return seeds, float(np.mean(pairs))


def measure(seeds: list[Mol], strength: float, arguments: argparse.Namespace) -> list[dict[str, str]]:
    """Return the row of one strength; errors are over seeds, because the variations of one are alike."""
    made = vary(
        seeds, arguments.n, strength=strength, model=arguments.model, evaluations=arguments.evaluations,
        sampler=arguments.sampler, seed=arguments.seed, device=arguments.device,
    )  # fmt: skip
    records = [mol.GetIntProp("record") for mol in made]
    counts = np.bincount(np.array(records, int), minlength=len(seeds))
    similarity = [mol.GetDoubleProp("similarity") for mol in made]
    same = [mol.GetProp("same_molecule") for mol in made]
    other = [place for place, word in enumerate(same) if word == OTHER]
    found = {
        "valid": mean_and_error((counts / arguments.n).tolist()),
        "similarity": mean_and_error(similarity, records),
        SAME: mean_and_error([float(word == SAME) for word in same], records),
        STEREOISOMER: mean_and_error([float(word == STEREOISOMER) for word in same], records),
        "similarity_other": mean_and_error([similarity[k] for k in other], [records[k] for k in other]),
    }
    row = {
        f"{name}{end}": f"{value:.6g}"
        for name, pair in found.items()
        for end, value in zip(("", "_se"), pair, strict=True)
    }
    row["parts"] = " ".join(f"{value:.6g}" for value in means_of_parts(similarity, records))
    return [row | {"date": str(datetime.date.today())}]


def page(rows: Sequence[dict[str, str]], floor: float, arguments: argparse.Namespace) -> str:
    """Return the Markdown page."""
    device = torch.device("cuda" if arguments.device.startswith("cuda") else "cpu")
    name, first = Path(arguments.model).name, rows[0]

    def figure(row: dict[str, str], column: str, factor: float, digits: int) -> str:
        if not np.isfinite(float(row[column])):
            return "-"
        return f"{factor * float(row[column]):.{digits}f} ± {factor * float(row[f'{column}_se']):.{digits}f}"

    lines = [
        f"# Variations of held-out QM9 molecules: the model {name}",
        "",
        f"`python -m scripts.benchmarks.vary {name} --seeds {arguments.seeds} -n {arguments.n} --evaluations "
        f"{arguments.evaluations} --seed {arguments.seed}`, {max(row['date'] for row in rows)}, {hardware(device)}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}; model hash "
        f"`{first['model_sha256'][:16]}`. {first['seeds']} molecules of the test split, {arguments.n} draws each at "
        f"every strength; {arguments.sampler}, {arguments.evaluations} evaluations, argmax decoding, no retries, no "
        f"filters. "
        f"Similarity: Tanimoto, Morgan fingerprints of radius 2, 2048 bits, over valid variations. Different held-out "
        f"molecules of the same size have {floor:.3f} on average. ± is one standard error over seeds.",
        "",
        f"![similarity to the seed against strength]({arguments.out.with_suffix('.png').name})",
        "",
        "| strength | valid & connected, % | similarity to the seed | the seed itself, % of valid "
        "| a stereoisomer of it, % of valid | similarity of the others |",
        "|---" * 6 + "|",
    ]
    for row in rows:
        lines.append(
            f"| {row['strength']} | {figure(row, 'valid', 100, 1)} | {figure(row, 'similarity', 1, 3)} "
            f"| {figure(row, SAME, 100, 1)} | {figure(row, STEREOISOMER, 100, 1)} "
            f"| {figure(row, 'similarity_other', 1, 3)} |"
        )
    parts = [
        (row["strength"], [float(value) for value in row["parts"].split()], float(row["similarity_se"])) for row in rows
    ]
    lines += ["", f"Similarity to the seed in {PARTS} disjoint parts of the seeds, by strength. Their scatter should "
              "be about what the error bar has (1.0).", "", *parts_table(parts, 3)]  # fmt: skip
    return "\n".join([*lines, ""])


def plot(rows: Sequence[dict[str, str]], floor: float, path: Path) -> None:
    """Draw similarity, validity and what came back against strength."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    strength = [float(row["strength"]) for row in rows]
    figure, axes = pyplot.subplots(figsize=(5.0, 3.2))
    for column, label, marker in (
        ("similarity", "similarity to the seed", "o"),
        ("similarity_other", "the same, other molecules only", "s"),
        ("valid", "valid & connected, share", "^"),
    ):
        values, errors = ([float(row[column + end]) for row in rows] for end in ("", "_se"))
        axes.errorbar(strength, values, yerr=errors, marker=marker, markersize=4, capsize=2, label=label)
    axes.axhline(floor, color="grey", linestyle=":", label="other molecules of the same size")
    axes.set_xlabel("strength")
    axes.set_ylim(0, 1.05)
    axes.legend(fontsize=7)
    figure.tight_layout()
    with atomic_writer(path, binary=True) as handle:
        figure.savefig(handle, format="png", dpi=90, metadata={"Software": None})
    pyplot.close(figure)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="built-in model or model folder")
    parser.add_argument("--data", type=Path, default=Path("data/qm9"), help="prepared set whose test split is used")
    parser.add_argument("--seeds", type=int, default=30, help="molecules to vary")
    parser.add_argument("-n", type=int, default=4, help="variations of each at every strength")
    parser.add_argument("--strengths", nargs="+", type=float, default=list(STRENGTHS))
    parser.add_argument("--evaluations", type=int, default=50, help="network evaluations")
    parser.add_argument("--sampler", default=DEFAULTS.sampler)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark_vary"), help="folder of cells")
    parser.add_argument("-o", "--out", type=Path, default=Path("vary.md"), help="Markdown file to write")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the strengths that are missing, and write table and plot after each."""
    arguments = parse()
    cells = Cells(arguments.work / "cells.csv", COLUMNS, KEY)
    text = ""
    try:
        shared = {"model_sha256": load_model_folder(arguments.model).sha256, "n": str(arguments.n)}
        seeds, floor = held_out(arguments.data, arguments.seeds, arguments.seed)
        shared |= {"steps": f"{arguments.sampler} {arguments.evaluations}", "seeds": str(len(seeds))}
        shared |= {"seed": str(arguments.seed)}
        asked = [({"strength": f"{one:g}"}, partial(measure, seeds, one, arguments)) for one in arguments.strengths]
        for rows in cells.complete(shared, asked):
            rows = sorted(rows, key=lambda row: float(row["strength"]))
            text = page(rows, floor, arguments)
            write_text(arguments.out, text)
            plot(rows, floor, arguments.out.with_suffix(".png"))
    except MoldiffError as error:
        raise SystemExit(f"error: {error}") from error
    print(text)


if __name__ == "__main__":
    main()
