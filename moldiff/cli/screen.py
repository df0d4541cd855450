"""moldiff screen: a screening run, and what is done with its folder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from moldiff.arguments import split_names
from moldiff.choices import EngineName
from moldiff.cli.option_files import ScreenConfig
from moldiff.cli.progress import progress_bar
from moldiff.cli.shared import (
    Alerts,
    AllChecks,
    Command,
    Delimiter,
    Dock,
    DockBox,
    Exhaustiveness,
    HazardLists,
    KeepDuplicates,
    Known,
    NameColumn,
    Rank,
    ReleaseHazards,
    Rules,
    Seed,
    ShapeOf,
    SimilarTo,
    Smarts,
    SmilesColumn,
    Standardise,
    Timeout,
    Where,
    Workers,
    echo,
)

if TYPE_CHECKING:
    from moldiff.screening.screen import Screening

RUN = "run"
Folder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of the run.")]
Retry = Annotated[bool, typer.Option("--retry", help="Look again at records that failed.")]
Shard = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Work on every N-th shard from the I-th on; then merge."),
]


Engine = Annotated[
    EngineName, typer.Option(help="Processes on this machine, or dask: workers of a cluster (extra: cluster).")
]
Scheduler = Annotated[
    str | None,
    typer.Option(metavar="tcp://HOST:PORT", help="Of a Dask cluster that runs; without it, one is started here."),
]


class ScreenCommands(TyperGroup):
    """The commands of a run; what does not begin with one of them begins with molecule files."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [RUN, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=ScreenCommands)


