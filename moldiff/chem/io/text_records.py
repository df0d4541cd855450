"""Molecule files as streams of text records, without RDKit: cheap to read in one process and to send to others.

`moldiff.chem.io.records.parse` turns a record into a molecule. Nothing is unpacked to disk, and limits apply before
anything is parsed: a record of a megabyte, a SMILES of 10 kB.
"""

from __future__ import annotations

import csv
import functools
import gzip
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from moldiff.chem.io.archive import read_members
from moldiff.chem.io.capped import MAX_BLANK, MAX_RECORD, MAX_SMILES, TextRecord, capped_lines, smiles_record
from moldiff.chem.io.encodings import open_text, tell_once
from moldiff.chem.io.parquet import read_parquet
from moldiff.chem.io.sdf_text import read_sdf
from moldiff.chem.io.tables import COORDINATES, SMILES_COLUMNS, Columns, read_csv
from moldiff.chem.io.xyz_text import QM9_TAGS, TOO_LARGE, frames, is_qm9
from moldiff.errors import MoldiffError
from moldiff.foreign_text import readable
from moldiff.reading import check_regular
from moldiff.run_record import is_output

__all__ = ["COORDINATES", "MAX_RECORD", "MAX_SMILES", "QM9_TAGS", "SUFFIXES", "TextRecord", "read_texts"]

MAX_EMPTY = 100_000  # empty records in a row

_SMILES_LINE = re.compile(r"(?=.)([^\s,;]*)(\s*\|[^|]*\|)?[\s,;]*(.*)")  # SMILES, CXSMILES extension, name


def read_texts(path: Path, columns: Columns | None = None) -> Iterator[TextRecord]:
    """Return an iterator over the records of a molecule file, chosen by its suffix (see `SUFFIXES`).

    Args:
        path: the file.
        columns: where a table has its SMILES and names; None = it is found out.

    Raises:
        MoldiffError: the file is missing, empty, damaged, of an unknown kind or not what its suffix says. What the
            first bytes show is raised here, the rest while iterating.
    """
    reader = next((reader for suffix, reader in _READERS.items() if path.name.lower().endswith(suffix)), None)
    if reader is None:
        hint = "" if path.exists() else "; a SMILES is read from a file, such as .smi"
        raise MoldiffError(f"{path} has an unknown suffix; known are {', '.join(SUFFIXES)}{hint}")
    if columns is not None:
        if reader not in (read_csv, read_parquet):
            raise MoldiffError(
                f"{path} is no table: it has no columns to choose", argument="columns", word=columns.first
            )
        reader = functools.partial(reader, columns=columns)
    try:
        if path.is_dir():
            raise MoldiffError(f"{path} is a folder, not a molecule file")
        check_regular(path)
        if path.stat().st_size == 0 and not is_output(path):
            raise MoldiffError(f"{path} is empty")
    except OSError as error:
        raise MoldiffError(f"{path} cannot be read: {error.strerror or error}") from error
    return _guarded(path, reader)


def _guarded(path: Path, reader: Callable[[Path], Iterator[TextRecord]]) -> Iterator[TextRecord]:
    count = empty = 0
    noted: set[str] = set()
    try:
        for record in reader(path):
            count += 1
            empty = 0 if record.text.strip() or not _is_empty(record) else empty + 1
            if empty > MAX_EMPTY:
                raise MoldiffError(f"{path}: more than {MAX_EMPTY} empty records in a row, up to record {count}")
            if record.note and record.note not in noted:
                noted.add(record.note)
                tell_once(f"{path}, record {count}: {record.note} (more such records are not named)")
            yield record
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, csv.Error) as error:
        raise MoldiffError(f"{path} is damaged after {count} records: {str(error) or type(error).__name__}") from error
    except OSError as error:
        raise MoldiffError(f"{path} cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise MoldiffError(f"{path} needs more memory than there is, after {count} records") from error
    if count == 0:
        if not is_output(path):
            raise MoldiffError(f"{path} holds no molecules")
        tell_once(f"{path} holds no molecules: none came out where it was made")


def _is_empty(record: TextRecord) -> bool:
    return not any(record.tags.values()) and (not record.reason or record.reason.startswith("empty"))


def _read_smi(path: Path) -> Iterator[TextRecord]:
    """Read lines "SMILES [name]", parted by blanks, a comma or a semicolon; blank lines, lines that start with "#" and
    a header line are no records. A line that begins with what parts them has an empty SMILES, as in a table."""
    with open_text(path) as handle:
        index = skipped = 0
        for number, line in enumerate(capped_lines(path, handle)):
            found = _SMILES_LINE.fullmatch(line.strip())
            if found is None or found[1].startswith("#") or (number == 0 and found[1].lower() in SMILES_COLUMNS):
                skipped += 1
                if skipped > MAX_BLANK:
                    told = f"more than {MAX_BLANK} lines without a SMILES in a row"
                    raise MoldiffError(f"{path}: {told}, up to line {number + 1}")
                continue
            skipped = 0
            smiles, name = found[1] + (found[2] or ""), found[3]
            if "\r" in found[0]:  # an end of line in other files: what is behind it may be no name
                smiles, name = found[0], ""
            yield smiles_record(index, smiles, name, {})
            index += 1


def _read_xyz(path: Path) -> Iterator[TextRecord]:
    """Read frames that follow each other. The first has the file's name, later ones their number behind it."""
    stem = readable(path.stem)
    with open_text(path) as handle:
        for index, (text, reason) in enumerate(frames(capped_lines(path, handle))):
            yield _xyz_record(index, f"{stem}_{index}" if index else stem, text, reason)


def _xyz_record(index: int, stem: str, text: str, reason: str = "") -> TextRecord:
    """Return a record of an .xyz text; a QM9 file's comment line gives its name and 15 properties (source units)."""
    lines = text.split("\n", 2)
    if len(lines) > 1 and is_qm9(lines[1]):
        fields = lines[1].split()
        return TextRecord(index, "xyz", f"gdb_{fields[1]}", text, dict(zip(QM9_TAGS, fields[2:], strict=True)))
    return TextRecord(index, "xyz", stem, text, reason=reason)


def _read_archive(path: Path) -> Iterator[TextRecord]:
    """Read the original QM9 archive (one extended .xyz per molecule) as a stream; nothing is unpacked to disk."""
    for index, (stem, text) in enumerate(read_members(path, ".xyz")):
        yield _xyz_record(index, stem, text, "" if text else TOO_LARGE)


_TEXT_READERS: dict[str, Callable[[Path], Iterator[TextRecord]]] = {
    ".sdf": read_sdf,
    ".sd": read_sdf,
    ".mol": read_sdf,
    ".smi": _read_smi,
    ".smiles": _read_smi,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".xyz": _read_xyz,
}
_READERS = {
    **_TEXT_READERS,
    **{f"{suffix}.gz": reader for suffix, reader in _TEXT_READERS.items()},
    ".parquet": read_parquet,
    ".tar.bz2": _read_archive,
}
SUFFIXES = tuple(_READERS)
SDF_SUFFIXES = tuple(suffix for suffix, reader in _READERS.items() if reader is read_sdf)
