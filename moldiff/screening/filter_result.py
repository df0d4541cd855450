"""`FilterResult`: what `moldiff.filter` gives back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, overload

from moldiff.arguments import check_flag
from moldiff.arguments import path as as_path
from moldiff.chem.convert import from_bytes, to_bytes
from moldiff.chem.filters.checks import Subject
from moldiff.chem.io.outputs import cell, kind_of
from moldiff.data_frames import data_frame
from moldiff.errors import MoldiffError, blaming
from moldiff.screening.filter_files import filter_files
from moldiff.screening.filter_run import FilterRun
from moldiff.screening.outputs import Sheet, pack_of
from moldiff.screening.ranking import Best
from moldiff.screening.rows import WHOLE, Row
from moldiff.status import Status

if TYPE_CHECKING:
    from pandas import DataFrame
    from rdkit.Chem import Mol

_ROWS = 5  # what a notebook shows


def packed_molecule(subject: Subject, row: Row) -> bytes:
    """Return a molecule as bytes, at its pose if it was docked."""
    return to_bytes(subject.pose or subject.mol)


def _molecule(row: Row, sheet: Sheet) -> Mol:
    """Return the molecule of a row with its cells as properties."""
    assert isinstance(row.packed, bytes)
    mol = from_bytes(row.packed)
    mol.SetProp("_Name", row.name)
    for name, value in zip(sheet.headings, sheet.cells(row), strict=True):
        if isinstance(value, float):
            mol.SetDoubleProp(name, value)
        elif isinstance(value, int):
            mol.SetIntProp(name, value)
        elif value:
            mol.SetProp(name, str(value))
    return mol


class FilterResult(Sequence["Mol"]):
    """The result of a pass over molecules: those that passed, and a row for every record.

    >>> import moldiff
    >>> result = moldiff.filter(["CCO", "CCCCCCCCCCCC"], where="logp<2")
    >>> len(result), list(result.table["status"])
    (1, ['valid', 'filtered'])

    >>> import moldiff
    >>> result = moldiff.filter(["CCO", "c1ccccc1", "CCCCCC"], where="logp<1.5", rank="mw")
    >>> len(result), result.summary.requested, result[0].GetProp("smiles")
    (1, 3, 'CCO')

    It is a sequence of its `molecules`: ``len(result)``, ``result[0]``, ``for mol in result`` work as with a list.

    Args:
        run: that has ended.
        rows: of every record, in order, molecules packed by `packed_molecule`.

    Attributes:
        summary: counts by status and by stage, seconds; ``summary.lines()`` as on the command line.
    """

    def __init__(self, run: FilterRun, rows: Sequence[Row]) -> None:
        self._run, self._rows = run, tuple(rows)
        best = Best(run.options.rank, run.options.n)
        for row in rows:
            if row.status == Status.VALID:
                best.add(row)
        self._kept = tuple(best)
        self.summary = run.summary(len(self._kept))

    @cached_property
    def molecules(self) -> list[Mol]:
        """The molecules that are kept, the best first, or in their order. Each carries its cells of the `table` and its
        data fields as properties, under the names that a table of kept molecules gives them."""
        sheet = self._run.kept_sheet(tuple(self._run.fields))
        return [_molecule(row, sheet) for row in self._kept]

    @cached_property
    def table(self) -> DataFrame:
        """A row for each record, kept or not, with the columns of the CSV of all records."""
        sheet = self._run.sheet
        rows = [
            {name: cell(value) if name in sheet.texts else value for name, value in row.cells(sheet.columns).items()}
            for row in self._rows
        ]
        return data_frame(sheet.columns, rows, whole=WHOLE, texts=sheet.texts)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write what the command line writes, and return the file of the molecules that are kept.

        Args:
            path: its suffix says what is written: .sdf, .sdf.gz, .smi, .csv or .parquet.
            overwrite: replace older files.

        Raises:
            MoldiffError: a file exists without ``overwrite``, or cannot be written; or an SDF is asked for and a
                molecule cannot be given coordinates.
        """
        check_flag(overwrite, "overwrite")
        out = as_path(path, "path")
        with (
            blaming("path", "overwrite"),
            filter_files(self._run, out, overwrite=overwrite, fields=tuple(self._run.fields)) as files,
        ):
            for row in self._rows:
                files.records.add(row)
            for row in self._kept:
                files.molecules.add(row.with_packed(self._packed(row, out)))
            files.end(len(self._kept))
        return out

    def _packed(self, row: Row, out: Path) -> str | bytes | None:
        assert isinstance(row.packed, bytes)
        kind = kind_of(out)
        subject = Subject(from_bytes(row.packed), self._run.options.seed)
        if kind.has_coordinates and subject.placed[0] is None:
            raise MoldiffError(f"{out}: record {row.number} cannot be written ({subject.placed[1]}); .smi and .csv can")
        return pack_of(kind)(subject, row)

    def __getstate__(self) -> dict[str, object]:
        """Leave out the molecules, which RDKit would pickle without their properties: the copy makes them anew."""
        return {name: value for name, value in vars(self).items() if name != "molecules"}

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Mol]:
        return iter(self.molecules)

    @overload
    def __getitem__(self, place: int) -> Mol: ...

    @overload
    def __getitem__(self, place: slice) -> list[Mol]: ...

    def __getitem__(self, place: int | slice) -> Mol | list[Mol]:
        return self.molecules[place]

    def __repr__(self) -> str:
        return f"<moldiff.FilterResult: {self.summary.line()}>"

    def _repr_html_(self) -> str:
        table = self.table.head(_ROWS).to_html(index=False, na_rep="", border=0)
        return f"<p>{escape(self.summary.line())}</p>{table}"
