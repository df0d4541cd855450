"""Measure how well held-out molecules that were cut are completed: growing and linking, against the model on its own.

    python -m scripts.benchmarks.fragments qm9 --data data/qm9 -o scripts/benchmarks/results/fragments.md

Test molecules are cut at acyclic single bonds between heavy atoms, one way each, chosen by its number. Growing keeps
the side with more heavy atoms, linking two sides without the middle; each part has two heavy atoms at least, the middle
has one. As many atoms as were cut off are drawn anew. Plain argmax, no retries, no filters; what is not valid and
connected, has an implausible geometry or a changed fragment counts as failed. A finished cell is a row of cells.csv in
the working folder; started again, the script goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rdkit import Chem

from moldiff.chem.convert import decode
from moldiff.chem.graph import graph
from moldiff.chem.identity import canonical_smiles
from moldiff.choices import DEFAULTS
from moldiff.datasets.prepared import PreparedDataset
from moldiff.errors import MoldiffError
from moldiff.files import write_text
from moldiff.generation.generate import generation_run
from moldiff.generation.options.fragment import DEFAULT_RESAMPLE, Fragment
from moldiff.generation.options.generation_options import GenerationOptions
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.sampler_options import SamplerOptions
from moldiff.generation.options.steering_options import SteeringOptions
from moldiff.models.folder import load_model_folder
from moldiff.provenance import hardware
from scripts.benchmarks.cells import Cells
from scripts.benchmarks.means import PARTS, mean_and_error, means_of_parts, parts_table

GROW, LINK, FREE = "growing", "linking", "unconditional"
KEY = ("model_sha256", "task", "cuts", "draws", "steps", "resample", "sizes", "seed")
COLUMNS = (*KEY, "evaluations", "valid", "valid_se", "parts", "unique", "same", "deviation", "date")


class Cut(NamedTuple):
    """A molecule, the atoms that are kept, and how many are to come."""

    mol: Chem.Mol
    kept: list[int]
    new: int


def side(mol: Chem.Mol, start: int, barred: int) -> frozenset[int]:
    """Return the atoms on ``start``'s side of its bond to ``barred``."""
    found, pending = {start}, [start]
    while pending:
        atom = pending.pop()
        for other in (neighbour.GetIdx() for neighbour in mol.GetAtomWithIdx(atom).GetNeighbors()):
            if other not in found and (atom, other) != (start, barred):
                found.add(other)
                pending.append(other)
    return frozenset(found)


def sides(mol: Chem.Mol) -> list[frozenset[int]]:
    """Return both sides of every acyclic single bond between heavy atoms."""
    found = []
    for bond in mol.GetBonds():
        ends = (bond.GetBeginAtom(), bond.GetEndAtom())
        acyclic = bond.GetBondType() == Chem.BondType.SINGLE and not bond.IsInRing()
        if acyclic and all(atom.GetAtomicNum() > 1 for atom in ends):
            i, j = (atom.GetIdx() for atom in ends)
            found += [side(mol, i, j), side(mol, j, i)]
    return found


def choices(mol: Chem.Mol, task: str) -> list[list[int]]:
    """Return the atoms that each possible cut of a task keeps."""
    everything = frozenset(range(mol.GetNumAtoms()))

    def heavy(atoms: frozenset[int]) -> int:
        return sum(mol.GetAtomWithIdx(atom).GetAtomicNum() > 1 for atom in atoms)

    if task == GROW:
        halves = [kept for kept in sides(mol) if heavy(kept) >= heavy(everything - kept) >= 2]
        return [sorted(kept) for kept in halves]
    large = [atoms for atoms in sides(mol) if heavy(atoms) >= 2]
    pairs = [(a, b) for a, b in combinations(large, 2) if not a & b and heavy(everything - a - b) >= 1]
    return [sorted(a | b) for a, b in pairs]


def cuts(data: PreparedDataset, task: str, count: int, seed: int) -> Iterator[Cut]:
    """Yield the first cuts of test molecules, in an order that the seed shuffles."""
    rows = data.indices("test")
    for number, row in enumerate(rows[np.random.default_rng(seed).permutation(len(rows))].tolist()):
        mol = decode(data.molecule(row), data.vocabulary).mol
        if mol is not None and not data.vocabulary.explicit_hydrogens:
            mol = Chem.RemoveHs(mol)  # atoms are counted, and kept, as the model has them
        possible = [] if mol is None else choices(mol, task)
        if mol is not None and possible:
            kept = possible[number % len(possible)]
            yield Cut(mol, kept, mol.GetNumAtoms() - len(kept))
            count -= 1
        if count == 0:
            return


class Tally:
    """What became of the draws of one cell."""

    def __init__(self) -> None:
        self.shares: list[float] = []  # of valid draws, one for each cut
        self.valid = self.unique = self.same = 0
        self.evaluations: list[float] = []
        self.deviation = 0.0

    def take(self, out: Path, cut: Cut | None) -> None:
        """Count the molecules of one file."""
        with out.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        good = [row["smiles"] for row in rows if row["status"] == "valid"]
        self.evaluations += [float(row["evaluations"]) for row in rows]
        self.valid, self.unique = self.valid + len(good), self.unique + len(set(good))
        self.shares += [len(good) / len(rows)] if cut else [float(row["status"] == "valid") for row in rows]
        if cut is not None:
            own = canonical_smiles(cut.mol, stereo=False)
            kept = graph(cut.mol).positions[cut.kept]
            # RDKit calls a file without a molecule invalid
            for mol in Chem.SDMolSupplier(str(out), removeHs=False) if good else ():
                self.same += canonical_smiles(mol, stereo=False) == own
                away = np.abs(mol.GetConformer().GetPositions()[: len(kept)] - kept).max()
                self.deviation = max(self.deviation, float(away))

    def row(self) -> dict[str, str]:
        """Return the figures; the standard error is that of cuts, because draws of one cut are alike."""
        mean, error = mean_and_error(self.shares)
        return {
            "evaluations": f"{np.mean(self.evaluations):g}",
            "valid": f"{mean:.6g}",
            "valid_se": f"{error:.6g}",
            "parts": " ".join(f"{value:.6g}" for value in means_of_parts(self.shares)),
            "unique": f"{self.unique / max(self.valid, 1):.6g}",
            "same": f"{self.same / max(self.valid, 1):.6g}",
            "deviation": f"{self.deviation:.2g}",
            "date": str(datetime.date.today()),
        }


