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
_PIECE = 1 << 16  # packed bytes that are read at once
_EXTENDED = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)


class _Header(tarfile.TarInfo):
    """A header that is refused where tarfile would read more into memory than a header needs, or would take a damaged
    one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Self:
        try:
            found = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf.strip(b"\0"):
                raise tarfile.ReadError(f"a header that cannot be read ({error})") from error
            raise
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


class _Unpacked:
    """Bytes out of a file that bzip2 packed, stream after stream. Unlike Python's own reader, this one does not take
    what follows and is no stream for the end.

    Args:
        file: packed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._unpacker = file, bz2.BZ2Decompressor()
        self._zeros = 0  # at the end of what was read so far

    def read(self, size: int) -> bytes:
        """Return at most so many bytes, none at the end; MoldiffError if there are zeros without end."""
        data = b""
        while not data:
            packed = self._more()
            if not packed and self._unpacker.eof:
                break
            data = self._unpacker.decompress(packed, size)
        self._zeros = 0 if data.strip(b"\0") else self._zeros + len(data)
        if self._zeros > MOST_SKIPPED:
            raise MoldiffError("too many zeros in a row")
        return data

    def _more(self) -> bytes:
        """Return what the unpacker needs now; behind a stream, begin the next one, if there is one."""
        if not self._unpacker.eof:
            packed = self._file.read(_PIECE) if self._unpacker.needs_input else b""
            if self._unpacker.needs_input and not packed:
                raise EOFError("the packed file ends before its time")
            return packed
        packed = self._unpacker.unused_data.lstrip(b"\0")  # they may fill up the last block of a tape
        while not packed and (piece := self._file.read(_PIECE)):
            packed = piece.lstrip(b"\0")
        if packed:
            self._unpacker = bz2.BZ2Decompressor()
        return packed


def _unpacked(file: IO[bytes]) -> Any:
    """Return a file as tarfile takes it, which asks for all methods of one and calls `_Unpacked.read` alone."""
    return _Unpacked(file)


def read_members(path: Path, suffix: str) -> Iterator[tuple[str, str]]:
    """Yield name without suffix and text of each file of an archive whose name ends in ``suffix``; "" = too large.
    Archives that were joined are read one after the other.

    Raises:
        MoldiffError: it holds too much of other things.
        tarfile.TarError, EOFError: it is damaged.
        OSError: it cannot be read.
    """
    others, skipped = 0, 0
    try:
        # not "r|bz2", by which tarfile unpacks whatever a block of the packed file becomes, all at once
        with (
            path.open("rb") as file,
            tarfile.open(fileobj=_unpacked(file), mode="r|", tarinfo=_Header, ignore_zeros=True) as archive,
        ):
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
