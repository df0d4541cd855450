"""Tests of the suite that hold a row: run by name, in one pytest, with the numbers that they record."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from scripts.scoreboard.findings import Finding, Row

ROOT = Path(__file__).parents[2]


@dataclass
class Outcome:
    """Outcome of a test with all its parameters.

    Attributes:
        passed, skipped: how many.
        failed: names of those that did not pass.
        seconds: that they took together.
        numbers: what they recorded: name -> the largest value.
    """

    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    numbers: dict[str, float] = field(default_factory=dict)


def run_tests(tests: Iterable[str], options: Sequence[str] = ()) -> dict[str, Outcome]:
    """Run tests by their names below the folder of tests; return name -> outcome. A test that could not be run at all
    has no outcome."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1"]
        command += [f"--junitxml={report}", *options]
        asked = [f"tests/{test}" for test in sorted(set(tests))]
        done = subprocess.run([*command, *asked], cwd=ROOT, check=False, capture_output=True, text=True)
        print(done.stdout[-2000:] if done.returncode else done.stdout.splitlines()[-1], flush=True)
        return read_report(report.read_text(encoding="utf-8")) if report.exists() else {}


def read_report(text: str) -> dict[str, Outcome]:
    """Return test -> outcome from pytest's XML."""
    found: dict[str, Outcome] = defaultdict(Outcome)
    for case in ElementTree.fromstring(text).iter("testcase"):  # noqa: S314 - pytest has just written it
        name = case.get("name", "")
        path = case.get("classname", "").removeprefix("tests.").replace(".", "/")
        outcome = found[f"{path}.py::{name.partition('[')[0]}"]
        outcome.seconds += float(case.get("time", 0))
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed.append(name)
        elif case.find("skipped") is not None:
            outcome.skipped += 1
        else:
            outcome.passed += 1
        for entry in case.iter("property"):
            with contextlib.suppress(ValueError):
                number, key = float(entry.get("value", "")), entry.get("name", "")
                outcome.numbers[key] = max(number, outcome.numbers.get(key, number))
    return dict(found)


def held(row: Row, outcomes: dict[str, Outcome]) -> list[Finding]:
    """Return what the tests of a row say: how many passed, which did not, and the numbers beside their limits."""
    if not row.tests:
        return []
    named = {test: [name for name in outcomes if name == test or name.startswith(f"{test}::")] for test in row.tests}
    done = [outcomes[name] for names in named.values() for name in names]
    numbers: dict[str, float] = {}
    for outcome in done:
        for name, value in outcome.numbers.items():
            numbers[name] = max(value, numbers.get(name, value))
    failed = [name for outcome in done for name in outcome.failed]
    unknown = [test for test, names in named.items() if not names]
    seconds = sum(outcome.seconds for outcome in done)
    passed, skipped = sum(outcome.passed for outcome in done), sum(outcome.skipped for outcome in done)
    figure = f"{passed} tests pass" + (f", not {', '.join(failed)}" if failed else "")
    findings = [Finding(figure, holds=not failed if passed or failed else None, seconds=seconds)]
    if skipped:
        findings.append(Finding(f"{skipped} tests that are skipped here", holds=None))
    findings += [Finding(f"{test}, which did not run", holds=None) for test in unknown]
    for name, value in numbers.items():
        limit = row.limits.get(name)
        findings.append(Finding(f"{name} {value:.2g}", holds=limit is None or value < limit))
    findings += [Finding(name, holds=None) for name in row.limits if name not in numbers]
    return findings
