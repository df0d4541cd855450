"""Names of files and folders as users write them: those that no shell has read, that the system takes for too long, and
those of dots alone, are refused.

A shell writes the home folder out where it finds a ``~``; within quotes, in Python and in a file of options nobody
does, and a folder called ``~`` would appear. Whoever opens or makes something under a user's path asks here first.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from moldiff.errors import MoldiffError

_NAMELESS = re.compile(r"\.{2,}[^.]+(\.gz)?|\.[^.]+\.gz")


def written_out(path: Path) -> Path:
    """Return a path.

    Raises:
        MoldiffError: it begins with a home folder, ``~/a.sdf``, ``~ann/a.sdf`` or ``~``, is too long, or holds a zero
            byte or half a character. A file ``~a.sdf`` is one of the folder at hand, as it is to a shell.
    """
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise MoldiffError(f"{str(path)[:100]} cannot be used: {error.strerror}") from error
    except ValueError as error:
        holds = "a zero byte" if "\0" in str(path) else "half a character"
        raise MoldiffError(f"{ascii(str(path))[1:-1]} cannot be used: no name of a file holds {holds}") from error
    first, *below = path.parts or ("",)
    if not first.startswith("~") or not (below or first == "~"):
        return path
    meant = os.path.expanduser(path)
    hint = "" if meant == str(path) else f": {meant}"
    raise MoldiffError(f"{path}: only a shell knows what ~ stands for; write the home folder out{hint}")


def with_stem(path: Path) -> Path:
    """Return the path of a file to write.

    Raises:
        MoldiffError: its name is made of dots and a suffix, as ``...sdf`` or ``.sdf.gz``.
    """
    if _NAMELESS.fullmatch(path.name):
        raise MoldiffError(f"{path} has no name before its suffix; choose one, such as a.{path.name.lstrip('.')}")
    return path
