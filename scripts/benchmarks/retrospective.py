"""A retrospective screen: beta blockers hidden among molecules of a library, ranked by similarity to three of them.
Writes a Markdown page with enrichment at 1 % and BEDROC, with bootstrap intervals.

    python -m scripts.benchmarks.retrospective data/sample.sdf
    python -m scripts.benchmarks.retrospective drugs.sdf.gz --decoys 20000 \\
        -o scripts/benchmarks/results/retrospective.md

BEDROC (Truchon and Bayly 2007, alpha = 20) is 1 where all hidden molecules come first; enrichment at 1 % is how many
times more of them lie in the first 1 % than chance would put there. Beta blockers among the library's own molecules
count as decoys.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rdkit.ML.Scoring import Scoring

import moldiff
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.records import parse, read_texts
from moldiff.version import VERSION
from scripts.benchmarks.pages import deliver

REFERENCES = {
    "propranolol": "CC(C)NCC(O)COc1cccc2ccccc12",
    "atenolol": "CC(C)NCC(O)COc1ccc(CC(N)=O)cc1",
    "timolol": "CC(C)(C)NCC(O)COc1nsnc1N1CCOCC1",
}
HIDDEN = {
    "metoprolol": "COCCc1ccc(OCC(O)CNC(C)C)cc1",
    "bisoprolol": "CC(C)NCC(O)COc1ccc(COCCOC(C)C)cc1",
    "pindolol": "CC(C)NCC(O)COc1cccc2[nH]ccc12",
    "nadolol": "CC(C)(C)NCC(O)COc1cccc2c1CC(O)C(O)C2",
    "betaxolol": "CC(C)NCC(O)COc1ccc(CCOCC2CC2)cc1",
    "acebutolol": "CCCC(=O)Nc1ccc(OCC(O)CNC(C)C)c(C(C)=O)c1",
    "oxprenolol": "C=CCOc1ccccc1OCC(O)CNC(C)C",
    "alprenolol": "C=CCc1ccccc1OCC(O)CNC(C)C",
    "carteolol": "CC(C)(C)NCC(O)COc1cccc2c1CCC(=O)N2",
    "penbutolol": "CC(C)(C)NCC(O)COc1ccccc1C1CCCC1",
    "esmolol": "COC(=O)CCc1ccc(OCC(O)CNC(C)C)cc1",
    "celiprolol": "CCN(CC)C(=O)Nc1ccc(OCC(O)CNC(C)(C)C)c(C(C)=O)c1",
    "levobunolol": "CC(C)(C)NCC(O)COc1cccc2c1CCCC2=O",
    "bupranolol": "Cc1ccc(Cl)c(OCC(O)CNC(C)(C)C)c1",
    "practolol": "CC(=O)Nc1ccc(OCC(O)CNC(C)C)cc1",
    "metipranolol": "CC(=O)Oc1c(C)cc(OCC(O)CNC(C)C)c(C)c1C",
    "carazolol": "CC(C)NCC(O)COc1cccc2[nH]c3ccccc3c12",
    "toliprolol": "CC(C)NCC(O)COc1cccc(C)c1",
    "bevantolol": "COc1ccc(CCNCC(O)COc2cccc(C)c2)cc1OC",
    "carvedilol": "COc1ccccc1OCCNCC(O)COc1cccc2[nH]c3ccccc3c12",
}
ALPHA, SHARE, RESAMPLED, SEED = 20.0, 0.01, 1000, 0


def library(file: Path, decoys: int, out: Path) -> int:
    """Write a library of SMILES: the first molecules of a file, evenly mixed with the hidden ones; return how many it
    holds."""
    mols = (mol for text in read_texts(file) if (mol := parse(text).mol) is not None)
    lines = [f"{canonical_smiles(mol, stereo=True)}\tdecoy{k}" for k, mol in enumerate(itertools.islice(mols, decoys))]
    every = max(1, len(lines) // len(HIDDEN))
    for place, (name, smiles) in enumerate(HIDDEN.items()):
        lines.insert(place * (every + 1), f"{smiles}\t{name}")
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def figures(hits: np.ndarray) -> tuple[float, float]:
    """Return enrichment at `SHARE` and BEDROC of (n,) hits in the order of the ranking."""
    table = [[bool(hit)] for hit in hits]
    return float(Scoring.CalcEnrichment(table, 0, [SHARE])[0]), float(Scoring.CalcBEDROC(table, 0, ALPHA))


def intervals(hits: np.ndarray) -> list[tuple[float, float]]:
    """Return the 95 % bootstrap intervals of both figures; hidden molecules and decoys are drawn anew apart."""
    generator = np.random.default_rng(SEED)
    places = [np.flatnonzero(hits), np.flatnonzero(~hits)]
    found = []
    for _ in range(RESAMPLED):
        drawn = np.sort(np.concatenate([generator.choice(some, len(some)) for some in places]))
        found.append(figures(hits[drawn]))
    low, high = np.quantile(found, (0.025, 0.975), axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def ranked_hits(path: Path, folder: Path, rank: str, workers: int) -> np.ndarray:
    """Return whether each molecule of the library is a hidden one, the best first."""
    references = folder / "references.smi"
    references.write_text("".join(f"{smiles} {name}\n" for name, smiles in REFERENCES.items()), encoding="utf-8")
    out = folder / rank.partition(":")[0]
    run = moldiff.screen(
        path, out, similar_to=references, rank=rank, where="mw>0", ranked=10**6, top=20, dedup=False, workers=workers
    )
    assert run is not None
    return run.ranked["name"].isin(list(HIDDEN)).to_numpy()


def main() -> None:
    """Screen, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="molecules among which the series is hidden")
    parser.add_argument("--decoys", type=int, default=20_000, help="so many of them, 20,000 by default")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, help="Markdown to write; without it, it is printed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = library(arguments.file, arguments.decoys, folder / "library.smi")
        lines = [
            "# A retrospective screen, measured",
            "",
            f"`python -m scripts.benchmarks.retrospective {arguments.file.name} --decoys {arguments.decoys}`, "
            f"{datetime.now(UTC):%Y-%m-%d}, moldiff {VERSION}.",
            "",
            f"{len(HIDDEN)} beta blockers hidden among {count - len(HIDDEN):,} molecules of {arguments.file.name}; "
            f"{len(REFERENCES)} others ({', '.join(REFERENCES)}) are the references. 95 % bootstrap intervals "
            f"({RESAMPLED} draws); chance is 1 and {chance(len(HIDDEN), count):.2f}.",
            "",
            "| ranked by | enrichment at 1 % | BEDROC | hidden molecules in the first 1 % |",
            "|---|---|---|---|",
        ]
        for rank in ("similarity", "qed"):
            hits = ranked_hits(folder / "library.smi", folder, rank, arguments.workers)
            texts = [
                f"{value:.2f} ({low:.2f} to {high:.2f})"
                for value, (low, high) in zip(figures(hits), intervals(hits), strict=True)
            ]
            first = int(hits[: round(SHARE * len(hits))].sum())
            lines.append(f"| {rank} | {' | '.join(texts)} | {first} of {int(hits.sum())} |")
    text = "\n".join(lines) + "\n"
    deliver(text, arguments.out)


def chance(hidden: int, count: int) -> float:
    """Return the BEDROC of a random order, on average over `RESAMPLED` ones."""
    generator = np.random.default_rng(SEED)
    hits = np.zeros(count, dtype=bool)
    hits[:hidden] = True
    return float(np.mean([figures(generator.permutation(hits))[1] for _ in range(min(RESAMPLED, 100))]))


if __name__ == "__main__":
    main()
