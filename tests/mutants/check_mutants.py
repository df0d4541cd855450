"""Test the tests: break the package in one place at a time and see a test fail. Writes a Markdown table.

    python tests/mutants/check_mutants.py                   # all of them
    python tests/mutants/check_mutants.py --only gaussian   # those with this word in their name or file
    python tests/mutants/check_mutants.py --since 2026-11-26   # but for those run on that day or later: go on

Each mutant of `tests/mutants/mutants.toml` is one exact replacement in a copy of the package, in a temporary folder,
followed by the tests that should notice it. Before the first mutant of some tests they are run on the unchanged copy,
where all must pass; ``--green`` leaves that out, for a commit whose whole suite is known to pass. Exit status 1 if a
mutant survives, if its text is no longer found exactly once, or if its tests cannot be run at all.

All runs share this process, because importing PyTorch takes longer than most of the tests; the package and the tests
are imported anew each time. The table is written after each mutant, and keeps the rows of those that were not run.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import importlib
import io
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import forkserver
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = Path(__file__).with_name("mutants.toml")
TABLE = ROOT / "scripts" / "benchmarks" / "results" / "mutants.md"
COPIED = (
    "moldiff", "tests", "configs", "scripts", "data/sample.sdf", "data/drugs_gfn2/0003.parquet", "docs/steering.md",
    "pyproject.toml",
)  # fmt: skip
KILLED, SURVIVED, STALE, BROKEN = (
    "killed",
    "SURVIVED",
    "STALE: text not found once",
    "BROKEN: its tests do not pass without it",
)


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
    parser.add_argument("--since", default="9999-99-99", help="leave out what was run that day or later", metavar="DAY")
    parser.add_argument("--green", action="store_true", help="the tests are known to pass on the unchanged package")
    parser.add_argument("-o", "--output", type=Path, default=TABLE)
    options = parser.parse_args(arguments)
    mutants, output = read_mutants(MUTANTS), options.output.resolve()
    dates = {name: row.split("|")[-2].strip() for name, row in read_rows(output).items()}
    chosen = [mutant for mutant in mutants if options.only in mutant.name or options.only in mutant.file]
    chosen = [mutant for mutant in chosen if dates.get(mutant.name, "") < options.since]
    if not chosen:
        parser.error(f"no mutant with '{options.only}' in its name or file is left")
    results: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder, copied(Path(folder).resolve()) as package:
        for mutant in chosen:
            started = time.monotonic()
            results[mutant.name] = judge(mutant, package, green=options.green)
            print(f"{results[mutant.name]:10} {mutant.name}  ({time.monotonic() - started:.1f} s)", flush=True)
            write_table(output, mutants, results)
    return int(any(result != KILLED for result in results.values()))


@contextlib.contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """Copy what the tests need below ``folder``, work there, and give the copy of the package."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            shutil.copy2(source, target)
    sys.dont_write_bytecode = True  # a file that changes twice in a second would leave stale bytecode
    os.environ["COLUMNS"] = "200"  # of pytest's summary
    sys.path.insert(0, str(folder))
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder / "moldiff"
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))


@functools.cache
def passes(tests: tuple[str, ...], package: Path) -> bool:
    """Tell whether tests pass on the unchanged copy."""
    status, log = run_tests(tests)
    if status == pytest.ExitCode.OK and str(sys.modules["moldiff"].__file__).startswith(str(package)):
        return True
    sys.stdout.write(log)
    return False


def judge(mutant: Mutant, package: Path, *, green: bool) -> str:
    """Apply one mutant, run its tests and take it back."""
    path = package / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        return STALE
    if not green and not passes(mutant.tests, package):
        return BROKEN
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


def run_tests(tests: tuple[str, ...]) -> tuple[int, str]:
    """Run tests of the copy up to the first failure, with a fresh import of package and tests: (status, output)."""
    fixtures = {path.stem for path in Path("tests/fixtures").glob("*.py")}  # they hold parts of the package
    for name in [name for name in sys.modules if name.partition(".")[0] in {"moldiff", "tests", "conftest", *fixtures}]:
        del sys.modules[name]
    importlib.invalidate_caches()
    output = io.StringIO()
    # "-s": a stream that pytest closes at its end would be closed to what RDKit says in the next run
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        options = ["-x", "-q", "-s", "--tb=line", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
        status = pytest.main([*options, *(f"tests/{test}" for test in tests)])
    forkserver._forkserver._stop()  # type: ignore[attr-defined] # it has imported the package as it was in this run
    return int(status), output.getvalue()


def read_rows(path: Path) -> dict[str, str]:
    """Return name -> row of a table; nothing if there is none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}


def write_table(path: Path, mutants: list[Mutant], results: dict[str, str]) -> None:
    """Write the table; rows of known mutants that were not run are taken over from the old one."""
    rows = read_rows(path)
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
