"""moldiff generate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moldiff.arguments import parse_range, split_names
from moldiff.cli.option_files import SteeringConfig
from moldiff.cli.shared import Device, Model, Overwrite, Precision, Seed, progress_bar
from moldiff.errors import MoldiffError

if TYPE_CHECKING:
    from moldiff.generation.options.fragment import FragmentWish


class Decoding(StrEnum):
    """How the final prediction becomes a molecule."""

    argmax = "argmax"
    structured = "structured"
    fitted = "fitted"


def generate(
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many molecules.")] = 100,
    out: Annotated[Path, typer.Option("-o", "--out", help="SDF to write; a .csv and run.json go beside it.")] = Path(
        "molecules.sdf"
    ),
    model: Model = None,
    n_atoms: Annotated[
        str | None, typer.Option(metavar="N|N..M", help="Atoms per molecule, hydrogens counted as in training.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Network evaluations per molecule, 20 by default (qm9_fast: 8).")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(help="ddpm, ddim, langevin, sde, sde_pc, ode, dpmpp, edm or dpmpp_sde; dpmpp_sde by default."),
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="Where steps fall: uniform (in t), karras, logsnr or window; window by default.")
    ] = None,
    decode: Annotated[
        Decoding,
        typer.Option(
            help="Where argmax gives an invalid molecule: structured takes the most probable sound one, "
            "fitted the most probable one whose bond lengths occur in training; both as elements, formula, charge and "
            "fragment demand."
        ),
    ] = Decoding.argmax,
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
    guidance: Annotated[
        str | None,
        typer.Option(
            metavar="W|NAME=W,...",
            help="How strongly targets pull: 1 (default) is plain conditioning; more pulls harder, at two evaluations "
            "for one.",
        ),
    ] = None,
    property_model: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Pursue targets by the gradient of this property network ('moldiff train configs/property.yaml'), "
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
        Path | None,
        typer.Option(
            metavar="SDF",
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
        str | None, typer.Option(metavar="N|N..M", help="Atoms to add to --fragment, hydrogens counted.")
    ] = None,
    resample: Annotated[int | None, typer.Option(min=1, help="With --fragment: take every step so many times.")] = None,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="SCORE",
            help="Draw by a score: module:function or file.py:function (a list of RDKit molecules in, numbers or None "
            "out), targets (nearness to every --target), qed or another property, 'logp=2.5', smarts:PATTERN, "
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
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Molecules at a time; the result does not depend on it.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    until_valid: Annotated[bool, typer.Option("--until-valid", help="Draw on until there are N valid ones.")] = False,
    keep_invalid: Annotated[
        bool, typer.Option("--keep-invalid", help="Write the failed ones too, with reasons.")
    ] = False,
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
    from moldiff.generation.generate import generate_files
    from moldiff.generation.options.steering import Wishes
    from moldiff.generation.smc_run import asked_for
    from moldiff.models.folder import DEFAULT_MODEL
    from moldiff.sampling.guidance import parse_guidance

    wishes = Wishes(
        tuple(targets or ()),
        None if guidance is None else parse_guidance(guidance),
        None if elements is None else tuple(split_names(elements)),
        tuple(split_names(exclude_elements)),
        formula,
        charge,
        _fragment_wish(fragment, fixed_atoms, keep_smarts, attach_at, grow, resample),
        property_model,
        property_scale,
    )
    scoring = asked_for(score, score_weight, particles)
    with progress_bar("molecules", number) as progress:
        summary = generate_files(
            out,
            n=number,
            model=model or DEFAULT_MODEL,
            n_atoms=None if n_atoms is None else parse_range(n_atoms, "--n-atoms"),
            steps=steps,
            sampler=sampler,
            grid=grid,
            decode=decode.value,
            renoise=renoise,
            wishes=wishes,
            scoring=scoring,
            seed=seed,
            batch_size=batch_size,
            device=device,
            precision=precision,
            until_valid=until_valid,
            keep_invalid=keep_invalid,
            trajectories=trajectory or (),
            overwrite=overwrite,
            progress=progress,
        )
    typer.echo(summary.line())
    for aim in summary.aims:
        typer.echo(aim.line())
    if scoring is not None and summary.score is not None:
        typer.echo(summary.score.line(scoring.asked))


def _fragment_wish(
    fragment: Path | None,
    fixed_atoms: str | None,
    keep_smarts: str | None,
    attach_at: str | None,
    grow: str | None,
    resample: int | None,
) -> FragmentWish | None:
    from moldiff.generation.options.fragment import DEFAULT_RESAMPLE, FragmentWish, parse_atoms

    if fragment is None:
        given = (fixed_atoms, keep_smarts, attach_at, grow, resample)
        names = ("--fixed-atoms", "--keep-smarts", "--attach-at", "--grow", "--resample")
        for name, value in zip(names, given, strict=True):
            if value is not None:
                raise MoldiffError(f"{name} needs --fragment, the file that it speaks of")
        return None
    return FragmentWish.of(
        fragment,
        fixed_atoms=None if fixed_atoms is None else parse_atoms(fixed_atoms, "--fixed-atoms"),
        keep_smarts=keep_smarts,
        attach_at=() if attach_at is None else parse_atoms(attach_at, "--attach-at"),
        grow=None if grow is None else parse_range(grow, "--grow"),
        resample=DEFAULT_RESAMPLE if resample is None else resample,
    )
