"""The one exception that users are meant to read, and what is no reason for one."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


class MoldiffError(Exception):
    """Bad input or a failed run. The message is one line: what is wrong, where, and what to do.

    The command line prints it after ``error:`` and exits with status 2; library callers may catch it.

    Attributes:
        argument: name of the Python argument that is to blame, as the message has it; "" = none. The command line
            shows the option of that name.
        hint: end of the message, which proposes that argument: no word for a command that has none.
    """

    def __init__(self, message: str, *, argument: str = "", hint: str = "") -> None:
        message += hint
        # what it quotes, a key of a foreign file say, may have line breaks of its own
        super().__init__(" ".join(message.split()) if len(message.splitlines()) > 1 else message)
        self.argument, self.hint = argument, hint

    def without_hint(self) -> MoldiffError:
        """Return the same error without its hint."""
        return MoldiffError(str(self).removesuffix(self.hint), argument=self.argument)

    def of(self, message: str) -> MoldiffError:
        """Return the error of the same argument with another message, which ends as this one does."""
        return MoldiffError(message.removesuffix(self.hint), argument=self.argument, hint=self.hint)


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name nearest to ``name``, whatever its case, or an empty string."""
    by_fold = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold(), list(by_fold), n=1, cutoff=0.5)
    return f" (did you mean '{by_fold[close[0]]}'?)" if close else ""


@contextmanager
def dispensable(what: str) -> Iterator[None]:
    """Warn instead of failing: long work is not lost for ``what`` its results can do without, a picture say."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever a library makes of this machine
        told = " ".join(str(error).split())
        logger.warning("no %s (%s: %.200s)", what, type(error).__name__, told)
