"""Parts that several commands share: options, the terminal."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from moldiff.arguments import MOST_SEED
from moldiff.choices import DEFAULTS, AlertFamily, Precision, RuleName, Sampler, TimeGrid, listed
from moldiff.cli.option_files import code_of_files_refused
from moldiff.errors import MoldiffError
from moldiff.files import kept_safe
from moldiff.foreign_text import printable
from moldiff.path_names import written_out

if TYPE_CHECKING:
    from rich.console import Console

logger = logging.getLogger(__name__)

Model = Annotated[str | None, typer.Option(help="A built-in model (by default qm9) or a model folder.")]
FittingModel = Annotated[
    str | None,
    typer.Option(
        "--model", help="A built-in model (by default qm9, or drugs if more of the molecules fit it) or a folder."
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "-o",
        "--out",
        help="Molecules to write: .sdf, .smi, .csv (each also .gz) or .parquet; a .csv and a .run.json go beside.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
Seed = Annotated[int, typer.Option(min=0, max=MOST_SEED, help="The same seed gives the same result.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<number>.")]
PrecisionOption = Annotated[
    Precision, typer.Option(help="Number type of the network: auto is bfloat16 where the processor has it.")
]

Evaluations = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=f"Network evaluations in all; by default {DEFAULTS.evaluations} (qm9_fast: 8), about twice that where a "
        "step takes two.",
    ),
]
SamplerOption = Annotated[
    Sampler | None, typer.Option(metavar="NAME", help=f"{listed(Sampler)}; {DEFAULTS.sampler} by default.")
]
GridOption = Annotated[
    TimeGrid | None,
    typer.Option(metavar="NAME", help=f"Where steps fall: {listed(TimeGrid)}; {DEFAULTS.grid} by default."),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(
        metavar="T",
        help="At which atoms and bonds are drawn: below 1 molecules are more usual, above 1 more varied; the "
        "model's own by default.",
    ),
]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Molecules at a time; the result does not depend on it.")]
KeepInvalid = Annotated[bool, typer.Option("--keep-invalid", help="Also write failed ones, with the reason.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CONDITION", help="A condition on a property, again for more: 'mw<450', 'logp=1..4', 'qed>=0.5'."
    ),
]
Rules = Annotated[str, typer.Option(metavar="NAME,...", help=f"Rules to obey: {', '.join(RuleName)}.")]
Alerts = Annotated[
    str, typer.Option(metavar="FAMILY,...", help=f"Structural alerts to be free of: {', '.join(AlertFamily)}.")
]
Smarts = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Patterns none of which may match: a SMARTS and a name in each line."),
]
SimilarTo = Annotated[
    Path | None, typer.Option(metavar="FILE", help="References of the number 'similarity' (Tanimoto, ECFP4).")
]
ShapeOf = Annotated[
    Path | None, typer.Option(metavar="FILE", help="References of the numbers 'shape' and 'colour' (3D overlay).")
]
Known = Annotated[Path | None, typer.Option(metavar="FILE", help="Molecules to leave out, by InChIKey.")]
Dock = Annotated[
    Path | None,
    typer.Option(metavar="PDBQT", help="A rigid receptor: the number 'vina_kcal_mol', by AutoDock Vina (extra dock)."),
]
DockBox = Annotated[
    str | None,
    typer.Option(metavar="FILE|X,Y,Z,SX,SY,SZ", help="Where to dock: around a ligand, or center and size, angstrom."),
]
Exhaustiveness = Annotated[int | None, typer.Option(min=1, help="Of the search of poses; 8 by default.")]
Command = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=COMMAND",
        help="A number that a program prints, for --where and --rank; {sdf} or {smiles} in it is the molecule.",
    ),
]
Standardise = Annotated[
    bool, typer.Option("--standardise", help="First bring molecules into ChEMBL's form: charges, salts, isotopes.")
]
HazardLists = Annotated[
    list[Path] | None,
    typer.Option("--hazard-list", metavar="FILE", help="A list of molecules to withhold ('moldiff hazard-list')."),
]
ReleaseHazards = Annotated[
    str | None,
    typer.Option(metavar="REASON", help="Hand out hazardous molecules too; the reason will stand in every output."),
]
ReportFile = Annotated[
    Path | None,
    typer.Option("--report", metavar="HTML", help="Also a page on the molecules that opens offline in a browser."),
]
HeavyOnly = Annotated[
    bool,
    typer.Option("--heavy-only", help="Of a model of heavy atoms, write what the network made, without hydrogens."),
]
AddHydrogens = Annotated[
    bool, typer.Option("--add-hydrogens", help="Place hydrogens that the file leaves out, such as non-polar ones.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where a run of the same request was cut short; else begin.")
]
Shard = Annotated[
    str | None, typer.Option("--shard", metavar="I/N", help="Do the I-th of N parts; their files can be joined.")
]
SmilesColumn = Annotated[str | None, typer.Option(metavar="NAME", help="Of a table; by default it is looked for.")]
NameColumn = Annotated[str | None, typer.Option(metavar="NAME", help="Of a table, the titles of its molecules.")]
Delimiter = Annotated[
    str | None, typer.Option(metavar="CHARACTER", help="Between the cells of a .csv; by default its header tells.")
]
Confidence = Annotated[
    bool, typer.Option("--confidence", help="Write how sure the model was of each atom, as tags of the SDF.")
]
AllChecks = Annotated[
    bool, typer.Option("--all-checks", help="Ask every check of every molecule, not up to the first that fails.")
]
KeepDuplicates = Annotated[
    bool, typer.Option("--keep-duplicates", help="Keep molecules with the InChIKey of an earlier one that passed.")
]
Rank = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|WISH",
        help="The best first: qed, sa:low, logp=2.5; or wishes, again for more: qed:max:0.2..0.9, sa:min:2..6, "
        "logp:target:0..2.5..5, mw:range:200..300..450..550.",
    ),
]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds for one molecule.")]
ChemistryWorkers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=0,
        help="Processes for chemistry; by default 1, on a GPU one for each usable core but one. A molecule that "
        "crashes one, or takes a minute, is failed, and the others come out; 0 = none, all is done in one process.",
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each usable core.")]


_CARDS = ("/dev/nvidiactl", "/dev/kfd")  # device nodes of CUDA and of ROCm

_OTHER_WORDS = {
    "n": "number", "hazard_lists": "hazard_list", "commands": "command", "timeout_s": "timeout", "memory_mb": "memory",
    "trajectories": "trajectory", "set": "overrides",
}  # fmt: skip
"""Argument of a Python function -> parameter of a command, where they differ."""


OUTPUTS = ("out", "report", "trajectory")  # parameters that name files to write


class CarefulCommand(TyperCommand):
    """A command that writes over none of the files that it is given, whichever option names them, takes no path that
    only a shell could read (see `written_out`) and no empty one, runs no code that a file of options names, needs a
    folder at hand, and proposes no option that it does not have."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given, *_ = self.make_parser(ctx).parse_args(list(args))
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            raw, read = (_listed(values.get(parameter.name)) for values in (given, ctx.params))
            if "" in raw and any(isinstance(one, Path) for one in read) | (parameter.param_type_name == "argument"):
                raise MoldiffError(f"{parameter.opts[-1]} is empty; give the name of a file or folder")
        return rest

    def invoke(self, ctx: Any) -> Any:
        try:
            os.getcwd()
        except OSError as error:  # libraries that look for it would end the process, or blame an output
            raise MoldiffError(f"the folder at hand is gone ({error.strerror}); change into another one") from error
        inputs = list[Path]()
        for name, value in ctx.params.items():
            # a text that names no file does not begin with ~/ either
            paths = [written_out(Path(one)) for one in _listed(value) if isinstance(one, (str, Path))]
            inputs += [] if name in OUTPUTS else filter(os.path.isfile, paths)
        with kept_safe(inputs), code_of_files_refused(ctx):
            try:
                return super().invoke(ctx)
            except MoldiffError as error:
                if error.word in options_of(self):
                    raise
                raise error.without_hint() from error


