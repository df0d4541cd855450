"""moldiff filter, and its other name moldiff describe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moldiff.cli.option_files import FilterConfig
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
    Overwrite,
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


def filter_files(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Molecule files: .sdf, .smi, .csv, .parquet, .xyz.")
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="What is kept: .sdf, .smi, .csv (each also .gz) or .parquet. Beside it go "
        "NAME.records.csv, with a row and a reason for every record, and NAME.run.json."),
    ] = Path("filtered.csv"),
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
    number: Annotated[int | None, typer.Option("-n", "--number", min=1, help="Keep so many; all by default.")] = None,
    all_checks: AllChecks = False,
    keep_duplicates: KeepDuplicates = False,
    seed: Seed = 0,
    smiles_column: SmilesColumn = None,
    name_column: NameColumn = None,
    delimiter: Delimiter = None,
    timeout: Timeout = 60.0,
    workers: Workers = None,
    overwrite: Overwrite = False,
    config: FilterConfig = None,
) -> None:  # fmt: skip
    """Keep the molecules that are wanted; without a condition, a table of their properties."""
    from moldiff.chem.filters.commands import parse_commands
    from moldiff.chem.io.tables import Columns
    from moldiff.devices import usable_cores
    from moldiff.screening.entries import library_of
    from moldiff.screening.filter_files import write_filtered
    from moldiff.screening.filter_run import FilterOptions

    options = FilterOptions.of(
        where=where or (),
        rules=rules,
        alerts=alerts,
        smarts=smarts or (),
        similar_to=similar_to,
        shape_of=shape_of,
        known=known,
        commands=parse_commands(command or ()),
        dock=dock,
        dock_box=dock_box,
        exhaustiveness=exhaustiveness,
        standardise=standardise,
        hazard_lists=hazard_list or (),
        release_hazards=release_hazards,
        rank=rank or (),
        n=number,
        all_checks=all_checks,
        dedup=not keep_duplicates,
        seed=seed,
        workers=workers or usable_cores(),
        isolated=True,
        timeout_s=timeout,
    )
    library = library_of(files, Columns.of(smiles_column, name_column, delimiter))
    with progress_bar("records", None) as progress:
        summary = write_filtered(library, options, out, overwrite=overwrite, progress=progress)
    for line in summary.lines():
        echo(line)
