"""`EvaluationReport`: everything that an evaluation found, as a table, as a folder, as lines in a notebook."""

from __future__ import annotations

import io
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from moldiff.arguments import path
from moldiff.errors import blaming
from moldiff.evaluation.findings import Findings
from moldiff.evaluation.write_report import molecules_csv, write_report

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False, eq=False)
class EvaluationReport(Findings):
    """`Findings` with the ways to look at them.

    >>> import moldiff
    >>> report = moldiff.evaluate(["CCO", "C1CC"], posebusters=0)
    >>> report.counts()["requested"], list(report.table["reason"])[0]
    (2, 'no coordinates: the record has none')
    """

    @property
    def table(self) -> DataFrame:
        """A row for each requested molecule, with the columns of molecules.csv."""
        import pandas as pd

        texts = dict.fromkeys(("name", "reason", "smiles", "posebusters", "rarest_ring", "weakest_bond"), str)
        blank = {name: [""] for name in ("duplicate_of", "novel", "rarest_ring_count", "weakest_bond_association")}
        table = pd.read_csv(io.StringIO(molecules_csv(self)), dtype=texts, keep_default_na=False, na_values=blank)
        flags = dict.fromkeys(("valid", "stable", "edm_stable"), "bool")
        return table.astype({**flags, "duplicate_of": "Int64", "novel": "boolean", "rarest_ring_count": "Int64"})

    @blaming("out", "overwrite")
    def save(self, out: str | Path, *, overwrite: bool = False) -> Path:
        """Write report.json, molecules.csv and pictures into a folder, as the command line does; return the folder.

        Raises:
            MoldiffError: it exists (without ``overwrite``), is something else, or cannot be written.
        """
        folder = path(out, "out")
        write_report(self, folder, overwrite=overwrite)
        return folder

    def __repr__(self) -> str:
        counts = self.counts()
        return f"<EvaluationReport {self.path.name}: {counts['requested']} requested = {counts['valid']} valid + " + (
            f"{counts['invalid']} invalid>"
        )

    def _repr_html_(self) -> str:
        """Return the rates as an HTML table."""
        import pandas as pd

        rates = pd.Series(self.summary["metrics"], name="value", dtype="float64").to_frame()
        return f"<p>{escape(repr(self))}</p>{rates.to_html(border=0, float_format='{:.4f}'.format)}"
