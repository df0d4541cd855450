"""The command line: parse, call one function, print. Heavy imports live inside the commands, so that help is instant.

Every expected failure is one line, ``error: ...`` on the standard error, and exit status 2; Ctrl-C is status 130.
Anything else is a bug and shows its traceback.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moldiff.errors import MoldiffError
from moldiff.version import VERSION

if TYPE_CHECKING:
    from rich.console import Console

# The base of typer's own parsing errors. Its module differs between typer's versions, its place above BadParameter not.
_ParsingError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)
data_app = typer.Typer(help="Turn molecule files into a training set, and look at it.")
models_app = typer.Typer(help="List the built-in models; describe any model folder.")
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")


class Bonds(StrEnum):
    """How the bonds of rings such as benzene are stored."""

    aromatic = "aromatic"
    kekule = "kekule"


class Hydrogens(StrEnum):
    """Whether hydrogens are atoms of the model, or placed afterwards."""

    explicit = "explicit"
    implicit = "implicit"


class Decoding(StrEnum):
    """How the final prediction becomes a molecule."""

    argmax = "argmax"
    structured = "structured"
    fitted = "fitted"


class FileHydrogens(StrEnum):
    """The same question for a file of unknown origin."""

    auto = "auto"
    explicit = "explicit"
    implicit = "implicit"


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same result.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:<number> or mps.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each usable core.")]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names may hold bytes that are no text, and not every terminal knows the bars of a histogram.
            stream.reconfigure(errors="replace")
    try:
        status = int(app(args=arguments, prog_name="moldiff", standalone_mode=False) or 0)
    except MoldiffError as error:
        message = str(error)
    except _ParsingError as error:
        message = _parsing_message(error)
    else:
        if status == 130:
            typer.echo("interrupted", err=True)
        return status
    # One line, whatever bytes of a broken file it quotes: control characters could garble the terminal.
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(message.split()))
    typer.echo(f"error: {line}", err=True)
    return 2


def _parsing_message(error: Exception) -> str:
    """Return one line for an unknown option or a bad value, with the command whose help tells more."""
    context = getattr(error, "ctx", None)
    where = f" (see {context.command_path} --help)" if context is not None else ""
    return str(getattr(error, "format_message", error.__str__)()).rstrip(".") + where


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"moldiff {VERSION}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show details and every library's warnings.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Generate 3D molecules with an E(3)-equivariant diffusion model.

    [bold]moldiff generate -n 100 -o molecules.sdf[/bold] makes 100 molecules with the built-in model.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, force=True)
    logging.addLevelName(logging.WARNING, "warning")
    logging.addLevelName(logging.INFO, "info")
    logging.getLogger("moldiff").setLevel(logging.DEBUG if verbose else logging.INFO)
    if not verbose:
        # Other libraries' deprecation notes help nobody at a command line; moldiff itself warns through logging.
        warnings.simplefilter("ignore")
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@data_app.callback(invoke_without_command=True)
@models_app.callback(invoke_without_command=True)
def group(context: typer.Context) -> None:
    """Show the group's help when no command is named."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@data_app.command("prepare")
def data_prepare(
    files: Annotated[
        list[Path], typer.Argument(help=".sdf(.gz), .smi, .csv, .parquet, QM9's .tar.bz2, or PyG's QM9 folder.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")],
    properties: Annotated[
        str, typer.Option("-p", "--properties", help="Tags, columns or RDKit properties: logp,tpsa,qed,...")
    ] = "",
    bonds: Annotated[
        Bonds, typer.Option(help="Keep an aromatic bond class, or spell rings as single and double.")
    ] = Bonds.aromatic,
    hydrogens: Annotated[Hydrogens, typer.Option(help="implicit: heavy atoms only.")] = Hydrogens.explicit,
    vocabulary_of: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Use this model's elements, charges and bonds, to fine-tune it.")
    ] = None,
    fragments: Annotated[
        bool, typer.Option("--fragments", help="Keep molecules of several fragments (salts).")
    ] = False,
    workers: Workers = None,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds for the conformer of one SMILES.")] = 20,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Turn molecule files into a prepared training set."""
    from moldiff.datasets.prepare import prepare
    from moldiff.devices import usable_cores

    vocabulary = None
    if vocabulary_of is not None:
        from moldiff.checkpoint import load_model_folder
        from moldiff.inspection import vocabulary_of_model

        vocabulary = vocabulary_of_model(load_model_folder(vocabulary_of))
    with _progress("molecules read", None) as progress:
        report = prepare(
            files,
            out,
            properties=_split(properties),
            bonds=bonds.value,
            hydrogens=hydrogens.value,
            vocabulary=vocabulary,
            fragments=fragments,
            workers=workers or usable_cores(),
            overwrite=overwrite,
            seed=seed,
            timeout_s=timeout,
            progress=progress,
        )
    splits = ", ".join(f"{count} {name}" for name, count in report.splits.items())
    typer.echo(f"{report.read} read = {report.kept} kept ({splits}) + {report.read - report.kept} dropped")
    for reason, count in report.dropped.items():
        typer.echo(f"  {count} dropped: {reason}")
    typer.echo(f"written to {out}; 'moldiff data info {out}' shows it")


