"""Measure what molecules cost on one core: CPU seconds and memory against their size and number; how many are valid.

    nice python -m scripts.benchmarks.costs -o scripts/benchmarks/results/costs.md

Each cell is one `moldiff generate` as a user types it, all options at their default, on one thread of PyTorch: start,
drawing, chemistry, files. CPU seconds are those of the command and of the worker process that it starts. Other work on
the machine adds to them, though less than to wall seconds: the least of some repeats counts. Memory is the most that
both processes hold at a time, pages that they share counted once. A finished cell is a row of cells.csv in the working
folder; started again, the script goes on where it was.
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
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from moldiff.errors import MoldiffError
from moldiff.evaluation.rates import Rate
from moldiff.files import atomic_writer, write_text
from moldiff.models.folder import load_model_folder
from moldiff.provenance import hardware
from scripts.benchmarks.cells import Cells
from scripts.benchmarks.watched import children

KEY = ("model", "model_sha256", "seed", "n_atoms", "n", "repeat")
COLUMNS = (*KEY, "cpu", "wall", "memory", "valid", "evaluations", "precision", "date")
ALL_SIZES = "all"  # as in the training data
MILLION = 1_000_000
LOOK_EVERY = 0.2  # seconds
KIB = 2**20  # of one GiB


def processes(pid: int) -> Iterator[int]:
    """Yield a process and all that it started, those that are there."""
    if (Path("/proc") / str(pid)).exists():
        yield pid
        for child in children(pid):
            yield from processes(child)


def held(pids: Iterable[int]) -> int:
    """Return the memory that processes hold together, KiB. Pages of a file that they share, a library say, count once:
    as many as the process holds that holds most of them."""
    own, of_files = 0, dict[str, int]()
    for pid in pids:
        try:
            lines = (Path("/proc") / str(pid) / "smaps").read_text(encoding="utf-8").splitlines()
        except OSError:  # it has ended, or there is no such thing
            continue
        here: Counter[str] = Counter()
        name = ""
        for line in lines:
            key, _, rest = line.partition(" ")
            if key == "Rss:":
                here[name] += int(rest.split()[0])
            elif key == "Anonymous:":
                here[name] -= int(rest.split()[0])
                own += int(rest.split()[0])
            elif not key.endswith(":"):
                name = line.split(maxsplit=5)[5] if line.count("/") else ""
        of_files |= {name: max(size, of_files.get(name, 0)) for name, size in here.items()}
    return own + sum(of_files.values())


def measured(words: Sequence[str], checkout: Path | None = None) -> dict[str, str]:
    """Return CPU seconds, wall seconds and memory, GiB, of a command; SystemExit if it fails.

    Args:
        words: behind ``moldiff``.
        checkout: folder whose package is meant; None = the one that is installed.
    """
    started, memory = time.perf_counter(), 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if checkout is not None:
        environment["PYTHONPATH"] = str(checkout)
    process = subprocess.Popen([sys.executable, "-m", "moldiff", *words], env=environment, cwd=checkout)
    pid = 0
    while not pid:
        memory = max(memory, held(processes(process.pid)))
        time.sleep(LOOK_EVERY)
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        where = "" if checkout is None else f"{checkout}: "
        raise SystemExit(f"{where}moldiff {' '.join(words)} ended with status {process.returncode}")
    # what rusage calls the largest size begins with that of this process, which the command is a copy of at first
    memory = memory or usage.ru_maxrss
    return {
        "cpu": f"{usage.ru_utime + usage.ru_stime:.2f}",
        "wall": f"{time.perf_counter() - started:.2f}",
        "memory": f"{memory / KIB:.3f}",
    }


def row_of(model: str, n_atoms: str, n: int, seed: int, work: Path) -> list[dict[str, str]]:
    """Generate once; return its row."""
    out = work / "molecules.sdf"
    sized = () if n_atoms == ALL_SIZES else ("--n-atoms", n_atoms)
    words = ["generate", "-n", str(n), "--model", model, "--seed", str(seed), "--device", "cpu", *sized]
    cost = measured([*words, "-o", str(out), "--overwrite"])
    record = json.loads(out.with_suffix(".run.json").read_text(encoding="utf-8"))
    told = {
        "valid": str(record["counts"]["valid"]),
        "evaluations": f"{record['network_evaluations_per_molecule']:g}",
        "precision": record["precision"],
    }
    return [{**cost, **told, "date": str(datetime.date.today())}]


def least(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return of each cell the repeat that took the fewest CPU seconds."""
    found: dict[tuple[str, ...], Mapping[str, str]] = {}
    for row in sorted(rows, key=lambda row: float(row["cpu"])):
        found.setdefault(tuple(row[name] for name in KEY if name != "repeat"), row)
    return list(found.values())


def slope(rows: Sequence[Mapping[str, str]], name: str = "cpu") -> float:
    """Return by how much a figure grows with a molecule: between the fewest and the most of some rows."""
    few, many = min(rows, key=lambda row: int(row["n"])), max(rows, key=lambda row: int(row["n"]))
    return (float(many[name]) - float(few[name])) / max(1, int(many["n"]) - int(few["n"]))


