"""Text of others cannot compute in a spreadsheet nor take hold of a terminal; ours reads it back unchanged."""

import csv
import io
import json
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from moldiff.chem.io.records import read_texts
from moldiff.cli import shared
from moldiff.cli.shared import LogFormatter, console, echo
from moldiff.foreign_text import for_pictures, free_name, number_in, plain_cell, printable, readable, safe_cell

FORMULAS = [
    "=1+1",
    '=HYPERLINK("http://x","y")',
    "@SUM(1)",
    "-2+3+cmd|'/C calc'!A0",
    "+1-1",
    "＝1",
    "'=1",
    "''@x",
    "-",
    "+a",
]
HARMLESS = ["", "aspirin", "1-butanol", "-1.5", "+3", "-1e-5", "'", "'quoted'", "2=3", "C=O", "don't", "-.5", "'-1.5"]
ESCAPE = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202eback"


@pytest.mark.parametrize("text", ["1_000", "2024_01", "1,000", "１０", "٣", "", "x", "0x1F", "1 000", "1.5.2", "−5"])
def test_what_nobody_else_means_as_a_number_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"number|convert"):
        number_in(text)


@pytest.mark.parametrize("text", ["1000", " -1.5e-3\n", "+.5", "5.", "\u00a07", "inf", "1e400"])
def test_other_numbers_are_as_python_reads_them(text: str) -> None:
    assert number_in(text) == float(text)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_a_text_and_comes_back(text: str) -> None:
    cell = safe_cell(text)
    assert cell == f"'{text}"
    assert plain_cell(cell) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert safe_cell(text) == plain_cell(text) == text


def test_numbers_are_no_texts_and_control_characters_no_part_of_one() -> None:
    assert [safe_cell(value) for value in (-1.5, 3, None)] == [-1.5, 3, None]
    assert safe_cell("a\x1b[31mb\x00\nc\td") == "a?[31mb?\nc\td"
    assert safe_cell("\x1b=1") == "?=1"


def test_what_reaches_a_terminal_holds_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("line\n\ttab åäö 分子 ±") == "line\n\ttab åäö 分子 ±"
    echo(ESCAPE)
    echo(ESCAPE, err=True)
    console().print(ESCAPE)
    from rich.table import Table

    table = Table(ESCAPE)
    table.add_row(ESCAPE)
    console().print(table)
    record = logging.LogRecord("x", logging.WARNING, "", 0, "name %s", (ESCAPE,), None)
    out, err = capsys.readouterr()
    for text in (out, err, LogFormatter("%(message)s").format(record)):
        assert not set("\x1b\x07\x9b\u202e") & set(text)
        assert "owned" in text


DRUGS = Path(__file__).parent / "fixtures" / "drugs.sdf"
NAMES = ["=HYPERLINK(1)", "@SUM(1)", "-2+3+cmd|x", "\x1b[31mred"]


def test_every_command_and_table(
    run: Callable, record: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Titles of an SDF on their way through prepare, relax and evaluate; the table is read as molecules again."""
    monkeypatch.chdir(tmp_path)
    water = [("O", 0.0, 0.0, 0.0), ("H", 0.96, 0.0, 0.0), ("H", -0.24, 0.93, 0.0)]
    bonds = [(1, 2, 1), (1, 3, 1)]
    records = [record(name, water, bonds) for name in NAMES]
    records += [record(name, [*water, ("Xx", 9.0, 9.0, 9.0)], bonds) for name in NAMES]
    Path("in.sdf").write_text("".join(records) + DRUGS.read_text())
    outputs = []
    for command in (
        ["data", "prepare", "in.sdf", "-o", "set", "--workers", "1"],
        ["data", "relax", "in.sdf", "-o", "relaxed.sdf", "--method", "mmff94s", "--workers", "1"],
        ["evaluate", "in.sdf", "-o", "report", "--posebusters", "0"],
        ["data", "info", "set"],
    ):
        outputs.append(run(*command))
    assert not any("\x1b" in result.out + result.err for result in outputs)
    for name in ("set/dropped.csv", "relaxed.csv", "report/molecules.csv"):
        rows = list(csv.reader(io.StringIO(Path(name).read_text())))
        cells = [cell for row in rows for cell in row]
        assert any("HYPERLINK" in cell for cell in cells), name
        assert not any(cell.startswith(("=", "@", "-2")) or "\x1b" in cell for cell in cells)
    Path("again.csv").write_text("name,smiles\n" + "".join(f"{safe_cell(name)},O\n" for name in NAMES[:3]))
    assert [text.name for text in read_texts(Path("again.csv"))] == NAMES[:3]
    assert json.loads(Path("report/report.json").read_text())["counts"]["invalid"] == 4


def test_text_meets_the_terminal_in_one_place() -> None:
    """Elsewhere only texts of our own are printed: the version, the help, the end of a run."""
    folder = Path(shared.__file__).parent
    for path in folder.glob("*.py"):
        if path.name not in ("shared.py", "progress.py"):  # the latter draws a bar
            lines = [line.strip() for line in path.read_text().splitlines()]
            told = [line for line in lines if re.search(r"typer\.echo|Console\(|std(out|err)\.write|print\(", line)]
            told = [line for line in told if not re.search(r"get_help\(\)|VERSION", line)]
            assert [line for line in told if not line.startswith("console.print(")] == [], path.name


def test_bytes_that_are_no_text_are_question_marks() -> None:
    assert readable(os.fsdecode(b"caf\xe9 \xff.smi")) == "caf? ?.smi"
    assert readable("größe 日本 😀.sdf") == "größe 日本 😀.sdf"


@pytest.mark.parametrize("text", ["$", "$$", r"$\b$", "a$^$", r"\$x$", "$1 and $2", r"$\frac{1}{2}$", "\x1b[31m$_$"])
def test_matplotlib_writes_a_text_as_it_stands(text: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    written = figure.text(0.5, 0.5, for_pictures(text))
    FigureCanvasAgg(figure).draw()
    shown, formula = written._preprocess_math(written.get_text())
    assert (shown, formula) == (text.replace("\x1b", "?"), False)


def test_a_name_that_comes_again_and_again_is_numbered_in_no_time() -> None:
    taken, copies, began = {"a (3)"}, Counter[str](), time.process_time()
    for _ in range(10_000):
        taken.add(free_name("a", taken, copies))
    assert taken == {"a", *(f"a ({k})" for k in range(2, 10_002))}
    assert time.process_time() - began < 1.0
