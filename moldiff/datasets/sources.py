"""Files to read, as streams of text records: single files, and PyG's copy of QM9 with its table of properties."""

from __future__ import annotations

import csv
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moldiff.chem.io.capped import capped_lines
from moldiff.chem.io.encodings import open_text
from moldiff.chem.io.inputs import files_named
from moldiff.chem.io.records import TextRecord, read_texts
from moldiff.chem.io.tables import Columns, add_fields
from moldiff.errors import MoldiffError
from moldiff.foreign_text import readable
from moldiff.reading import check_regular, read_whole, sha256_of

CHUNK_RECORDS = 256
TAG_SAMPLE = 1000  # records at the head of each file that tell which tags it has

_DIGITS = 9  # of a number in PyG's files
_MOST_LISTED = 1 << 24  # bytes of the list of inconsistent molecules
PYG_FILES = ("gdb9.sdf", "gdb9.sdf.csv", "uncharacterized.txt")
NO_RECORDS = "there are no molecules in what was given"
INCONSISTENT = "qm9: failed the consistency check of the data set's authors"


@dataclass(frozen=True)
class Source:
    """One input: a molecule file, or the SDF of PyG's QM9 with the two files beside it (``companions``)."""

    path: Path
    companions: tuple[Path, ...] = ()
    columns: Columns | None = None

    @property
    def is_qm9(self) -> bool:
        """The tags are those of QM9's authors: PyG's copy or the original archive."""
        return bool(self.companions) or self.path.name.lower().endswith(".tar.bz2")

    def texts(self) -> Iterator[TextRecord]:
        """Yield the records; errors as in `moldiff.chem.io.records.read_texts`."""
        return _pyg_texts(self.path, *self.companions) if self.companions else read_texts(self.path, self.columns)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the source."""
        return (self.path, *self.companions)

    def hashes(self) -> list[dict[str, str]]:
        """Return file name and SHA-256 of every file of the source."""
        return [{"file": path.name, "sha256": sha256_of(path)} for path in self.files]


@dataclass(frozen=True)
class Chunk:
    """Consecutive records of one file, sent to a worker as text."""

    source: str
    records: list[TextRecord]


def find_sources(names: Sequence[str | Path], columns: Columns | None = None) -> list[Source]:
    """Return the sources for the given files or PyG folders, after a look at the head of each.

    Args:
        names: of the files, with patterns as in `moldiff.chem.io.inputs.files_named`.
        columns: where tables have their SMILES and names.

    Raises:
        MoldiffError: as there; or a file is missing, empty, unknown or unreadable.
    """
    paths = files_named(names)
    sources = [_pyg_source(path) if path.is_dir() else Source(path, columns=columns) for path in paths]
    for source in sources:
        next(source.texts(), None)  # a broken third file should not be noticed after an hour with the first two
    return sources


def chunks(sources: Sequence[Source]) -> Iterator[Chunk]:
    """Yield the records of all sources in order, `CHUNK_RECORDS` at a time."""
    for source in sources:
        texts = source.texts()
        while records := list(itertools.islice(texts, CHUNK_RECORDS)):
            yield Chunk(readable(source.path.name), records)


def tag_names(sources: Sequence[Source], *, thorough: bool) -> list[str]:
    """Return the tag or column names in order of appearance, from the head of each source or from all records."""
    names: dict[str, None] = {}
    for source in sources:
        for record in itertools.islice(source.texts(), None if thorough else TAG_SAMPLE):
            add_fields(names, record.tags, source.path)
    return list(names)


def _pyg_source(folder: Path) -> Source:
    """Find PyG's QM9 in its root folder or in the folder ``raw`` below it."""
    for candidate in (folder, folder / "raw"):
        if all((candidate / name).is_file() for name in PYG_FILES):
            sdf, table, inconsistent = (candidate / name for name in PYG_FILES)
            return Source(sdf, (table, inconsistent))
    raise MoldiffError(f"{folder} is a folder without PyG's QM9 ({', '.join(PYG_FILES)}); give a molecule file")


def _pyg_texts(sdf: Path, table: Path, inconsistent: Path) -> Iterator[TextRecord]:
    """Yield PyG's molecules with the columns of its table as lower-case tags.

    Only names, elements and coordinates come from the SDF: its bond orders are wrong for about one molecule in four, so
    bonds are perceived from the geometry, as for the original archive.
    """
    failed = _inconsistent_molecules(inconsistent)
    for record, row in itertools.zip_longest(read_texts(sdf), _pyg_rows(table)):
        if record is None or row is None or record.name != row["mol_id"]:
            raise MoldiffError(f"{sdf} and {table} do not hold the same molecules in the same order")
        tags = {name.lower(): value or "" for name, value in row.items() if name and name != "mol_id"}
        reason = record.reason or (INCONSISTENT if record.index + 1 in failed else "")
        text = "" if reason else _block_to_xyz(record.text)
        yield dataclasses.replace(record, kind="xyz", text=text, tags=tags, reason=reason)


def _pyg_rows(table: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of PyG's table of properties."""
    check_regular(table)
    try:
        with open_text(table) as handle:
            rows = csv.DictReader(capped_lines(table, handle))
            if "mol_id" not in (rows.fieldnames or ()):
                raise MoldiffError(f"{table} is not the property table of QM9 (no column mol_id)")
            yield from rows
    except csv.Error as error:
        raise MoldiffError(f"{table} is damaged: {error}") from error


def _inconsistent_molecules(path: Path) -> set[int]:
    """Read the numbers (from 1) in the first column of the list of inconsistent molecules; head and foot are prose."""
    first_words = (
        line.split()[:1] for line in read_whole(path, _MOST_LISTED).decode("utf-8", errors="replace").splitlines()
    )
    return {number for words in first_words if words and (number := _whole(words[0])) is not None}


def _whole(text: str) -> int | None:
    """Return the number that a text of few digits is, None if it is no such text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


def _block_to_xyz(block: str) -> str:
    """Write the atoms of a V2000 mol block as .xyz; a text that is no mol block gives one that is no .xyz either."""
    lines = block.splitlines()
    counts = lines[3][:3].strip() if len(lines) > 3 else ""
    atoms = [line.split() for line in lines[4 : 4 + (_whole(counts) or 0)]]
    rows = [" ".join((fields[3], *fields[:3])) for fields in atoms if len(fields) > 3]
    return "\n".join([str(len(atoms)), lines[0] if lines else "", *rows, ""])
