"""Libraries of chemistry that switch what belongs to the program around this package: they are kept from it.

PoseBusters and Meeko send RDKit's messages elsewhere as they are imported, and PoseBusters turns its logs off and on
with every molecule. That is not put back afterwards, but does not happen: another thread may have blocked the logs for
a moment, and would find them blocked for good.
"""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from threading import Lock
from typing import Any, ParamSpec

from rdkit import RDLogger, rdBase

Given = ParamSpec("Given")

_SENDERS = ("LogToPythonLogger", "LogToPythonStderr", "LogToCppStreams")
"""RDKit's functions that say where its messages go."""
_kept: ContextVar[bool] = ContextVar("kept", default=False)
_loading = Lock()


@contextmanager
def unswitched() -> Iterator[None]:
    """Block RDKit's logs in here, and keep what `load` has loaded from switching them. Whoever else uses those
    libraries meanwhile, in another thread, has them as they are."""
    before = _kept.set(True)
    try:
        with rdBase.BlockLogs():
            yield
    finally:
        _kept.reset(before)


@cache
def load(package: str) -> None:
    """Import a library, with no effect on RDKit's logs, on their handlers, or on warnings of other modules."""
    with _loading, unswitched(), _same_senders(), _same_handlers(), _same_warnings():
        importlib.import_module(package)
        for module in [one for name, one in sys.modules.items() if name.startswith(f"{package}.")]:
            names = vars(module)
            if "RDLogger" in names:
                names["RDLogger"] = _Switches()
            # PoseBusters' own, which turns the stream of RDKit's handler to sys.stderr
            if "CaptureLogger" in names and names["CaptureLogger"].__module__ != module.__name__:
                names["CaptureLogger"] = _unless_kept(names["CaptureLogger"], lambda: nullcontext({}))


class _Switches:
    """RDKit's module of switches, which do nothing within `unswitched`."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(RDLogger, name)
        return _unless_kept(found) if name in {"EnableLog", "DisableLog"} else found


def _unless_kept(function: Callable[Given, Any], instead: Callable[[], Any] = lambda: None) -> Callable[Given, Any]:
    """Return a function with another in its place within `unswitched`. The library has it from now on."""

    def either(*given: Given.args, **named: Given.kwargs) -> Any:
        return instead() if _kept.get() else function(*given, **named)

    return either


@contextmanager
def _same_senders() -> Iterator[None]:
    """Let RDKit send its messages where it did: a new place has switches of its own, all of them on."""
    own = {name: getattr(rdBase, name) for name in _SENDERS}
    for name, function in own.items():
        setattr(rdBase, name, _unless_kept(function))
    try:
        yield
    finally:
        for name, function in own.items():
            setattr(rdBase, name, function)


@contextmanager
def _same_handlers() -> Iterator[None]:
    """Put the handlers of RDKit's logger back as they were. Meeko changes the first, and fails where there is none."""
    logger, stand_in = logging.getLogger("rdkit"), logging.NullHandler()
    before = [(handler, handler.level, handler.formatter) for handler in logger.handlers]
    logger.addHandler(stand_in)
    try:
        yield
    finally:
        logger.removeHandler(stand_in)
        for handler, level, formatter in before:
            handler.setLevel(level)
            handler.setFormatter(formatter)


@contextmanager
def _same_warnings() -> Iterator[None]:
    """Drop what an import has added to the filters of warnings and holds for any module. What holds for warnings of a
    library's own, or of certain words, stays: that of SciPy say, which is imported only once."""
    before = list(warnings.filters)
    try:
        yield
    finally:
        added = [one for one in warnings.filters if one not in before and not _is_for_all(one)]
        warnings.filters[:] = [*added, *before]  # type: ignore[index]


def _is_for_all(one: Any) -> bool:
    _, message, category, module, _ = one
    return message is None and module is None and category.__module__ == "builtins"
