"""Measure conformers against RDKit's: how often a held-out molecule's DFT geometry is among k of them, and how closely.

    python -m scripts.benchmarks.conformers qm9 --data data/qm9 -o scripts/benchmarks/results/conformers.md
    python -m scripts.benchmarks.conformers drugs --crystal -o scripts/benchmarks/results/conformers_crystal.md

Each method gets the graph and the stereo of a held-out molecule and makes k conformers; with --crystal the molecules
are ligands of the Protein Data Bank and their geometries those of crystals (needs `pip install biotite`). RMSD is over
heavy atoms, best over rotations and over the symmetry of the graph, to the one reference geometry. A draw that fails
has no RMSD and covers nothing. Seconds are CPU time (on a GPU wall time), all of a method's own checks and retries
included. A finished method is a row of cells.csv in the working folder; started again, the script goes on where it was.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolAlign

from moldiff.chem.convert import decode
from moldiff.datasets.prepared import PreparedDataset
from moldiff.errors import MoldiffError
from moldiff.files import write_text
from moldiff.generation.conformers import conformers
from moldiff.models.folder import ModelFolder, load_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.references import References
from moldiff.provenance import hardware
from scripts.benchmarks.cells import Cells
from scripts.benchmarks.means import PARTS, mean_and_error, means_of_parts, parts_table

THRESHOLDS = (0.25, 0.5)  # angstrom
WALKS = ("ddpm:uniform:25", "ddpm:uniform:50", "dpmpp:uniform:25")
KEY = ("model_sha256", "method", "source", "molecules", "k", "seed")
COMPARED = "ETKDGv3 + MMFF94s"
FIGURES = ("made", "single", "best", *(f"covered_{limit:g}" for limit in THRESHOLDS), "torsions")
COLUMNS = (*KEY, *(f"{name}{end}" for name in FIGURES for end in ("", "_se")), "parts", "bests", "seconds", "date")
Method = Callable[[list[Chem.Mol], int, int], list[list[Chem.Mol]]]


@dataclass(frozen=True)
class Walk:
    """Conformers of this package: sampler, grid and evaluations."""

    model: str
    sampler: str
    grid: str
    steps: int
    device: str

    def __call__(self, molecules: list[Chem.Mol], k: int, seed: int) -> list[list[Chem.Mol]]:
        made = conformers(
            molecules, k, model=self.model, evaluations=self.steps, sampler=self.sampler, grid=self.grid, seed=seed,
            device=self.device,
        )  # fmt: skip
        found: list[list[Chem.Mol]] = [[] for _ in molecules]
        for mol in made:
            found[mol.GetIntProp("record")].append(mol)
        return found


@dataclass(frozen=True)
class Etkdg:
    """ETKDGv3 of RDKit, relaxed with MMFF94s or not."""

    relaxed: bool

    def __call__(self, molecules: list[Chem.Mol], k: int, seed: int) -> list[list[Chem.Mol]]:
        found = []
        for mol in molecules:
            copy = Chem.Mol(mol)
            copy.RemoveAllConformers()
            parameters = rdDistGeom.ETKDGv3()
            # RDKit multiplies its seed by the conformer's number: with 0 all would be the same
            parameters.randomSeed, parameters.numThreads, parameters.timeout = seed + 1, 1, 60
            places = list(rdDistGeom.EmbedMultipleConfs(copy, k, parameters))
            if self.relaxed and places and rdForceFieldHelpers.MMFFHasAllMoleculeParams(copy):
                rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(copy, numThreads=1, maxIters=1000, mmffVariant="MMFF94s")
            found.append([Chem.Mol(copy, confId=place) for place in places])
        return found


def held_out(data: Path, count: int, seed: int) -> list[Chem.Mol]:
    """Return molecules of the test split at random, hydrogens and geometry as there, stereo from the geometry."""
    dataset = PreparedDataset.open(data)
    order = np.random.default_rng(seed).permutation(dataset.indices("test"))
    found = []
    for row in order.tolist():
        mol = decode(dataset.molecule(row), dataset.vocabulary).mol
        if mol is not None and mol.GetNumHeavyAtoms() > 1:
            found.append(mol)
        if len(found) == count:
            break
    return found


_TEST_SPLIT = "molecules of the test split against the one geometry of the data set"
_CRYSTAL = "ligands of the Protein Data Bank against their geometry in a crystal"


def _title(arguments: argparse.Namespace) -> str:
    return "ligands in crystals" if arguments.crystal else f"held-out molecules of {arguments.data.name}"


def asked_molecules(arguments: argparse.Namespace, folder: ModelFolder) -> list[Chem.Mol]:
    """Return the molecules whose geometry is looked for."""
    if not arguments.crystal:
        return held_out(arguments.data, arguments.n, arguments.seed)
    from scripts.benchmarks.crystal_ligands import crystal_ligands

    model = MoleculeModel.from_folder(folder)
    trained = set(References(folder.references, arguments.model).training_keys.graph.tolist())
    return crystal_ligands(arguments.n, arguments.seed, model.vocabulary, set(model.statistics.size_counts), trained)


def distances(made: list[Chem.Mol], reference: Chem.Mol) -> np.ndarray:
    """Return (k,) RMSD of heavy atoms to the reference, angstrom."""
    target = Chem.RemoveAllHs(reference)
    return np.array([rdMolAlign.GetBestRMS(Chem.RemoveAllHs(mol), target) for mol in made])


def measure(
    method: Method, molecules: list[Chem.Mol], k: int, seed: int, clock: Callable[[], float]
) -> list[dict[str, str]]:
    """Return the row of one method."""
    started = clock()
    made = method(molecules, k, seed)
    seconds = clock() - started
    rmsd = [distances(mols, reference) for mols, reference in zip(made, molecules, strict=True)]
    best = np.array([values.min() if len(values) else np.inf for values in rmsd])
    flexible = np.array([mol.GetNumHeavyAtoms() > 3 and Chem.rdMolDescriptors.CalcNumRotatableBonds(mol) > 0
                         for mol in molecules])  # fmt: skip
    per_molecule = {
        "made": np.array([len(values) / k for values in rmsd]),
        "single": np.array([values.mean() for values in rmsd if len(values)]),
        "best": best[np.isfinite(best)],
        **{f"covered_{limit:g}": (best <= limit).astype(float) for limit in THRESHOLDS},
        "torsions": best[flexible & np.isfinite(best)],
    }
    row = {"seconds": f"{seconds / (k * len(molecules)):.6g}", "date": str(datetime.date.today())}
    for name, values in per_molecule.items():
        row[name], row[f"{name}_se"] = (f"{value:.6g}" for value in mean_and_error(values))
    row["parts"] = " ".join(f"{value:.6g}" for value in means_of_parts(per_molecule["best"]))
    row["bests"] = " ".join(f"{value:.6g}" for value in best)
    return [row]


def paired(rows: Sequence[dict[str, str]], k: int) -> list[str]:
    """Return the table of medians and of differences to RDKit's relaxed conformers, molecule by molecule."""
    bests = {row["method"]: np.array([float(value) for value in row["bests"].split()]) for row in rows}
    if COMPARED not in bests:
        return []
    lines = [
        f"Medians, and differences to {COMPARED}, molecule by molecule, where both have a conformer:",
        "",
        f"| method | median RMSD of the best of {k} | molecules | mean difference | nearer than {COMPARED}, % |",
        "|---" * 5 + "|",
    ]
    for method, values in bests.items():
        both = np.isfinite(values) & np.isfinite(bests[COMPARED])
        change = values[both] - bests[COMPARED][both]
        mean, error = mean_and_error(change)
        nearer = "" if method == COMPARED else f"{100 * (change < 0).mean():.0f}"
        lines.append(f"| {method} | {np.median(values):.3f} | {both.sum()} | {mean:+.3f} ± {error:.3f} | {nearer} |")
    return [*lines, ""]


