"""Run two checkouts of the package side by side on this machine: do they give the same molecules? Writes Markdown.

    python scripts/compare_checkouts.py OLD NEW -n 50 -o compared.md
    python scripts/compare_checkouts.py OLD NEW -n 8 --only generate,vary --time

OLD and NEW are folders that hold a package ``moldiff``. Both run with this Python and its libraries: ``python -m
moldiff``, with PYTHONPATH set to the checkout, in an empty folder each time, once in float32 and once in the default
precision. Commands that read molecules get those of OLD on both sides. Evaluations, samplers, grids, seeds and models
are stated, so that changed defaults are no difference, except that of the precision. CPU seconds are of one run each.

The same means: as many records, the same SMILES in the same order, the same states, every coordinate of every atom
within `COORDINATES` of the other, likelihoods and metrics within `VALUES`. What only NEW measures is not looked at.
Exit status 1 if anything differs or fails, or if a checkout is edited while it is compared.

What a newer checkout calls by another name stands in the tables `RENAMED_...` below, old name first. Of a command or an
option the new name is tried first, on both sides, and the old one where that is unknown.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import datetime
import hashlib
import json
import math
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rdkit import Chem
from rdkit.Chem import AllChem

RENAMED_COMMANDS: dict[str, str] = {"score": "likelihood"}
RENAMED_OPTIONS: dict[tuple[str, str], str] = {}  # (old command, "--old"): "--new"
RENAMED_STATES: dict[str, str] = {"filtered": "invalid"}  # of a draw or record; geometry counts as chemistry now
RENAMED_COLUMNS: dict[str, str] = {}  # of any CSV, and metrics of report.json

COORDINATES = 1e-4  # angstrom: one unit of the last decimal of an SDF
VALUES = 1e-4  # relative, of values below 1 absolute
FLOAT32, DEFAULT = "float32", "default"

WALK = "--model qm9 --steps 20 --sampler dpmpp_sde --grid window --seed 0 --device cpu --keep-invalid"
GENERATE = f"generate -n {{n}} -o out.sdf {WALK}"
GIVEN = "--model qm9 --steps 20 --sampler ddpm --grid uniform --seed 0 --device cpu --keep-invalid"
SMILES = (
    "CC(=O)OC methyl_acetate",
    "C[C@H](O)[C@@H](N)C=O two_centres",
    "O=C1N[C@H]2C[C@@H]1C2 cage",
    "c1ccoc1 furan",
    "CCF fluoride",  # the built-in model does not know fluorine
)


@dataclass(frozen=True)
class Case:
    """A command to compare.

    Attributes:
        command: what stands after ``moldiff``; ``{n}`` molecules, ``{few}`` of each of five, ``{inputs}`` is a folder.
        precision: whether it can be asked for a precision. If not, its input still is of that precision.
        table: CSV that it writes.
        smiles, status: columns of that; "" = it has none.
        numbers: whether the other columns of that are compared, as far as they hold numbers.
        sdf, report: what else it writes, molecules and a JSON with metrics; "" = it does not.
    """

    command: str
    precision: bool = True
    table: str = "out.csv"
    smiles: str = "smiles"
    status: str = "status"
    numbers: bool = False
    sdf: str = "out.sdf"
    report: str = ""


CASES = {
    "generate": Case(GENERATE),
    "target": Case(f"{GENERATE} --target logp=1.5 --target tpsa<40 --guidance 2"),
    "by_score": Case(f"{GENERATE} --score qed --score-weight 20 --particles 16"),
    "fragment": Case(f"{GENERATE} --fragment {{inputs}}/furan.sdf --attach-at 0 --grow 4..10 --resample 1"),
    "formula": Case(f"{GENERATE} --formula C7H10O2 --decode fitted"),
    "renoise": Case(f"{GENERATE} --renoise 2"),
    "ddpm": Case(GENERATE.replace("dpmpp_sde", "ddpm")),
    "fast": Case(GENERATE.replace("qm9", "qm9_fast").replace("--steps 20", "--steps 8")),
    "vary": Case(f"vary {{inputs}}/few.sdf -n {{few}} -o out.sdf --strength 0.3..0.6 {WALK}"),
    "conformers": Case(f"conformers {{inputs}}/molecules.smi -n {{few}} -o out.sdf --redraws 10 {GIVEN}"),
    "likelihood": Case(
        "score {inputs}/molecules.sdf -o out.csv --model qm9 --steps 1000 --evaluations 25 --repeats 4 --seed 0 "
        "--device cpu",
        precision=False,
        smiles="",
        numbers=True,
        sdf="",
    ),
    "evaluate": Case(
        "evaluate {inputs}/molecules.sdf -o out --reference qm9 --requested {n} --hydrogens explicit "
        "--posebusters 1000 --seed 0",
        precision=False,
        table="out/molecules.csv",
        status="valid",
        sdf="",
        report="out/report.json",
    ),
}
HEADS = (
    "command", "precision", "records", "same SMILES", "same states", "coordinates, Å", "values, relative", "verdict",
)  # fmt: skip


class RunError(Exception):
    """A command failed, or did not write what it should."""


@dataclass(frozen=True)
class Output:
    """What a command wrote.

    Attributes:
        smiles, states: of the records, in order.
        molecules: symbols and coordinates (atoms, 3) of each record of the SDF, in order.
        values: name -> numbers, NaN = none.
        seconds: of CPU time.
    """

    smiles: list[str]
    states: list[str]
    molecules: list[tuple[list[str], np.ndarray]]
    values: dict[str, list[float]]
    seconds: float

    @property
    def records(self) -> int:
        """How many rows the CSV has."""
        return max(len(self.smiles), len(self.states))


@dataclass(frozen=True)
class Row:
    """A row of the table, without what was run.

    Attributes:
        cells: from records to values.
        differences: what is not the same; nothing if all is.
        seconds: CPU seconds of OLD and NEW.
    """

    cells: tuple[str, ...] = ("",) * 5
    differences: tuple[str, ...] = ()
    seconds: tuple[float, ...] = (math.nan, math.nan)

    @property
    def verdict(self) -> str:
        """The last cell of the row."""
        return f"DIFFERENT: {', '.join(self.differences)}".replace("|", "/") if self.differences else "same"


class Checkout:
    """A folder that holds the package.

    Args:
        folder: that one.
        work: an empty folder for its runs.
    """

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder, self.work = folder.resolve(), work
        self.environment = os.environ | {"PYTHONPATH": str(self.folder)}
        work.mkdir()
        where = self._python("-c", "import moldiff; print(moldiff.__file__)", folder=work).stdout.strip()
        if Path(where).parent.resolve() != self.folder / "moldiff":
            raise SystemExit(f"error: {folder} holds no package moldiff that can be imported")

    def __str__(self) -> str:
        """Its commit, as far as there is one."""
        command = ["git", "-C", str(self.folder), "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "no commit"

    def digest(self) -> str:
        """Return a hash of the package, to see whether it was edited in between."""
        found = hashlib.sha256()
        for path in sorted((self.folder / "moldiff").rglob("*")):
            if path.is_file() and path.parent.name != "__pycache__":
                found.update(str(path).encode() + b"\0" + path.read_bytes())
        return found.hexdigest()

    def run(self, words: Sequence[str]) -> tuple[Path, float]:
        """Run a command: (folder with its output, CPU seconds); RunError if it fails."""
        names = {words[0]: RENAMED_COMMANDS.get(words[0], words[0])}
        names |= {old: new for (command, old), new in RENAMED_OPTIONS.items() if command == words[0]}
        while True:
            folder = Path(tempfile.mkdtemp(dir=self.work))
            before = _cpu_seconds()
            ended = self._python("-m", "moldiff", *(names.get(word, word) for word in words), folder=folder)
            if ended.returncode == 0:
                return folder, _cpu_seconds() - before
            unknown = re.search(r"No such (?:command|option):? '?([\w-]+)", ended.stderr)
            old = [old for old, new in names.items() if unknown and new == unknown[1] and new != old]
            if not old:
                last = (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]
                raise RunError(f"`moldiff {words[0]}` failed: {last}")
            names[old[0]] = old[0]

    def _python(self, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip


def _cpu_seconds() -> float:
    """Return what all ended child processes have used so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Comparison:
    """Runs cases on both sides.

    Args:
        old, new: the sides.
        n: molecules of each case.
        work: an empty folder for inputs.
    """

    def __init__(self, old: Checkout, new: Checkout, n: int, work: Path) -> None:
        self.old, self.new, self.n, self.work = old, new, n, work
        self.few = max(1, n // len(SMILES))

    def row(self, name: str, precision: str) -> Row:
        """Run a case on both sides and compare what they wrote."""
        outputs, failures = [], []
        for side, checkout in (("OLD", self.old), ("NEW", self.new)):
            try:
                outputs.append(self._output(checkout, CASES[name], precision))
            except RunError as error:
                failures.append(f"{side}: {error}")
        return Row(differences=tuple(failures)) if failures else compare(*outputs)

    def _output(self, checkout: Checkout, case: Case, precision: str) -> Output:
        inputs = self._inputs(precision) if "{inputs}" in case.command else None
        words = [word.format(n=self.n, few=self.few, inputs=inputs) for word in shlex.split(case.command)]
        folder, seconds = checkout.run([*words, *(asked(precision) if case.precision else ())])
        try:
            return read_output(case, folder, seconds)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"`moldiff {words[0]}` wrote what cannot be read: {error!r}") from error

    def _inputs(self, precision: str) -> Path:
        """Return a folder of molecules to begin with, made the first time: all that OLD generates, a few of them, other
        molecules as SMILES, and a fragment."""
        inputs = self.work / precision
        if not inputs.exists():
            folder, _ = self.old.run([*GENERATE.format(n=self.n).split(), *asked(precision)])
            text = (folder / "out.sdf").read_text(encoding="utf-8")
            few = re.findall(r".+?^\$\$\$\$\n", text, re.DOTALL | re.MULTILINE)[: len(SMILES)]
            inputs.mkdir()
            (inputs / "molecules.sdf").write_text(text, encoding="utf-8")
            (inputs / "few.sdf").write_text("".join(few), encoding="utf-8")
            (inputs / "molecules.smi").write_text("\n".join([*SMILES, ""]), encoding="utf-8")
            furan = Chem.AddHs(Chem.MolFromSmiles("c1ccoc1"))
            AllChem.EmbedMolecule(furan, randomSeed=1)
            AllChem.MMFFOptimizeMolecule(furan)
            Chem.MolToMolFile(furan, str(inputs / "furan.sdf"))
        return inputs


