"""Measure the bound as an anomaly detector: real held-out molecules against the same ones slightly spoilt.

    python -m scripts.benchmarks.anomaly qm9 --data data/qm9 --other drugs.sdf -n 500 \\
        -o scripts/benchmarks/results/anomaly.md

Real are molecules of the test split, which no training saw. Spoilt are the same molecules with one thing changed, and
molecules of the same sizes from another source. The yardstick of the z-scores are molecules of the validation split.
Each cell of the table is the area under the ROC curve: the chance that a spoilt molecule scores worse than a real one.
Relaxed by MMFF94s, a molecule stays what it is, and has coordinates of another method than the training data: how far
this alone is told is a row, and the other source is held against the real ones once more with both sides relaxed so.
"""

from __future__ import annotations

import argparse
import datetime
import io
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from moldiff.arrays import MolArrays
from moldiff.chem.convert import decode
from moldiff.chem.relax import relax
from moldiff.choices import EnergyMethod
from moldiff.datasets.prepared import PreparedDataset
from moldiff.diffusion.bound import BoundSettings
from moldiff.errors import MoldiffError
from moldiff.files import atomic_writer, write_text
from moldiff.models.loaded import load_model
from moldiff.molecules import FIELDS
from moldiff.nll.estimator import SCORED, LikelihoodEstimator
from moldiff.nll.reference import LikelihoodReference, encoded_records, translated
from moldiff.provenance import hardware
from moldiff.vocabulary import Vocabulary

BOOTSTRAPS = 1000
JITTERS = (0.1, 0.2, 0.4)  # angstrom
WORST = "worst field"
RELAXED = "relaxed by MMFF94s"
BOTH = f"both sides {RELAXED}"
LABELS = {"pos": "coordinates", "atom_type": "types", "charge": "charges", "bond_type": "bonds", "total": "total"}
BARS = {"one bond order changed": 0.95, "one atom swapped": 0.95, "coordinates jittered by 0.2 angstrom": 0.95}
Spoil = Callable[[MolArrays, Vocabulary, np.random.Generator], MolArrays | None]
Scores = dict[str, np.ndarray]  # name -> z-scores (M,)


def change_bond(molecule: MolArrays, vocabulary: Vocabulary, generator: np.random.Generator) -> MolArrays | None:
    """Give a random bond another order, all others being equally likely."""
    if not len(molecule.bonds):
        return None
    bonds = molecule.bonds.copy()
    row = generator.integers(len(bonds))
    others = [order for order in range(1, len(vocabulary.bonds)) if order != bonds[row, 2]]
    bonds[row, 2] = generator.choice(others)
    return replace(molecule, bonds=bonds)


def swap_atom(molecule: MolArrays, vocabulary: Vocabulary, generator: np.random.Generator) -> MolArrays | None:
    """Make a random atom that is no hydrogen another element that is none; everything else stays."""
    heavy = [place for place, symbol in enumerate(vocabulary.elements) if symbol != "H"]
    places = np.flatnonzero(np.isin(molecule.atom_type, heavy))
    if not len(places) or len(heavy) < 2:
        return None
    atom_type = molecule.atom_type.copy()
    place = generator.choice(places)
    atom_type[place] = generator.choice([element for element in heavy if element != atom_type[place]])
    return replace(molecule, atom_type=atom_type)


def jitter(angstrom: float) -> Spoil:
    """Return what adds normal noise of this standard deviation to every coordinate."""

    def spoil(molecule: MolArrays, vocabulary: Vocabulary, generator: np.random.Generator) -> MolArrays:
        noise = generator.normal(scale=angstrom, size=molecule.pos.shape)
        return replace(molecule, pos=(molecule.pos + noise).astype(np.float32))

    return spoil


def relaxed(molecule: MolArrays, vocabulary: Vocabulary, _: np.random.Generator) -> MolArrays | None:
    """Take a molecule to the next minimum of MMFF94s; None where there is none, or it became another molecule."""
    mol = decode(molecule, vocabulary).mol
    found = None if mol is None else relax(mol, EnergyMethod.MMFF94S).mol
    if found is None:
        return None
    pos = found.GetConformer().GetPositions()[: len(molecule.pos)]  # hydrogens that were placed come last
    return replace(molecule, pos=pos.astype(np.float32))


SPOILS: dict[str, Spoil] = {
    "one bond order changed": change_bond,
    "one atom swapped": swap_atom,
    **{f"coordinates jittered by {angstrom} angstrom": jitter(angstrom) for angstrom in JITTERS},
    RELAXED: relaxed,
}


