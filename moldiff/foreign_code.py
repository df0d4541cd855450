"""Code that a user names, Python functions and programs, asked about before it is loaded: whoever named it may be
somebody else, in a file of options or in the folder of a run.

The question stands where code is loaded, not where words are read: whichever option leads there, it is asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

Gate = Callable[[str], bool]
"""From the name of a function, or the template of a command, to whether it may run; or MoldiffError."""

_GATE: ContextVar[Gate | None] = ContextVar("gate", default=None)


def may_run(code: str) -> bool:
    """Return whether some code may be loaded and run; False where nothing needs it.

    Args:
        code: ``module:function``, ``file.py:function`` or the template of a command.

    Raises:
        MoldiffError: it is needed, and may not run.
    """
    gate = _GATE.get()
    return gate is None or gate(code)


@contextlib.contextmanager
def code_asks(gate: Gate) -> Iterator[None]:
    """Let a gate decide which code runs in here."""
    before = _GATE.set(gate)
    try:
        yield
    finally:
        _GATE.reset(before)


def only_looked_at() -> contextlib.AbstractContextManager[None]:
    """Let no code run in here, where somebody looks at what was computed with it."""
    return code_asks(lambda code: False)
