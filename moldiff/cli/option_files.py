"""Options of a command in a YAML file (``--config FILE``): read once, handed to the command line's own parser.

Keys are long option names without the dashes, values what would stand after them. The parser takes them as defaults, so
options on the command line win and every check is the same. What runs code is only taken from the command line
(`code_of_files_refused`).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from moldiff.deprecations import OPTIONS, Warn, renamed_keys
from moldiff.errors import MoldiffError, nearest_name
from moldiff.foreign_code import code_asks

logger = logging.getLogger(__name__)

_NOT_IN_A_FILE = ("config", "help")
_FILE = "moldiff.config"  # where a context of click keeps the path of its file


def _reader(lists: tuple[str, ...]) -> Callable[[typer.Context, Path | None], Path | None]:
    """Return the callback that makes a file's values the defaults of a command.

    Args:
        lists: long names of the options that are one text with commas, for which a YAML list will do as well.
    """

    def read(context: typer.Context, path: Path | None) -> Path | None:
        if path is not None and not context.resilient_parsing:
            words = {
                old.removeprefix("--"): new.removeprefix("--")
                for old, new in OPTIONS.get(str(context.info_name), {}).items()
            }
            context.meta[_FILE] = path
            context.default_map = _defaults(path, context.command.params, lists, words, logger.warning)
        return path

    return read


def _option(lists: tuple[str, ...], *short: str) -> Any:
    return typer.Option(
        *short,
        "--config",
        metavar="YAML",
        is_eager=True,
        callback=_reader(lists),
        help="Take options from a file: 'n-atoms: 15..22'. Those on the command line win.",
    )


Config = Annotated[Path | None, _option(())]
SteeringConfig = Annotated[
    Path | None,
    _option(("guidance", "elements", "exclude-elements", "fixed-atoms", "attach-at", "rules", "alerts")),
]
FilterConfig = Annotated[Path | None, _option(("rules", "alerts"))]
ScreenConfig = Annotated[Path | None, _option(("rules", "alerts"), "-c")]


def _defaults(
    path: Path, parameters: list[Any], lists: tuple[str, ...], words: Mapping[str, str], warn: Warn
) -> dict[str, Any]:
    """Return the values of a file by the names of the command's parameters, as the parser takes them: texts, lists of
    texts for options that may come again, and true or false for flags.

    Raises:
        MoldiffError: no such file, no keys and values, an unknown key, or a value of another kind.
    """
    from moldiff.sections import read_mapping

    known = {
        option.removeprefix("--"): parameter
        for parameter in parameters
        for option in parameter.opts
        if option.startswith("--") and option.removeprefix("--") not in _NOT_IN_A_FILE
    }
    defaults: dict[str, Any] = {}
    values = read_mapping(path)
    for key, value in renamed_keys(values, f"config {path}", words, warn=warn).items():
        name = str(key).replace("_", "-")
        if name not in known:
            raise MoldiffError(f"config {path}: unknown key '{key}'{nearest_name(name, known)}")
        parameter, where = known[name], f"config {path}: {key}"
        if parameter.name in defaults:
            raise MoldiffError(f"{where} stands twice")
        if parameter.is_flag:
            if not isinstance(value, bool):
                raise MoldiffError(f"{where} must be true or false, not {_told(value)}")
            defaults[parameter.name] = value
        elif parameter.multiple:
            defaults[parameter.name] = [_text(item, where) for item in (value if isinstance(value, list) else [value])]
        elif isinstance(value, list) and name in lists:
            defaults[parameter.name] = ",".join(_text(item, where) for item in value)
        else:
            defaults[parameter.name] = _text(value, where)
    return defaults


@contextlib.contextmanager
def code_of_files_refused(context: typer.Context) -> Iterator[None]:
    """Refuse programs and Python functions that a command's file of options names, whichever option it is: the file may
    come from anybody. Texts on the command line, which win, may name them."""
    named = [
        (next(option for option in parameter.opts if option.startswith("--")), text)
        for parameter in context.command.params
        if (value := (context.default_map or {}).get(parameter.name)) is not None
        and (source := context.get_parameter_source(str(parameter.name))) is not None
        and source.name == "DEFAULT_MAP"
        for text in (value if isinstance(value, list) else [value])
    ]

    def gate(code: str) -> bool:
        for option, text in named:
            if code in str(text):  # every grammar takes the name of a function as it stands there
                raise MoldiffError(
                    f"config {context.meta[_FILE]}: {option.removeprefix('--')} runs code, which no file may ask for; "
                    f"say it on the command line: {option}"
                )
        return True

    with code_asks(gate):
        yield


def _text(value: object, where: str) -> str:
    """Return one value as it would stand on the command line."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise MoldiffError(f"{where} takes one value, not {_told(value)}")
    return str(value)


def _told(value: object) -> str:
    """Return what a value is, in YAML's words."""
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "keys and values"
    return str(value).lower() if isinstance(value, bool) else f"'{value}'"
