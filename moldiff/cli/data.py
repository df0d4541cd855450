"""moldiff data: training sets."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from moldiff.arguments import split_names
from moldiff.choices import EnergyMethod
from moldiff.cli.progress import progress_bar
from moldiff.cli.shared import (
    AddHydrogens,
    Delimiter,
    NameColumn,
    Overwrite,
    Seed,
    SmilesColumn,
    Workers,
    console,
    echo,
)


class Bonds(StrEnum):
    """Storage of the bonds of rings such as benzene."""

    aromatic = "aromatic"
    kekule = "kekule"


class Hydrogens(StrEnum):
    """Hydrogens as atoms of the model, or placed afterwards."""

    explicit = "explicit"
    implicit = "implicit"


def prepare(
    files: Annotated[
        list[Path],
        typer.Argument(help=".sdf, .smi, .csv, .tsv, .xyz (.gz too), .parquet, QM9's .tar.bz2, PyG's QM9."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")],
    properties: Annotated[
        str,
        typer.Option("-p", "--properties", help="RDKit's (logp,tpsa,qed,...), tags, columns; or tag:logp."),
    ] = "",
    bonds: Annotated[
        Bonds | None,
        typer.Option(help="Keep an aromatic bond class (the default), or spell rings as single and double."),
    ] = None,
    hydrogens: Annotated[
        Hydrogens | None, typer.Option(help="explicit, the default, or implicit: heavy atoms only.")
    ] = None,
    vocabulary_of: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Use this model's elements, charges and bonds, to fine-tune it.")
    ] = None,
    fragments: Annotated[
        bool, typer.Option("--fragments", help="Keep molecules of several fragments (salts).")
    ] = False,
    add_hydrogens: AddHydrogens = False,
    smiles_column: SmilesColumn = None,
    name_column: NameColumn = None,
    delimiter: Delimiter = None,
    workers: Workers = None,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds for the conformer of one SMILES.")] = 20,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Turn molecule files into a prepared training set."""
    from moldiff.chem.io.tables import Columns
    from moldiff.datasets.prepare import prepare
    from moldiff.datasets.properties import what_to_write
    from moldiff.devices import usable_cores

    vocabulary = None
    if vocabulary_of is not None:
        from moldiff.models.contents import vocabulary_of_model
        from moldiff.models.folder import load_model_folder

        vocabulary = vocabulary_of_model(load_model_folder(vocabulary_of))
    with progress_bar("molecules read", None) as progress:
        report = prepare(
            files,
            out,
            properties=split_names(properties),
            bonds=None if bonds is None else bonds.value,
            hydrogens=None if hydrogens is None else hydrogens.value,
            vocabulary=vocabulary,
            fragments=fragments,
            add_hydrogens=add_hydrogens,
            columns=Columns.of(smiles_column, name_column, delimiter),
            workers=workers or usable_cores(),
            isolated=True,
            overwrite=overwrite,
            seed=seed,
            timeout_s=timeout,
            progress=progress,
        )
    splits = ", ".join(f"{count} {name}" for name, count in report.splits.items())
    echo(f"{report.read} read = {report.kept} kept ({splits}) + {report.read - report.kept} dropped")
    for reason, count in report.dropped.items():
        echo(f"  {count} dropped: {reason}")
    for name, (count, first) in report.unusable.items():
        echo(f"  {count} values of {name} count as unknown, the first: {what_to_write(first)}")
    echo(f"written to {out}; to see it: moldiff data info {shlex.quote(str(out))}")


def relax(
    files: Annotated[list[Path], typer.Argument(help="Molecules: .sdf(.gz), .smi, .csv, .parquet, .xyz.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write: .sdf, .sdf.gz or .parquet (compact).")],
    method: Annotated[
        EnergyMethod | None, typer.Option(help="GFN2-xTB (by default, if the extra xtb is installed) or a force field.")
    ] = None,
    workers: Workers = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for one molecule.")] = 600.0,
    seed: Seed = 0,
    smiles_column: SmilesColumn = None,
    name_column: NameColumn = None,
    delimiter: Delimiter = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Relax molecules to a minimum of their energy, for training data at one level of theory."""
    from moldiff.chem.io.tables import Columns
    from moldiff.datasets.relax import relax_files
    from moldiff.devices import usable_cores

    with progress_bar("molecules relaxed", None) as progress:
        report = relax_files(
            files,
            out,
            method=method,
            workers=workers or usable_cores(),
            timeout_s=timeout,
            seed=seed,
            resume=resume,
            columns=Columns.of(smiles_column, name_column, delimiter),
            overwrite=overwrite,
            progress=progress,
        )
    echo(f"{report.read} read = {report.relaxed} relaxed + {report.read - report.relaxed} dropped; written to {out}")
    for reason, count in report.dropped.items():
        echo(f"  {count} dropped: {reason}")
    echo(f"relaxing set free {report.median:.1f} kcal/mol in the median; {report.table} tells of every record")
    if report.ended_before:
        echo("the run had ended before: nothing is left to do")


def info(
    folder: Annotated[Path, typer.Argument(help="A folder made by 'moldiff data prepare'.")],
    verify: Annotated[bool, typer.Option(help="Check every file against its hash, and every class.")] = True,
) -> None:
    """Show what a prepared set holds and what was dropped, with histograms."""
    from moldiff.cli.show_data import render
    from moldiff.datasets.prepared import PreparedDataset

    render(PreparedDataset.open(folder, verify=verify), console())
