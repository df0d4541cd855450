"""moldiff models and moldiff doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moldiff.cli.shared import Overwrite, console, echo


def show_list() -> None:
    """List the built-in models with their hashes."""
    from moldiff.cli.show_models import render_models

    if not render_models(console()):
        raise typer.Exit(2)


def info(model: Annotated[str, typer.Argument(help="A built-in model or a model folder.")]) -> None:
    """Show what a model knows: elements, sizes, properties with units and ranges, its card."""
    from moldiff.cli.show_models import render_model
    from moldiff.models.folder import load_model_folder

    render_model(load_model_folder(model), console())


def verify(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Models or folders; by default all built-in ones.")
    ] = None,
) -> None:
    """Check every file of models against its hash, and that built-in ones draw what they always drew."""
    from moldiff.cli.show_verification import render_verification
    from moldiff.models.folder import list_models

    if not render_verification(models or list_models(), console()):
        raise typer.Exit(2)


def pack(
    model: Annotated[str, typer.Argument(help="A model folder, for example runs/qm9/model.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")],
    data: Annotated[
        Path | None,
        typer.Option(help="The prepared set that it was trained on; only where the model lacks what comes of it."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Keep the weights in full precision.")] = False,
    score_molecules: Annotated[
        int, typer.Option(min=0, help="Score so many held-out molecules, for the z-scores of 'moldiff likelihood'.")
    ] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Make a trained model ready to be given away: half precision, scores of held-out molecules on demand."""
    from moldiff.training.pack import pack

    digest = pack(model, data, out, half=not full, score_molecules=score_molecules, overwrite=overwrite)
    echo(f"{digest}  {out}")


def average(
    models: Annotated[list[str], typer.Argument(help="Model folders, for example stations of one training.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")],
    overwrite: Overwrite = False,
) -> None:
    """Average the weights of models that were trained on from one another."""
    from moldiff.training.average import average

    echo(f"{average(models, out, overwrite=overwrite)}  {out}")


def doctor() -> None:
    """Check this installation: versions, devices, built-in models, equivariance."""
    from moldiff.cli.show_models import render_doctor

    if not render_doctor(console()):
        raise typer.Exit(2)
