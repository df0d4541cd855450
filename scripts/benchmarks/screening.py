"""Measure what `moldiff screen` and `moldiff filter` cost beside the plain loop that a user of RDKit would write
(`plain_screen.py`), whole commands on real files. Writes a Markdown table.

    python -m scripts.benchmarks.screening tests/fixtures/drugs.sdf --sizes 4 12
    nice python -m scripts.benchmarks.screening drugs.sdf.gz --every 10 -o scripts/benchmarks/results/screening.md

Molecules of the file are written as .smi, .csv and .sdf libraries of two sizes; every command runs on both, and what a
molecule costs is the difference, so that the start does not count. Costs are CPU seconds of the command and of its
worker, which other work on the machine does not stop; commands take turns, and the least of some repeats counts.

Bars: every check of every molecule at 0.9 of the plain loop's rate; up to the first failure never slower, and 1.4 times
as fast where a rule drops half.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import rdkit
from rdkit import RDLogger
from rdkit.Chem import Descriptors

from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.records import Record, mol_to_sdf_record, parse, read_texts
from moldiff.files import write_text
from moldiff.provenance import header
from moldiff.version import VERSION

SUFFIXES = (".smi", ".csv", ".sdf")
LIGHT = ("mw<5000", "logp<50", "hbd<50", "hba<50", "tpsa<1000", "rotatable_bonds<100")
"""Conditions that everything meets: the numbers are computed, nothing is dropped."""
_RULES = ("--rules", "lipinski,veber")
_ALERTS = ("--where", "qed>=0", "--where", "sa<=100", "--alerts", "pains,brenk")
_MEASURED = (
    "import resource as r, sys; from moldiff.cli.main import main\n"
    "if __name__ == '__main__':\n"
    "    try: status = main(sys.argv[1:])\n"
    "    except SystemExit as end: status = end.code\n"
    "    cpu = [sum(r.getrusage(who)[:2]) for who in (r.RUSAGE_SELF, r.RUSAGE_CHILDREN)]\n"
    "    print('COST', *cpu); sys.exit(status)\n"
)
"""The command line, which tells what it took."""


@dataclass(frozen=True)
class Cost:
    """Processor time, seconds.

    Attributes:
        main: of the command.
        workers: of the processes that it started.
        wall: wall time.
    """

    main: float
    workers: float
    wall: float

    @property
    def cpu(self) -> float:
        """Of all processes."""
        return self.main + self.workers


Costs = dict[tuple[str, str, str, int], Cost]
"""Of work, suffix, program and number of molecules."""


@dataclass(frozen=True)
class Work:
    """Work on a library.

    Attributes:
        name: in the table.
        plain: options of the plain loop that does the same.
        words: options of moldiff.
    """

    name: str
    plain: tuple[str, ...]
    words: tuple[str, ...]


def works(half: str) -> tuple[Work, ...]:
    """Return what is measured.

    Args:
        half: condition that half of the molecules meet.
    """
    light = tuple(word for one in LIGHT for word in ("--where", one))
    dropping = ("--where", half, *light[2:])
    return (
        Work("descriptors and rules, every check", (), (*light, *_RULES, "--all-checks")),
        Work("every check of every molecule", ("--everything",), (*light, *_RULES, *_ALERTS, "--all-checks")),
        Work("all, up to the first that fails", ("--everything",), (*light, *_RULES, *_ALERTS)),
        Work(f"the same, half dropped by {half}", ("--everything",), (*dropping, *_RULES, *_ALERTS)),
    )


def write_libraries(records: Sequence[Record], folder: Path, sizes: Sequence[int]) -> str:
    """Write libraries of the first molecules, of some sizes, in every format; return a condition that half meet."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = sorted(Descriptors.MolWt(record.mol) for record in records)
    smiles = [canonical_smiles(record.mol, stereo=True) for record in records]
    for size in sizes:
        stem = folder / f"library_{size}"
        lines = [f"{text} m{number}\n" for number, text in enumerate(smiles[:size])]
        stem.with_suffix(".smi").write_text("".join(lines), encoding="utf-8")
        lines = ["name,smiles,source\n", *(f"m{n},{text},real\n" for n, text in enumerate(smiles[:size]))]
        stem.with_suffix(".csv").write_text("".join(lines), encoding="utf-8")
        blocks = (mol_to_sdf_record(record.mol, f"m{n}", {"source": "real"}) for n, record in enumerate(records[:size]))
        stem.with_suffix(".sdf").write_text("".join(blocks), encoding="utf-8")
    return f"mw<{weights[len(weights) // 2]:.6g}"


def run(words: Sequence[str]) -> Cost:
    """Return what a program in Python costs; SystemExit if it fails."""
    environment, started = {**os.environ, "OMP_NUM_THREADS": "1"}, time.monotonic()
    command = [sys.executable, *words]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with status {process.returncode}")
    told = [line.split()[1:] for line in said.splitlines() if line.startswith("COST ")]
    main, workers = map(float, told[0]) if told else (usage.ru_utime + usage.ru_stime, 0.0)
    return Cost(main, workers, time.monotonic() - started)


