"""moldiff configs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moldiff.cli.shared import Overwrite, echo
from moldiff.errors import MoldiffError, nearest_name


def configs(
    name: Annotated[str | None, typer.Argument(help="One of them, to copy it; without, they are listed.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write; by default ./NAME.yaml.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """List the configuration files that come with moldiff, or copy one to change it."""
    from moldiff.files import refuse_existing_file, write_text
    from moldiff.sections import CONFIGS

    files = {path.stem: path for path in sorted(CONFIGS.glob("*.yaml"))}
    if name is None:
        for stem, path in files.items():
            first = next(line for line in path.read_text(encoding="utf-8").splitlines() if line.strip("# "))
            echo(f"{stem:10} {first.lstrip('# ')}")
        return
    stem = Path(name).stem
    if stem not in files:
        raise MoldiffError(f"no config '{name}'{nearest_name(stem, files)}; there are {', '.join(files)}")
    target = Path(f"{stem}.yaml") if out is None else out
    refuse_existing_file(target, overwrite)
    write_text(target, files[stem].read_text(encoding="utf-8"))
    echo(f"written to {target}")
