"""What several commands share: options, the terminal."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from moldiff.foreign_text import printable

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


def echo(text: str, *, err: bool = False) -> None:
    """Print text that may come from anywhere; see `moldiff.foreign_text.printable`."""
    typer.echo(printable(text), err=err)


class LogFormatter(logging.Formatter):
    """Formats messages of the log like `echo`."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def console() -> Console:
    """Return the standard output without markup, as names and paths may hold brackets, and without control characters
    but for its own."""
    from rich.console import Console

    result = Console(markup=False, highlight=False)
    render = result.render_str  # what every text that is printed, or stands in a table, goes through
    result.render_str = lambda text, **options: render(printable(text), **options)  # type: ignore[method-assign]
    return result


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


Sampler = Annotated[str | None, typer.Option(help="ddpm, ddim, langevin, sde, sde_pc, ode, dpmpp, dpmpp_sde or edm.")]
Grid = Annotated[str | None, typer.Option(help="Where steps fall: uniform (in t), karras, logsnr or window.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Molecules at a time; the result does not depend on it.")]
KeepInvalid = Annotated[bool, typer.Option("--keep-invalid", help="Also write failed ones, with the reason.")]
