"""moldiff conformers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moldiff.cli.option_files import Config
from moldiff.cli.shared import (
    BatchSize,
    Device,
    Grid,
    KeepInvalid,
    Model,
    Overwrite,
    Precision,
    Sampler,
    Seed,
    progress_bar,
)


def conformers(
    file: Annotated[Path, typer.Argument(help="Molecules, with coordinates or without: .smi, .csv, .sdf, ...")],
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="Conformers of each molecule.")] = 10,
    out: Annotated[Path, typer.Option("-o", "--out", help="SDF to write; a .csv and run.json go beside it.")] = Path(
        "conformers.sdf"
    ),
    model: Model = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Network evaluations per draw, 25 by default.")] = None,
    sampler: Sampler = None,
    grid: Grid = None,
    redraws: Annotated[
        int | None, typer.Option(min=0, help="Draws of a wrong diastereomer are made anew so often, 10 by default.")
    ] = None,
    seed: Seed = 0,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    keep_invalid: KeepInvalid = False,
    overwrite: Overwrite = False,
    config: Config = None,
) -> None:
    """Sample coordinates for given molecules: atoms, bonds and stereo stay."""
    from moldiff.generation.conformers import conformer_files
    from moldiff.generation.from_records import count_records
    from moldiff.models.folder import DEFAULT_MODEL

    with progress_bar("conformers", number * count_records(file)) as progress:
        told = conformer_files(
            file,
            out,
            n=number,
            model=model or DEFAULT_MODEL,
            steps=steps,
            sampler=sampler,
            grid=grid,
            redraws=redraws,
            seed=seed,
            batch_size=batch_size,
            device=device,
            precision=precision,
            keep_invalid=keep_invalid,
            overwrite=overwrite,
            progress=progress,
        )
    for line in told.lines():
        typer.echo(line)