def same_sizes(
    molecules: Sequence[MolArrays], pool: Sequence[MolArrays], generator: np.random.Generator
) -> list[MolArrays]:
    """Return a molecule of the pool of the size of each of ``molecules``, none twice, as far as the pool has any."""
    by_size: dict[int, list[MolArrays]] = {}
    for place in generator.permutation(len(pool)).tolist():
        by_size.setdefault(len(pool[place].atom_type), []).append(pool[place])
    sizes = (len(molecule.atom_type) for molecule in molecules)
    return [by_size[n].pop() for n in sizes if by_size.get(n)]


def auroc(real: np.ndarray, spoilt: np.ndarray) -> float:
    """Return the chance that a spoilt score is above a real one; ties count half."""
    ordered = np.sort(real)
    below, to = np.searchsorted(ordered, spoilt, "left"), np.searchsorted(ordered, spoilt, "right")
    return float((below + to).mean() / (2 * len(real)))


def with_error(real: np.ndarray, spoilt: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
    """Return the area and its bootstrap standard error, over molecules of both sides."""
    again = [auroc(generator.choice(real, len(real)), generator.choice(spoilt, len(spoilt))) for _ in range(BOOTSTRAPS)]
    return auroc(real, spoilt), float(np.std(again))


class Bench:
    """One model, its held-out molecules and the z-scores of whatever is made of them.

    Args:
        arguments: of the command line.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        loaded = load_model(arguments.model, device=arguments.device, precision="float32")
        self.folder, model = loaded.folder, loaded.model
        self.vocabulary, dataset = model.vocabulary, PreparedDataset.open(arguments.data)
        settings = BoundSettings(arguments.chain_steps, arguments.evaluations, arguments.repeats)
        self.scorer = LikelihoodEstimator(model, settings, arguments.seed)
        self.generator = np.random.default_rng(arguments.seed)
        self.scored = 0
        self.real = self._draw(dataset, "test", arguments.n)
        yardstick = self._draw(dataset, "validation", arguments.calibration)
        self.reference = LikelihoodReference.of(self.scorer.score(yardstick, self._ids(len(yardstick))), settings)

    def _draw(self, dataset: PreparedDataset, split: str, count: int) -> list[MolArrays]:
        tables, rows = dataset.class_tables(self.vocabulary), dataset.indices(split)
        chosen = np.sort(self.generator.choice(rows, min(count, len(rows)), replace=False))
        return [translated(dataset.molecule(row), tables) for row in chosen.tolist()]

    def _ids(self, count: int) -> range:
        """Return keys of noise that nothing else has had."""
        self.scored += count
        return range(self.scored - count, self.scored)

    def cells(self, other: Path | None) -> dict[str, list[MolArrays]]:
        """Return the molecules of each cell, by what was done to them."""
        cells = {name: self._spoilt(self.real, spoil) for name, spoil in SPOILS.items()}
        if other is not None:
            pool = list(encoded_records(other, self.vocabulary))
            name = f"same sizes from {other.name}"
            cells[name] = same_sizes(self.real, pool, self.generator)
            cells[f"{name}, {BOTH}"] = self._spoilt(cells[name], relaxed)
        return {name: molecules for name, molecules in cells.items() if molecules}

    def _spoilt(self, molecules: list[MolArrays], spoil: Spoil) -> list[MolArrays]:
        """Return what becomes of molecules, those left out of which nothing does."""
        found = (spoil(molecule, self.vocabulary, self.generator) for molecule in molecules)
        return [molecule for molecule in found if molecule is not None]

    def z_scores(self, molecules: list[MolArrays]) -> Scores:
        """Return name -> z-scores (M,) of the fields, their total and the worst field; sizes without any left out."""
        found = [self.reference.z_scores(s) for s in self.scorer.score(molecules, self._ids(len(molecules)))]
        kept = [z for z in found if z is not None]
        columns = {name: np.nan_to_num(np.array([z[name] for z in kept]), nan=np.inf) for name in SCORED}
        return columns | {WORST: np.max([columns[name] for name in FIELDS], axis=0)}


def beside(cell: str, real: Scores, cells: dict[str, Scores]) -> Scores:
    """Return what a cell is held against: the real molecules, relaxed where both sides are."""
    return cells[RELAXED] if cell.endswith(BOTH) else real


def picture(real: Scores, cells: dict[str, Scores]) -> bytes:
    """Return a PNG of the ROC curves of the worst field and of the total."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for ax, score in zip(figure.subplots(1, 2), (WORST, "total"), strict=True):
        for name, columns in cells.items():
            sides = beside(name, real, cells)[score], columns[score]
            edges = np.sort(np.concatenate(sides))[::-1]
            rates = [[(side >= edge).mean() for edge in edges] for side in sides]
            ax.plot([0, *rates[0]], [0, *rates[1]], label=name, linewidth=1.4)
        ax.plot([0, 1], [0, 1], color="0.8", linewidth=0.8, zorder=0)
        ax.set(title=f"z-score: {score}", xlabel="real molecules flagged", ylabel="spoilt molecules flagged")
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def table(real: Scores, cells: dict[str, Scores], generator: np.random.Generator) -> list[str]:
    """Return the Markdown table: a row for each cell, a column for each score."""
    names = [WORST, "total", *FIELDS]
    lines = [
        "| spoilt by | n | " + " | ".join(LABELS.get(name, name) for name in names) + " | bar |",
        "|---|---|" + "---|" * (len(names) + 1),
    ]
    for cell, columns in cells.items():
        held = beside(cell, real, cells)
        areas = [with_error(held[name], columns[name], generator) for name in names]
        shown = " | ".join(f"{area:.3f} ± {error:.3f}" for area, error in areas)
        lines.append(f"| {cell} | {len(columns[WORST])} | {shown} | {BARS.get(cell, '')} |")
    return lines


def medians(scores: Scores) -> str:
    """Return the median z-score of the worst field and, in brackets, of each."""
    fields = ", ".join(f"{LABELS[name]} {np.median(scores[name]):.2f}" for name in FIELDS)
    return f"{np.median(scores[WORST]):.2f} ({fields})"


def main() -> None:
    """Run the measurement that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a built-in model or a model folder")
    parser.add_argument("--data", type=Path, required=True, help="the prepared set that it was trained on")
    parser.add_argument("--other", type=Path, help="an SDF of other molecules")
    parser.add_argument("-n", type=int, default=500, help="molecules of the test split")
    parser.add_argument("--calibration", type=int, default=1000, help="molecules of the validation split")
    parser.add_argument("--chain-steps", type=int, default=BoundSettings.steps)
    parser.add_argument("--evaluations", type=int, default=BoundSettings.evaluations)
    parser.add_argument("--repeats", type=int, default=BoundSettings.repeats)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--out", type=Path, default=Path("scripts/benchmarks/results/anomaly.md"))
    arguments = parser.parse_args()

    started = time.perf_counter()
    try:
        bench = Bench(arguments)
        molecules = bench.cells(arguments.other)
        real = bench.z_scores(bench.real)
        cells = {name: bench.z_scores(some) for name, some in molecules.items()}
    except MoldiffError as error:
        raise SystemExit(f"error: {error}") from error
    other = f" --other {arguments.other.name}" if arguments.other is not None else ""
    settings, picture_file = bench.scorer.settings, arguments.out.with_suffix(".png")
    lines = [
        "# The bound as an anomaly detector",
        "",
        f"`python -m scripts.benchmarks.anomaly {bench.folder.name} --data {arguments.data} -n {arguments.n}"
        f" --calibration {arguments.calibration}{other} --seed {arguments.seed}`, {datetime.date.today()};"
        f" model hash `{bench.folder.sha256[:16]}`; {hardware(bench.scorer.device)}, {os.cpu_count()} cores;"
        f" Python {platform.python_version()},"
        f" torch {torch.__version__}; {time.perf_counter() - started:.0f} s.",
        f"{len(real[WORST])} real molecules of the test split; z-scores against {bench.reference.molecules} of the"
        f" validation split. Bound: {', '.join(f'{value} {name}' for name, value in asdict(settings).items())}.",
        f"Area under the ROC curve ± bootstrap standard error. {WORST.capitalize()}: the largest z-score of the four"
        " fields. Bond orders change to any other; atoms other than hydrogen are swapped for another such element."
        f" {RELAXED[0].upper() + RELAXED[1:]}: the same molecules at the next minimum of this force field; the training"
        f" data's method is another. {BOTH[0].upper() + BOTH[1:]}: held against the real molecules of the row"
        f" {RELAXED!r}.",
        f"Median z-score of the worst field: {medians(real)} of the real molecules, {medians(cells[RELAXED])} of the"
        f" same {RELAXED}.",
        "",
        *table(real, cells, bench.generator),
        "",
        f"![ROC curves]({picture_file.name})",
        "",
    ]
    with atomic_writer(picture_file, binary=True) as handle:
        handle.write(picture(real, cells))
    write_text(arguments.out, "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
