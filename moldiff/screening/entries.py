"""The records of libraries, one after the other, as plain data that can be sent to worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from moldiff.chem.convert import from_bytes, to_bytes
from moldiff.chem.filters.checks import CheckResult
from moldiff.chem.io.inputs import Molecules, files_named, records_of, texts_of
from moldiff.chem.io.records import Record, TextRecord, parse, read_texts
from moldiff.chem.io.tables import Columns, add_fields
from moldiff.errors import blaming, blaming_for
from moldiff.foreign_text import readable
from moldiff.status import Status


@dataclass(frozen=True)
class Entry:
    """One record of a library.

    Attributes:
        number: among all records of the library, from 0.
        file: that it stands in; "" for a molecule that was given itself.
        text: the record, not parsed yet; None for such a molecule.
        given: of such a molecule its name, its bytes (None if there is none), and why it cannot be worked with.
        known: name -> result of checks that were asked before.
        fields: data fields of such a molecule.
        judged: status and reason of a record without a molecule, from whoever made it; None = it is to be read.
    """

    number: int
    file: str
    text: TextRecord | None = None
    given: tuple[str, bytes | None, str] = ("", None, "")
    known: Mapping[str, CheckResult] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    judged: tuple[Status, str] | None = None

    @property
    def name(self) -> str:
        """The record's title; "" = none."""
        return self.given[0] if self.text is None else self.text.name

    @property
    def tags(self) -> Mapping[str, str]:
        """The record's data fields."""
        return self.fields if self.text is None else self.text.tags

    def read(self) -> Record:
        """Return the parsed record; bad chemistry gives a reason, never an exception."""
        if self.text is not None:
            return parse(self.text)
        name, data, reason = self.given
        mol = None if data is None else from_bytes(data)
        return Record(self.number, name, None if reason else mol, reason=reason, raw=mol if reason else None)


@dataclass(frozen=True)
class Library:
    """Molecule files, one after the other, or molecules.

    Attributes:
        files: the former.
        molecules: the latter, where there are no files.
        columns: of files that are tables; None = they are found out.
    """

    files: tuple[Path, ...] = ()
    molecules: Molecules | None = field(default=None, compare=False)
    columns: Columns | None = None

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries.

        Raises:
            MoldiffError: a file is missing, empty, damaged, of an unknown kind or not what its suffix says.
        """
        if self.files:
            pairs = ((readable(str(path)), text) for path in self.files for text in self._texts(path))
            yield from (Entry(number, file, text) for number, (file, text) in enumerate(pairs))
            return
        for number, record in enumerate(records_of(self.molecules)):
            data = None if record.seen is None else to_bytes(record.seen)
            yield Entry(number, "", given=(record.name, data, record.reason), fields=record.tags)

    def tag_names(self) -> tuple[str, ...]:
        """Return the names of all data fields of files in the order in which they come, from a pass over them."""
        found: dict[str, None] = {}
        for path in self.files:
            for text in self._texts(path):
                add_fields(found, text.tags, path)
        return tuple(found)

    def _texts(self, path: Path) -> Iterator[TextRecord]:
        with blaming("molecules", "columns"):
            return blaming_for(read_texts(path, self.columns), "molecules", "columns")


def library_of(files: Sequence[str | Path], columns: Columns | None = None) -> Library:
    """Return the library of some files; a name with * ? or [ that is no file stands for all that match it, sorted.

    Raises:
        MoldiffError: no file is named, none matches, one is named twice, or ``columns`` are named of one that is no
            table.
    """
    found = files_named(files)
    texts_of(found, columns)  # what the first bytes show, before any work
    return Library(found, columns=columns)