def measure(task: str, resample: int, arguments: argparse.Namespace) -> list[dict[str, str]]:
    """Return the row of one cell."""
    tally, out = Tally(), arguments.work / f"{task}.sdf"

    def run(n: int, fragment: Fragment | None, cut: Cut | None) -> None:
        sampler = SamplerOptions.of(
            evaluations=arguments.evaluations, sampler=arguments.sampler, seed=arguments.seed, device=arguments.device
        )
        options = GenerationOptions(
            n=n, model=arguments.model, sampler=sampler, steering=SteeringOptions.of(fragment=fragment),
            output=OutputOptions(path=out, overwrite=True),
        )  # fmt: skip
        generation_run(options).write()
        tally.take(out, cut)

    if task == FREE:
        run(arguments.cuts * arguments.draws, None, None)
        return [tally.row()]
    for cut in cuts(PreparedDataset.open(arguments.data), task, arguments.cuts, arguments.seed):
        grow = cut.new if arguments.sizes == "cut" else None
        fragment = Fragment(cut.mol, fixed_atoms=cut.kept, grow=grow, resample=resample)
        run(arguments.draws, fragment, cut)
    return [tally.row()]


def page(rows: Sequence[dict[str, str]], arguments: argparse.Namespace) -> str:
    """Return the Markdown page."""
    device = torch.device("cuda" if arguments.device.startswith("cuda") else "cpu")
    name = Path(arguments.model).name
    free = next((float(row["valid"]) for row in rows if row["task"] == FREE), None)
    drawn = "as many as were cut off" if arguments.sizes == "cut" else "drawn from the training sizes"
    lines = [
        f"# Molecules completed around a fragment: the model {name}",
        "",
        f"`python -m scripts.benchmarks.fragments {name} --data {arguments.data} --cuts {arguments.cuts} "
        f"--draws {arguments.draws} --evaluations {arguments.evaluations} --sizes {arguments.sizes} "
        f"--seed {arguments.seed}`, {max(row['date'] for row in rows)}, "
        f"{hardware(device)}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}; "
        f"model hash `{rows[0]['model_sha256'][:16]}`; {arguments.sampler}. {arguments.cuts} cuts of test molecules, "
        f"{arguments.draws} draws each; new atoms: {drawn}. Plain argmax, no retries, no filters. ± is one standard "
        f"error over the cuts. The target is 0.85 of the unconditional share for growing, 0.6 for linking.",
        "",
        "| task | every step taken | evaluations | valid & connected, % | / unconditional | unique of valid, % | the "
        "molecule that was cut, % of valid | largest deviation of a kept atom, angstrom |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        ratio = "-" if not free else f"{float(row['valid']) / free:.2f}"
        lines.append(
            f"| {row['task']} | {row['resample']} x | {row['evaluations']} | {100 * float(row['valid']):.1f} ± "
            f"{100 * float(row['valid_se']):.1f} | {ratio} | {100 * float(row['unique']):.0f} | "
            + ("- | - |" if row["task"] == FREE else f"{100 * float(row['same']):.0f} | {row['deviation']} |")
        )
    parts = [
        (row["task"], [100 * float(value) for value in row["parts"].split()], 100 * float(row["valid_se"]))
        for row in rows
    ]
    lines += ["", f"Valid & connected, %, in {PARTS} disjoint parts. Their scatter should be about what the error bar "
              "has (1.0).", "", *parts_table(parts, 1)]  # fmt: skip
    return "\n".join([*lines, ""])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="built-in model or model folder")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set with a test split")
    parser.add_argument("--cuts", type=int, default=50, help="molecules that are cut, for each task")
    parser.add_argument("--draws", type=int, default=8, help="draws for each cut")
    parser.add_argument("--evaluations", type=int, default=50, help="network evaluations for each draw")
    parser.add_argument("--resample", type=int, nargs="+", default=[DEFAULT_RESAMPLE], help="one cell for each")
    parser.add_argument("--sizes", choices=("cut", "training"), default="cut", help="where numbers of atoms come from")
    parser.add_argument("--sampler", default=DEFAULTS.sampler)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark_fragments"), help="folder of cells and files")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the cells that are missing, and write the table after each."""
    arguments = parse()
    cells = Cells(arguments.work / "cells.csv", COLUMNS, KEY)
    try:
        shared = {"model_sha256": load_model_folder(arguments.model).sha256, "steps": f"{arguments.sampler} "}
        shared["steps"] += str(arguments.evaluations)
        shared |= {name: str(getattr(arguments, name)) for name in ("cuts", "draws", "sizes", "seed")}
        asked = [
            ({"task": task, "resample": str(resample)}, partial(measure, task, resample, arguments))
            for task, resample in [(FREE, 1), *((task, k) for k in arguments.resample for task in (GROW, LINK))]
        ]
        for rows in cells.complete(shared, asked):
            text = page(rows, arguments)
            if arguments.out is not None:
                write_text(arguments.out, text)
    except MoldiffError as error:
        raise SystemExit(f"error: {error}") from error
    print(text)


if __name__ == "__main__":
    main()
