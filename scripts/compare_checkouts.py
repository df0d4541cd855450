"""Run two checkouts of the package side by side on this machine: do they give the same molecules? Writes Markdown.

    python -m scripts.compare_checkouts OLD NEW -n 50 -o compared.md
    python -m scripts.compare_checkouts OLD NEW -n 8 --only generate,vary --time

OLD and NEW are folders that hold a package ``moldiff``. Both run with this Python and its libraries: ``python -m
moldiff``, with PYTHONPATH set to the checkout, in an empty folder each time, once in float32 and once in the default
precision. Commands that read molecules get those of OLD on both sides. Evaluations, samplers, grids, seeds and models
are stated, so that changed defaults are no difference, except that of the precision. CPU seconds are of one run each.

The same means: as many records, the same SMILES in the same order, the same states, every coordinate of every atom
within `COORDINATES` of the other, likelihoods and metrics within `VALUES` (see `compared_outputs.py`). What only NEW
measures is not looked at. Exit status 1 if anything differs or fails, or if a checkout is edited while it is compared.

The tables `RENAMED_...` have what a newer checkout calls by another name, old name first. Of a command or an option the
new name is tried first, on both sides, and the old one where that is unknown.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rdkit import Chem
from rdkit.Chem import AllChem

from scripts.compared_outputs import COORDINATES, VALUES, Case, Output, Row, compare, read_output

RENAMED_COMMANDS: dict[str, str] = {"score": "likelihood"}
RENAMED_OPTIONS: dict[tuple[str, str], str] = {  # (old command, "--old"): "--new"
    ("generate", "--steps"): "--evaluations",
    ("vary", "--steps"): "--evaluations",
    ("conformers", "--steps"): "--evaluations",
    ("score", "--steps"): "--chain-steps",
}

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
        f"`python -m scripts.compare_checkouts OLD NEW -n {arguments.n}`, {datetime.date.today()}, Python "
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
