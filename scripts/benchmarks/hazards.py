"""Measure how often the hazard gate withholds real molecules, by family. Writes a Markdown page of counts; the
molecules that are hit are printed with --show, and are not in the page.

    python -m scripts.benchmarks.hazards data/sample.sdf
    python -m scripts.benchmarks.hazards drugs.sdf.gz qm9.sdf.gz -o scripts/benchmarks/results/hazards.md

Bar: fewer than 0.1 % of 100,000 drug-like and QM9 molecules, each hit looked at.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from moldiff.chem.filters.hazards import FAMILIES, families_of
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.records import parse, read_texts
from moldiff.evaluation.rates import Rate
from moldiff.version import VERSION
from scripts.benchmarks.pages import deliver


@dataclass
class Hits:
    """Hits of a file.

    Attributes:
        file: its name.
        molecules: that could be read.
        families: family -> hits.
        hit: SMILES of the molecules that are hit, with families.
        seconds: that the gate took.
    """

    file: str
    molecules: int = 0
    families: Counter[str] = field(default_factory=Counter)
    hit: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0


def hits_of(path: Path) -> Hits:
    """Return the hits of a file."""
    found = Hits(path.name)
    for text in read_texts(path):
        mol = parse(text).mol
        if mol is None:
            continue
        found.molecules += 1
        started = time.perf_counter()
        names = families_of(mol)
        found.seconds += time.perf_counter() - started
        found.families.update(names)
        if names:
            found.hit.append((canonical_smiles(mol, stereo=True), "; ".join(names)))
    return found


def page(results: list[Hits], command: str) -> str:
    """Return the page."""
    lines = [
        "# The hazard gate on real molecules, measured",
        "",
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, moldiff {VERSION}.",
        "",
        "| file | molecules | withheld | share (95 % interval) | gate, ms a molecule |",
        "|---|---|---|---|---|",
    ]
    for one in results:
        rate = Rate(len(one.hit), one.molecules)
        assert rate.interval is not None
        low, high = rate.interval
        share = f"{100 * len(one.hit) / one.molecules:.4f} % ({100 * low:.4f} to {100 * high:.4f})"
        lines.append(
            f"| {one.file} | {one.molecules:,} | {len(one.hit)} | {share} | {1000 * one.seconds / one.molecules:.3f} |"
        )
    lines += ["", f"| family | {' | '.join(one.file for one in results)} |", f"|---{'|---' * len(results)}|"]
    for family in FAMILIES:
        lines.append(f"| {family.name} | {' | '.join(str(one.families[family.name]) for one in results)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="molecule files")
    parser.add_argument("-o", "--out", type=Path, help="Markdown to write; without it, it is printed")
    parser.add_argument("--show", action="store_true", help="print the molecules that are hit")
    arguments = parser.parse_args()
    names = " ".join(path.name for path in arguments.files)
    results = [hits_of(path) for path in arguments.files]
    if arguments.show:
        for one in results:
            for smiles, families in one.hit:
                print(one.file, smiles, families, sep="\t")
    text = page(results, f"python -m scripts.benchmarks.hazards {names}")
    deliver(text, arguments.out)


if __name__ == "__main__":
    main()
