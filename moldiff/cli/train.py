"""moldiff train."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from moldiff.cli.shared import echo


def train(
    config: Annotated[Path, typer.Argument(help="A training file, or one of those that 'moldiff configs' lists.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key: --set training.steps=1000")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="auto|FOLDER", help="Go on from the last (or this) checkpoint.")
    ] = None,
    max_time: Annotated[str | None, typer.Option(metavar="HH:MM:SS", help="Stop in time and save.")] = None,
    init_from: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Start from this model's weights (fine-tuning).")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Distil this model to fewer steps ('moldiff configs distill')."),
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--condition",
            metavar="NAME",
            help="A property of the data that can be asked for when sampling, again for more; instead of the file's.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Run folder, instead of the file's.")] = None,
) -> None:
    """Train a model, fine-tune one, or train a property network, on a prepared set."""
    from moldiff.models.folder import PROPERTY, load_model_folder
    from moldiff.training.acceleration import is_first_process
    from moldiff.training.train import train as run_training

    folder = run_training(
        config,
        overrides or [],
        resume=resume,
        max_time=max_time,
        init_from=init_from,
        teacher=teacher,
        conditions=conditions or (),
        out=out,
    )
    if not is_first_process():
        return  # of several, one says so, and it has saved before
    option = "--property-model" if load_model_folder(folder).kind == PROPERTY else "--model"
    echo(f"model written to {folder}; to use it: moldiff generate {option} {shlex.quote(str(folder))}")
