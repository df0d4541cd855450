"""The list of the hashes of a folder's files, as ``sha256sum -c`` reads it.

It finds damage and mix-ups. It is no signature, since whoever writes a folder writes its hashes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from moldiff.errors import MoldiffError

_DIGITS = frozenset("0123456789abcdef")


def sums_text(digests: Mapping[str, str]) -> str:
    """Return the list, by name; file name -> hexadecimal SHA-256."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def parse_sums(path: Path, data: bytes, what: str, known: Collection[str], required: Collection[str]) -> dict[str, str]:
    """Return file name -> SHA-256 of a list beside the files. Only known names may occur, each once, and all that exist
    must be listed.

    Args:
        path: of the list.
        data: its content.
        what: "a model folder".
        known: names that may be listed.
        required: names that must be listed.

    Raises:
        MoldiffError: it is no such list, or lacks a file.
    """
    digests: dict[str, str] = {}
    for line in data.decode("latin-1").split("\n")[:-1] if data.endswith(b"\n") else [""]:
        digest, _, name = line.partition("  ")
        if name not in known or name in digests or len(digest) != 64 or set(digest) - _DIGITS:
            raise MoldiffError(f"{path} is not a list of the SHA-256 of {what}'s files")
        digests[name] = digest
    for name in known:
        if name not in digests and (name in required or (path.parent / name).exists()):
            raise MoldiffError(f"{path} does not list {name}")
    return digests
