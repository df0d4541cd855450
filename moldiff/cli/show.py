"""moldiff show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moldiff.arguments import split_names
from moldiff.choices import View
from moldiff.cli.shared import Delimiter, NameColumn, Overwrite, SmilesColumn, echo


def show(
    file: Annotated[Path, typer.Argument(help="Molecules of any kind: .sdf, .sdf.gz, .smi, .csv, ...")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Picture to write: .png, .svg or .pdf.")],
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="Molecules to draw, the first of the file.")] = 8,
    view: Annotated[
        View, typer.Option(help="Structural formulas, balls and sticks, or both where there are coordinates.")
    ] = View.BOTH,
    columns: Annotated[int, typer.Option(min=1, help="Molecules of a row.")] = 4,
    captions: Annotated[
        str | None,
        typer.Option(metavar="TAG,...", help="Below each: these tags or columns of the file. By default its title."),
    ] = None,
    smiles_column: SmilesColumn = None,
    name_column: NameColumn = None,
    delimiter: Delimiter = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw the molecules of a file side by side in one picture."""
    from moldiff.chem.io.tables import Columns
    from moldiff.chem.picture import draw_file

    tags = None if captions is None else tuple(split_names(captions))
    drawn = draw_file(
        file, out, number=number, view=view, columns=columns, captions=tags,
        table=Columns.of(smiles_column, name_column, delimiter), overwrite=overwrite,
    )  # fmt: skip
    for line in drawn.unread:
        echo(line, err=True)
    echo(f"{drawn.count} molecules drawn, {len(drawn.unread)} could not be read; written to {out}")
