"""Measure a model as a stranger would: generate by the command line, evaluate by the command line. Writes Markdown.

    python -m scripts.benchmarks.model qm9 -n 1000 --data data/qm9 -o scripts/benchmarks/results/model_qm9.md

Everything is at its default (argmax decoding, no retries, no filters) and all requested molecules count. Beside the
model's column stands one for as many real molecules of the test split, which no training saw, judged in the same way.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moldiff.chem.convert import decode
from moldiff.chem.io.records import mol_to_sdf_record, write_sdf
from moldiff.datasets.prepared import PreparedDataset
from moldiff.files import write_text
from moldiff.provenance import hardware

RATES = {
    "valid_connected": "valid & connected",
    "atom_stability": "stable atoms",
    "molecule_stability": "stable molecules",
    "edm_atom_stability": "stable atoms, EDM distance table",
    "edm_molecule_stability": "stable molecules, EDM distance table",
    "unique": "unique, of the valid",
    "novel": "novel, of the unique",
    "valid_unique_novel": "valid, unique and novel",
    "posebusters": "PoseBusters (mol_fast)",
    "posebusters_of_valid": "PoseBusters (mol_fast), of the valid",
}
ODD = {  # shares of report.json's rarity
    ("rarest_ring", "unseen"): "a ring system that no training molecule has",
    ("rarest_ring", "rare"): "a ring system that fewer than 5 training molecules have",
    ("weakest_bond", "unseen"): "a bond between surroundings never seen bonded",
    ("weakest_bond", "weak"): "a bond whose ends meet 19 times less often than by chance",
}
BONDS = ("C-H", "C-C", "C=O")


def measured(arguments: list[str]) -> tuple[float, float]:
    """Run a command; return (wall seconds, peak memory in GiB of its own process)."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "moldiff", *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"moldiff {' '.join(arguments)} ended with status {process.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 2**20


def evaluated(file: Path, n: int, reference: str) -> dict[str, Any]:
    """Return the report of ``moldiff evaluate``."""
    report = file.with_suffix(".report")
    judge = ["evaluate", str(file), "--reference", reference, "--requested", str(n), "--posebusters", str(n)]
    measured([*judge, "-o", str(report), "--overwrite"])
    return dict(json.loads((report / "report.json").read_text(encoding="utf-8")))


def write_held_out(data: Path, n: int, seed: int, out: Path) -> None:
    """Write n molecules of the test split, drawn with the seed, as an SDF."""
    dataset = PreparedDataset.open(data)
    rows = np.sort(np.random.default_rng(seed).choice(dataset.indices("test"), n, replace=False))
    molecules = [decode(dataset.molecule(int(row)), dataset.vocabulary).mol for row in rows]
    write_sdf(
        out, [mol_to_sdf_record(mol, dataset.name(int(row)), {}) for mol, row in zip(molecules, rows, strict=True)]
    )


def cell(rate: dict[str, Any] | None) -> str:
    """Return a rate as "93.1 ± 0.8"."""
    if rate is None or rate["value"] is None:
        return "-"
    error = f" ± {100 * rate['standard_error']:.1f}" if rate["standard_error"] is not None else ""
    return f"{100 * rate['value']:.1f}{error}"


def oddities(report: dict[str, Any]) -> dict[str, str]:
    """Return the rows of what is odd in the valid molecules, where the model carries counts to tell."""
    found = report["rarity"]
    if found is None:
        return {}
    shares = {label: found[part][share] for (part, share), label in ODD.items()}
    errors = {label: (share * (1 - share) / found["n"]) ** 0.5 for label, share in shares.items()}
    return {label: cell({"value": share, "standard_error": errors[label]}) for label, share in shares.items()}


def distances(report: dict[str, Any]) -> dict[str, str]:
    """Return the rows of distances of one report, "distance (floor)"."""
    rows = {}
    for kind, found in report["geometry"].items():
        rows[f"W1 of {kind}s, {found['unit']} (floor)"] = f"{found['w1']:.4g} ({found['floor']:.2g})"
        for label in BONDS if kind == "bond" else ():
            entry = found["types"].get(label)
            if entry and entry["w1"] is not None and entry["floor"] is not None:
                rows[f"W1 of {label} lengths, {found['unit']} (floor)"] = f"{entry['w1']:.4f} ({entry['floor']:.4f})"
    if (made := report["motifs"]) is not None:
        label = f"deviation of {len(made['motifs'])} motifs, spreads (floor)"
        rows[label] = f"{made['deviation']:.3f} ({made['floor']:.3f})"
    return rows


def page(
    columns: dict[str, dict[str, Any]],
    record: dict[str, Any],
    costs: Sequence[tuple[str, float, float]],
    arguments: argparse.Namespace,
) -> str:
    """Return the Markdown page.

    Args:
        columns: head -> report of what was evaluated, the model's first.
        record: the run record of the generation.
        costs: what was generated, wall seconds, GiB; empty where they mean nothing.
        arguments: of the command line.
    """  # fmt: skip
    name = Path(arguments.model).name
    command = f"python -m scripts.benchmarks.model {name} -n {arguments.n} --seed {arguments.seed}"
    command += "".join(f" --{word}" for word in ("familiar", "untimed") if getattr(arguments, word))
    lines = [
        f"# The model {name}, measured",
        "",
        f"`{command}`, {datetime.date.today()}, {hardware(torch.device('cpu'))}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, torch {torch.__version__}. Sampler {record['options']['sampler']}, "
        f"{record['options']['evaluations']} network evaluations, seed {arguments.seed}, model hash "
        f"`{record['model_sha256'][:16]}`. All {arguments.n} requested molecules count; argmax decoding, no "
        "retries, no filters. Rates in %, ± standard error. Floor: the distance of as many real training molecules.",
        "",
        f"| | {' | '.join(columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for key, label in RATES.items():
        cells = [cell(report["metrics"].get(key)) for report in columns.values()]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    tables = [oddities(report) | distances(report) for report in columns.values()]
    lines += [f"| {label} | {' | '.join(table.get(label, '-') for table in tables)} |" for label in tables[0]]
    if costs:
        lines += ["", "| generation | wall, s | peak memory, GiB |", "|---|---|---|"]
        lines += [f"| {what} | {seconds:.1f} | {memory:.2f} |" for what, seconds, memory in costs]
    return "\n".join([*lines, ""])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="built-in model or model folder")
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--familiar", action="store_true", help="draw with the option of this name")
    parser.add_argument("--untimed", action="store_true", help="leave seconds out: other work runs beside")
    parser.add_argument("--data", type=Path, help="prepared data set: adds a column of real molecules")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark_model"), help="folder of the files made")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    return parser.parse_args(arguments)


def main() -> None:
    """Generate, evaluate, write the table."""
    arguments = parse()
    arguments.work.mkdir(parents=True, exist_ok=True)

    common = ["--model", arguments.model, "--seed", str(arguments.seed), "--keep-invalid", "--overwrite"]
    common += ["--familiar"] if arguments.familiar else []
    costs, first, generated = [], arguments.work / "first.sdf", arguments.work / "generated.sdf"
    if not arguments.untimed:
        costs.append(("100 molecules, cold start", *measured(["generate", "-n", "100", "-o", str(first), *common])))
    cost = measured(["generate", "-n", str(arguments.n), "-o", str(generated), *common])
    costs += [] if arguments.untimed else [(f"{arguments.n} molecules", *cost)]
    record = json.loads((arguments.work / "generated.run.json").read_text(encoding="utf-8"))
    columns = {"generated": evaluated(generated, arguments.n, arguments.model)}
    if arguments.data is not None:
        held_out = arguments.work / "held_out.sdf"
        write_held_out(arguments.data, arguments.n, arguments.seed, held_out)
        columns["held-out data"] = evaluated(held_out, arguments.n, arguments.model)
    text = page(columns, record, costs, arguments)
    print(text)
    if arguments.out is not None:
        write_text(arguments.out, text)


if __name__ == "__main__":
    main()
