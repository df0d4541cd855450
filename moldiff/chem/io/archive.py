"""Members of a .tar.bz2 as a stream: nothing is unpacked to disk, and a few bytes cannot become hours or gigabytes."""

from __future__ import annotations

import bz2
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn, Self

from moldiff.chem.io.capped import MAX_RECORD
from moldiff.errors import MoldiffError
from moldiff.foreign_text import readable

MOST_OTHERS = 100_000  # members in a row that are not wanted
MOST_SKIPPED = 1 << 30  # bytes of members that are not wanted or too large
_MOST_EXTENDED = 1 << 20  # bytes of a header that tells of the next one: a long name, a comment
_EXTENDED = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)


class _Header(tarfile.TarInfo):
    """A header that is refused where tarfile would read more into memory than a header needs."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _EXTENDED and found.size > _MOST_EXTENDED:
            raise MoldiffError(f"a header of {found.size:,} bytes")
        if found.type == tarfile.GNUTYPE_SPARSE:
            cls._refuse_holes()
        return found

    @staticmethod
    def _refuse_holes(*_: object) -> NoReturn:
        """The list of a file's holes may go on without an end."""
        raise MoldiffError("a file with holes")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_holes  # in tarfile, by the kinds of headers


def read_members(path: Path, suffix: str) -> Iterator[tuple[str, str]]:
    """Yield name without suffix and text of each file of an archive whose name ends in ``suffix``; "" = too large.

    Raises:
        MoldiffError: it holds too much of other things.
        tarfile.TarError, EOFError: it is damaged.
        OSError: it cannot be read.
    """
    others, skipped = 0, 0
    try:
        # not "r|bz2", by which tarfile unpacks whatever a block of the packed file becomes, all at once
        with bz2.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_Header) as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # else it remembers all of them
                wanted = member.isfile() and member.name.lower().endswith(suffix)
                others = 0 if wanted else others + 1
                fits = wanted and member.size <= MAX_RECORD
                skipped += 0 if fits else member.size
                if others > MOST_OTHERS or skipped > MOST_SKIPPED:
                    raise MoldiffError("too much that is no such file, or too large for one")
                if wanted:
                    yield readable(Path(member.name).stem), _text(archive.extractfile(member)) if fits else ""
    except MoldiffError as error:
        raise MoldiffError(f"{path}, an archive of {suffix} files, holds {error}") from error
    except (ValueError, OverflowError, RecursionError) as error:  # of tarfile, about headers that are none
        raise tarfile.ReadError(f"a header that cannot be read ({str(error)[:80]})") from error
    except OSError as error:
        if error.errno is None:  # of bz2, about what is not packed
            raise tarfile.ReadError(str(error)) from error
        raise


def _text(handle: IO[bytes] | None) -> str:
    return handle.read().decode("utf-8", errors="replace") if handle else ""