def page(rows: Sequence[dict[str, str]], arguments: argparse.Namespace) -> str:
    """Return the Markdown page."""
    device = torch.device("cuda" if arguments.device.startswith("cuda") else "cpu")
    name = Path(arguments.model).name

    def figure(row: dict[str, str], column: str, factor: float, digits: int) -> str:
        return f"{factor * float(row[column]):.{digits}f} ± {factor * float(row[f'{column}_se']):.{digits}f}"

    clock = "wall time" if device.type == "cuda" else "CPU time"
    head = ["conformers made, %", "RMSD of one", f"RMSD of the best of {arguments.k}", "the same, flexible molecules"]
    head += [f"within {limit:g} angstrom, %" for limit in THRESHOLDS]
    lines = [
        f"# Conformers of {_title(arguments)}: the model {name} and RDKit",
        "",
        f"`python -m scripts.benchmarks.conformers {name} -n {arguments.n} -k {arguments.k} --seed {arguments.seed} "
        f"--walks {' '.join(arguments.walks)}{' --crystal' * arguments.crystal}`, "
        f"{max(row['date'] for row in rows)}, {hardware(device)}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, torch {torch.__version__}; model hash `{rows[0]['model_sha256'][:16]}`. "
        f"{arguments.n} {_CRYSTAL if arguments.crystal else _TEST_SPLIT}; {arguments.k} draws each. RMSD in angstrom "
        "over heavy atoms, symmetry-aware; a draw that fails has none and covers nothing. Flexible: at least one "
        "rotatable bond. ± is one standard error over molecules.",
        "",
        "| method | " + " | ".join(head) + f" | {clock}, s per draw |",
        "|---" * (len(head) + 2) + "|",
    ]
    for row in rows:
        cells = [figure(row, "made", 100, 1), figure(row, "single", 1, 3), figure(row, "best", 1, 3)]
        cells += [figure(row, "torsions", 1, 3)]
        cells += [figure(row, f"covered_{limit:g}", 100, 1) for limit in THRESHOLDS]
        lines.append(f"| {row['method']} | {' | '.join(cells)} | {float(row['seconds']):.4f} |")
    parts = [(row["method"], [float(value) for value in row["parts"].split()], float(row["best_se"])) for row in rows]
    scatter = f"RMSD of the best of {arguments.k}, angstrom, in {PARTS} disjoint parts of the molecules. Their scatter "
    scatter += "should be about what the error bar has (1.0)."
    lines += ["", *paired(rows, arguments.k), scatter, "", *parts_table(parts, 3)]
    return "\n".join([*lines, ""])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="built-in model or model folder")
    parser.add_argument("--data", type=Path, default=Path("data/qm9"), help="prepared set whose test split is used")
    parser.add_argument("--crystal", action="store_true", help="ligands in crystals instead, none of the training set")
    parser.add_argument("-n", type=int, default=100, help="molecules")
    parser.add_argument("-k", type=int, default=10, help="conformers of each")
    parser.add_argument("--walks", nargs="+", default=list(WALKS), metavar="SAMPLER:GRID:EVALUATIONS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark_conformers"), help="folder of cells")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the methods that are missing, and write the table after each."""
    arguments = parse()
    cells = Cells(arguments.work / "cells.csv", COLUMNS, KEY)
    methods: dict[str, Method] = {"ETKDGv3": Etkdg(False), COMPARED: Etkdg(True)}
    for words in arguments.walks:
        sampler, grid, steps = words.split(":")
        label = f"moldiff, {sampler}, {grid} grid, {steps} evaluations"
        methods[label] = Walk(arguments.model, sampler, grid, int(steps), arguments.device)
    text, clock = "", time.process_time if arguments.device == "cpu" else time.monotonic
    try:
        folder = load_model_folder(arguments.model)
        source = "crystal" if arguments.crystal else str(arguments.data)
        shared = {"model_sha256": folder.sha256, "source": source, "molecules": str(arguments.n)}
        shared |= {"k": str(arguments.k), "seed": str(arguments.seed)}
        molecules = asked_molecules(arguments, folder)
        asked = [
            ({"method": label}, partial(measure, method, molecules, arguments.k, arguments.seed, clock))
            for label, method in methods.items()
        ]
        for rows in cells.complete(shared, asked):
            text = page([row for row in rows if row["method"] in methods], arguments)
            if arguments.out is not None:
                write_text(arguments.out, text)
    except MoldiffError as error:
        raise SystemExit(f"error: {error}") from error
    print(text)


if __name__ == "__main__":
    main()