def valid_rate(rows: Sequence[Mapping[str, str]]) -> Rate:
    """Return the share of valid molecules of the most that were drawn; fewer ones are the first of them."""
    most = max(rows, key=lambda row: int(row["n"]))
    return Rate(int(most["valid"]), int(most["n"]))


def by_size(rows: Sequence[Mapping[str, str]], model: str) -> dict[int, list[Mapping[str, str]]]:
    """Return size -> the rows of a model at it, those of two numbers at least, ascending in size."""
    found: dict[int, list[Mapping[str, str]]] = {}
    for row in rows:
        if row["model"] == model and row["n_atoms"] != ALL_SIZES:
            found.setdefault(int(row["n_atoms"]), []).append(row)
    return {size: some for size, some in sorted(found.items()) if len(some) > 1}


def by_number(rows: Sequence[Mapping[str, str]], model: str) -> list[Mapping[str, str]]:
    """Return the rows of a model in all sizes, ascending in number."""
    some = [row for row in rows if row["model"] == model and row["n_atoms"] == ALL_SIZES]
    return sorted(some, key=lambda row: int(row["n"]))


def size_table(rows: Sequence[Mapping[str, str]], model: str) -> list[str]:
    """Return the table of a model's sizes."""
    lines = [
        f"## Size: {model}",
        "",
        "| heavy atoms | CPU s a molecule | molecules: CPU s | valid, 95 % interval | memory, GiB |",
        "|---" * 5 + "|",
    ]
    for size, some in by_size(rows, model).items():
        some = sorted(some, key=lambda row: int(row["n"]))
        each = ", ".join(f"{row['n']}: {float(row['cpu']):.1f}" for row in some)
        rate = valid_rate(some)
        low, high = rate.interval or (0.0, 1.0)
        valid = f"{rate.count} of {rate.n}, {100 * low:.0f} to {100 * high:.0f} %"
        memory = max(float(row["memory"]) for row in some)
        lines.append(f"| {size} | {slope(some):.3g} | {each} | {valid} | {memory:.2f} |")
    return [*lines, ""]


def number_table(rows: Sequence[Mapping[str, str]], model: str) -> list[str]:
    """Return the table of a model's numbers, and what follows for a million."""
    some = by_number(rows, model)
    lines = [
        f"## Number: {model}",
        "",
        "| molecules | CPU s | CPU s a molecule | wall s | valid | memory, GiB |",
        "|---" * 6 + "|",
    ]
    for row in some:
        cpu, n = float(row["cpu"]), int(row["n"])
        lines.append(
            f"| {n:,} | {cpu:.1f} | {cpu / n:.3g} | {float(row['wall']):.0f} | {row['valid']} "
            f"| {float(row['memory']):.2f} |"
        )
    if len(some) > 1:
        hours = slope(some) * MILLION / 3600
        lines += [
            "",
            f"A molecule more costs {slope(some):.3g} CPU s. By that a million would take {hours:,.0f} CPU hours: an "
            "estimate, nobody has waited for it.",
        ]
    return [*lines, ""]


def page(rows: Sequence[Mapping[str, str]], arguments: argparse.Namespace) -> str:
    """Return the Markdown page."""
    first = rows[0]
    names = list(dict.fromkeys([*arguments.by_size, *arguments.by_number]))
    lines = [
        "# Cost against size and number, measured",
        "",
        f"`python -m scripts.benchmarks.costs --by-size {' '.join(arguments.by_size)} --sizes "
        f"{' '.join(map(str, arguments.sizes))} --each {' '.join(map(str, arguments.each))} --by-number"
        f"{''.join(f' {name}' for name in arguments.by_number)}{_numbers(arguments)} "
        f"--repeats {arguments.repeats} --seed {arguments.seed}`, "
        f"{max(row['date'] for row in rows)}, {hardware(torch.device('cpu')).split(',')[0]}, one thread, network in "
        f"{first['precision']}, Python {platform.python_version()}, torch {torch.__version__}, rdkit "
        f"{version('rdkit')}; models {', '.join(f'{name} `{_sha(rows, name)}`' for name in names)}.",
        "",
        "Each row is a whole `moldiff generate` with default options: start, drawing, chemistry, files. CPU seconds "
        "are those of the command and its worker process, the least of the repeats. All of it was taken while other "
        "jobs ran on the same machine: wall seconds say little, CPU seconds are rather too many. Memory: the most "
        "that both hold at a time, shared pages counted once. CPU seconds a molecule, by size: between the two numbers "
        "of molecules, so that "
        "the start does not count. Valid: of the larger number, plain draws (argmax, no retries).",
        "",
        f"![cost against size and number]({arguments.out.with_suffix('.png').name})",
        "",
    ]
    for model in arguments.by_size:
        lines += size_table(rows, model)
    for model in arguments.by_number:
        lines += number_table(rows, model)
    return "\n".join(lines)


