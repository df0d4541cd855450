"""moldiff evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moldiff.choices import FileHydrogens
from moldiff.cli.progress import progress_bar
from moldiff.cli.shared import AddHydrogens, Overwrite, Seed, Workers, console


def evaluate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Any .sdf or .sdf.gz.")],
    reference: Annotated[
        str | None,
        typer.Option(metavar="MODEL|DIR|SDF", help="Compare with a model's training data, a prepared set or an SDF."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for report.html, report.json, a CSV and plots.")
    ] = None,
    requested: Annotated[
        int | None, typer.Option(min=1, help="Molecules asked for, if the file leaves out failed ones.")
    ] = None,
    hydrogens: Annotated[
        FileHydrogens, typer.Option(help="Are the hydrogens in the file, or placed now? auto looks at each record.")
    ] = FileHydrogens.AUTO,
    add_hydrogens: AddHydrogens = False,
    posebusters: Annotated[int, typer.Option(min=0, help="Records for PoseBusters, drawn at random.")] = 1000,
    relax: Annotated[
        int, typer.Option(min=0, help="Valid molecules that GFN2-xTB relaxes, drawn at random (extra: xtb).")
    ] = 0,
    fcd: Annotated[bool, typer.Option("--fcd", help="Also the Frechet ChemNet distance (extra: eval).")] = False,
    ring_table: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL|FILE",
            help="Count ring systems and bonds in another model's training data, or in the molecules of a file.",
        ),
    ] = None,
    workers: Workers = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Measure the molecules of any SDF: validity, stability, novelty, geometry."""
    from moldiff.cli.show_report import render
    from moldiff.devices import usable_cores
    from moldiff.evaluation.evaluate import evaluate as run_evaluation

    with progress_bar("records", None) as progress:
        report = run_evaluation(
            files,
            reference,
            out,
            requested=requested,
            hydrogens=hydrogens.value,
            add_hydrogens=add_hydrogens,
            posebusters=posebusters,
            relax=relax,
            fcd=fcd,
            ring_table=ring_table,
            workers=workers or usable_cores(),
            isolated=True,
            seed=seed,
            overwrite=overwrite,
            progress=lambda _, done: progress(done),
        )
    render(report, console())
