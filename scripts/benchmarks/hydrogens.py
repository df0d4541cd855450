"""Placed hydrogens against those of minima of GFN2-xTB, heavy atoms where they are: energies above the minima, and how
much longer bonds to hydrogen are where MMFF94s has its own minimum (the table of `moldiff.chem.hydrogens`). Writes a
Markdown page. Needs the extra xtb.

    python -m scripts.benchmarks.hydrogens data/drugs_gfn2 -n 1500 --energies 100 \\
        -o scripts/benchmarks/results/hydrogens.md
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rdkit import Chem

from moldiff.chem.descriptors.xtb import gfn2_properties
from moldiff.chem.force_field import mmff94s
from moldiff.chem.hydrogens import _relaxed, relax_hydrogens
from moldiff.chem.io.records import read_records
from moldiff.chem.relax import KCAL_PER_MOL
from moldiff.version import VERSION
from scripts.benchmarks.pages import deliver

SEED = 0
LEAST = 25  # bonds of a kind that has a row


def minima(folder: Path, n: int) -> list[Chem.Mol]:
    """Return molecules at minima of GFN2-xTB, drawn from all files of a folder."""
    found = [record.mol for file in sorted(folder.glob("*.parquet")) for record in read_records(file)]
    sound = [mol for mol in found if mol is not None]
    return [sound[place] for place in np.random.default_rng(SEED).permutation(len(sound))[:n]]


def at_force_field(mol: Chem.Mol) -> Chem.Mol | None:
    """Return a molecule with its hydrogens at the minimum of MMFF94s."""
    return _relaxed(mol, [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() == 1], mmff94s)[0]


def lengths(mol: Chem.Mol) -> Iterator[tuple[tuple[str, str, int, int], float]]:
    """Yield kind (element, hybridisation, charge, hydrogens of the heavy atom) and length of bonds to hydrogen."""
    pos = mol.GetConformer().GetPositions()
    for atom in mol.GetAtoms():
        of = [other.GetIdx() for other in atom.GetNeighbors() if other.GetAtomicNum() == 1]
        kind = (atom.GetSymbol(), str(atom.GetHybridization()).lower(), atom.GetFormalCharge(), len(of))
        for index in of if atom.GetAtomicNum() > 1 else ():
            yield kind, float(np.linalg.norm(pos[index] - pos[atom.GetIdx()]))


def energies(mol: Chem.Mol) -> list[float]:
    """Return kcal/mol above the minimum: hydrogens as RDKit places them, at MMFF94s's minimum, as the package has them.
    Empty where one of them has none."""
    placed = Chem.AddHs(Chem.RemoveHs(mol), addCoords=True)
    others = (mol, placed, at_force_field(placed), relax_hydrogens(placed)[0])
    found = [{} if other is None else gfn2_properties(other) for other in others]
    values = [KCAL_PER_MOL * one["gfn2_energy_Eh"] for one in found if one]
    return [value - values[0] for value in values[1:]] if len(values) == len(others) else []


def page(folder: Path, n: int, measured: int) -> str:
    """Return the page."""
    longer, short = defaultdict[tuple[str, str, int, int], list[tuple[float, float]]](list), minima(folder, n)
    for mol in short:
        if (other := at_force_field(mol)) is not None:
            for (kind, here), (_, there) in zip(lengths(mol), lengths(other), strict=True):
                longer[kind].append((here, there))
    above = np.array([found for mol in short[:measured] if (found := energies(mol))])
    medians, means, errors = np.median(above, 0), above.mean(0), above.std(0, ddof=1) / len(above) ** 0.5
    rows = sorted(longer.items(), key=lambda item: -len(item[1]))
    return "\n".join(
        [
            "# Placed hydrogens, measured",
            "",
            f"`python -m scripts.benchmarks.hydrogens {folder} -n {n} --energies {measured}`, "
            f"{datetime.now(UTC):%Y-%m-%d}, moldiff {VERSION}. Molecules at minima of GFN2-xTB whose hydrogens are "
            "placed anew, heavy atoms where they are.",
            "",
            f"| hydrogens | kcal/mol above the minimum, median of {len(above)} | mean |",
            "|---|---|---|",
            *(
                f"| {name} | {median:.2f} | {mean:.2f} ± {error:.2f} |"
                for name, median, mean, error in zip(
                    ("as RDKit adds them", "at the minimum of MMFF94s", "there, bonds as long as GFN2-xTB's"),
                    medians, means, errors, strict=True,
                )
            ),
            "",
            f"Bonds to hydrogen of {len(short)} molecules, angstrom:",
            "",
            "| of | bonds | GFN2-xTB, median | MMFF94s, median | longer by, median |",
            "|---|---|---|---|---|",
            *(
                f"| {symbol} {hybrid}, charge {charge}, {count} H | {len(pairs)} | {np.median(found[:, 0]):.4f} | "
                f"{np.median(found[:, 1]):.4f} | {np.median(found[:, 1] - found[:, 0]):+.4f} |"
                for (symbol, hybrid, charge, count), pairs in rows
                if len(pairs) >= LEAST
                for found in (np.array(pairs),)
            ),
            "",
        ]
    )  # fmt: skip


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of Parquet files that moldiff data relax wrote")
    parser.add_argument("-n", type=int, default=1500, help="molecules whose bonds are measured")
    parser.add_argument("--energies", type=int, default=100, help="molecules whose energies are")
    parser.add_argument("-o", "--out", type=Path, help="Markdown to write; without it, it is printed")
    arguments = parser.parse_args()
    text = page(arguments.folder, arguments.n, arguments.energies)
    deliver(text, arguments.out)


if __name__ == "__main__":
    main()
