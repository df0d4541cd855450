"""Hold the figures of the benchmarks against those of another seed, in standard errors. Writes Markdown.

    python -m scripts.benchmarks.second_seed

The pages of the first seed lie in results/, those of the second in results/second_seed/, under the same names; both are
written by the benchmarks themselves. A row is compared where both pages have it, a figure where both give its error.
What is written by hand below the tables, from the heading ``NOTES`` on, stays.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moldiff.files import write_text

RESULTS = Path(__file__).parent / "results"
NOTES = "## What was corrected"
LIMIT = 2.0  # standard errors
STANDS = {  # page -> where its figures are quoted
    "model_qm9.md": "README, docs/models.md",
    "model_drugs.md": "README, docs/models.md, docs/steering.md",
    "model_familiar.md": "README, docs/steering.md",
    "few_steps.md": "README, docs/models.md (W1); docs/generate.md, docs/training.md",
    "conformers.md": "docs/conformers.md",
    "fragments.md": "docs/fragments.md",
    "vary.md": "docs/vary.md",
    "decoding.md": "docs/generate.md",
    "samplers.md": "docs/generate.md, docs/training.md",
    "targets_qm9.md": "docs/steering.md",
    "targets_drugs.md": "docs/steering.md",
    "steering.md": "docs/steering.md",
    "anomaly.md": "docs/likelihood.md",
}
SIZES = ("--cuts", "--seeds", "-n")  # options that say how many a page is about, the first that is there
_FIGURE = re.compile(r"(-?[\d.]+) ± ([\d.]+)")
_MADE = re.compile(r"^`(python -m [^`]+)`, (\d{4}-\d\d-\d\d)", flags=re.MULTILINE)


@dataclass(frozen=True)
class Figure:
    """A value with its standard error, as it stands in a table, and how many it is about."""

    value: float
    error: float
    text: str
    n: int = 1

    def error_beside(self, other: Figure) -> float:
        """Return its error; that of the other, by size, if it shows none: a rate of none or all is not sure."""
        return self.error or other.error * math.sqrt(other.n / self.n)

    def away(self, other: Figure) -> float:
        """Return by how many standard errors of the difference another value is larger."""
        gap, error = other.value - self.value, math.hypot(self.error_beside(other), other.error_beside(self))
        return 0.0 if not gap else gap / error if error else math.copysign(math.inf, gap)

    def with_other(self, other: Figure) -> str:
        """Return the mean of both, each counted by its size, with its standard error."""
        total, digits = self.n + other.n, len(self.text.partition(" ")[0].partition(".")[2])
        value = (self.n * self.value + other.n * other.value) / total
        error = math.hypot(self.n * self.error_beside(other), other.n * other.error_beside(self)) / total
        return f"{value:.{digits}f} ± {error:.{digits}f}"


def command(text: str, page: str) -> tuple[str, str, int]:
    """Return the command of a page, its date, and how many it is about."""
    made = _MADE.search(text)
    words = made[1].split() if made else []
    size = next((words[words.index(option) + 1] for option in SIZES if option in words), None)
    if made is None or size is None:
        raise SystemExit(f"error: {page} does not say how it was made")
    return made[1], made[2], int(size)


def figures(text: str, n: int) -> dict[str, Figure]:
    """Return "row: column" -> figure of the first table of a page; a row's name are the cells before its figures.

    Each is about ``n``, unless its row has a column of that name.
    """
    found: dict[str, Figure] = {}
    heads: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            if heads:
                break
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not heads or set(line) <= set("|- "):
            heads = heads or cells
            continue
        first = next((place for place, cell in enumerate(cells) if _FIGURE.fullmatch(cell)), len(cells))
        name = ", ".join(cell for head, cell in zip(heads[:first], cells[:first], strict=True) if cell and head != "n")
        own = dict(zip(heads, cells, strict=True)).get("n", n)
        for head, cell in zip(heads[first:], cells[first:], strict=True):
            if match := _FIGURE.fullmatch(cell):
                key = f"{name}: {head}"
                found.setdefault(key, Figure(float(match[1]), float(match[2]), cell, int(own)))
    return found


def compared(first: dict[str, Figure], second: dict[str, Figure]) -> Iterator[tuple[str, Figure, Figure]]:
    """Yield name, first and second value of the figures that both pages have, but for those of real molecules, and for
    distances of distributions of unlike numbers: they are the larger, the fewer molecules they are of."""
    for name, figure in first.items():
        alike = name in second and ("W1" not in name or figure.n == second[name].n)
        if alike and "held-out data" not in name:
            yield name.removesuffix(": generated"), figure, second[name]


def section(page: str, first: str, second: str) -> tuple[list[str], list[float]]:
    """Return the Markdown lines about one page, and how far its figures lie apart."""
    lines = [f"## {page}", "", f"Quoted in {STANDS[page]}.", ""]
    read = []
    for word, text in (("First", first), ("Second", second)):
        made, date, n = command(text, page)
        lines.append(f"- {word}: `{made}`, {date}")
        read.append(figures(text, n))
    lines += ["", "| figure | first seed | second seed | both | difference, standard errors | repeats |"]
    lines.append("|---" * 6 + "|")
    apart = []
    for name, one, other in compared(*read):
        apart.append(one.away(other))
        verdict = "yes" if abs(apart[-1]) <= LIMIT else "**no**"
        both = one.with_other(other)
        lines.append(f"| {name} | {one.text} | {other.text} | {both} | {apart[-1]:+.1f} | {verdict} |")
    if not apart:
        raise SystemExit(f"error: no figure stands in both pages {page}")
    return [*lines, ""], apart


def report(pairs: Sequence[tuple[str, str, str]], notes: str) -> str:
    """Return the page of (name, first text, second text) and the notes."""
    sections, apart = [], list[float]()
    for page, first, second in pairs:
        lines, some = section(page, first, second)
        sections += lines
        apart += some
    far, moving = sum(abs(one) > LIMIT for one in apart), sum(one != 0 for one in apart)
    head = [
        "# The figures at a second seed",
        "",
        "Made by `python -m scripts.benchmarks.second_seed` of the pages in this folder and those of the same names in "
        "[second_seed/](second_seed). Each figure was measured again with another seed (other noise, and where "
        "held-out molecules are asked for, others of them); commands, dates and hardware stand in both pages. First "
        "is the larger sample where they are not the same, whichever is older. The difference is second less first, in "
        "standard errors of the difference; a figure repeats if it is "
        f"{LIMIT:g} at most. Both: the mean, each counted by its number of molecules (cuts, seeds). Distances of "
        "distributions (W1) grow with a smaller sample: they are compared where both samples are as large.",
        "",
        f"{len(apart)} figures, {far} farther apart than {LIMIT:g}. {moving} differ at all; of as many that are the "
        f"same by law, {0.0455 * moving:.1f} would be so far apart (they are not independent: the columns of a row are "
        "of the same draws). A rate of none or all shows no error; it is given that of the other, by its number.",
        "",
    ]
    return "\n".join([*head, *sections, notes])


def current(results: Path) -> str:
    """Return what the page of a folder of results should be."""
    page = results / "second_seed.md"
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    notes = old[old.index(NOTES) :] if NOTES in old else f"{NOTES}\n"
    pairs = [
        (
            name,
            (results / name).read_text(encoding="utf-8"),
            (results / "second_seed" / name).read_text(encoding="utf-8"),
        )
        for name in STANDS
        if (results / "second_seed" / name).exists()
    ]
    return report(pairs, notes)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the pages")
    folder = parser.parse_args().results
    text = current(folder)
    write_text(folder / "second_seed.md", text)
    print(text)


if __name__ == "__main__":
    main()
