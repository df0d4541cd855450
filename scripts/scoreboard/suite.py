"""Run the whole suite once or many times, on demand under coverage.py, and keep what came of every run.

    python -m scripts.scoreboard.suite                       # once, by this Python
    python -m scripts.scoreboard.suite --runs 3
    python -m scripts.scoreboard.suite --coverage            # needs coverage.py 7.10 or newer
    python -m scripts.scoreboard.suite --python /venv/bin/python    # which has the package's extra "test"

Runs are kept in scripts/benchmarks/results/suite.json. Row R24 of the scoreboard reads from there how many of the
newest ones followed each other without a failure, and the newest coverage. What pytest said of a run that failed lies
beside that file, in suite.failed.txt. Exit status 1 if a test failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from moldiff.files import write_json
from moldiff.provenance import header
from scripts.scoreboard.findings import Finding
from scripts.scoreboard.named_tests import ROOT, read_report

RESULTS = ROOT / "scripts" / "benchmarks" / "results" / "suite.json"
REPEATS = 20  # that R24 asks for
LINES, BRANCHES = 90.0, 85.0  # % that R24 asks for
_VERSIONS = """
from importlib.metadata import version
from platform import python_version
print("Python", python_version(), *(word for name in ("torch", "rdkit", "numpy") for word in (name, version(name))))
"""
_COVERAGE = """[run]
branch = true
parallel = true
patch = subprocess
source_pkgs = moldiff
data_file = {folder}/coverage

[paths]
package =
    {root}/moldiff
    */moldiff

[report]
exclude_also =
    if TYPE_CHECKING:
"""


@dataclass(frozen=True)
class Run:
    """One run of the suite.

    Attributes:
        passed, skipped: how many tests.
        failed: tests that failed; "pytest ended with status N" where it did not come to an end.
        seconds: of the clock.
        lines, branches: % that the tests of moldiff reach; None = not measured.
        date: day, UTC.
        commit: of the source tree.
        machine: processor and cores.
        versions: of Python, torch and RDKit.
    """

    passed: int
    skipped: int
    failed: list[str]
    seconds: float
    lines: float | None
    branches: float | None
    date: str
    commit: str
    machine: str
    versions: str


def read_runs(path: Path) -> list[Run]:
    """Return the runs, oldest first; none if there is no file yet."""
    return [Run(**values) for values in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def run_suite(python: str, covered: bool, told: Path) -> Run:
    """Run all tests by a Python that has the package and its extra "test".

    Args:
        python: the interpreter.
        covered: under coverage.py.
        told: where to write what pytest says of a run that fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, settings = Path(folder) / "report.xml", Path(folder) / "coverage.ini"
        settings.write_text(_COVERAGE.format(folder=folder, root=ROOT), encoding="utf-8")
        under = ["-m", "coverage", "run", f"--rcfile={settings}"] if covered else []
        pytest = ["-m", "pytest", "-q", "-n", "auto", "-p", "no:cacheprovider", "-o", "junit_family=xunit1"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        # kept, but not among the sources: the tests start many processes, and each would compile the package anew
        environment["PYTHONPYCACHEPREFIX"] = f"{folder}/bytecode"
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        started = time.monotonic()
        done = subprocess.run(
            [python, *under, *pytest, f"--junitxml={report}"],
            cwd=ROOT, check=False, capture_output=True, text=True, env=environment,
        )  # fmt: skip
        seconds = time.monotonic() - started
        outcomes = read_report(report.read_text(encoding="utf-8")) if report.exists() else {}
        failed = [f"{test.partition('::')[0]}::{name}" for test, one in outcomes.items() for name in one.failed]
        if done.returncode and not failed:
            failed = [f"pytest ended with status {done.returncode}: {done.stderr.strip()[-200:]}"]
        if failed:
            told.write_text(f"{done.stdout}\n{done.stderr}", encoding="utf-8")
        lines, branches = _covered(python, settings, environment) if covered else (None, None)
    said = header()
    return Run(
        passed=sum(one.passed for one in outcomes.values()),
        skipped=sum(one.skipped for one in outcomes.values()),
        failed=failed,
        seconds=round(seconds),
        lines=lines,
        branches=branches,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        commit=said["commit"],
        machine=said["hardware"],
        versions=subprocess.run([python, "-c", _VERSIONS], check=True, capture_output=True, text=True).stdout.strip(),
    )


def _covered(python: str, settings: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Return % of lines and of branches that the processes of a run reached together."""
    table = settings.with_name("coverage.json")
    for words in (["combine", "-q"], ["json", "-q", "-o", str(table)]):
        command = [python, "-m", "coverage", words[0], f"--rcfile={settings}", *words[1:]]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=environment)
    totals = json.loads(table.read_text(encoding="utf-8"))["totals"]
    return (
        round(100 * totals["covered_lines"] / totals["num_statements"], 1),
        round(100 * totals["covered_branches"] / totals["num_branches"], 1),
    )


def findings_of(runs: Sequence[Run]) -> list[Finding]:
    """Return what R24 says of the runs: repeats without a flake, coverage."""
    clean = 0
    while clean < len(runs) and not runs[-1 - clean].failed:
        clean += 1
    last = runs[-1].failed[:3] if runs and not clean else []
    figure = f"by results/suite.json {clean} runs of the suite one after the other without a failure"
    findings = [Finding(figure + "".join(f", {name} fails" for name in last), not last, clean >= REPEATS)]
    measured = [run for run in runs if run.lines is not None and run.branches is not None]
    if not measured:
        return [*findings, Finding("coverage", holds=None)]
    lines, branches = measured[-1].lines or 0.0, measured[-1].branches or 0.0
    findings.append(Finding(f"line coverage {lines:.1f} %", holds=lines >= LINES))
    findings.append(Finding(f"branch coverage {branches:.1f} %", holds=branches >= BRANCHES))
    return findings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite as often as asked, keep every run at once, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1, help="how often")
    parser.add_argument("--coverage", action="store_true", help="measure lines and branches")
    parser.add_argument("--python", default=sys.executable, help="interpreter that runs the tests")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSON file of the runs")
    options = parser.parse_args(arguments)
    failed = False
    for _ in range(options.runs):
        run = run_suite(options.python, options.coverage, options.results.with_suffix(".failed.txt"))
        write_json(options.results, [asdict(one) for one in [*read_runs(options.results), run]])
        failed = failed or bool(run.failed)
        reached = "" if run.lines is None else f", lines {run.lines} %, branches {run.branches} %"
        told = f"{run.passed} passed, {run.skipped} skipped, {len(run.failed)} failed in {run.seconds:.0f} s{reached}"
        print("\n  ".join([told, *run.failed]), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
