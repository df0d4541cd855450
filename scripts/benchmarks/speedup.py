"""Time two checkouts of the package side by side: whole `moldiff generate` runs in turns. Writes Markdown.

    python -m scripts.benchmarks.speedup OLD NEW --runs qm9:1 qm9:300 drugs:100 --rounds 3 -o speedup.md

OLD and NEW are folders that hold a package ``moldiff``; both run with this Python and its libraries, on one thread. All
options are at their default, but for the model, the number of molecules, the seed and the CPU. A ratio is that of two
neighbouring runs, so that what else happens on the machine meets both; the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import shlex
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from moldiff.files import write_text
from moldiff.provenance import hardware
from scripts.benchmarks.costs import measured


@dataclass(frozen=True)
class Timed:
    """A run that both checkouts have made in turns.

    Attributes:
        run: model and number of molecules.
        cpu: (old, new) CPU seconds of each round.
        memory: (old, new) GiB, the least of the rounds.
    """

    run: str
    cpu: list[tuple[float, float]]
    memory: tuple[float, float]

    @property
    def ratios(self) -> list[float]:
        """Old seconds in new ones, of each round, ascending."""
        return sorted(old / new for old, new in self.cpu)

    def row(self) -> str:
        """Return the row of the table."""
        model, _, number = self.run.partition(":")
        old, new = (statistics.median(times) for times in zip(*self.cpu, strict=True))
        low, middle, high = self.ratios[0], statistics.median(self.ratios), self.ratios[-1]
        return (
            f"| {model} | {int(number):,} | {old:.1f} | {new:.1f} | {middle:.2f} ({low:.2f} to {high:.2f}) "
            f"| {self.memory[0]:.2f} | {self.memory[1]:.2f} |"
        )


def timed(run: str, checkouts: tuple[Path, Path], rounds: int, options: Sequence[str]) -> Timed:
    """Run both checkouts in turns."""
    model, _, number = run.partition(":")
    words = ["generate", "-n", number, "--model", model, "--device", "cpu", *options]
    cpu, memory = list[tuple[float, float]](), list[tuple[float, float]]()
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            outs = [Path(folder) / f"{side}.sdf" for side in ("old", "new")]
            old, new = (
                measured([*words, "-o", str(out)], checkout) for out, checkout in zip(outs, checkouts, strict=True)
            )
        cpu.append((float(old["cpu"]), float(new["cpu"])))
        memory.append((float(old["memory"]), float(new["memory"])))
    least = (min(old for old, _ in memory), min(new for _, new in memory))
    return Timed(run, cpu, least)


def page(found: Sequence[Timed], arguments: argparse.Namespace) -> str:
    """Return the Markdown page."""
    options = f" --options '{arguments.options}'" if arguments.options else ""
    lines = [
        "# Two versions side by side, measured",
        "",
        f"`python -m scripts.benchmarks.speedup OLD NEW --runs {' '.join(arguments.runs)} --rounds {arguments.rounds}"
        f"{options}`, {datetime.date.today()}, "
        f"{hardware(torch.device('cpu')).split(',')[0]}, one thread, Python {platform.python_version()}, torch "
        f"{torch.__version__}. {arguments.note}".rstrip(),
        "",
        "CPU seconds of whole `moldiff generate` runs, start and files included, median of the rounds; ratios of "
        "neighbouring runs, median and range; memory: the most that the command and its worker hold at a time, "
        "shared pages counted once.",
        "",
        "| model | molecules | old, CPU s | new, CPU s | times as fast | old, GiB | new, GiB |",
        "|---" * 7 + "|",
        *(one.row() for one in found),
    ]
    return "\n".join(lines) + "\n"


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--runs", nargs="+", default=["qm9:1", "qm9:300"], metavar="MODEL:NUMBER")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--options", default="", help="further ones of generate, for both sides: '--precision float32'")
    parser.add_argument("--note", default="", help="a sentence for the page: which versions these are")
    parser.add_argument("-o", "--out", type=Path, default=Path("speedup.md"))
    arguments = parser.parse_args(words)
    for run in arguments.runs:
        if not run.partition(":")[2].isdecimal():
            parser.error(f"--runs: {run} is not a model and a number (qm9:300)")
    for checkout in (arguments.old, arguments.new):
        if not (checkout / "moldiff" / "__main__.py").is_file():
            parser.error(f"{checkout} holds no package moldiff")
    return arguments


def main(words: Sequence[str] | None = None) -> None:
    """Time all runs and write the page."""
    arguments = parse(words)
    checkouts = arguments.old.resolve(), arguments.new.resolve()
    found = []
    for run in arguments.runs:
        found.append(timed(run, checkouts, arguments.rounds, shlex.split(arguments.options)))
        text = page(found, arguments)
        write_text(arguments.out, text)
    print(text)


if __name__ == "__main__":
    main()
