"""moldiff hazard-list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moldiff.cli.shared import Delimiter, Overwrite, SmilesColumn, echo


def hazard_list(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Molecule files: .smi, .sdf, .csv, ...")],
    source: Annotated[str, typer.Option(metavar="TEXT", help="Where they come from; it will stand in run records.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The list, .json.")] = Path("hazards.json"),
    smiles_column: SmilesColumn = None,
    delimiter: Delimiter = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a list of molecules that are withheld, for --hazard-list: hashes, no structures."""
    from moldiff.chem.filters.hazard_list import hazard_list_of
    from moldiff.chem.io.tables import Columns
    from moldiff.files import refuse_existing_file

    refuse_existing_file(out, overwrite)
    made = hazard_list_of(files, source, Columns.of(smiles_column, None, delimiter))
    made.write(out)
    echo(f"{len(made.keys)} hashes written to {out}")
