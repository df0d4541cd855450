"""moldiff vary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moldiff.choices import Decoding, Precision
from moldiff.cli.option_files import Config
from moldiff.cli.progress import progress_bar
from moldiff.cli.shared import (
    AddHydrogens,
    BatchSize,
    ChemistryWorkers,
    Confidence,
    Device,
    Evaluations,
    FittingModel,
    GridOption,
    HazardLists,
    HeavyOnly,
    KeepInvalid,
    Out,
    Overwrite,
    PrecisionOption,
    ReportFile,
    Resume,
    SamplerOption,
    Seed,
    Shard,
    TemperatureOption,
    echo,
    load_chemistry,
)


def vary(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Molecules with 3D coordinates: .sdf, .sdf.gz, .xyz.")
    ],
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="Variations of each molecule.")] = 10,
    strength: Annotated[
        str,
        typer.Option(
            metavar="T|T..T",
            help="How far a molecule is noised, from near 0 (it comes back) to 1 (any molecule of its size); "
            "a range is spread over the variations. With the built-in model most changes from 0.4 to 0.6.",
        ),
    ] = "0.3..0.6",
    out: Out = Path("variations.sdf"),
    model: FittingModel = None,
    evaluations: Evaluations = None,
    sampler: SamplerOption = None,
    grid: GridOption = None,
    temperature: TemperatureOption = None,
    decode: Annotated[
        Decoding, typer.Option(help="As in 'moldiff generate': what becomes of an invalid molecule.")
    ] = Decoding.ARGMAX,
    add_hydrogens: AddHydrogens = False,
    seed: Seed = 0,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: PrecisionOption = Precision.AUTO,
    heavy_only: HeavyOnly = False,
    hazard_list: HazardLists = None,
    keep_invalid: KeepInvalid = False,
    report: ReportFile = None,
    confidence: Confidence = False,
    shard: Shard = None,
    workers: ChemistryWorkers = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    config: Config = None,
) -> None:
    """Vary molecules: noise them in part and denoise them again."""
    workers = load_chemistry(
        workers, device, "moldiff.generation.variations", "moldiff.chem.descriptors.rdkit_descriptors:load_tables"
    )
    from moldiff.arguments import WHOLE, parse_part
    from moldiff.chem.filters.hazards import HazardGate
    from moldiff.generation.fitting_model import fitting_model
    from moldiff.generation.options.output import OutputOptions
    from moldiff.generation.options.sampler_options import SamplerOptions
    from moldiff.generation.vary import VaryOptions, VaryRun, read_strength

    sampling = SamplerOptions.of(
        evaluations=evaluations,
        sampler=sampler,
        grid=grid,
        temperature=temperature,
        seed=seed,
        batch_size=batch_size,
        device=device,
        precision=precision,
    )
    options = VaryOptions(
        n=number,
        model=fitting_model(files, workers=workers) if model is None else model,
        strength=read_strength(strength),
        decode=decode,
        add_hydrogens=add_hydrogens,
        sampler=sampling,
        heavy_only=heavy_only,
        workers=workers,
        shard=WHOLE if shard is None else parse_part(shard),
        hazards=HazardGate.of(hazard_list or ()),
        output=OutputOptions(
            path=out,
            keep_invalid=keep_invalid,
            report=report,
            resume=resume,
            overwrite=overwrite,
            confidence=confidence,
        ),
    )
    run = VaryRun(options, files)
    with progress_bar("variations", run.requested) as progress:
        summary = run.write(progress)
    for line in summary.lines():
        echo(line)
