"""Measure how well plain ``--target`` meets what it is asked for, as a user types it.

    python -m scripts.benchmarks.targets qm9 --properties logp tpsa gfn2_gap_eV gfn2_dipole_D -n 100

For each property: values at 20 quantiles of the training data between 5 and 95 % (the two lowest and the two highest
are shown apart as edges), the range of its middle fifth, and a bound at each end (10 and 90 %). Integers are asked for
as whole numbers, and the band is that number alone. Pairs of properties are asked for together, at the values of
training molecules. The judge is the true calculator on the molecule as drawn; plain argmax, default options. Errors are
over different valid molecules; failures and copies count as outside the band. ± is one standard error over wishes.

Baselines come from draws that know nothing: their error ("unconditional"), and the nearest of three of them, which cost
about as much. A finished wish is a row of cells.csv in the working folder; started again, the script goes on where it
was.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

import moldiff
from moldiff.chem.descriptors.fingerprints import mean_distances
from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES, compute
from moldiff.chem.descriptors.xtb import gfn2_properties
from moldiff.errors import MoldiffError
from moldiff.files import write_text
from moldiff.generation.result import Result
from moldiff.provenance import hardware
from moldiff.scoring.targets import VALUE_BAND, parse_target, scaled_distances
from scripts.benchmarks.cells import Cells

KEY = ("model_sha256", "seed", "n", "method", "property", "wish")
COLUMNS = (*KEY, "kind", "miss", "bound", "best", "within", "valid", "different", "diversity", "best_diversity",
           "evaluations", "date")  # fmt: skip
QUANTILES = np.linspace(0.05, 0.95, 20)
EDGES = 2  # wishes at either end
MATES = 3  # draws of which the nearest is taken, for what a wish costs
KINDS = {"value": "values", "edge": "edges", "range": "range", "bound": "bounds", "pair": "two together"}


class Pool:
    """Draws that know nothing, and what of a wish they meet.

    Args:
        result: the draws.
        seed: of the choice of mates.
    """

    def __init__(self, result: Result, seed: int) -> None:
        self.molecules = list(result)
        self.smiles = [str(one) for one in result.table["smiles"]]
        self.generator = np.random.default_rng(seed)
        self._values: dict[str, np.ndarray] = {}

    def values(self, name: str) -> np.ndarray:
        """Return a property of every molecule, NaN where its calculator fails."""
        if name not in self._values:
            tables = [compute(mol, [name]) if name in PROPERTIES else gfn2_properties(mol) for mol in self.molecules]
            self._values[name] = np.array([table.get(name, np.nan) for table in tables])
        return self._values[name]

    def misses(self, wish: Sequence[str]) -> np.ndarray:
        """Return how far each molecule is from each part of a wish (parts, molecules)."""
        targets = [parse_target(text) for text in wish]
        values = np.stack([self.values(target.name) for target in targets], axis=1)
        return scaled_distances(targets, values, np.ones(len(targets)))

    def nearest(self, wish: Sequence[str], scales: np.ndarray, groups: int) -> np.ndarray:
        """Return the places of the nearest of `MATES` molecules, for so many groups."""
        far = np.nan_to_num((self.misses(wish) / scales[:, None]).sum(0), nan=np.inf)
        chosen = np.array([self.generator.choice(len(far), MATES, replace=False) for _ in range(groups)])
        return chosen[np.arange(groups), far[chosen].argmin(1)]


def wishes(model: moldiff.Model, name: str) -> dict[str, list[tuple[str, ...]]]:
    """Return kind of wish -> wishes about one property, at quantiles of its training data."""
    (data,) = _training_values(model, [name]).T
    is_integer = bool((data == np.round(data)).all())
    values = np.quantile(data, QUANTILES, method="nearest" if is_integer else "linear")
    values = np.unique(values) if is_integer else values
    texts: list[tuple[str, ...]] = [(f"{name}={value:.6g}",) for value in values]
    low, high, less, more = np.quantile(data, [0.4, 0.6, 0.1, 0.9])
    found = {"value": texts[EDGES:-EDGES], "edge": [*texts[:EDGES], *texts[-EDGES:]]}
    if is_integer:
        return {"value": texts}
    return found | {
        "range": [(f"{name}={low:.6g}..{high:.6g}",)],
        "bound": [(f"{name}<{less:.6g}",), (f"{name}>{more:.6g}",)],
    }


def pairs(model: moldiff.Model, names: Sequence[str], count: int, seed: int) -> list[tuple[str, ...]]:
    """Return wishes about two properties, at the values of training molecules."""
    rows = _training_values(model, names)
    chosen = rows[np.random.default_rng(seed).choice(len(rows), count, replace=False)]
    return [tuple(f"{name}={value:.6g}" for name, value in zip(names, row, strict=True)) for row in chosen]


def _training_values(model: moldiff.Model, names: Sequence[str]) -> np.ndarray:
    """Return (R, names) properties of training molecules that have all of them."""
    rows = model.references.condition_rows(model.model.conditions)
    found: np.ndarray = rows.table[:, [1 + rows.names.index(name) for name in names]]
    return found[np.isfinite(found).all(1)]


def measure(
    model: moldiff.Model, pool: Pool, kind: str, wish: tuple[str, ...], arguments: argparse.Namespace
) -> list[dict[str, str]]:
    """Return a row for each property of a wish."""
    method = None if arguments.method == "default" else arguments.method
    result = model.generate(arguments.n, targets=list(wish), seed=arguments.seed, target_method=method)
    table = result.table
    first = (table["status"] == "valid") & (table["duplicate_of"].fillna("") == "")
    valid = (table["status"] == "valid").mean()
    smiles = [str(one) for one in table["smiles"][first]]
    scales = np.array([model.model.statistics.properties[parse_target(text).name].std for text in wish])
    best = pool.nearest(wish, scales, arguments.n)
    rows = []
    for part, text in enumerate(wish):
        target = parse_target(text)
        miss = np.abs(table[f"error_{target.name}"].to_numpy(float))
        whole = not target.is_value or _is_integer(pool.values(target.name))
        margin = 0.0 if whole else VALUE_BAND * float(scales[part])
        plain = pool.misses(wish)[part]
        rows.append(
            {
                "property": target.name,
                "kind": kind,
                "miss": _text(miss[first].mean()),
                "bound": _text(np.nanmean(plain)),
                "best": _text(np.nanmean(plain[best])),
                "within": _text((first & (miss <= margin + 1e-6)).mean()),
                "valid": _text(valid),
                "different": _text(first.sum() / max(1, (table["status"] == "valid").sum())),
                "diversity": _text(mean_distances(smiles).mean()),
                "best_diversity": _text(mean_distances([pool.smiles[place] for place in set(best.tolist())]).mean()),
                "evaluations": _text(table["evaluations"].sum() / max(1, first.sum())),
                "date": str(datetime.date.today()),
            }
        )
    return rows


def _is_integer(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    return bool((known == np.round(known)).all())


def _text(value: float) -> str:
    return f"{value:.6g}"


def mean_of(rows: Sequence[Mapping[str, str]], name: str, factor: float = 1.0) -> str:
    """Return the mean of a column with its standard error over wishes."""
    return with_error(factor * np.array([float(row[name]) for row in rows]), 1 if factor > 1 else 3)


def ratio_of(rows: Sequence[Mapping[str, str]], name: str) -> str:
    """Return the mean of a miss over the unconditional mean, with the standard error of the former."""
    bound = np.mean([float(row["bound"]) for row in rows])
    if not bound:
        return "-"
    return with_error(np.array([float(row[name]) for row in rows]) / bound, 3)


def with_error(values: np.ndarray, digits: int) -> str:
    """Return the mean of values with its standard error."""
    error = f" ± {values.std(ddof=1) / np.sqrt(len(values)):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{error}"


def page(rows: Sequence[Mapping[str, str]], arguments: argparse.Namespace) -> str:
    """Return the Markdown page."""
    device = torch.device("cpu")
    lines = [
        f"# Plain `--target`: the model {Path(arguments.model).name}",
        "",
        f"`python -m scripts.benchmarks.targets {Path(arguments.model).name} --properties "
        f"{' '.join(arguments.properties)} -n {arguments.n} --pairs {arguments.pairs} --pool {arguments.pool} "
        f"--seed {arguments.seed} --method {arguments.method} --kinds {' '.join(arguments.kinds)}`, "
        f"{max(row['date'] for row in rows)}, {hardware(device)}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, torch {torch.__version__}; model hash `{rows[0]['model_sha256'][:16]}`. "
        "Error: mean distance from what is wanted over different valid molecules, as a share of that of draws that "
        f"know nothing. Within: valid, no copy, and within {VALUE_BAND} standard deviations of a value, the whole "
        "number, the range or the bound. Nearest of three: of three draws that know nothing. Diversity: mean Tanimoto "
        "distance, as a share of that of the nearest of three. ± is one standard error over wishes.",
        "",
        "| property | wishes | error | nearest of three | within, % | valid & connected, % | different, % | diversity "
        "| evaluations per different molecule | draws |",
        "|---" * 10 + "|",
    ]
    for name in dict.fromkeys(row["property"] for row in rows):
        for kind, label in KINDS.items():
            some = [row for row in rows if (row["property"], row["kind"]) == (name, kind)]
            if not some:
                continue
            share = np.mean([float(row["diversity"]) / float(row["best_diversity"]) for row in some])
            lines.append(
                f"| {name} | {len(some)} {label} | {ratio_of(some, 'miss')} | {ratio_of(some, 'best')} "
                f"| {mean_of(some, 'within', 100)} | {mean_of(some, 'valid', 100)} | {mean_of(some, 'different', 100)} "
                f"| {share:.3f} | {np.mean([float(row['evaluations']) for row in some]):.0f} "
                f"| {len(some) * int(some[0]['n'])} |"
            )
    return "\n".join([*lines, ""])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="built-in model or model folder")
    parser.add_argument("--properties", nargs="+", default=["logp", "tpsa"])
    parser.add_argument("-n", type=int, default=100, help="draws for each wish")
    parser.add_argument("--pairs", type=int, default=0, help="wishes about the first two properties together")
    parser.add_argument("--pool", type=int, default=600, help="draws that know nothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", default="default", help="target_method")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark_targets"), help="folder of cells")
    parser.add_argument("-o", "--out", type=Path, default=Path("targets.md"), help="Markdown file to write")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the wishes that are missing, and write the table after each."""
    arguments = parse()
    cells = Cells(arguments.work / "cells.csv", COLUMNS, KEY)
    text = ""
    try:
        model = moldiff.load(arguments.model)
        pool = Pool(model.generate(arguments.pool, seed=arguments.seed + 1000), arguments.seed)
        shared = {"model_sha256": model.sha256, "seed": str(arguments.seed), "n": str(arguments.n)}
        shared |= {"method": arguments.method}
        asked = [
            (kind, wish)
            for name in arguments.properties
            for kind, some in wishes(model, name).items()
            for wish in some
            if kind in arguments.kinds
        ]
        asked += [("pair", wish) for wish in pairs(model, arguments.properties[:2], arguments.pairs, arguments.seed)]
        missing = [
            (
                {"property": parse_target(wish[0]).name, "wish": " ".join(wish)},
                partial(measure, model, pool, kind, wish, arguments),
            )
            for kind, wish in asked
        ]
        for rows in cells.complete(shared, missing):
            text = page(rows, arguments)
            write_text(arguments.out, text)
    except MoldiffError as error:
        raise SystemExit(f"error: {error}") from error
    print(text)


if __name__ == "__main__":
    main()
