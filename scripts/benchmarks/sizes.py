"""Hold the sizes of a model's draws against those of its training data: by heavy atoms and weight. Writes Markdown.

    moldiff generate -n 2000 --model qm9 --seed 0 -o drawn.sdf
    python -m scripts.benchmarks.sizes qm9 drawn.csv --data data/qm9 -o scripts/benchmarks/results/sizes_qm9.md

A model of all atoms draws a molecule's number of atoms, hydrogens included, as often as the training data has it. How
many of them are heavy follows from what the network makes, and may be more than any training molecule has. Such
molecules are new by construction: novelty is told of the others as well.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rdkit import Chem

from moldiff.chem.identity import canonical_smiles
from moldiff.datasets.prepared import PreparedDataset
from moldiff.errors import MoldiffError
from moldiff.evaluation.distributions import summarise, wasserstein
from moldiff.evaluation.load_reference import load_reference
from moldiff.evaluation.metrics import known
from moldiff.evaluation.rates import Rate
from moldiff.files import write_text
from moldiff.models.folder import load_model_folder
from moldiff.provenance import hardware

COMPARED = {"heavy_atom_count": "heavy atoms", "mw": "molecular weight, g/mol"}
FLOORS = 20  # draws of as many training molecules


def cell(rate: Rate) -> str:
    """Return a rate as "19.2 ± 1.6 % of 582"."""
    if rate.value is None or rate.standard_error is None:
        return "-"
    return f"{100 * rate.value:.1f} ± {100 * rate.standard_error:.1f} % of {rate.n:,}"


def floor(training: np.ndarray, n: int, generator: np.random.Generator) -> float:
    """Return the mean distance of draws of n training molecules from all of them."""
    whole = summarise(training)
    return float(np.mean([wasserstein(generator.choice(training, n), whole) for _ in range(FLOORS)]))


def novelty(table: pd.DataFrame, keys: np.ndarray) -> Rate:
    """Return how many of the distinct molecules of a table the training split does not hold; both without stereo."""
    distinct = table.drop_duplicates("flat")
    return Rate(int((~known(list(distinct["flat"]), keys)).sum()), len(distinct))


def measures(
    drawn: pd.DataFrame, training: dict[str, np.ndarray], keys: np.ndarray, generator: np.random.Generator
) -> list[tuple[str, str]]:
    """Return the rows of the table.

    Args:
        drawn: the CSV of ``moldiff generate``, with ``flat``, the SMILES without stereo.
        training: of `COMPARED`, the values of the training molecules.
        keys: of the training molecules, sorted.
        generator: for the floors.
    """
    valid = drawn[drawn["status"] == "valid"]
    most = int(training["heavy_atom_count"].max())
    larger = valid["heavy_atom_count"] > most
    share = Rate(int(larger.sum()), len(valid))
    rows = [
        ("valid by moldiff: plausible bond lengths and no clashes, too", cell(Rate(len(valid), len(drawn)))),
        (f"more than {most} heavy atoms, the most of the training data; of the valid", cell(share)),
        ("novel, of the unique", cell(novelty(valid, keys))),
        (f"novel, of the unique of at most {most} heavy atoms", cell(novelty(valid[~larger], keys))),
    ]
    for name, label in COMPARED.items():
        values, expected = valid[name].to_numpy(dtype=float), training[name]
        found = wasserstein(values, summarise(expected))
        rows.append((f"{label}: mean (training data)", f"{values.mean():.2f} ({expected.mean():.2f})"))
        rows.append((f"{label}: W1 (floor)", f"{found:.3g} ({floor(expected, len(values), generator):.2g})"))
    return rows


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", help="that made the draws: a built-in model or a model folder")
    parser.add_argument("drawn", type=Path, help="the CSV of 'moldiff generate', at the default settings")
    parser.add_argument("--data", type=Path, required=True, help="prepared with --properties heavy_atom_count,mw")
    parser.add_argument("--first", type=int, default=1_000_000_000, help="draws; of a run cut short, its whole batches")
    parser.add_argument("--said", default="", help="what there is to say of the data")
    parser.add_argument("--seed", type=int, default=0, help="of the floors")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    try:
        folder, dataset = load_model_folder(arguments.model), PreparedDataset.open(arguments.data)
        reference = load_reference(arguments.model)
        drawn = pd.read_csv(arguments.drawn, keep_default_na=False, na_values={"heavy_atom_count": "", "mw": ""})
        drawn["flat"] = [canonical_smiles(Chem.MolFromSmiles(text), stereo=False) for text in drawn["smiles"]]
        drawn = drawn[drawn["draw"] < arguments.first]
        table = dataset.property_table(list(COMPARED))[dataset.indices("train")]
    except MoldiffError as error:
        raise SystemExit(f"error: {error}") from error
    if reference.keys is None:
        raise SystemExit(f"error: {arguments.model} carries no keys of its training molecules")
    training = {name: table[:, column].astype(float) for column, name in enumerate(COMPARED)}
    rows = measures(drawn, training, reference.keys.graph, np.random.default_rng(arguments.seed))
    name = Path(arguments.model).name
    lines = [
        f"# Sizes of the draws of {name}",
        "",
        f"`moldiff generate -n {len(drawn)} --model {name} --seed 0 -o drawn.sdf`, then `python -m"
        f" scripts.benchmarks.sizes {name} drawn.csv --data DATA`, {datetime.date.today()},"
        f" {hardware(torch.device('cpu'))}, {os.cpu_count()} cores, Python {platform.python_version()}, torch"
        f" {torch.__version__}, model hash `{folder.sha256[:16]}`. Sizes and weights are held against {len(table):,}"
        f" training molecules{arguments.said}; novel is what is not among all of them, by SMILES without stereo. W1:"
        f" the Wasserstein-1 distance; floor: that of as many of these training molecules, the mean of {FLOORS} draws."
        " ± is one standard error.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {label} | {value} |" for label, value in rows),
        "",
    ]
    print("\n".join(lines))
    if arguments.out is not None:
        write_text(arguments.out, "\n".join(lines))


if __name__ == "__main__":
    main()
