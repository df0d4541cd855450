"""Words of the release before, and those that took their place: one table for each place where a user writes them.

An old word works for one release. It gives one warning that names the new one, and changes nothing else; old and new
together are an error. `docs/renamed.md` has the same for readers.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moldiff.errors import MoldiffError

logger = logging.getLogger(__name__)
Warn = Callable[[str], None]
_PACKAGE = str(Path(__file__).parent)

COMMANDS = {"score": "likelihood"}
_EVALUATIONS = {"--steps": "--evaluations"}
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "generate": _EVALUATIONS,
    "vary": _EVALUATIONS,
    "conformers": _EVALUATIONS,
    "likelihood": {"--steps": "--chain-steps"},
}
"""Command -> old option -> new; the keys of its files of options are the same without the dashes."""

TRAINING_KEYS = {
    "own_draws": "on_policy",
    "on_policy.evaluations": "on_policy.sampler_evaluations",
    "on_policy.calibrate": "on_policy.reweight",
    "optimizer.ema": "optimizer.ema_decay",
    "training.unconditional_share": "training.p_unconditional",
    "for_model": "guided_model",
}
"""Keys of a training file, sections first: a section's own keys follow under its new name."""

ON_POLICY_FILE = {"own_draws.safetensors": "on_policy.safetensors"}
ON_POLICY_KEYS = {
    "calibrate": "reweight",
    "evaluations": "sampler_evaluations",
    "unconditional_share": "p_unconditional",
}
"""What the file of on-policy data says it was made with."""


def told(old: str, new: str) -> str:
    """Return the warning for an old word."""
    return f"'{old}' is now '{new}'; the old word goes with the next release"


def renamed_arguments(command: str, arguments: list[str], warn: Warn) -> list[str]:
    """Return the arguments of a command with the options' new words.

    Raises:
        MoldiffError: an option is there by both of its words.
    """
    found, seen, words = [], set[str](), OPTIONS.get(command, {})
    rest = arguments.index("--") if "--" in arguments else len(arguments)
    given = {argument.partition("=")[0] for argument in arguments[:rest]}
    for place, argument in enumerate(arguments):
        old, equals, value = argument.partition("=")
        new = words.get(old) if place < rest else None
        if new is None:
            found.append(argument)
            continue
        if new in given:
            raise MoldiffError(f"{new} is given twice, once by its old word {old}")
        if old not in seen:
            warn(told(old, new))
        seen.add(old)
        found.append(new + equals + value)
    return found


def renamed_key(dotted: str, words: Mapping[str, str] = TRAINING_KEYS) -> str:
    """Return the new word of a dotted key."""
    parts = dotted.split(".")
    for count in range(1, len(parts) + 1):
        head = ".".join(parts[:count])
        parts[:count] = words.get(head, head).split(".")
    return ".".join(parts)


def renamed_override(dotted: str, given: dict[str, str], *, warn: Warn) -> str:
    """Return the new word of a dotted key of a training file that is set on the command line.

    Args:
        dotted: the key as it was written.
        given: new word -> as it was written, of those before; takes this one.
        warn: takes a line for an old word.

    Raises:
        MoldiffError: it was set before by its other word.
    """
    new = renamed_key(dotted)
    if new != dotted:
        warn(f"set {told(dotted, new)}")
    if (other := given.setdefault(new, dotted)) != dotted:
        old = other if dotted == new else dotted
        raise MoldiffError(
            f"set '{new}' is given twice, once by its old word '{old}'", argument="overrides", word="set"
        )
    return new


def renamed_keys(
    values: Mapping[Any, Any], source: str = "", words: Mapping[str, str] = TRAINING_KEYS, *, warn: Warn | None = None
) -> dict[Any, Any]:
    """Return nested keys and values with the keys' new words.

    Args:
        values: as read.
        source: where they stand, for messages.
        words: old dotted key -> new; only the last part of a key changes.
        warn: takes a line for each old word; None = nothing is said, as of what an older release has stored.

    Raises:
        MoldiffError: something is there by both of its words.
    """
    return _renamed(values, "", "", source, words, warn)


def _renamed(
    values: Mapping[Any, Any], prefix: str, written: str, source: str, words: Mapping[str, str], warn: Warn | None
) -> dict[Any, Any]:
    """Return `renamed_keys` of a section, whose dotted name stands before its keys, as it is now and as it was
    written."""
    found: dict[Any, Any] = {}
    for name, value in values.items():
        new = words.get(f"{prefix}{name}")
        if new is not None:
            if new.removeprefix(prefix) in values:
                raise MoldiffError(f"{source}: '{new}' is given twice, once by its old word '{written}{name}'")
            if warn is not None:
                warn(f"{source}: {told(f'{written}{name}', new)}")
        key = name if new is None else new.removeprefix(prefix)
        below = f"{prefix}{key}.", f"{written}{name}."
        found[key] = _renamed(value, *below, source, words, warn) if isinstance(value, dict) else value
    return found


def renamed_argument(old: str, old_value: Any, new: str, new_value: Any) -> Any:
    """Return the value of a Python argument that may come by its old word; None = not given.

    Raises:
        MoldiffError: it is given by both.
    """
    if old_value is None:
        return new_value
    if new_value is not None:
        raise MoldiffError(f"{new} is given twice, once by its old word {old}", argument=new)
    warnings.warn(told(old, new), FutureWarning, stacklevel=_stacklevel())
    return old_value


def _stacklevel() -> int:
    """Return the level, for a warning of the function that asks, of the first line outside the package: the user's."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


def renamed_attribute(module: str, name: str, words: Mapping[str, str], names: Mapping[str, Any]) -> Any:
    """Return what a module's old name stands for, for its ``__getattr__``; AttributeError for any other name."""
    if name not in words:
        raise AttributeError(f"module '{module}' has no attribute '{name}'")
    warnings.warn(told(name, words[name]), FutureWarning, stacklevel=3)
    return names[words[name]]
