"""Molecule files as streams of text records, without RDKit: cheap to read in one process and to send to others.

`moldiff.chem.io.records.parse` turns a record into a molecule. Nothing is unpacked to disk, and limits apply before
anything is parsed: a record of a megabyte, a SMILES of 10 kB.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from moldiff.errors import MoldiffError

MAX_RECORD = 1_000_000  # characters
MAX_SMILES = 10_000
LOOK_AHEAD = 100  # records without a mol block after which a file is no SDF
COORDINATES = "coordinates_mA"  # column of a table: see `moldiff.chem.io.ordered_smiles`
QM9_TAGS = ("a", "b", "c", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "u0", "u", "h", "g", "cv")

_SHORTEST_ATOM = 8  # characters of an atom's line in an .xyz file
_TAG = re.compile(r"^>.*<(.*)>")
_NAME_COLUMNS = ("name", "id", "title", "mol_id")


@dataclass(frozen=True)
class TextRecord:
    """One record of a file, not parsed yet.

    Attributes:
        index: position in the file, from 0.
        kind: "sdf" (text is a mol block), "smiles", "xyz", or "placed" (a SMILES and, behind a blank, its coordinates,
            see `moldiff.chem.io.ordered_smiles`).
        name: title of the record, "" if it has none.
        text: what is to be parsed.
        tags: data fields by name, as written in the file.
        reason: why the record cannot be parsed, "" if it can be tried.
    """

    index: int
    kind: str
    name: str
    text: str
    tags: dict[str, str] = field(default_factory=dict)
    reason: str = ""


def read_texts(path: Path) -> Iterator[TextRecord]:
    """Return an iterator over the records of a molecule file, chosen by its suffix (see `SUFFIXES`).

    Raises:
        MoldiffError: the file is missing, empty, damaged, of an unknown kind or not what its suffix says. What the
        first bytes
            show is raised here, the rest while iterating.
    """
    reader = next((reader for suffix, reader in _READERS.items() if path.name.lower().endswith(suffix)), None)
    if reader is None:
        raise MoldiffError(f"{path} has an unknown suffix; known are {', '.join(SUFFIXES)}")
    try:
        if path.is_dir():
            raise MoldiffError(f"{path} is a folder, not a molecule file")
        if path.stat().st_size == 0:
            raise MoldiffError(f"{path} is empty")
    except OSError as error:
        raise MoldiffError(f"{path} cannot be read: {error.strerror or error}") from error
    return _guarded(path, reader)


def _guarded(path: Path, reader: Callable[[Path], Iterator[TextRecord]]) -> Iterator[TextRecord]:
    count = 0
    try:
        for record in reader(path):
            count += 1
            yield record
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, csv.Error) as error:
        raise MoldiffError(f"{path} is damaged after {count} records: {str(error) or type(error).__name__}") from error
    except OSError as error:
        raise MoldiffError(f"{path} cannot be read: {error.strerror or error}") from error
    if count == 0:
        raise MoldiffError(f"{path} holds no molecules")


def _open_text(path: Path) -> io.TextIOBase:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", errors="replace", newline=None)
    return open(path, encoding="utf-8-sig", errors="replace", newline=None)


def _read_sdf(path: Path) -> Iterator[TextRecord]:
    """Hold records back until one has a mol block, so that a file that is no SDF gives one error and no records."""
    with _open_text(path) as handle:
        records = (_sdf_record(index, lines) for index, lines in enumerate(_sdf_blocks(handle)))
        head: list[TextRecord] = []
        for record in itertools.islice(records, LOOK_AHEAD):
            head.append(record)
            if "M  END" in record.text:
                break
        else:
            if head:
                raise MoldiffError(f"{path} is not an SDF: no mol block in its first {len(head)} records")
        yield from head
        yield from records


def _sdf_blocks(handle: Iterable[str]) -> Iterator[list[str] | None]:
    """Yield the lines of each record without its "$$$$"; None for a record that is too long to keep."""
    lines: list[str] = []
    size = 0
    for line in handle:
        if line.startswith("$$$$"):
            yield lines if size <= MAX_RECORD else None
            lines, size = [], 0
            continue
        size += len(line)
        if size <= MAX_RECORD:
            lines.append(line.rstrip("\r\n"))
    if size > MAX_RECORD:
        yield None
    elif any(line.strip() for line in lines):
        yield lines


def _sdf_record(index: int, lines: list[str] | None) -> TextRecord:
    if lines is None:
        return TextRecord(index, "sdf", "", "", reason=f"too large: record of more than {MAX_RECORD} characters")
    end = next((number + 1 for number, line in enumerate(lines) if line.startswith("M  END")), len(lines))
    tags: dict[str, str] = {}
    name, values = "", []  # type: str, list[str]
    for line in lines[end:]:
        if found := _TAG.match(line):
            name, values = found.group(1).strip(), []
        elif name and line.strip():
            values.append(line)
            tags[name] = "\n".join(values)
        elif name:
            tags.setdefault(name, "")
            name = ""
    if name:
        tags.setdefault(name, "")
    return TextRecord(index, "sdf", lines[0].strip() if lines else "", "\n".join(lines[:end]) + "\n", tags)


def _smiles_record(index: int, smiles: str, name: str, tags: dict[str, str]) -> TextRecord:
    if len(smiles) > MAX_SMILES:
        return TextRecord(index, "smiles", name, "", tags, f"too large: SMILES of {len(smiles)} characters")
    return TextRecord(index, "smiles", name, smiles, tags, "" if smiles else "empty: no SMILES")


def _read_smi(path: Path) -> Iterator[TextRecord]:
    """Read lines "SMILES [name]"; blank lines, lines that start with "#" and a header line are no records."""
    with _open_text(path) as handle:
        index = 0
        for number, line in enumerate(handle):
            parts = line.strip().split(maxsplit=1)
            if not parts or parts[0].startswith("#") or (number == 0 and parts[0].lower() == "smiles"):
                continue
            yield _smiles_record(index, parts[0], parts[1] if len(parts) > 1 else "", {})
            index += 1


def _columns(path: Path, header: Iterable[str]) -> tuple[str, str | None]:
    """Return the SMILES column and the name column (None if there is none), found without regard to case."""
    lower = {column.strip().lower(): column for column in header}
    if "smiles" not in lower:
        names = ", ".join(lower.values())
        raise MoldiffError(f"{path} has no column 'smiles'; its columns are {names[:200]}")
    return lower["smiles"], next((lower[name] for name in _NAME_COLUMNS if name in lower), None)


def _table_record(index: int, row: dict[str, object], smiles: str, name: str | None) -> TextRecord:
    tags = {
        str(column).strip(): str(value)
        for column, value in row.items()
        if column not in (None, smiles, name) and value is not None and not isinstance(value, list)
    }
    text, title = row.get(smiles), row.get(name) if name else None
    return _smiles_record(index, "" if text is None else str(text).strip(), "" if title is None else str(title), tags)


def _placed_record(record: TextRecord, coordinates: object) -> TextRecord:
    """Return the record of a row that has coordinates too."""
    if not isinstance(coordinates, list) or not all(isinstance(value, int) for value in coordinates):
        return replace(record, text="", reason=f"coordinates: {COORDINATES} is no list of whole numbers")
    text = " ".join((record.text, *map(str, coordinates)))
    if len(text) > MAX_RECORD:
        return replace(record, text="", reason=f"too large: record of more than {MAX_RECORD} characters")
    return replace(record, kind="placed", text=text)


def _read_csv(path: Path) -> Iterator[TextRecord]:
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as handle:
        reader = csv.DictReader(handle)
        smiles, name = _columns(path, reader.fieldnames or [])
        for index, row in enumerate(reader):
            yield _table_record(index, row, smiles, name)


def _read_parquet(path: Path) -> Iterator[TextRecord]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            smiles, name = _columns(path, table.schema_arrow.names)
            rows = (row for batch in table.iter_batches(batch_size=4096) for row in batch.to_pylist())
            for index, row in enumerate(rows):
                placed = row.pop(COORDINATES, None)
                record = _table_record(index, row, smiles, name)
                yield record if placed is None or record.reason else _placed_record(record, placed)
    except pyarrow.ArrowInvalid as error:
        raise MoldiffError(f"{path} is not a Parquet file: {str(error).splitlines()[0][:120]}") from error


def _read_xyz(path: Path) -> Iterator[TextRecord]:
    """Read frames that follow each other. The first has the file's name, later ones their number behind it."""
    with _open_text(path) as handle:
        for index, text in enumerate(_xyz_frames(handle)):
            yield _xyz_record(index, f"{path.stem}_{index}" if index else path.stem, text)


