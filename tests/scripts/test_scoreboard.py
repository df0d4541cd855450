"""The scoreboard: its quick share, which runs here as part of the suite, and its words, files and table."""

import random
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # behind an installed package

from scripts.scoreboard import folders, fuzz, mutated, suite  # noqa: E402
from scripts.scoreboard.__main__ import main, measured  # noqa: E402
from scripts.scoreboard.findings import (  # noqa: E402
    IN_PART,
    MISSED,
    NOT_MEASURED,
    PASSED,
    QUICK,
    Finding,
    Measure,
    Row,
    Share,
    figure_of,
    state_of,
)  # fmt: skip
from scripts.scoreboard.named_tests import Outcome, held, read_report  # noqa: E402
from scripts.scoreboard.results import Measured, keep, page, read_results  # noqa: E402
from scripts.scoreboard.table import ROWS  # noqa: E402


@pytest.mark.parametrize("kind", fuzz.KINDS.values(), ids=lambda kind: kind.name)
def test_hostile_input_is_read_or_refused(kind: fuzz.Kind) -> None:
    count = QUICK.of(kind.count // kind.each)
    found, faults = fuzz.tally(kind, count)
    assert faults == []
    assert min(found[fuzz.READ], found[fuzz.REFUSED]) > 0.02 * count  # mutants are neither all sound nor all dead


@pytest.mark.parametrize("measure", [fuzz.measure_commands, folders.measure])
def test_hostile_files_harm_no_command(measure: Measure) -> None:
    findings = list(measure(QUICK))
    assert findings
    assert [finding.figure for finding in findings if not finding.holds] == []


def test_code_would_leave_its_marker(tmp_path: Path) -> None:
    """So that a marker that is not there says something."""
    import pickle

    marker = tmp_path / "marker"
    pickle.loads(folders.payloads(marker)["pickle 5"])
    assert marker.exists()


def test_what_breaks_hangs_or_crashes_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fuzz.tally(fuzz.Kind("SMILES", 3, fuzz.KINDS["SMILES"].judge), 3)
    assert sum(found[0].values()) == 3
    lost = ({"read": 1, "refused": 1, "crashed": 1}, ["2 crashed: the worker process ended on this record (SIGSEGV)"])
    finding = fuzz.told(fuzz.KINDS["SMILES"], (fuzz.Counter(lost[0]), lost[1]), 3, whole=True)
    assert finding.holds is False
    assert "1 crashed (2 crashed: the worker" in finding.figure

    def broken(chance: random.Random, folder: Path) -> list[str]:
        raise KeyError("missing")

    monkeypatch.setitem(fuzz.KINDS, "SMILES", fuzz.Kind("SMILES", 1, broken))
    assert fuzz._outcomes("SMILES", "/tmp", 0) == ["wrong: KeyError: 'missing'"]


def test_a_mutant_is_a_function_of_its_number() -> None:
    seeds = ("CCO", "c1ccccc1", "C[C@H](N)C(=O)O")
    made = [[mutated.smiles(random.Random(number), seeds) for number in range(200)] for _ in range(2)]
    assert made[0] == made[1]
    assert len(set(made[0])) > 150
    texts = [[mutated.json_text(random.Random(n), '{"a": [1, {"b": "x"}], "c": {}}') for n in range(500)] for _ in "12"]
    assert texts[0] == texts[1], "what one mutant was given is not changed by the next"


def test_words_for_what_was_found() -> None:
    whole, some, bad, nothing = Finding("a"), Finding("b", whole=False), Finding("c", holds=False), Finding("d", None)
    assert state_of([whole, whole]) == PASSED
    assert state_of([whole, some]) == state_of([whole, nothing]) == state_of([whole], "more") == IN_PART
    assert state_of([whole, bad, nothing]) == MISSED
    assert state_of([nothing]) == state_of([], "more") == NOT_MEASURED
    assert figure_of([nothing, whole, bad], "more", "rounding") == "a; **c**; cause: rounding; not measured: d; " + (
        "not measured: more"
    )
    assert figure_of([whole], "", "rounding") == "a"


def test_tests_give_their_numbers_and_failures() -> None:
    case = '<testcase classname="tests.nn.test_a" name="{}" time="2.0">{}</testcase>'
    number = '<properties><property name="error" value="{}"/></properties>'
    cases = [
        case.format("test_one[x]", number.format("1e-6")), case.format("test_one[y]", number.format("3e-6")),
        case.format("test_two", "<failure/>"), case.format("test_three", "<skipped/>"),
    ]  # fmt: skip
    outcomes = read_report(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    assert outcomes["nn/test_a.py::test_one"] == Outcome(2, 0, [], 4.0, {"error": 3e-6})
    row = Row("R6", "", "", tests=("nn/test_a.py::test_one",), limits={"error": 1e-5})
    assert state_of(held(row, outcomes)) == PASSED
    tighter = Row("R6", "", "", tests=("nn/test_a.py::test_one",), limits={"error": 2e-6})
    assert state_of(held(tighter, outcomes)) == MISSED
    whole_file = Row("R6", "", "", tests=("nn/test_a.py",))
    assert held(whole_file, outcomes)[0].figure == "2 tests pass, not test_two"
    unrecorded = Row("R6", "", "", tests=("nn/test_a.py::test_one", "nn/test_b.py"), limits={"other": 1.0})
    assert state_of(held(unrecorded, outcomes)) == IN_PART


def test_rows_are_kept_and_the_table_is_made_of_them(tmp_path: Path) -> None:
    results = tmp_path / "rows.json"
    long = Measured(PASSED, "all", 1.0, 3.0, "2026-01-01", "abc", "a machine")
    keep(results, "R10", long)
    keep(results, "R2", long)
    keep(results, "R10", Measured(IN_PART, "some", 0.01, 3.0, "2026-01-02", "def", "a machine"))
    assert read_results(results)["R10"] == long, "more counts stay"
    keep(results, "R10", Measured(MISSED, "a|b", 0.01, 3.0, "2026-01-02", "def", "a machine"))
    assert list(read_results(results)) == ["R2", "R10"]
    text = page([Row("R2", "two", "t"), Row("R9", "nine", "t"), Row("R10", "ten", "t")], read_results(results))
    assert "1 passed, 0 passed in part, 1 missed, 1 not measured" in text
    assert "| R9 | nine | t | | not measured |" in text
    assert "| R10 | ten | t | a/b | missed | 1 % | 3 | 2026-01-02 | def |" in text


def test_a_measurement_that_breaks_is_a_miss() -> None:
    def broken(share: Share):
        yield Finding("so far")
        raise OSError("no space")

    one = measured(Row("R1", "", "", measures=(broken,)), QUICK, {})
    assert (one.state, one.part) == (MISSED, QUICK.part)
    assert "so far" in one.figure and "no space" in one.figure


def test_rows_are_those_of_the_target_and_their_tests_are_there() -> None:
    assert [row.name for row in ROWS] == [f"R{number}" for number in range(1, 27)]
    for row in ROWS:
        assert row.tests or row.measures
        for test in row.tests:
            file, _, name = test.partition("::")
            text = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert not name or re.search(rf"^def {name}\(", text, re.MULTILINE), f"no {test}"


def test_the_table_can_be_written_without_a_measurement(tmp_path: Path) -> None:
    assert main(["--table", "--results", str(tmp_path / "r.json"), "-o", str(tmp_path / "page.md")]) == 0
    assert "26 not measured" in (tmp_path / "page.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["--long", "--part", "0"])


def a_run(**values: object) -> suite.Run:
    one = {"passed": 9, "skipped": 0, "failed": [], "seconds": 1.0, "lines": None, "branches": None}
    said = {"date": "2026-01-01", "commit": "c", "machine": "m", "versions": "v"}
    return suite.Run(**{**one, **said, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("runs", "state", "words"),
    [
        ([], NOT_MEASURED, "not measured: coverage"),
        ([a_run()] * 19, IN_PART, "19 runs"),
        ([a_run(lines=91.0, branches=85.0)] * 19, IN_PART, "19 runs"),
        ([a_run(failed=["t.py::f"]), *[a_run(lines=91.0, branches=85.0)] * 20], PASSED, "20 runs"),
        ([a_run(lines=91.0, branches=84.9)] * 20, MISSED, "branch coverage 84.9 %"),
        ([a_run(lines=89.9, branches=90.0), *[a_run()] * 20], MISSED, "line coverage 89.9 %"),
        ([*[a_run(lines=91.0, branches=85.0)] * 20, a_run(failed=["t.py::f[1]"])], MISSED, "t.py::f[1] fails"),
    ],
)
def test_runs_of_the_suite_are_told(runs: list[suite.Run], state: str, words: str) -> None:
    findings = suite.findings_of(runs)
    assert state_of(findings, "") == (state if runs else IN_PART)
    assert words in figure_of(findings, "", "")


def test_a_run_of_the_suite_is_kept_with_what_failed_and_what_was_reached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    code = "import subprocess, sys\ndef test_a():\n    subprocess.run([sys.executable, '-c', 'import moldiff.version'])"
    (tests / "test_one.py").write_text(f"{code}\ndef test_b():\n    assert 0\n")
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    results = tmp_path / "suite.json"
    assert suite.main(["--results", str(results)]) == 1
    (run,) = suite.read_runs(results)
    assert (run.passed, run.failed) == (1, ["test_one.py::test_b"])
    assert run.versions.startswith("Python 3.")
    (tests / "test_one.py").write_text("import nothing_of_that_name\n")
    assert suite.main(["--results", str(results)]) == 1
    assert [len(one.failed) for one in suite.read_runs(results)] == [1, 1]