@data_app.command("info")
def data_info(
    folder: Annotated[Path, typer.Argument(help="A folder made by 'moldiff data prepare'.")],
    verify: Annotated[bool, typer.Option("--verify", help="Also check every array against its hash.")] = False,
) -> None:
    """Show what a prepared set holds and what was dropped, with histograms."""
    from moldiff.datasets.info import render
    from moldiff.datasets.prepared import PreparedDataset

    render(PreparedDataset.open(folder, verify=verify), _console())


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A training file, for example configs/qm9.yaml.")],
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
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Run folder, instead of the file's.")] = None,
) -> None:
    """Train a model, or fine-tune one, on a prepared set."""
    from moldiff.training.run import train as run_training

    folder = run_training(config, overrides or [], resume=resume, max_time=max_time, init_from=init_from, out=out)
    typer.echo(f"model written to {folder}; 'moldiff generate --model {folder}' uses it")


@app.command()
def generate(
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many molecules.")] = 100,
    out: Annotated[Path, typer.Option("-o", "--out", help="SDF to write; a .csv and run.json go beside it.")] = Path(
        "molecules.sdf"
    ),
    model: Annotated[str | None, typer.Option(help="A built-in model (by default qm9) or a model folder.")] = None,
    n_atoms: Annotated[
        str | None, typer.Option(metavar="N|N..M", help="Atoms per molecule, hydrogens counted as in training.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Network evaluations per molecule, 50 by default; ode and edm take half.")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(help="ddpm, ddim, langevin, sde, sde_pc, ode, dpmpp, dpmpp_sde or edm; ddpm by default."),
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="Where steps fall: uniform (in t), karras or logsnr; uniform by default.")
    ] = None,
    decode: Annotated[
        Decoding,
        typer.Option(
            help="Where argmax gives an invalid molecule: structured takes the most probable sound one, "
            "fitted the most probable one whose bond lengths occur in training."
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
    elements: Annotated[
        str | None, typer.Option(metavar="C,N,O,H", help="The only elements, hydrogen included. Exact.")
    ] = None,
    exclude_elements: Annotated[str, typer.Option(metavar="N,...", help="Forbidden elements. Exact.")] = "",
    formula: Annotated[
        str | None, typer.Option(metavar="C7H10O2", help="The composition. Exact; it fixes the number of atoms.")
    ] = None,
    charge: Annotated[int | None, typer.Option(help="The total charge. Exact.")] = None,
    seed: Seed = 0,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Molecules at a time; the result does not depend on it.")
    ] = None,
    device: Device = "auto",
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
) -> None:
    """Generate molecules into an SDF with bonds and charges."""
    from moldiff.checkpoint import DEFAULT_MODEL
    from moldiff.sampling.generate import generate_files
    from moldiff.sampling.guidance import parse_guidance
    from moldiff.sampling.steering import Wishes

    wishes = Wishes(
        tuple(targets or ()),
        None if guidance is None else parse_guidance(guidance),
        None if elements is None else tuple(_split(elements)),
        tuple(_split(exclude_elements)),
        formula,
        charge,
    )
    with _progress("molecules", number) as progress:
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
            seed=seed,
            batch_size=batch_size,
            device=device,
            until_valid=until_valid,
            keep_invalid=keep_invalid,
            trajectories=trajectory or (),
            overwrite=overwrite,
            progress=progress,
        )
    typer.echo(summary.line())
    for aim in summary.aims:
        typer.echo(aim.line())


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(help="Any .sdf or .sdf.gz.")],
    reference: Annotated[
        str | None,
        typer.Option(metavar="MODEL|DIR|SDF", help="Compare with a model's training data, a prepared set or an SDF."),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for report.json, a CSV and plots.")] = None,
    requested: Annotated[
        int | None, typer.Option(min=1, help="Molecules asked for, if the file leaves out failed ones.")
    ] = None,
    hydrogens: Annotated[
        FileHydrogens, typer.Option(help="Are the hydrogens in the file, or placed now? auto looks.")
    ] = FileHydrogens.auto,
    posebusters: Annotated[int, typer.Option(min=0, help="Records for PoseBusters, drawn at random.")] = 1000,
    relax: Annotated[
        int, typer.Option(min=0, help="Valid molecules that GFN2-xTB relaxes, drawn at random (extra: xtb).")
    ] = 0,
    fcd: Annotated[bool, typer.Option("--fcd", help="Also the Frechet ChemNet distance (extra: eval).")] = False,
    workers: Workers = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Measure the molecules of any SDF: validity, stability, novelty, geometry."""
    from moldiff.devices import usable_cores
    from moldiff.evaluation.report import evaluate as run_evaluation
    from moldiff.evaluation.table import render

    with _progress("records", None) as progress:
        report = run_evaluation(
            file,
            reference,
            out,
            requested=requested,
            hydrogens=hydrogens.value,
            posebusters=posebusters,
            relax=relax,
            fcd=fcd,
            workers=workers or usable_cores(),
            seed=seed,
            overwrite=overwrite,
            progress=None if progress is None else lambda _, done: progress(done),
        )
    render(report, _console())


@app.command()
def score(
    file: Annotated[Path, typer.Argument(help="Molecules with 3D coordinates: .sdf, .sdf.gz, .xyz.")],
    model: Annotated[str | None, typer.Option(help="A built-in model (by default qm9) or a model folder.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="CSV to write; a .json goes beside it.")] = Path(
        "scores.csv"
    ),
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the bound's chain, 1000 by default.")] = None,
    evaluations: Annotated[
        int | None,
        typer.Option(min=2, help="Network evaluations a repeat, 25 by default: so many of the steps are drawn."),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Repeats, 4 by default; their scatter is the standard error.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            metavar="DIR|SDF",
            help="Score these held-out molecules first, for z-scores: a prepared set or an SDF.",
        ),
    ] = None,
    seed: Seed = 0,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Molecules at a time; the result does not depend on it.")
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Score how likely molecules are under a model: a bound of -ln p in nats, by field."""
    from moldiff.checkpoint import DEFAULT_MODEL
    from moldiff.evaluation.bound import BoundSettings
    from moldiff.evaluation.score_file import score_file

    with _progress("records", None) as progress:
        summary = score_file(
            file,
            out,
            model=model or DEFAULT_MODEL,
            steps=BoundSettings.steps if steps is None else steps,
            evaluations=BoundSettings.evaluations if evaluations is None else evaluations,
            repeats=BoundSettings.repeats if repeats is None else repeats,
            seed=seed,
            batch_size=batch_size,
            device=device,
            calibration=calibration,
            overwrite=overwrite,
            progress=progress,
        )
    for line in summary.lines():
        typer.echo(line)


@models_app.command("list")
def models_list() -> None:
    """List the built-in models with their hashes."""
    from moldiff.inspection import render_models

    if not render_models(_console()):
        raise typer.Exit(2)


@models_app.command("info")
def models_info(model: Annotated[str, typer.Argument(help="A built-in model or a model folder.")]) -> None:
    """Show what a model knows: elements, sizes, properties with units and ranges, its card."""
    from moldiff.checkpoint import load_model_folder
    from moldiff.inspection import render_model

    render_model(load_model_folder(model), _console())


@models_app.command("pack")
def models_pack(
    model: Annotated[str, typer.Argument(help="A model folder, for example runs/qm9/model.")],
    data: Annotated[Path, typer.Option(help="The prepared set that it was trained on.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")],
    full: Annotated[bool, typer.Option("--full", help="Keep the weights in full precision.")] = False,
    score_molecules: Annotated[
        int, typer.Option(min=0, help="Score so many held-out molecules, for the z-scores of 'moldiff score'.")
    ] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Make a trained model ready to be given away: half precision, references for evaluation and novelty."""
    from moldiff.training.pack import pack

    digest = pack(model, data, out, half=not full, score_molecules=score_molecules, overwrite=overwrite)
    typer.echo(f"{digest}  {out}")


@app.command()
def doctor() -> None:
    """Check this installation: versions, devices, built-in models, equivariance."""
    from moldiff.inspection import render_doctor

    if not render_doctor(_console()):
        raise typer.Exit(2)


def parse_range(text: str, option: str) -> tuple[int, int]:
    """Return (first, last) of ``18`` or ``15..22``, both at least 1; MoldiffError names the option."""
    match = re.fullmatch(r"(\d{1,6})(?:\.\.(\d{1,6}))?", text.strip(), flags=re.ASCII)
    if match:
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if 1 <= first <= last:
            return first, last
    raise MoldiffError(f"{option} {text}: expected a number such as 18 or a range such as 15..22, from 1 up")


def _console() -> Console:
    """Return the standard output without markup: names and paths may hold brackets."""
    from rich.console import Console

    return Console(markup=False, highlight=False)


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


@contextlib.contextmanager
def _progress(label: str, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Yield a function that takes the number done so far and draws a bar with time left; None without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = [TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)


if __name__ == "__main__":
    sys.exit(main())