def asked(precision: str) -> tuple[str, ...]:
    """Return the options that ask for a precision."""
    return () if precision == DEFAULT else ("--precision", precision)


def read_output(case: Case, folder: Path, seconds: float) -> Output:
    """Read what a command wrote, all names being those of a newer checkout.

    Raises:
        OSError, ValueError, KeyError, TypeError: it is not there or not as it should be.
    """
    with (folder / case.table).open(encoding="utf-8", newline="") as file:
        rows = [{newer(name): text for name, text in row.items()} for row in csv.DictReader(file)]
    if not rows:
        raise ValueError(f"no rows in {case.table}")
    smiles, status = newer(case.smiles), newer(case.status)
    values = numbers(rows) if case.numbers else {}
    if case.report:
        metrics = json.loads((folder / case.report).read_text(encoding="utf-8"))["metrics"]
        values |= {newer(name): [number(metric["value"])] for name, metric in metrics.items()}
    return Output(
        [row[smiles] for row in rows] if smiles else [],
        [RENAMED_STATES.get(row[status], row[status]) for row in rows],
        read_molecules(folder / case.sdf) if case.sdf else [],
        values,
        seconds,
    )


def newer(name: str) -> str:
    """Return the name of a column or metric in a newer checkout."""
    return RENAMED_COLUMNS.get(name, name)