def _numbers(arguments: argparse.Namespace) -> str:
    return f" --numbers {' '.join(map(str, arguments.numbers))}" if arguments.by_number else ""


def _sha(rows: Sequence[Mapping[str, str]], model: str) -> str:
    """Return the beginning of a model's hash; "not measured yet" without a row."""
    return next((row["model_sha256"][:16] for row in rows if row["model"] == model), "not measured yet")


def plot(rows: Sequence[Mapping[str, str]], arguments: argparse.Namespace) -> None:
    """Draw CPU seconds, memory and valid molecules against size, the first two against number too."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(10.5, 5.0))
    for model in arguments.by_size:
        sizes = by_size(rows, model)
        axes[0, 0].plot(list(sizes), [slope(some) for some in sizes.values()], "o-", label=model)
        axes[1, 0].plot(list(sizes), [max(float(row["memory"]) for row in some) for some in sizes.values()], "o-")
        rates = [valid_rate(some) for some in sizes.values()]
        shares = 100 * np.array([rate.value or 0.0 for rate in rates])
        ends = 100 * np.array([rate.interval or (0.0, 1.0) for rate in rates]).reshape(-1, 2)
        reach = np.abs(ends.T - shares)
        axes[0, 2].errorbar(list(sizes), shares, yerr=reach, fmt="o-", capsize=3, label=model)
    for model in arguments.by_number:
        some = by_number(rows, model)
        numbers = [int(row["n"]) for row in some]
        axes[0, 1].plot(numbers, [float(row["cpu"]) for row in some], "o-", label=model)
        axes[1, 1].plot(numbers, [float(row["memory"]) for row in some], "o-")
    axes[0, 0].set_ylabel("CPU s a molecule")
    axes[0, 1].set_ylabel("CPU s")
    if axes[0, 1].lines and axes[0, 1].lines[0].get_xdata().size:  # nothing cannot be drawn on such a scale
        axes[0, 1].set_yscale("log")
        for axis in axes[:, 1]:
            axis.set_xscale("log")
    for row in (0, 1):
        axes[row, 0].set_xlabel("heavy atoms")
        axes[row, 1].set_xlabel("molecules")
        if axes[0, row].has_data():
            axes[0, row].legend(fontsize=7)
        axes[1, row].set_ylabel("memory, GiB")
        axes[row, 0].set_ylim(bottom=0)
    axes[1, 1].set_ylim(bottom=0)
    axes[0, 2].set(xlabel="heavy atoms", ylabel="valid, % (95 % interval)", ylim=(0, 102))
    for axis in (axes[1, 2], *(() if arguments.by_number else axes[:, 1])):
        axis.axis("off")
    figure.tight_layout()
    with atomic_writer(arguments.out.with_suffix(".png"), binary=True) as handle:
        figure.savefig(handle, format="png", dpi=90, metadata={"Software": None})
    pyplot.close(figure)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--by-size", nargs="*", default=["drugs"], help="models to measure by size")
    parser.add_argument("--sizes", nargs="+", type=int, default=[10, 20, 30, 40, 50, 60], help="numbers of atoms")
    parser.add_argument("--each", nargs=2, type=int, default=[16, 48], help="molecules of each size, few and many")
    parser.add_argument("--by-number", nargs="*", default=["qm9", "drugs"], help="models to measure by number")
    parser.add_argument("--numbers", nargs="+", type=int, default=[10, 100, 1000], help="numbers of molecules")
    parser.add_argument("--repeats", type=int, default=2, help="of each cell; the least counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark_costs"), help="folder of cells")
    parser.add_argument("-o", "--out", type=Path, default=Path("costs.md"), help="Markdown file to write")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Run the cells that are missing, and write table and plot after each."""
    arguments = parse(words)
    cells, text = Cells(arguments.work / "cells.csv", COLUMNS, KEY), ""
    wanted = [(model, str(size), n) for model in arguments.by_size for size in arguments.sizes for n in arguments.each]
    wanted += [(model, ALL_SIZES, n) for n in arguments.numbers for model in arguments.by_number]
    try:
        hashes = {model: load_model_folder(model).sha256 for model, _, _ in wanted}
    except MoldiffError as error:
        raise SystemExit(f"error: {error}") from error
    asked = [
        (
            {"model": model, "model_sha256": hashes[model], "n_atoms": size, "n": str(n), "repeat": str(repeat)},
            partial(row_of, model, size, n, arguments.seed, arguments.work),
        )
        for repeat in range(arguments.repeats)
        for model, size, n in wanted
    ]
    for rows in cells.complete({"seed": str(arguments.seed)}, asked):
        best = least([row for row in rows if row["model_sha256"] in hashes.values()])
        text = page(best, arguments)
        write_text(arguments.out, text)
        plot(best, arguments)
    print(text)


if __name__ == "__main__":
    main()
