"""The command line, put together. Heavy imports live inside the commands, so that help is instant.

Every expected failure is one line, ``error: ...`` on the standard error, and exit status 2. Ctrl-C is status 130,
SIGTERM 143, SIGHUP 129. So is what the file system refuses. Anything else is a bug and shows its traceback.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from moldiff.cli import (
    configs,
    conformers,
    data,
    evaluate,
    filter,
    generate,
    hazard_list,
    likelihood,
    models,
    screen,
    show,
    train,
    vary,
)
from moldiff.cli.shared import CarefulCommand, LogFormatter, echo, options_of, with_options, worded
from moldiff.deprecations import COMMANDS, renamed_arguments, told
from moldiff.errors import MoldiffError
from moldiff.interruption import ended_by, orderly_end
from moldiff.version import VERSION

# The base of typer's own parsing errors. Its module differs between typer's versions, its place above BadParameter not.
_ParsingError: type[Exception] = typer.BadParameter.__mro__[2]
_SHOWN = 100  # characters of a file's name


def _warn(message: str) -> None:
    echo(f"warning: {message}", err=True)


class _Commands(TyperGroup):
    """The commands, which their old names find too; a command takes the old words of its options."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in COMMANDS:
            _warn(told(f"moldiff {args[0]}", f"moldiff {COMMANDS[args[0]]}"))
            args = [COMMANDS[args[0]], *args[1:]]
        name, command, rest = super().resolve_command(ctx, args)
        return name, command, renamed_arguments(str(name), list(rest), _warn)


app = typer.Typer(cls=_Commands, rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)
data_app = typer.Typer(help="Turn molecule files into a training set, and look at it.")
models_app = typer.Typer(help="List the built-in models; describe or check any model folder.")
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")
app.add_typer(screen.app, name="screen")


@cache
def options_by_argument() -> Mapping[str, str]:
    """Return argument of a Python function -> option, of all commands."""
    return options_of(typer.main.get_command(app))


def in_options(error: MoldiffError) -> str:
    """Return the message of an error with options where it speaks of the arguments of a Python function."""
    if not error.word:
        return str(error)
    option = options_by_argument().get(error.word, error.word)
    message = re.sub(worded(re.escape(error.word)), option, str(error), count=1)
    return with_options(message, options_by_argument())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names may hold bytes that are no text, and not every terminal knows the bars of a histogram.
            stream.reconfigure(errors="replace")
    try:
        with orderly_end():
            status = int(app(args=arguments, prog_name="moldiff", standalone_mode=False) or 0)
            sys.stdout.flush()
            if status == 128 + signal.SIGINT:  # typer's word for Ctrl-C within a command
                raise KeyboardInterrupt
            return status
    except BrokenPipeError:  # whoever read it has seen enough
        _lead_nowhere()
        return 1
    except MemoryError:
        message = "the memory does not suffice"
    except OSError as error:
        if error.filename is None:
            _lead_nowhere()
            message = f"the output cannot be written: {error.strerror or error}"
        else:  # a name that is too long, a folder that may not be entered: it can stop whoever asks what is there
            message = f"{os.fsdecode(error.filename)[:_SHOWN]}: {error.strerror or error}"
    except (KeyboardInterrupt, SystemExit) as end:
        return ended_by(end)
    except MoldiffError as error:
        message = in_options(error)
    except _ParsingError as error:
        message = _parsing_message(error)
    with contextlib.suppress(OSError):
        echo(f"error: {' '.join(message.split())}", err=True)  # one line, whatever bytes of a broken file it quotes
    return 2


def _lead_nowhere() -> None:
    """Let the standard output, which cannot be written, lead nowhere: it is flushed once more at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_standard_streams() -> None:
    """Let what was closed (as by ``2>&-``) lead nowhere: the next file opened would get its number, and with it what
    C code says to the standard error."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for the process's life


def _parsing_message(error: Exception) -> str:
    """Return one line for an unknown option or a bad value, with the command whose help tells more."""
    context = getattr(error, "ctx", None)
    where = f" (see {context.command_path} --help)" if context is not None else ""
    message = str(getattr(error, "format_message", error.__str__)()).rstrip(".")
    return message.replace(": Value error, ", ": ") + where  # words of pydantic, through which typer has values checked


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
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter("%(levelname)s: %(message)s", options_of(context.command)))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
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


data_app.command("prepare")(data.prepare)
data_app.command("relax")(data.relax)
data_app.command("info")(data.info)
app.command("train")(train.train)
app.command("configs")(configs.configs)
app.command("generate")(generate.generate)
app.command("vary")(vary.vary)
app.command("conformers")(conformers.conformers)
app.command("filter")(filter.filter_files)
app.command("describe")(filter.filter_files)
app.command("hazard-list")(hazard_list.hazard_list)
app.command("evaluate")(evaluate.evaluate)
app.command("likelihood")(likelihood.likelihood)
app.command("show")(show.show)
models_app.command("list")(models.show_list)
models_app.command("info")(models.info)
models_app.command("verify")(models.verify)
models_app.command("pack")(models.pack)
models_app.command("average")(models.average)
app.command("doctor")(models.doctor)
for group_of_commands in (app, data_app, models_app, screen.app):
    for command in group_of_commands.registered_commands:
        command.cls = CarefulCommand

if __name__ == "__main__":
    sys.exit(main())