def number(value: str | float | None) -> float:
    """Return a number, NaN for none; ValueError if it is something else."""
    return math.nan if value is None or value == "" else float(value)


def numbers(rows: Sequence[Mapping[str, str]]) -> dict[str, list[float]]:
    """Return the columns that hold nothing but numbers and empty cells."""
    found = {}
    for name in rows[0]:
        with contextlib.suppress(ValueError):
            found[name] = [number(row[name]) for row in rows]
    return found


def read_molecules(path: Path) -> list[tuple[list[str], np.ndarray]]:
    """Return symbols and coordinates of each record, as they stand there; ValueError if one cannot be read."""
    if not path.stat().st_size:
        return []
    found = []
    for place, mol in enumerate(Chem.SDMolSupplier(str(path), sanitize=False, removeHs=False)):
        if mol is None:
            raise ValueError(f"record {place} of {path.name}")
        found.append(([atom.GetSymbol() for atom in mol.GetAtoms()], mol.GetConformer().GetPositions()))
    return found


def compare(old: Output, new: Output) -> Row:
    """Compare what two sides wrote."""
    differences = []
    if old.records != new.records or len(old.molecules) != len(new.molecules):
        differences.append("number of records")
    counts = []
    for what, ours, theirs in (("SMILES", old.smiles, new.smiles), ("states", old.states, new.states)):
        same, most = sum(a == b for a, b in zip(ours, theirs, strict=False)), max(len(ours), len(theirs))
        counts.append(f"{same} of {most}" if most else "-")
        if same < most:
            differences.append(what)
    shift = max((distance(*pair) for pair in zip(old.molecules, new.molecules, strict=False)), default=None)
    if shift is not None and not shift <= COORDINATES + 1e-9:
        differences.append("coordinates" if math.isfinite(shift) else "atoms")
    drift = max(deviations(old.values, new.values), default=None)
    if drift is not None and not drift <= VALUES:
        differences.append("values" if math.isfinite(drift) else "missing values")
    records = str(old.records) if old.records == new.records else f"{old.records} / {new.records}"
    cells = (records, *counts, *("-" if one is None else f"{one:.2g}" for one in (shift, drift)))
    return Row(cells, tuple(differences), (old.seconds, new.seconds))