def _listed(value: object) -> Sequence[object]:
    """Return the values of a parameter, which may be one."""
    return value if isinstance(value, list | tuple) else (value,)


def options_of(command: Any) -> Mapping[str, str]:
    """Return argument of a Python function -> option, from the parameters of a command and of all commands below it."""
    found: dict[str, str] = {}
    commands = [command]
    for one in commands:
        commands += getattr(one, "commands", {}).values()
        for parameter in one.params:
            if option := next((word for word in parameter.opts if word.startswith("--")), None):
                found.setdefault(parameter.name, option)
    return found | {argument: found[parameter] for argument, parameter in _OTHER_WORDS.items() if parameter in found}


def with_options(text: str, options: Mapping[str, str]) -> str:
    """Return a text with options for the arguments whose names are no words of a language, and for all where they are
    given a value, ``resume=True`` or ``resume='auto'``; in quotes and in paths they are something else."""
    if not options:
        return text
    given = rf"{worded('|'.join(options))}=(?:True|'(auto)')"
    text = re.sub(given, lambda match: " ".join(filter(None, (options[match[1]], match[2]))), text)
    if not (names := "|".join(name for name in options if "_" in name)):
        return text
    return re.sub(worded(names), lambda match: options[match[0]], text)


def worded(names: str) -> str:
    """Return the pattern of names, A|B, that stand by themselves in a text, not as a part of a path or in quotes."""
    return rf"(?<![\w/.:'\"-])({names})(?![\w/'\"-]|[.:]\w)"


def echo(text: str, *, err: bool = False) -> None:
    """Print text that may come from anywhere; see `moldiff.foreign_text.printable`."""
    typer.echo(printable(text), err=err)


class LogFormatter(logging.Formatter):
    """Formats messages of the log like `echo`, with options for arguments.

    Args:
        form: of a line.
        options: see `options_of`.
    """

    def __init__(self, form: str, options: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(form)
        self._options = options

    def format(self, record: logging.LogRecord) -> str:
        return printable(with_options(super().format(record), self._options))


def console() -> Console:
    """Return the standard output without markup, as names and paths may hold brackets, and without control characters
    but for its own."""
    from rich.console import Console

    result = Console(markup=False, highlight=False)
    render = result.render_str  # what every text that is printed, or stands in a table, goes through
    result.render_str = lambda text, **options: render(printable(text), **options)  # type: ignore[method-assign]
    return result


def load_chemistry(workers: int | None, device: str, *names: str) -> int:
    """Let processes for chemistry start and load things (see `WorkerPool.load`), while this one loads PyTorch.

    Returns:
        How many: those that are asked for, else as many as keep up with the device.
    """
    from moldiff.devices import chemistry_workers, device_name, resolve_device
    from moldiff.processes import WorkerPool, standing_pool

    if workers is None:  # PyTorch, which takes long to load, is asked only where there may be a card
        asks = device_name(device) != "cpu" and any(Path(node).exists() for node in _CARDS)
        workers = chemistry_workers(resolve_device(device)) if asks else 1
    if isinstance(pool := standing_pool(workers), WorkerPool):
        pool.load(*names)
    return workers
