"""Text of other people's files: packed or not, in UTF-8, -16 or -32 or in 8 bits, with any ends of lines."""

from __future__ import annotations

import codecs
import gzip
import io
import logging
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from moldiff.errors import MoldiffError
from moldiff.reading import open_regular

logger = logging.getLogger(__name__)
Kept = TypeVar("Kept")

_HEAD = 4096  # bytes that tell the encoding
_PIECE = 1 << 16  # bytes that are read at once
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # bytes that no text has
_DOS_END = re.compile(r"[\x1a\0]")  # what DOS ends a text with, and fills its last block with
_BEHIND = "\x1a\0\r\n"  # and what may follow
_LONGEST_END = 1 << 16  # characters of it all
_GZIP = b"\x1f\x8b"
_PACKED = {  # what the files of other packers begin with, and a file that was packed twice
    _GZIP: "gzip", b"PK\x03\x04": "zip", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7z",
    **{b"BZh%d1AY&SY" % level: "bzip2" for level in range(1, 10)},
}  # fmt: skip
_MOST_CONTROL = 1 / 16  # of a text; a tenth of packed bytes are such, three quarters of UTF-32 without a mark
_MARKS = {  # those of UTF-32 first: one of them begins with one of UTF-16
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
_ERRORS = "moldiff-8-bit"
_MOST = 1000  # warnings, and files, that are remembered
_SPACES = "\u00a0\u2007\u202f"  # blanks that do not break


def _as_windows(error: UnicodeError) -> tuple[str, int]:
    """Read bytes that are no UTF-8 as Windows-1252, which Latin-1 is a part of."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    if error.encoding.lower().replace("_", "-").startswith("utf-8"):
        return "".join(bytes([byte]).decode("cp1252", "replace") for byte in wrong), error.end
    return "\ufffd", error.end


codecs.register_error(_ERRORS, _as_windows)


_told: dict[str, None] = {}
_versions: dict[str, tuple[int, int, int]] = {}  # path -> what tells a file from the one that stood there before


def tell_once(message: str) -> None:
    """Log a warning about a file, whose path it begins with, once, however often the file is read; of a file that has
    changed, again."""
    if message not in _told:
        _kept(_told, message, None)
        logger.warning("%s", message)


def _look_again(path: Path, handle: Any) -> None:
    """Forget what was told of an open file if it is another one than before."""
    version = _version(handle)
    if _versions.get(str(path)) != version:
        _kept(_versions, str(path), version)
        for message in [message for message in _told if message.startswith(str(path))]:
            del _told[message]


def _version(handle: Any) -> tuple[int, int, int]:
    """Return what changes with an open file."""
    found = os.fstat(handle.fileno())
    return found.st_ino, found.st_size, found.st_mtime_ns


def _kept(known: dict[str, Kept], key: str, value: Kept) -> None:
    """Put something into a dictionary that never holds more than `_MOST` keys: the oldest goes."""
    if len(known) >= _MOST:
        del known[next(iter(known))]
    known[key] = value


class ForeignText:
    """An open text file, as a context; see `open_text`.

    Args:
        path: named in messages.
        handle: bytes, from the beginning.
        file: that they come from.
        encoding: of them; what is no UTF-8 is Windows-1252, which is said once it comes.
        translate: any end of line becomes a line feed.
    """

    def __init__(self, path: Path, handle: Any, file: IO[bytes], encoding: str, *, translate: bool) -> None:
        self._path, self._handle, self._file, self._version = path, handle, file, _version(file)
        self._inner = codecs.getincrementaldecoder(encoding)("strict" if encoding.startswith("utf-8") else _ERRORS)
        self._decoder = io.IncrementalNewlineDecoder(self._inner, translate) if translate else self._inner

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.close()
        self._file.close()  # which one that unpacks leaves open

    def __iter__(self) -> Iterator[str]:
        """Yield the text in pieces of some `_PIECE` characters, as they come, without what DOS ends it with."""
        ending = ""  # what may be that, unless more follows
        for piece in self._pieces():
            core = len(piece.rstrip(_BEHIND))
            if ending and (core or len(ending) > _LONGEST_END):
                yield ending
                ending = ""
            found = None if ending else _DOS_END.search(piece, core)
            end = 0 if ending else found.start() if found else len(piece)
            if end:
                yield piece[:end]
            ending += piece[end:]

    def _pieces(self) -> Iterator[str]:
        while data := self._handle.read1(_PIECE):
            if piece := self._decode(data):
                yield piece
        if piece := self._decode(b"", final=True):
            yield piece
        if _version(self._file) != self._version:
            logger.warning("%s has changed while it was read: hashes of it are of what it is now", self._path)

    def _decode(self, data: bytes, *, final: bool = False) -> str:
        before = self._decoder.getstate()
        try:
            return self._decoder.decode(data, final)
        except UnicodeDecodeError:
            tell_once(f"{self._path} is no UTF-8; its other characters are read as Windows-1252")
            self._inner.errors = _ERRORS
            self._decoder.setstate(before)
            return self._decoder.decode(data, final)


def open_text(path: Path) -> ForeignText:
    """Open a file that may be packed. Its first bytes tell the encoding; what is no UTF-8 is read as Windows-1252.

    Raises:
        MoldiffError: it is packed in another way, or no text at all.
        OSError, EOFError, zlib.error: it cannot be read or unpacked.
    """
    file: Any = open_regular(path)
    try:
        packed = path.name.lower().endswith(".gz") or file.peek(2)[:2] == _GZIP
        handle = gzip.GzipFile(fileobj=file, mode="rb") if packed else file
        head = handle.peek(_HEAD)[:_HEAD]
        _look_again(path, file)
        encoding = _encoding(head)
        _check_text(path, head, encoding)
    except BaseException:
        file.close()
        raise
    if encoding.startswith(("utf-16", "utf-32")):
        tell_once(f"{path} is read as {encoding[:6].upper()}")
    # universal line ends make two of \r\r\n, an end of line that was translated twice
    return ForeignText(path, handle, file, encoding, translate=b"\r\r\n" not in head)


def _check_text(path: Path, head: bytes, encoding: str) -> None:
    """Raise MoldiffError if a file's first bytes are no text, of which only garbage would be read."""
    if packed := next((name for mark, name in _PACKED.items() if head.startswith(mark)), ""):
        raise MoldiffError(f"{path} holds a {packed} file, which its name does not say: unpack it")
    head = head.rstrip(_BEHIND.encode()) or head
    if encoding == "utf-8" and len(_CONTROL.findall(head)) > _MOST_CONTROL * len(head):
        raise MoldiffError(f"{path} is no text (UTF-32 needs its mark)")


def decoded(data: bytes) -> str:
    """Return the text that bytes are: what is no UTF-8 is read as Windows-1252."""
    return data.decode("utf-8", _ERRORS)


def is_text(data: bytes) -> bool:
    """Return whether bytes may be a text: it has no control characters."""
    return _CONTROL.search(data) is None


def _encoding(head: bytes) -> str:
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    even, odd = head[0:200:2], head[1:200:2]  # without a mark, every second byte of plain text is zero
    if odd and not any(odd) and all(even):
        return "utf-16-le"
    return "utf-16-be" if even and not any(even) and all(odd) else "utf-8"


def visible(text: str) -> str:
    """Return a text without the characters that nobody sees (zero-width ones, marks of direction and of byte order),
    blanks that do not break as plain ones."""
    if text.isascii():
        return text
    plain = text.translate(dict.fromkeys(map(ord, _SPACES), " "))
    return "".join(letter for letter in plain if unicodedata.category(letter) != "Cf")


def foreign_character(text: str) -> str:
    """Return the first character of a text that is not ASCII, in words; "" if there is none."""
    if text.isascii():
        return ""
    letter = next(letter for letter in text if not letter.isascii())
    return f"'{letter}' (U+{ord(letter):04X}, {unicodedata.name(letter, 'no name').lower()})"
