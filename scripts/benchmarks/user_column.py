"""Measure how well a target is met that only a property network knows: a column of a user's file, no calculator.

    python -m scripts.benchmarks.user_column qm9 --network runs/assay/model --column assay --truth logp -n 24

The column is the copy of a property under another name, so that nobody but the network knows it while molecules are
made, and its calculator can judge them afterwards. Wishes are values at quantiles of the training data between 5 and
95 %, default options otherwise. Errors are over different valid molecules, as a share of that of draws that know
nothing; failures and copies count as outside the band. ± is one standard error over wishes.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from pathlib import Path

import numpy as np
import torch

import moldiff
from moldiff.chem.descriptors.rdkit_descriptors import compute
from moldiff.errors import MoldiffError
from moldiff.files import write_text
from moldiff.provenance import hardware
from moldiff.scoring.targets import VALUE_BAND, parse_target
from scripts.benchmarks.targets import Pool, wishes, with_error


def measure(
    model: moldiff.Model, pool: Pool, text: str, arguments: argparse.Namespace
) -> tuple[float, float, float, float, float]:
    """Return of a wish about the true property: mean miss, that of draws that know nothing, share within the band,
    share of valid draws, evaluations per different molecule."""
    target = parse_target(text)
    asked = text.replace(arguments.truth, arguments.column, 1)
    result = model.generate(arguments.n, targets=asked, property_model=arguments.network, seed=arguments.seed)
    table = result.table
    first = (table["duplicate_of"].fillna("") == "")[table["status"] == "valid"].to_numpy(bool)
    found = np.array([compute(mol, [arguments.truth])[arguments.truth] for mol in result])
    miss = np.abs(found - target.low)
    band = VALUE_BAND * float(model.model.statistics.properties[arguments.truth].std)
    return (
        float(miss[first].mean()),
        float(np.nanmean(pool.misses([text])[0])),
        float((first & (miss <= band)).sum() / arguments.n),
        len(result) / arguments.n,
        float(table["evaluations"].sum() / max(1, first.sum())),
    )


def page(rows: np.ndarray, arguments: argparse.Namespace) -> str:
    """Return the Markdown page of the measures (W, 5) of some wishes."""
    miss, blind, within, valid, evaluations = rows.T
    share = miss / blind.mean()
    lines = [
        f"# A column that only a property network knows: the model {Path(arguments.model).name}",
        "",
        f"`python -m scripts.benchmarks.user_column {Path(arguments.model).name} --network NETWORK --column "
        f"{arguments.column} --truth {arguments.truth} --wishes {arguments.wishes} -n {arguments.n} --seed "
        f"{arguments.seed}`, {datetime.date.today()}, {hardware(torch.device('cpu'))}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, torch {torch.__version__}. The column `{arguments.column}` is "
        f"`{arguments.truth}` under another name; RDKit's value judges. Error: mean distance from what is wanted over "
        f"different valid molecules, as a share of that of {arguments.pool} draws that know nothing. ± is one standard "
        "error over wishes.",
        "",
        "| wishes | draws | error | within, % | valid & connected, % | evaluations per different molecule |",
        "|---|---|---|---|---|---|",
        f"| {len(rows)} values | {len(rows) * arguments.n} | {with_error(share, 3)} | {with_error(100 * within, 1)} "
        f"| {with_error(100 * valid, 1)} | {evaluations.mean():.0f} |",
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Ask for each value, and write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", help="built-in model or model folder")
    parser.add_argument("--network", required=True, help="folder of the property network")
    parser.add_argument("--column", required=True, help="what the network calls the property")
    parser.add_argument("--truth", required=True, help="RDKit's property that the column copies")
    parser.add_argument("--wishes", type=int, default=20, help="of the 20 quantiles, evenly spread")
    parser.add_argument("-n", type=int, default=24, help="draws for each wish")
    parser.add_argument("--pool", type=int, default=600, help="draws that know nothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=Path("user_column.md"), help="Markdown file to write")
    arguments = parser.parse_args()
    try:
        model = moldiff.load(arguments.model)
        pool = Pool(model.generate(arguments.pool, seed=arguments.seed + 1000), arguments.seed)
        found = wishes(model, arguments.truth)
        texts = sorted(
            (text for kind in ("value", "edge") for (text,) in found[kind]), key=lambda t: parse_target(t).low
        )
        chosen = np.linspace(0, len(texts) - 1, min(arguments.wishes, len(texts))).round().astype(int)
        rows: list[tuple[float, ...]] = []
        for place in chosen:
            rows.append(measure(model, pool, texts[place], arguments))
            write_text(arguments.out, page(np.array(rows), arguments))
    except MoldiffError as error:
        raise SystemExit(f"error: {error}") from error
    print(arguments.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
