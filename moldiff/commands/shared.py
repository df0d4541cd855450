"""What several commands share: options, ranges, lists, the terminal."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from moldiff.errors import MoldiffError

if TYPE_CHECKING:
    from rich.console import Console

Model = Annotated[str | None, typer.Option(help="A built-in model (by default qm9) or a model folder.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same result.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:<number> or mps.")]
Precision = Annotated[
    str,
    typer.Option(
        help="Number type of the network: float32, bfloat16 (faster where the processor has it), or auto, the faster."
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each usable core.")]


def parse_range(text: str, option: str) -> tuple[int, int]:
    """Return (first, last) of ``18`` or ``15..22``, both at least 1; MoldiffError names the option."""
    match = re.fullmatch(r"(\d{1,6})(?:\.\.(\d{1,6}))?", text.strip(), flags=re.ASCII)
    if match:
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if 1 <= first <= last:
            return first, last
    raise MoldiffError(f"{option} {text}: expected a number such as 18 or a range such as 15..22, from 1 up")


def console() -> Console:
    """Return the standard output without markup: names and paths may hold brackets."""
    from rich.console import Console

    return Console(markup=False, highlight=False)


def split_names(names: str) -> list[str]:
    """Return the names of a list with commas."""
    return [name.strip() for name in names.split(",") if name.strip()]


@contextlib.contextmanager
def progress_bar(label: str, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Yield a function that takes the number done so far and draws a bar with time left; None without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = [TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)
