"""moldiff conformers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moldiff.choices import CONFORMER_DEFAULTS, EnergyMethod, Precision, Sampler, TimeGrid, listed
from moldiff.cli.option_files import Config
from moldiff.cli.progress import progress_bar
from moldiff.cli.shared import (
    BatchSize,
    ChemistryWorkers,
    Delimiter,
    Device,
    FittingModel,
    HazardLists,
    HeavyOnly,
    KeepInvalid,
    NameColumn,
    Overwrite,
    PrecisionOption,
    ReportFile,
    Resume,
    Seed,
    Shard,
    SmilesColumn,
    echo,
    load_chemistry,
)


def conformers(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Molecules, with coordinates or without: .smi, .csv, .sdf, ..."),
    ],
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="Conformers of each molecule.")] = 10,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="SDF (or .sdf.gz) to write; a .csv and a .run.json go beside.")
    ] = Path("conformers.sdf"),
    model: FittingModel = None,
    evaluations: Annotated[
        int | None, typer.Option(min=1, help=f"Network evaluations; {CONFORMER_DEFAULTS.evaluations} by default.")
    ] = None,
    sampler: Annotated[
        Sampler | None,
        typer.Option(metavar="NAME", help=f"{listed(Sampler)}; {CONFORMER_DEFAULTS.sampler} by default."),
    ] = None,
    grid: Annotated[
        TimeGrid | None, typer.Option(metavar="NAME", help=f"{listed(TimeGrid)}; {CONFORMER_DEFAULTS.grid} by default.")
    ] = None,
    redraws: Annotated[
        int, typer.Option(min=0, help="Draws of wrong stereo or odd geometry are redone so often.")
    ] = 10,
    rms: Annotated[
        float | None,
        typer.Option(
            metavar="ANGSTROM", help="Leave out conformers so close to one of lower energy (heavy atoms, same stereo)."
        ),
    ] = None,
    energy: Annotated[
        EnergyMethod, typer.Option(help="Ranks conformers: a force field, or GFN2-xTB (extra: xtb).")
    ] = EnergyMethod.MMFF94S,
    smiles_column: SmilesColumn = None,
    name_column: NameColumn = None,
    delimiter: Delimiter = None,
    seed: Seed = 0,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: PrecisionOption = Precision.AUTO,
    heavy_only: HeavyOnly = False,
    hazard_list: HazardLists = None,
    keep_invalid: KeepInvalid = False,
    report: ReportFile = None,
    shard: Shard = None,
    workers: ChemistryWorkers = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    config: Config = None,
) -> None:
    """Sample coordinates for given molecules: atoms, bonds and stereo stay."""
    workers = load_chemistry(workers, device, "moldiff.generation.conformer_checks")
    from moldiff.arguments import WHOLE, parse_part
    from moldiff.chem.filters.hazards import HazardGate
    from moldiff.chem.io.tables import Columns
    from moldiff.generation.conformers import ConformerOptions, ConformerRun
    from moldiff.generation.fitting_model import fitting_model
    from moldiff.generation.options.output import OutputOptions
    from moldiff.generation.options.sampler_options import SamplerOptions

    columns = Columns.of(smiles_column, name_column, delimiter)
    sampling = SamplerOptions.of(
        evaluations=evaluations,
        sampler=sampler,
        grid=grid,
        seed=seed,
        batch_size=batch_size,
        device=device,
        precision=precision,
    )
    options = ConformerOptions(
        n=number,
        model=fitting_model(files, columns, workers) if model is None else model,
        redraws=redraws,
        rms=rms,
        energy=energy,
        columns=columns,
        sampler=sampling,
        heavy_only=heavy_only,
        workers=workers,
        shard=WHOLE if shard is None else parse_part(shard),
        hazards=HazardGate.of(hazard_list or ()),
        output=OutputOptions(path=out, keep_invalid=keep_invalid, report=report, resume=resume, overwrite=overwrite),
    )
    run = ConformerRun(options, files)
    with progress_bar("conformers", run.requested) as progress:
        summary = run.write(progress)
    for line in summary.lines():
        echo(line)
