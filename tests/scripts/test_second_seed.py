"""Figures of two seeds, read from the benchmarks' own pages, and the page that holds them side by side."""

import math
import re
from pathlib import Path

import pytest
from script import SCRIPTS, load_script

second_seed = load_script("benchmarks/second_seed")
RESULTS = SCRIPTS / "benchmarks" / "results"

FIRST = """# A page

`python -m scripts.benchmarks.few_steps qm9 -n 100 --seed 0`, 2026-11-21, AMD EPYC.

| model | evaluations | valid | W1 | seconds |
|---|---|---|---|---|
| held-out data | 0 | 100.0 ± 0.0 | 1.0 ± 0.1 | - |
| qm9 | 8 | 90.0 ± 3.0 | 0.5 | 19 |
| qm9 | 20 | 98.0 ± 1.4 | 0.4 ± 0.1 | 44 |

| another | table |
|---|---|
| qm9 | 5.0 ± 1.0 |
"""


def test_figures_are_those_of_the_first_table_that_have_an_error() -> None:
    found = second_seed.figures(FIRST, 100)
    assert list(found) == [
        "held-out data, 0: valid", "held-out data, 0: W1", "qm9, 8: valid", "qm9, 20: valid", "qm9, 20: W1",
    ]  # fmt: skip
    assert found["qm9, 20: W1"] == second_seed.Figure(0.4, 0.1, "0.4 ± 0.1", 100)


def test_a_row_may_have_its_own_number() -> None:
    text = "| a | valid | n |\n|---|---|---|\n| x | 5.0 ± 1.0 | 7 |\n"
    assert second_seed.figures(text, 100)["x: valid"].n == 7
    text = "| a | n | valid |\n|---|---|---|\n| x | 7 | 5.0 ± 1.0 |\n"
    assert second_seed.figures(text, 100)["x: valid"].n == 7, "its number is no part of its name"


def test_a_page_is_about_the_cuts_or_seeds_or_molecules_of_its_command() -> None:
    assert second_seed.command(FIRST, "x")[1:] == ("2026-11-21", 100)
    assert second_seed.command(FIRST.replace("--seed 0", "--seeds 30"), "x")[2] == 30


def test_both_are_counted_by_their_sizes() -> None:
    one, other = second_seed.Figure(1.0, 0.4, "1.00 ± 0.40", 100), second_seed.Figure(2.0, 0.2, "2.00 ± 0.20", 300)
    assert one.with_other(other) == "1.75 ± 0.18", "sqrt((100 x 0.4)^2 + (300 x 0.2)^2) / 400"


def test_a_difference_is_told_in_its_own_standard_errors() -> None:
    figure = second_seed.Figure
    assert figure(90, 3, "").away(figure(100, 4, "")) == 2.0
    assert figure(100, 4, "").away(figure(90, 3, "")) == -2.0
    assert figure(100, 0, "").away(figure(100, 0, "")) == 0
    assert figure(100, 0, "").away(figure(99, 0, "")) == -math.inf, "two that are sure cannot differ"


def test_distances_of_distributions_of_unlike_numbers_are_not_compared() -> None:
    figure = second_seed.Figure
    first = {"x: W1": figure(1, 1, "", 100), "x: valid": figure(1, 1, "", 100)}
    for n, names in ((100, ["x: W1", "x: valid"]), (50, ["x: valid"])):
        second = {name: figure(2, 1, "", n) for name in first}
        assert [name for name, _, _ in second_seed.compared(first, second)] == names


def test_a_rate_of_all_is_not_surer_than_its_number_allows() -> None:
    all_of_50, most_of_200 = second_seed.Figure(100, 0, "100.0 ± 0.0", 50), second_seed.Figure(97, 1.2, "", 200)
    assert all_of_50.error_beside(most_of_200) == 2.4
    assert all_of_50.away(most_of_200) == pytest.approx(-3 / math.hypot(2.4, 1.2))
    assert most_of_200.error_beside(all_of_50) == 1.2


def test_the_page_has_what_both_have_and_says_what_does_not_repeat() -> None:
    second = (
        FIRST.replace("--seed 0", "--seed 1").replace("90.0 ± 3.0", "82.0 ± 2.0").replace("| qm9 | 20 |", "| x | 20 |")
    )
    text = second_seed.report([("few_steps.md", FIRST, second)], "notes")
    assert "| qm9, 8: valid | 90.0 ± 3.0 | 82.0 ± 2.0 | 86.0 ± 1.8 | -2.2 | **no** |" in text
    assert "held-out data" not in text and "20: valid" not in text
    assert "1 figures, 1 farther apart than 2" in text
    assert "- Second: `python -m scripts.benchmarks.few_steps qm9 -n 100 --seed 1`, 2026-11-21" in text
    assert text.endswith("notes")


def test_pages_without_a_command_or_a_common_figure_are_refused() -> None:
    with pytest.raises(SystemExit, match=r"few_steps.md does not say how it was made"):
        second_seed.report([("few_steps.md", FIRST.replace("python", "py"), FIRST)], "")
    with pytest.raises(SystemExit, match="no figure stands in both pages"):
        second_seed.report([("few_steps.md", FIRST, FIRST.replace("| qm9 |", "| other |"))], "")


def test_the_page_is_that_of_the_results_beside_it() -> None:
    assert (RESULTS / "second_seed.md").read_text(encoding="utf-8") == second_seed.current(RESULTS)


def test_the_page_covers_the_figures_of_the_table_in_the_readme() -> None:
    page = (RESULTS / "second_seed.md").read_text(encoding="utf-8")
    readme = (
        (SCRIPTS.parent / "README.md").read_text(encoding="utf-8").partition("## How good is the built-in model?")[2]
    )
    assert "| 10,000 | 516.4 | 0.0516 | 536 | 9778 |" in (RESULTS / "costs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| ([\d.]+(?: ± [\d.]+)?)(?: %)? \|", readme, flags=re.MULTILINE)
    assert len(rows) >= 6 and rows.pop(0) == "97.8 ± 0.15"  # of the 10,000
    assert [row for row in rows if row not in page] == []


def test_every_page_of_a_second_seed_is_compared() -> None:
    there = {path.name for path in (RESULTS / "second_seed").glob("*.md")}
    assert there and there <= set(second_seed.STANDS)
    assert all(Path(RESULTS / name).exists() for name in there)
