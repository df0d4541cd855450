"""`Result`: what generate, vary and conformers give back: molecules, a table with a row for every draw, a summary."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, overload

from moldiff.arguments import check_flag
from moldiff.arguments import path as as_path
from moldiff.chem.descriptors.score_functions import ScoreError
from moldiff.chem.draw import gallery_html
from moldiff.data_frames import data_frame
from moldiff.errors import MoldiffError, blaming
from moldiff.generation.molecule_result import MoleculeResult, rounded
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.summary import Summary, summary_of, warn_if_none_is_valid, warn_of_shortfall
from moldiff.generation.writer import ResultSheet, write_results
from moldiff.status import Status

if TYPE_CHECKING:
    from pandas import DataFrame
    from rdkit.Chem import Mol

    from moldiff.generation.run import Run

_ROWS, _PICTURES = 5, 6  # what a notebook shows
_SHOWN = ("moldiff_id", "record", "draw", "status", "reason", "smiles", "score")


class Result(Sequence["Mol"]):
    """Result of a request.

    It is a sequence of its `molecules`: ``len(result)``, ``result[0]``, ``for mol in result`` work as with a list.

    >>> import moldiff
    >>> result = moldiff.generate(3, evaluations=4, keep_invalid=True)
    >>> len(result.table), result.summary.requested
    (3, 3)

    Args:
        run: that has ended.
        results: of every draw, in order.
        keep_invalid: whether molecules that are not valid are among the `molecules`.

    Attributes:
        summary: counts by status, reasons, evaluations, seconds, targets; ``summary.lines()`` as on the command line.
        keep_invalid: see above.
    """

    def __init__(self, run: Run, results: Sequence[MoleculeResult], keep_invalid: bool) -> None:
        self._run, self._results, self.keep_invalid = run, tuple(results), keep_invalid
        self.summary: Summary = summary_of(run, "")

    @cached_property
    def molecules(self) -> list[Mol]:
        """The valid molecules in the order of their draws, with ``keep_invalid`` also the others as far as there is
        anything of them. Each carries its row of the `table` as properties, numbers as numbers."""
        return molecules_among(self._results, self._run.columns, self.keep_invalid)

    @cached_property
    def failed(self) -> DataFrame:
        """The rows of `table` that did not become valid molecules."""
        return self.table[self.table["status"] != str(Status.VALID)]

    @cached_property
    def table(self) -> DataFrame:
        """A row for each draw, with the columns of the CSV; numbers are numbers, with six digits."""
        sheet = ResultSheet(self._run)
        rows = [dict(zip(sheet.headings, sheet.cells(result), strict=True)) for result in self._results]
        return data_frame(
            sheet.headings, rows, whole=sheet.whole, texts=sheet.texts, number=lambda value: rounded(float(str(value)))
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write what the command line writes: the SDF, and beside it the CSV and the run record; return the SDF.

        Args:
            path: of the SDF.
            overwrite: replace older files.

        Raises:
            MoldiffError: a file exists without ``overwrite``, or cannot be written.
        """
        check_flag(overwrite, "overwrite")
        with blaming("path", "overwrite"):
            output = OutputOptions(path=as_path(path, "path"), keep_invalid=self.keep_invalid, overwrite=overwrite)
            write_results(self._run, output, self._results, self.summary)
        return output.path

    def __getstate__(self) -> dict[str, object]:
        """Leave out the molecules, which RDKit would pickle without their properties: the copy makes them anew."""
        return {name: value for name, value in vars(self).items() if name != "molecules"}

    def __len__(self) -> int:
        return len(self.molecules)

    @overload
    def __getitem__(self, place: int) -> Mol: ...

    @overload
    def __getitem__(self, place: slice) -> list[Mol]: ...

    def __getitem__(self, place: int | slice) -> Mol | list[Mol]:
        return self.molecules[place]

    def __repr__(self) -> str:
        return f"<moldiff.Result {self._run.task}: {self.summary.line()}>"

    def _repr_html_(self) -> str:
        """Return the summary, the first rows and the first molecules as HTML."""
        shown = [name for name in self._run.columns if name in _SHOWN or name.startswith("error_")]
        table = self.table[shown].head(_ROWS).to_html(index=False, na_rep="", border=0)
        first = self.molecules[:_PICTURES]
        pictures = gallery_html(first, [mol.GetProp("moldiff_id") for mol in first])
        return f"<p>{escape(self.summary.line())}</p>{table}{pictures}"


def result_of(run: Run, keep_invalid: bool) -> Result:
    """Run to the end and return the result.

    Raises:
        ScoreError: with the molecules that were finished before.
        MoldiffError: fewer molecules than were asked for, or none at all.
    """
    found: list[MoleculeResult] = []
    try:
        found.extend(run.results())
    except ScoreError as error:
        raise ScoreError(str(error), molecules_among(found, run.columns, keep_invalid)) from error
    if problem := run.problem():
        # before a model was asked, it was what the run began with
        raise MoldiffError(problem, argument="" if run.evaluations else run.begins_with, word="")
    result = Result(run, found, keep_invalid)
    warn_if_none_is_valid(run.counts, "the table tells why")
    warn_of_shortfall(result.summary)
    return result


def molecules_among(results: Sequence[MoleculeResult], columns: Sequence[str], keep_invalid: bool) -> list[Mol]:
    """Return the molecules of some results with their columns as properties: the valid ones, or all there are."""
    return [
        result.tagged_mol(columns)
        for result in results
        if result.mol is not None and (keep_invalid or result.status == Status.VALID)
    ]
