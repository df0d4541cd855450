"""Test the tests: break the package in one place at a time and see a test fail. Writes a Markdown table.

    python tests/mutants/check_mutants.py                   # all of them
    python tests/mutants/check_mutants.py --only gaussian   # those with this word in their name or file

Each mutant of `tests/mutants/mutants.toml` is one exact replacement in a copy of the package, in a temporary folder,
followed by the tests that should notice it. First the tests are run on the unchanged copy, where all must pass. Exit
status 1 if a mutant survives, if its text is no longer found exactly once, or if its tests cannot be run at all.

All runs share this process, because importing PyTorch takes longer than most of the tests; the package and the tests
are imported anew each time. Rows of mutants that were not run this time are kept in the table.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import io
import os
import shutil
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = Path(__file__).with_name("mutants.toml")
COPIED = ("moldiff", "tests", "data/sample.sdf", "pyproject.toml")
KILLED, SURVIVED, STALE, BROKEN = "killed", "SURVIVED", "STALE: text not found once", "BROKEN: tests cannot run"


@dataclass(frozen=True)
class Mutant:
    """One way to be wrong.

    Attributes:
        name: what is wrong.
        file: relative to the package.
        old, new: the replacement; ``old`` stands exactly once in the file.
        tests: what pytest is to run, relative to the folder of tests.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def read_mutants(path: Path) -> list[Mutant]:
    """Read the table of mutants; ValueError if a name stands twice."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    mutants = [Mutant(**{**row, "tests": tuple(row["tests"])}) for row in rows]
    if len({mutant.name for mutant in mutants}) != len(mutants):
        raise ValueError(f"{path}: each mutant needs a name of its own")
    return mutants


def main(arguments: list[str] | None = None) -> int:
    """Run the mutants asked for, write the table, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="part of a name or file of the mutants to run")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "scripts" / "benchmarks" / "results" / "mutants.md")
    options = parser.parse_args(arguments)
    mutants = read_mutants(MUTANTS)
    chosen = [mutant for mutant in mutants if options.only in mutant.name or options.only in mutant.file]
    if not chosen:
        parser.error(f"no mutant with '{options.only}' in its name or file")
    output = options.output.resolve()
    with tempfile.TemporaryDirectory() as folder:
        results = check(chosen, Path(folder).resolve())
    if not results:
        return 1
    write_table(output, mutants, results)
    return int(any(result != KILLED for result in results.values()))


def check(mutants: list[Mutant], folder: Path) -> dict[str, str]:
    """Return name -> result, from a copy of the repository below ``folder``; nothing if the tests fail as they are."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    sys.dont_write_bytecode = True  # a file that changes twice in a second would leave stale bytecode
    os.environ["COLUMNS"] = "200"  # of pytest's summary
    sys.path.insert(0, str(folder))
    before = Path.cwd()
    os.chdir(folder)
    try:
        status, log = run_tests(sorted({test for mutant in mutants for test in mutant.tests}))
        if status != pytest.ExitCode.OK or not str(sys.modules["moldiff"].__file__).startswith(str(folder)):
            sys.stdout.write(log)
            print("the tests do not pass on the unchanged package")
            return {}
        results = {}
        for mutant in mutants:
            started = time.monotonic()
            results[mutant.name] = judge(mutant, folder / "moldiff" / mutant.file)
            print(f"{results[mutant.name]:10} {mutant.name}  ({time.monotonic() - started:.1f} s)", flush=True)
        return results
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))


def judge(mutant: Mutant, path: Path) -> str:
    """Apply one mutant, run its tests and take it back."""
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        return STALE
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        status, log = run_tests(mutant.tests)
    finally:
        path.write_text(text, encoding="utf-8")
    if status == pytest.ExitCode.TESTS_FAILED:
        # to be read: a mutant that is killed by a slip of its own (a NameError, say) proves nothing
        print("".join(line + "\n" for line in log.splitlines() if line.startswith(("FAILED", "ERROR"))), end="")
        return KILLED
    if status == pytest.ExitCode.OK:
        return SURVIVED
    sys.stdout.write(log)
    return BROKEN


def run_tests(tests: list[str] | tuple[str, ...]) -> tuple[int, str]:
    """Run tests of the copy up to the first failure, with a fresh import of package and tests: (status, output)."""
    fixtures = {path.stem for path in Path("tests/fixtures").glob("*.py")}  # they hold parts of the package
    for name in [name for name in sys.modules if name.partition(".")[0] in {"moldiff", "tests", "conftest", *fixtures}]:
        del sys.modules[name]
    importlib.invalidate_caches()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        options = ["-x", "-q", "--tb=line", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
        status = pytest.main([*options, *(f"tests/{test}" for test in tests)])
    return int(status), output.getvalue()


def write_table(path: Path, mutants: list[Mutant], results: dict[str, str]) -> None:
    """Write the table; rows of known mutants that were not run are taken over from the old one."""
    rows: dict[str, str] = {}
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    today = datetime.datetime.now(tz=datetime.UTC).date()
    for mutant in mutants:
        if mutant.name in results:
            tests = ", ".join(f"`{test}`" for test in mutant.tests)
            rows[mutant.name] = f"| {mutant.name} | `{mutant.file}` | {tests} | {results[mutant.name]} | {today} |"
    known = [rows[mutant.name] for mutant in mutants if mutant.name in rows]
    killed = sum(f"| {KILLED} |" in row for row in known)
    header = [
        "# Mutants: does a test notice each way of being wrong?",
        "",
        f"{killed} of {len(known)} killed, {len(mutants) - len(known)} not run. Written by "
        f"`tests/mutants/check_mutants.py` on {today} with moldiff {version('moldiff')}, torch {version('torch')}, "
        f"pytest {version('pytest')}, Python {sys.version.split()[0]}.",
        "",
        "| mutant | file | tests | result | date |",
        "|---|---|---|---|---|",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*header, *known]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
