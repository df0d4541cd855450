"""The one exception that users are meant to read, and what is no reason for one."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
_MOST_SHOWN = 2000  # letters of a message


class MoldiffError(Exception):
    """Bad input or a failed run. The message is one line: what is wrong, where, and what to do.

    The command line prints it after ``error:`` and exits with status 2; library callers may catch it.

    Attributes:
        argument: name of the argument of the function called that is to blame; "" = none, or several.
        word: the argument that the message speaks of, as whoever raised the error knows it: at first the same, but see
            `blaming`. The command line shows the option of that name.
        hint: end of the message, which proposes that word: nothing for a command that has none.
    """

    def __init__(self, message: str, *, argument: str = "", word: str | None = None, hint: str = "") -> None:
        message += hint
        # what it quotes, a key of a foreign file say, may have line breaks of its own, or go on and on
        message = " ".join(message.split()) if len(message.splitlines()) > 1 else message
        if len(message) > _MOST_SHOWN:
            message = f"{message[: _MOST_SHOWN // 2]} ... {message[-_MOST_SHOWN // 2 :]}"
        super().__init__(message)
        self.argument, self.hint = argument, hint
        self.word = argument if word is None else word

    def without_hint(self) -> MoldiffError:
        """Return the same error without its hint."""
        return MoldiffError(str(self).removesuffix(self.hint), argument=self.argument, word=self.word)

    def of(self, message: str) -> MoldiffError:
        """Return the error of the same argument with another message, which ends as this one does."""
        return MoldiffError(message.removesuffix(self.hint), argument=self.argument, word=self.word, hint=self.hint)


def first_line(error: BaseException, most: int = 100) -> str:
    """Return the first line of another library's exception, cut to so many letters; its class if it says nothing."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line[:most] for line in lines if line), type(error).__name__)


def class_and_line(error: BaseException, most: int = 100) -> str:
    """Return the class of another library's exception and its first line, if it has one."""
    name, line = type(error).__name__, first_line(error, most)
    return name if line == name else f"{name}: {line}"


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name nearest to ``name``, whatever its case, or an empty string."""
    by_fold = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold(), list(by_fold), n=1, cutoff=0.5)
    return f" (did you mean '{by_fold[close[0]]}'?)" if close else ""


@contextmanager
def blaming(argument: str, *others: str) -> Iterator[None]:
    """Let errors of what is done with one argument of a function name that argument: whoever reads a file, or a target,
    does not know by which argument it came, and names one of its own or none. Also a decorator.

    Args:
        argument: that is to blame.
        others: of the same function, which errors may name instead.
    """
    try:
        yield
    except MoldiffError as error:
        if error.argument not in others:
            error.argument = argument
        raise


def blaming_for(items: Iterable[Item], argument: str, *others: str) -> Iterator[Item]:
    """Yield items, `blaming` an argument for errors of whatever makes them, not of what is done with them."""
    with blaming(argument, *others):
        yield from items


@contextmanager
def dispensable(what: str) -> Iterator[None]:
    """Warn instead of failing: long work is not lost for ``what`` its results can do without, a picture say."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever a library makes of this machine
        told = " ".join(str(error).split())
        logger.warning("no %s (%s: %.200s)", what, type(error).__name__, told)