def commands(work: Work, library: Path, folder: Path, script: Path) -> dict[str, list[str]]:
    """Return the programs that do the same work, by name."""
    words = [*work.words, "--workers", "1"]
    return {
        "plain": ["-m", "scripts.benchmarks.plain_screen", str(library), str(folder / "plain.csv"), *work.plain],
        "filter": [str(script), "filter", str(library), *words, "-o", str(folder / "filtered.csv"), "--overwrite"],
        "screen": [str(script), "screen", str(library), *words, "--top", "1", "-o", str(folder / "run")],
    }


def measure(
    asked: Sequence[Work], folder: Path, sizes: Sequence[int], suffixes: Sequence[str], repeats: int
) -> Iterator[Costs]:
    """Yield the least cost of (work, suffix, program, size) so far, after each repeat. A plain loop that several kinds
    of work are compared with counts for all of them."""
    script = folder / "measured.py"
    write_text(script, _MEASURED)
    found: Costs = {}
    for _ in range(repeats):
        for work, suffix, size in itertools.product(asked, suffixes, sizes):
            for name, words in commands(work, folder / f"library_{size}{suffix}", folder, script).items():
                shutil.rmtree(folder / "run", ignore_errors=True)
                cost = run(words)
                for one in asked if name == "plain" else (work,):
                    if one.plain == work.plain:
                        key = one.name, suffix, name, size
                        found[key] = min(cost, found.get(key, cost), key=lambda known: known.cpu)
        yield found


def table(found: Costs, sizes: Sequence[int]) -> list[str]:
    """Return the lines of a table: milliseconds for a molecule more, ratios to the plain loop, and the share of the
    command's own process."""
    few, many = min(sizes), max(sizes)

    def ms(key: tuple[str, str, str], part: str = "cpu") -> float:
        costs = [float(getattr(found[*key, size], part)) for size in (few, many)]
        return 1000 * (costs[1] - costs[0]) / (many - few)

    lines = [
        "| work | file | plain loop, ms | filter, ms | rate | main process | screen, ms | rate | main process |",
        "|---" * 9 + "|",
    ]
    for name, suffix in dict.fromkeys(key[:2] for key in found):
        plain, cells = ms((name, suffix, "plain")), list[str]()
        for program in ("filter", "screen"):
            own = ms((name, suffix, program))
            cells.append(f"{own:.2f} | {plain / own:.2f} | {100 * ms((name, suffix, program), 'main') / own:.0f} %")
        lines.append(f"| {name} | {suffix} | {plain:.2f} | {' | '.join(cells)} |")
    return lines


def page(found: Costs, arguments: argparse.Namespace, before: float) -> str:
    """Return the Markdown page.

    Args:
        found: costs.
        arguments: of the command line.
        before: load of the machine when it began.
    """
    return "\n".join(
        [
            "# Screening beside a plain loop, measured",
            "",
            f"`python -m scripts.benchmarks.screening {arguments.file.name} --sizes "
            f"{' '.join(map(str, arguments.sizes))} --every {arguments.every} --repeats {arguments.repeats}`, "
            f"{datetime.now(UTC).date().isoformat()}, {header()['hardware']}, moldiff {VERSION}, "
            f"Python {platform.python_version()}, RDKit {rdkit.__version__}; load of the machine when it began and "
            f"ended {before:.1f} and {os.getloadavg()[0]:.1f}.",
            "",
            "Milliseconds of processor time for one molecule more: of a plain RDKit loop that writes a CSV, and of "
            "whole commands with one worker, reading, worker, tables and all. Rate: that of the command over the plain "
            "loop's. Main process: its share, which more workers do not divide.",
            "",
            *table(found, arguments.sizes),
            "",
        ]
    )


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="molecule file")
    parser.add_argument("--sizes", nargs=2, type=int, default=[1000, 4000], help="molecules, few and many")
    parser.add_argument("--every", type=int, default=1, help="take one of so many records")
    parser.add_argument("--suffixes", nargs="+", default=SUFFIXES, choices=SUFFIXES, help="formats of the libraries")
    parser.add_argument("--repeats", type=int, default=2, help="of each command; the least counts")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark_screening"), help="folder of the libraries")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    arguments = parse_arguments(words)
    RDLogger.DisableLog("rdApp.*")
    texts = itertools.islice(read_texts(arguments.file), 0, None, arguments.every)
    read = (record for record in map(parse, texts) if record.mol is not None)
    records = list(itertools.islice(read, max(arguments.sizes)))
    if len(records) < max(arguments.sizes):
        raise SystemExit(f"{arguments.file} has only {len(records)} molecules; choose other --sizes")
    before = os.getloadavg()[0]
    half = write_libraries(records, arguments.work, arguments.sizes)
    for found in measure(works(half), arguments.work, arguments.sizes, arguments.suffixes, arguments.repeats):
        text = page(found, arguments, before)
        if arguments.out is not None:
            write_text(arguments.out, text)
    print(text)


if __name__ == "__main__":
    main()
