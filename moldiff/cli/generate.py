"""moldiff generate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moldiff.choices import Decoding, Precision, TargetMethod, Until
from moldiff.cli.option_files import SteeringConfig
from moldiff.cli.progress import progress_bar
from moldiff.cli.shared import (
    AddHydrogens,
    Alerts,
    BatchSize,
    ChemistryWorkers,
    Confidence,
    Device,
    Evaluations,
    GridOption,
    HazardLists,
    HeavyOnly,
    KeepInvalid,
    Model,
    Out,
    Overwrite,
    PrecisionOption,
    ReportFile,
    Resume,
    Rules,
    SamplerOption,
    Seed,
    Shard,
    Smarts,
    TemperatureOption,
    Where,
    echo,
    load_chemistry,
)
from moldiff.errors import MoldiffError

if TYPE_CHECKING:
    from moldiff.generation.options.fragment import Fragment


def generate(
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many molecules.")] = 100,
    out: Out = Path("molecules.sdf"),
    model: Model = None,
    n_atoms: Annotated[
        str | None, typer.Option(metavar="N|N..M", help="Atoms per molecule; of a model of heavy atoms, heavy atoms.")
    ] = None,
    evaluations: Evaluations = None,
    sampler: SamplerOption = None,
    grid: GridOption = None,
    temperature: TemperatureOption = None,
    decode: Annotated[
        Decoding,
        typer.Option(
            help="Where argmax gives an invalid molecule: structured takes the most probable sound one, "
            "fitted the most probable one whose bond lengths occur in training; both as elements, formula, charge and "
            "fragment demand."
        ),
    ] = Decoding.ARGMAX,
    renoise: Annotated[
        int, typer.Option(min=0, help="Noise what is not valid a little and denoise it again, up to so many times.")
    ] = 0,
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="NAME=VALUE",
            help="A wanted property, again for more: logp=2.5, 'gfn2_gap_eV=6..8', 'tpsa<60'. "
            "'moldiff models info' lists what a model can be asked for.",
        ),
    ] = None,
    familiar: Annotated[
        bool,
        typer.Option(
            "--familiar",
            help="Keep odd rings and bonds out: each draw moves on until its rings and bonded groups are known from "
            "training. About twice the evaluations. The model must carry counts of them (drugs does), or --ring-table.",
        ),
    ] = False,
    target_method: Annotated[
        TargetMethod | None,
        typer.Option(
            help="How targets are met. mcmc (default): each draw moves on until it meets them; condition: the model is "
            "told and no more, the default with --guidance or --score; smc: groups of draws compete."
        ),
    ] = None,
    target_moves: Annotated[
        int | None,
        typer.Option(min=0, help="The most moves of a draw: 10, or 24 into a range. A move takes 6 evaluations."),
    ] = None,
    guidance: Annotated[
        str | None,
        typer.Option(
            metavar="W|NAME=W,...",
            help="How strongly targets pull: 1 (default) is plain conditioning; more pulls harder, at two evaluations "
            "for one: a draw costs twice as much.",
        ),
    ] = None,
    property_model: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Pursue targets by the gradient of this property network ('moldiff train property'), "
            "instead of the model's own conditions unless --guidance is given too.",
        ),
    ] = None,
    property_scale: Annotated[
        float | None, typer.Option(metavar="S", help="How strongly that gradient pulls, 3 by default.")
    ] = None,
    elements: Annotated[
        str | None, typer.Option(metavar="C,N,O,H", help="The only elements, hydrogen included. Exact.")
    ] = None,
    exclude_elements: Annotated[str, typer.Option(metavar="N,...", help="Forbidden elements. Exact.")] = "",
    formula: Annotated[
        str | None, typer.Option(metavar="C7H10O2", help="The composition. Exact; it fixes the number of atoms.")
    ] = None,
    charge: Annotated[int | None, typer.Option(help="The total charge. Exact.")] = None,
    fragment: Annotated[
        str | None,
        typer.Option(
            metavar="SDF|SMILES",
            help="Keep these atoms, bonds and geometry, and grow them at their open valences; two parts are linked.",
        ),
    ] = None,
    fixed_atoms: Annotated[
        str | None, typer.Option(metavar="0-11", help="Of --fragment, the atoms to keep, with their hydrogens.")
    ] = None,
    keep_smarts: Annotated[
        str | None, typer.Option(metavar="SMARTS", help="Of --fragment, keep what this matches, with its hydrogens.")
    ] = None,
    attach_at: Annotated[
        str | None, typer.Option(metavar="3,7", help="Atoms of --fragment that give a hydrogen for a new bond.")
    ] = None,
    grow: Annotated[
        str | None, typer.Option(metavar="N|N..M", help="Atoms to add to --fragment, counted like --n-atoms.")
    ] = None,
    resample: Annotated[int | None, typer.Option(min=1, help="With --fragment: take every step so many times.")] = None,
    add_hydrogens: AddHydrogens = False,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="SCORE",
            help="Draw by a score: module:function or file.py:function (a list of RDKit molecules in, numbers or None "
            "out), targets (nearness to every --target), qed or another property, known_rings, weakest_bond, "
            "'logp=2.5', smarts:PATTERN, "
            "similarity:SMILES, network:FOLDER:logp=2.5 (by a property network).",
        ),
    ] = None,
    score_weight: Annotated[
        float | None, typer.Option(metavar="W", help="Molecules are drawn with the weight exp(W x score).")
    ] = None,
    particles: Annotated[
        int | None, typer.Option(help="Draws that compete by their scores, 16 by default; more are more exact.")
    ] = None,
    seed: Seed = 0,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: PrecisionOption = Precision.AUTO,
    until: Annotated[
        Until | None,
        typer.Option(help="Draw on until N molecules are valid, passed every filter, or met every target as well."),
    ] = None,
    until_valid: Annotated[bool, typer.Option("--until-valid", help="The same as --until valid.")] = False,
    max_draws: Annotated[
        int | None, typer.Option(min=1, help="With --until, give up after so many draws; 10 N by default.")
    ] = None,
    where: Where = None,
    rules: Rules = "",
    alerts: Alerts = "",
    smarts: Smarts = None,
    heavy_only: HeavyOnly = False,
    hazard_list: HazardLists = None,
    rarity: Annotated[
        bool,
        typer.Option(
            "--rarity",
            help="Also tell the rarest ring system and the weakest bond of each molecule. The model must carry counts "
            "of them (drugs does), or --ring-table.",
        ),
    ] = False,
    ring_table: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL|FILE",
            help="Count these in another model's training data, or in the molecules of a file; also for the scores "
            "known_rings and weakest_bond.",
        ),
    ] = None,
    keep_invalid: KeepInvalid = False,
    report: ReportFile = None,
    first: Annotated[
        int, typer.Option(min=0, metavar="K", help="Number of the first draw: ranges made apart are parts of one run.")
    ] = 0,
    shard: Shard = None,
    workers: ChemistryWorkers = None,
    resume: Resume = False,
    confidence: Confidence = False,
    trajectory: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Also write the path from noise to the first valid molecule: .xyz, or .html to watch offline.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    config: SteeringConfig = None,
) -> None:
    """Generate molecules into an SDF with bonds and charges."""
    workers = load_chemistry(
        workers, device, "moldiff.generation.molecule_result", "moldiff.chem.descriptors.rdkit_descriptors:load_tables"
    )
    from moldiff.arguments import WHOLE, parse_part
    from moldiff.chem.filters.criteria import Criteria
    from moldiff.chem.filters.hazards import HazardGate
    from moldiff.generation.generate import generation_run
    from moldiff.generation.options.generation_options import GenerationOptions
    from moldiff.generation.options.output import OutputOptions
    from moldiff.generation.options.sampler_options import SamplerOptions
    from moldiff.generation.options.score import ScoreOptions
    from moldiff.generation.options.steering_options import SteeringOptions
    from moldiff.models.folder import DEFAULT_MODEL

    wanted = SteeringOptions.of(
        n_atoms=n_atoms, targets=targets or (), familiar=familiar, target_method=target_method,
        target_moves=target_moves, guidance=guidance, property_model=property_model, property_scale=property_scale,
        elements=elements, exclude_elements=exclude_elements, formula=formula, charge=charge,
        fragment=_fragment(fragment, fixed_atoms, keep_smarts, attach_at, grow, resample, add_hydrogens),
    )  # fmt: skip
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
    options = GenerationOptions(
        n=number,
        until=until,
        until_valid=until_valid,
        max_draws=max_draws,
        criteria=Criteria.of(where=where or (), rules=rules, alerts=alerts, smarts=smarts or ()),
        first=first,
        model=DEFAULT_MODEL if model is None else model,
        decode=decode,
        renoise=renoise,
        sampler=sampling,
        heavy_only=heavy_only,
        workers=workers,
        hazards=HazardGate.of(hazard_list or ()),
        rarity=rarity,
        ring_table=ring_table,
        steering=wanted,
        score=ScoreOptions.of(score, score_weight, particles, target_method),
        output=OutputOptions(
            path=out,
            keep_invalid=keep_invalid,
            report=report,
            trajectories=trajectory or (),
            overwrite=overwrite,
            resume=resume,
            confidence=confidence,
        ),
    ).part(WHOLE if shard is None else parse_part(shard))
    # draws that move are finished late: what is told of them is the share of all moves that may be made
    with progress_bar("molecules", options.n, shares=options.target_method is TargetMethod.MCMC) as progress:
        summary = generation_run(options).write(progress)
    for line in summary.lines():
        echo(line)


def _fragment(
    fragment: str | None,
    fixed_atoms: str | None,
    keep_smarts: str | None,
    attach_at: str | None,
    grow: str | None,
    resample: int | None,
    add_hydrogens: bool,
) -> Fragment | None:
    from moldiff.generation.options.fragment import Fragment

    if fragment is None:
        given = (fixed_atoms, keep_smarts, attach_at, grow, resample, add_hydrogens or None)
        names = ("--fixed-atoms", "--keep-smarts", "--attach-at", "--grow", "--resample", "--add-hydrogens")
        for name, value in zip(names, given, strict=True):
            if value is not None:
                raise MoldiffError(f"{name} needs --fragment, the molecule that it speaks of")
        return None
    return Fragment(
        fragment,
        fixed_atoms=fixed_atoms,
        keep_smarts=keep_smarts,
        attach_at=attach_at or (),
        grow=grow,
        resample=resample or 1,
        add_hydrogens=add_hydrogens,
    )
