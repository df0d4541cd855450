"""Costs of a command, and what is made of them: CPU seconds and memory of real processes, slopes, pages."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from script import load_script

costs = load_script("benchmarks/costs")
Cells = load_script("benchmarks/cells").Cells


def row(model: str, n_atoms: str, n: int, cpu: float, **changes: str) -> dict[str, str]:
    known = dict.fromkeys(costs.COLUMNS, "1")
    return {**known, "model": model, "n_atoms": n_atoms, "n": str(n), "cpu": f"{cpu}", "memory": "0.5", **changes}


ROWS = [
    row("drugs", "10", 16, 6.0, valid="12"),
    row("drugs", "10", 48, 22.0, memory="0.75", valid="36"),
    row("drugs", "20", 16, 9.0),
    row("qm9", "all", 100, 9.0, wall="12.4"),
    row("qm9", "all", 10, 4.5),
]


def test_a_command_costs_seconds_and_memory_of_its_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "moldiff"
    package.mkdir()
    work = (
        "import sys, time\n"
        "block = bytearray(int(sys.argv[1]) << 20)\n"
        "start = time.process_time()\n"
        "while time.process_time() - start < 0.5:\n    pass\n"
        "time.sleep(0.5)\n"
    )
    child = "import subprocess, sys\nsubprocess.run([sys.executable, __file__.replace('main', 'work'), '100'])\n"
    (package / "__init__.py").touch()
    (package / "work.py").write_text(work, encoding="utf-8")
    (package / "__main__.py").write_text(child.replace("__file__", repr(str(package / "main.py"))) + work)
    monkeypatch.chdir(tmp_path)
    found = costs.measured(["50"])
    assert 1.0 <= float(found["cpu"]) < 1.5, "half a second of the command, and half a second of its child"
    assert float(found["wall"]) >= 2.0
    if sys.platform == "linux":
        assert 0.10 < float(found["memory"]) < 0.16, "100 MiB, later 50, and two interpreters"
    (package / "__main__.py").write_text("raise SystemExit(3)")
    with pytest.raises(SystemExit, match="ended with status 3"):
        costs.measured([])


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a process holds")
def test_pages_that_processes_share_count_once() -> None:
    command = [sys.executable, "-c", "import numpy; print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            for process in (one, other):
                assert process.stdout is not None and process.stdout.readline()
            assert set(costs.processes(os.getpid())) >= {os.getpid(), one.pid, other.pid}
            alone, both = costs.held([one.pid]), costs.held([one.pid, other.pid])
            resident = [line for line in Path(f"/proc/{one.pid}/status").read_text().split("\n") if "VmRSS" in line]
            assert alone == pytest.approx(int(resident[0].split()[1]), rel=0.02)
            assert 1.2 * alone < both < 1.9 * alone, "libraries once, what each has made for itself twice"
            other.communicate(b"\n")
        one.communicate(b"\n")
    assert costs.held([2**22 + 1]) == 0
    assert list(costs.processes(2**22 + 1)) == []


def test_the_start_does_not_count_in_what_a_molecule_more_costs() -> None:
    assert costs.slope(costs.by_number(ROWS, "qm9")) == pytest.approx(0.05)
    assert {size: costs.slope(some) for size, some in costs.by_size(ROWS, "drugs").items()} == {10: 0.5}
    assert [line for line in costs.size_table(ROWS, "drugs") if line.startswith("| 10")] == [
        "| 10 | 0.5 | 16: 6.0, 48: 22.0 | 36 of 48, 61 to 85 % | 0.75 |"
    ]
    assert costs.number_table(ROWS, "qm9")[4:] == [
        "| 10 | 4.5 | 0.45 | 1 | 1 | 0.50 |",
        "| 100 | 9.0 | 0.09 | 12 | 1 | 0.50 |",
        "",
        "A molecule more costs 0.05 CPU s. By that a million would take 14 CPU hours: an estimate, nobody has waited "
        "for it.",
        "",
    ]


def test_of_repeats_the_one_that_was_disturbed_least_counts() -> None:
    rows = [row("qm9", "all", 10, cpu, repeat=str(number)) for number, cpu in enumerate((5.0, 4.0, 11.0))]
    assert [one["cpu"] for one in costs.least([*rows, row("qm9", "all", 20, 9.0)])] == ["4.0", "9.0"]


def test_cells_that_are_there_are_not_run_again_and_the_page_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = list[Any]()

    def row_of(model: str, n_atoms: str, n: int, seed: int, work: Path) -> list[dict[str, str]]:
        run.append((model, n_atoms, n))
        rest = {name: "1" for name in costs.COLUMNS if name not in costs.KEY}
        return [{**rest, "cpu": str(4 + n)}]

    monkeypatch.setattr(costs, "row_of", row_of)
    out = tmp_path / "costs.md"
    words = [
        "--repeats",
        "1",
        "--sizes",
        "10",
        "--by-number",
        "qm9",
        "--numbers",
        "10",
        "--work",
        str(tmp_path / "work"),
        "-o",
        str(out),
    ]
    costs.main(words)
    assert run == [("drugs", "10", 16), ("drugs", "10", 48), ("qm9", "all", 10)]
    costs.main([*words, "--numbers", "10", "20"])
    assert run[3:] == [("qm9", "all", 20)]
    text = out.read_text(encoding="utf-8")
    assert "A molecule more costs 1 CPU s." in text
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit, match="error: "):
        costs.main([*words, "--by-number", "qm8"])


def test_a_cell_is_a_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    (found,) = costs.row_of("qm9_fast", "9", 1, 0, tmp_path)
    assert found.keys() == set(costs.COLUMNS) - set(costs.KEY)
    assert (found["evaluations"], found["valid"]) in (("8", "0"), ("8", "1"))
    assert 0.5 < float(found["cpu"]) < 60