def _xyz_frames(lines: Iterator[str]) -> Iterator[str]:
    """Yield the text of each frame, "" for one that is too long to keep. What does not begin with an atom count is the
    last: nobody knows where another would begin."""
    for line in lines:
        if not line.strip():
            continue
        if not re.fullmatch(r"\s*\d{1,9}\s*", line, flags=re.ASCII):
            yield line + "".join(itertools.islice(lines, LOOK_AHEAD))
            return
        count = int(line)
        if count > MAX_RECORD // _SHORTEST_ATOM:
            deque(itertools.islice(lines, count + 1), maxlen=0)
            yield ""
            continue
        kept = list(itertools.islice(lines, count + 1))
        if kept and kept[0].startswith("gdb"):  # QM9: frequencies, SMILES and InChI follow
            kept += itertools.islice(lines, 3)
        text = line + "".join(kept)
        yield text if len(text) <= MAX_RECORD else ""


def _xyz_record(index: int, stem: str, text: str) -> TextRecord:
    """Return a record of an .xyz text; a QM9 file's comment line gives its name and 15 properties (source units)."""
    if not text:
        return TextRecord(index, "xyz", stem, "", reason=f"too large: more than {MAX_RECORD} characters, or empty")
    lines = text.splitlines()
    fields = lines[1].split() if len(lines) > 1 else []
    if len(fields) == len(QM9_TAGS) + 2 and fields[0] == "gdb":
        return TextRecord(index, "xyz", f"gdb_{fields[1]}", text, dict(zip(QM9_TAGS, fields[2:], strict=True)))
    return TextRecord(index, "xyz", stem, text)


def _read_archive(path: Path) -> Iterator[TextRecord]:
    """Read the original QM9 archive (one extended .xyz per molecule) as a stream; nothing is unpacked to disk."""
    with tarfile.open(path, "r|bz2") as archive:
        index = 0
        for member in archive:
            if not member.isfile() or not member.name.lower().endswith(".xyz"):
                continue
            handle = archive.extractfile(member) if member.size <= MAX_RECORD else None
            text = handle.read().decode("utf-8", errors="replace") if handle else ""
            yield _xyz_record(index, Path(member.name).stem, text)
            index += 1


_READERS: dict[str, Callable[[Path], Iterator[TextRecord]]] = {
    ".sdf.gz": _read_sdf,
    ".sdf": _read_sdf,
    ".smi": _read_smi,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".tar.bz2": _read_archive,
    ".xyz": _read_xyz,
}
SUFFIXES = tuple(_READERS)