def distance(old: tuple[list[str], np.ndarray], new: tuple[list[str], np.ndarray]) -> float:
    """Return how far a coordinate of any atom moved, angstrom; infinite if the atoms are other ones."""
    if old[0] != new[0]:
        return math.inf
    return finite(float(np.abs(old[1] - new[1]).max(initial=0.0)))


def deviations(old: Mapping[str, list[float]], new: Mapping[str, list[float]]) -> Iterable[float]:
    """Yield how far each old value is from its new counterpart, relative; infinite where there is none."""
    for name, ours in old.items():
        theirs = new.get(name, [])
        if len(ours) != len(theirs):
            yield math.inf
        for a, b in zip(ours, theirs, strict=False):
            if a == b or (math.isnan(a) and math.isnan(b)):
                yield 0.0
            else:
                yield finite(abs(a - b) / max(1.0, abs(a)))


def finite(number: float) -> float:
    """Return a number; infinity for NaN, which `max` would lose."""
    return math.inf if math.isnan(number) else number


def parse() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("old", type=Path, metavar="OLD", help="folder of a checkout")
    parser.add_argument("new", type=Path, metavar="NEW", help="folder of another one")
    parser.add_argument("--only", default=",".join(CASES), help=f"some of {','.join(CASES)}")
    parser.add_argument("-n", type=int, default=50, help="molecules of each case")
    parser.add_argument("--time", action="store_true", help="also show the CPU seconds of each side")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    if unknown := [name for name in arguments.only if name not in CASES]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(CASES)}")
    if arguments.n < 1:
        parser.error("-n must be at least 1")
    return arguments


def header(arguments: argparse.Namespace, old: Checkout, new: Checkout) -> list[str]:
    """Return the first lines of the page."""
    heads = [*HEADS, *(("CPU seconds, old / new",) if arguments.time else ())]
    return [
        f"# Two checkouts compared: {old} and {new}",
        "",
        f"`python scripts/compare_checkouts.py OLD NEW -n {arguments.n}`, {datetime.date.today()}, Python "
        f"{platform.python_version()}, torch {version('torch')}, rdkit {version('rdkit')}. Coordinates and values: the "
        f"largest deviation; {COORDINATES:g} angstrom and {VALUES:g} count as the same.",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]


def main() -> int:
    """Compare, write the table, return the exit status."""
    arguments = parse()
    with tempfile.TemporaryDirectory() as work:
        old, new = Checkout(arguments.old, Path(work) / "old"), Checkout(arguments.new, Path(work) / "new")
        digests = old.digest(), new.digest()
        comparison = Comparison(old, new, arguments.n, Path(work))
        lines, different = header(arguments, old, new), 0
        print("\n".join(lines), flush=True)
        for name in arguments.only:
            for precision in (FLOAT32, DEFAULT):
                row = comparison.row(name, precision)
                cells = [name, precision, *row.cells, row.verdict]
                if arguments.time:
                    cells.append(" / ".join(f"{seconds:.1f}" for seconds in row.seconds))
                lines.append(f"| {' | '.join(cells)} |")
                print(lines[-1], flush=True)
                different += bool(row.differences)
        if digests != (old.digest(), new.digest()):
            raise SystemExit("error: a checkout was edited while it was compared")
    if arguments.out is not None:
        arguments.out.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