@app.callback(invoke_without_command=True)
def group(context: typer.Context) -> None:
    """Screen a library of any size: a ranked table, and a reason for everything else.

    [bold]moldiff screen FILE... -o run/[/bold] begins a run, or goes on with one that was killed; its options:
    [bold]moldiff screen run --help[/bold].
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(RUN)
def run(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE...", help="Molecule files: .sdf, .smi, .csv, .parquet, .xyz.")
    ] = None,
    from_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Draws of a model come behind the files, if there are any.")
    ] = None,
    number: Annotated[int | None, typer.Option("-n", "--number", min=1, help="Draws of the model.")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What draws should be like, see 'moldiff generate'; again for more."),
    ] = None,
    familiar: Annotated[
        bool, typer.Option("--familiar", help="Draws of known rings and bonds, as of 'moldiff generate'.")
    ] = False,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run.")] = Path("screened"),
    where: Where = None,
    rules: Rules = "",
    alerts: Alerts = "",
    smarts: Smarts = None,
    similar_to: SimilarTo = None,
    shape_of: ShapeOf = None,
    known: Known = None,
    command: Command = None,
    dock: Dock = None,
    dock_box: DockBox = None,
    exhaustiveness: Exhaustiveness = None,
    standardise: Standardise = False,
    hazard_list: HazardLists = None,
    release_hazards: ReleaseHazards = None,
    rank: Rank = None,
    ranked: Annotated[int, typer.Option(min=1, help="So many stand in ranked.parquet and ranked.csv.")] = 10_000,
    top: Annotated[int, typer.Option(min=1, help="So many of them are given coordinates: top.sdf.gz.")] = 100,
    diverse: Annotated[
        float, typer.Option(min=0, max=0.99, help="Each of the top differs by more than that from every better one.")
    ] = 0.0,
    reference: Annotated[
        str | None,
        typer.Option(metavar="MODEL|FILE", help="What the page compares with; by default all records."),
    ] = None,
    all_checks: AllChecks = False,
    keep_duplicates: KeepDuplicates = False,
    seed: Seed = 0,
    smiles_column: SmilesColumn = None,
    name_column: NameColumn = None,
    delimiter: Delimiter = None,
    timeout: Timeout = 60.0,
    memory: Annotated[int, typer.Option(min=256, help="MiB for the data of a process.")] = 4096,
    shard_size: Annotated[int, typer.Option(min=1, help="Records of a shard.")] = 2000,
    shard: Shard = None,
    retry: Retry = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what a run will cost, from 200 molecules; write nothing.")
    ] = False,
    workers: Workers = None,
    engine: Engine = EngineName.PROCESSES,
    scheduler: Scheduler = None,
    config: ScreenConfig = None,
) -> None:  # fmt: skip
    """Begin a run, or go on with it: the same command, at any time."""
    from moldiff.chem.filters.commands import parse_commands
    from moldiff.chem.io.tables import Columns
    from moldiff.devices import usable_cores
    from moldiff.screening.runs.engines import Engines
    from moldiff.screening.runs.estimate import estimate
    from moldiff.screening.runs.options import screen_options
    from moldiff.screening.runs.plan import make_plan
    from moldiff.screening.screen import run_screen, source_of

    values = {
        "where": where or (),
        "rules": split_names(rules),
        "alerts": split_names(alerts),
        "smarts": [str(path) for path in smarts or ()],
        "similar_to": None if similar_to is None else str(similar_to),
        "shape_of": None if shape_of is None else str(shape_of),
        "known": None if known is None else str(known),
        "commands": parse_commands(command or ()),
        "dock": None if dock is None else str(dock),
        "dock_box": dock_box,
        "exhaustiveness": exhaustiveness,
        "standardise": standardise,
        "hazard_lists": [str(path) for path in hazard_list or ()],
        "release_hazards": release_hazards,
        "rank": rank or (),
        "ranked": ranked,
        "top": top,
        "diverse": diverse,
        "reference": reference,
        "all_checks": all_checks,
        "dedup": not keep_duplicates,
        "shard_size": shard_size,
        "timeout": timeout,
        "memory": memory,
        "seed": seed,
    }
    engines = Engines(workers or usable_cores(), engine, scheduler)
    options = screen_options(values)
    draws = source_of(from_model, number, seed, target or (), familiar)
    columns = Columns.of(smiles_column, name_column, delimiter)
    if dry_run:
        for line in estimate(make_plan(files or [], options, draws, columns=columns), engines.workers).lines():
            echo(line)
        return
    with progress_bar("records", None) as progress:
        done = run_screen(
            files or [],
            out,
            options,
            draws,
            shard=shard,
            engines=engines,
            retry=retry,
            progress=progress,
            columns=columns,
        )
    _show(done, out, shard)


@app.command()
def resume(
    folder: Folder,
    shard: Shard = None,
    retry: Retry = False,
    workers: Workers = None,
    engine: Engine = EngineName.PROCESSES,
    scheduler: Scheduler = None,
    allow_commands: Annotated[
        bool, typer.Option("--allow-commands", help="Let the programs and functions run that the plan names.")
    ] = False,
) -> None:
    """Go on with a run by the words of its plan; the command that began it does the same."""
    from moldiff.devices import usable_cores
    from moldiff.screening.runs.engines import Engines
    from moldiff.screening.screen import resume_screen

    engines = Engines(workers or usable_cores(), engine, scheduler)
    with progress_bar("records", None) as progress:
        done = resume_screen(
            folder, shard=shard, engines=engines, retry=retry, allow_commands=allow_commands, progress=progress
        )
    _show(done, folder, shard)


@app.command()
def status(folder: Folder) -> None:
    """Tell how far a run has come."""
    from moldiff.screening.runs.run import status_of

    for line in status_of(folder).lines():
        echo(line)


@app.command()
def report(folder: Folder) -> None:
    """Tell what became of all records of a run that is done."""
    from moldiff.screening.screen import screening_of

    for line in screening_of(folder).lines():
        echo(line)


@app.command()
def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="The folder of the run; others, whose shards are added to it."),
    ],
    workers: Workers = None,
) -> None:
    """Make the tables of a run whose parts were worked on by --shard."""
    from moldiff.devices import usable_cores
    from moldiff.screening.screen import merge_screens

    _show(merge_screens(folders, workers=workers or usable_cores()), folders[0], None)


def _show(done: Screening | None, folder: Path, shard: str | None) -> None:
    """Print the funnel of a run, or that a part is done."""
    if done is None:
        echo(f"part {shard} of {folder} is done; when all are: moldiff screen merge {shlex.quote(str(folder))}")
        return
    for line in done.lines():
        echo(line)
    echo(f"written to {folder}")
