"""The text of `moldiff data info`: what a prepared folder holds, with histograms drawn in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from moldiff.conditions import number_text
from moldiff.datasets.layout import SPLITS
from moldiff.datasets.prepared import PreparedDataset

if TYPE_CHECKING:
    from rich.console import Console

BAR_WIDTH = 40
BINS = 12
SIZE_BARS = 30
DROPPED_SHOWN = 20
_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"


def render(dataset: PreparedDataset, console: Console) -> None:
    """Print a summary of a prepared data set: counts, dropped records, sizes, classes and properties.

    The console must not read markup: names and paths may hold brackets.

    Histograms of sizes and classes are those of the training split, as in its statistics; properties are those of all
    molecules.
    """
    info, statistics = dataset.info, dataset.statistics
    console.print(f"{dataset.folder}: {len(dataset)} molecules, {info['distinct']} distinct")
    console.print(", ".join(f"{len(dataset.indices(split))} {split}" for split in SPLITS))
    console.print(f"data hash {info['data_hash']}")
    for source in info["sources"]:
        console.print(f"from {source['file']} (SHA-256 {source['sha256']})")
    hydrogens = "explicit" if dataset.vocabulary.explicit_hydrogens else "implicit"
    console.print(f"{hydrogens} hydrogens, bond classes: {', '.join(dataset.vocabulary.bonds)}")

    dropped = sum(info["dropped"].values())
    console.print(f"\n{info['records']} records read = {len(dataset)} kept + {dropped} dropped")
    for reason, count in list(info["dropped"].items())[:DROPPED_SHOWN]:
        console.print(f"  {count:>8}  {reason}")
    if (more := len(info["dropped"]) - DROPPED_SHOWN) > 0:
        console.print(f"  and {more} more reasons")
    if dropped:
        console.print(f"  every one is listed in {dataset.folder / 'dropped.csv'}")

    _print_histogram(console, f"{dataset.vocabulary.atoms} of a molecule (train)", *_size_bins(statistics.size_counts))
    vocabulary = dataset.vocabulary
    for title, field, labels in (
        ("elements (train)", "atom_type", vocabulary.elements),
        ("formal charges (train)", "charge", [f"{charge:+d}" if charge else "0" for charge in vocabulary.charges]),
        ("pairs of atoms by bond (train)", "bond_type", vocabulary.bonds),
    ):
        _print_histogram(console, title, labels, statistics.marginals[field])
    for column, entry in enumerate(dataset.properties):
        _render_property(dataset.arrays["properties"][:, column], entry.name, entry.unit, entry.source, console)


def _render_property(values: np.ndarray, name: str, unit: str, source: str, console: Console) -> None:
    """Print a histogram of one property between its 0.1 % and 99.9 % quantiles, the ends open."""
    known = np.sort(values[np.isfinite(values)].astype(np.float64))
    in_unit = f", {unit}" if unit not in ("", "1") else ""
    title = f"{name}{in_unit} ({source}; known for {len(known)} of {len(values)}; mean {known.mean():.4g})"
    distinct = np.unique(known)
    if len(distinct) <= BINS:
        labels = [number_text(value) for value in distinct]
        counts = [int((known == value).sum()) for value in distinct]
    else:
        low, high = np.quantile(known, (0.001, 0.999))
        edges = np.linspace(low, high, BINS + 1)
        counts = np.histogram(np.clip(known, low, high), edges)[0].tolist()
        labels = [f"{left:.4g} .. {right:.4g}" for left, right in pairwise(edges.tolist())]
    _print_histogram(console, title, labels, counts)


def _size_bins(counts: dict[int, int]) -> tuple[list[str], list[int]]:
    """Return labels and counts of the sizes, several sizes to a bar where there are more than `SIZE_BARS`."""
    smallest, largest = min(counts), max(counts)
    width = -(-(largest - smallest + 1) // SIZE_BARS)
    if width == 1:
        return [str(n) for n in counts], list(counts.values())
    starts = range(smallest, largest + 1, width)
    sums = [sum(counts.get(n, 0) for n in range(start, start + width)) for start in starts]
    return [f"{start} .. {start + width - 1}" for start in starts], sums


def _print_histogram(console: Console, title: str, labels: Iterable[str], values: Sequence[float]) -> None:
    """Print a bar per label, as long as the terminal allows; whole numbers are counts, others shares of one."""
    labels = list(labels)
    shown = [str(value) if isinstance(value, int) else f"{100 * value:.4g} %" for value in values]
    room = console.width - max(map(len, labels)) - max(map(len, shown)) - 6  # two blanks to each of three columns
    table = Table(title=f"\n{title}", title_justify="left", box=None, show_header=False, padding=(0, 1))
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_column()
    largest = max(values, default=0)
    for label, text, value in zip(labels, shown, values, strict=True):
        table.add_row(label, text, bar(value / largest if largest else 0.0, min(room, BAR_WIDTH)))
    console.print(table)


def bar(fraction: float, width: int) -> str:
    """Return a bar of up to ``width`` characters (at least one), in eighths; anything above zero shows."""
    eighths = round(fraction * max(width, 1) * 8)
    if fraction > 0:
        eighths = max(eighths, 1)
    whole, rest = divmod(eighths, 8)
    return _FULL * whole + (_EIGHTHS[rest] if rest else "")
