"""moldiff likelihood."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moldiff.cli.progress import progress_bar
from moldiff.cli.shared import (
    AddHydrogens,
    ChemistryWorkers,
    Device,
    Model,
    Overwrite,
    Resume,
    Seed,
    Shard,
    echo,
    load_chemistry,
    with_options,
)  # fmt: skip


def likelihood(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Molecules with 3D coordinates: .sdf, .sdf.gz, .xyz.")
    ],
    model: Model = None,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Table to write: .csv, .csv.gz or .parquet; a .json goes beside it."),
    ] = Path("scores.csv"),
    chain_steps: Annotated[
        int | None, typer.Option(min=1, help="Length of the bound's chain, 1000 by default.")
    ] = None,
    evaluations: Annotated[
        int | None,
        typer.Option(
            min=2, help="Network evaluations a repeat, 25 by default: of the last step, and of steps that are drawn."
        ),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Repeats, 4 by default; their scatter is the standard error.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            metavar="DIR|SDF",
            help="Score these held-out molecules first, for z-scores: a prepared set or an SDF.",
        ),
    ] = None,
    seed: Seed = 0,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Molecules at a time; scores do not depend on it but for the last digit.")
    ] = None,
    device: Device = "auto",
    add_hydrogens: AddHydrogens = False,
    shard: Shard = None,
    workers: ChemistryWorkers = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Score how likely molecules are under a model: a bound of -ln p in nats, by field."""
    workers = load_chemistry(workers, device, "moldiff.chem.io.ready")
    from moldiff.arguments import WHOLE, parse_part
    from moldiff.diffusion.bound import BoundSettings
    from moldiff.models.folder import DEFAULT_MODEL
    from moldiff.nll.files import score_file

    with progress_bar("records", None) as progress:
        summary = score_file(
            files,
            out,
            model=DEFAULT_MODEL if model is None else model,
            chain_steps=chain_steps,
            evaluations=BoundSettings.evaluations if evaluations is None else evaluations,
            repeats=BoundSettings.repeats if repeats is None else repeats,
            seed=seed,
            batch_size=batch_size,
            device=device,
            calibration=calibration,
            add_hydrogens=add_hydrogens,
            resume=resume,
            overwrite=overwrite,
            workers=workers,
            shard=WHOLE if shard is None else parse_part(shard),
            progress=progress,
        )
    for line in summary.lines():
        echo(with_options(line, {"add_hydrogens": "--add-hydrogens"}))
