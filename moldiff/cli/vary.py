"""moldiff vary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moldiff.cli.generate import Decoding
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


def vary(
    file: Annotated[Path, typer.Argument(help="Molecules with 3D coordinates: .sdf, .sdf.gz, .xyz.")],
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="Variations of each molecule.")] = 10,
    strength: Annotated[
        str,
        typer.Option(
            metavar="T|T..T",
            help="How far a molecule is noised, from near 0 (it comes back) to 1 (any molecule of its size); "
            "a range is spread over the variations. With the built-in model most changes from 0.4 to 0.6.",
        ),
    ] = "0.3..0.6",
    out: Annotated[Path, typer.Option("-o", "--out", help="SDF to write; a .csv and run.json go beside it.")] = Path(
        "variations.sdf"
    ),
    model: Model = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Network evaluations per variation, 20 by default.")] = None,
    sampler: Sampler = None,
    grid: Grid = None,
    decode: Annotated[
        Decoding, typer.Option(help="As in 'moldiff generate': what becomes of an invalid molecule.")
    ] = Decoding.argmax,
    seed: Seed = 0,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    keep_invalid: KeepInvalid = False,
    overwrite: Overwrite = False,
    config: Config = None,
) -> None:
    """Vary molecules: noise them in part and denoise them again."""
    from moldiff.generation.from_records import count_records
    from moldiff.generation.vary import parse_strength, vary_files
    from moldiff.models.folder import DEFAULT_MODEL

    ends = parse_strength(strength, "--strength")
    with progress_bar("variations", number * count_records(file)) as progress:
        told = vary_files(
            file,
            out,
            n=number,
            strength=ends,
            model=model or DEFAULT_MODEL,
            steps=steps,
            sampler=sampler,
            grid=grid,
            decode=decode.value,
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
