"""Files of an evaluation: a folder of report.json, report.html, molecules.csv and PNGs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from moldiff.chem.descriptors.rarity import COLUMNS as RARITY_COLUMNS
from moldiff.chem.filters.validity import mark_duplicates
from moldiff.errors import dispensable
from moldiff.evaluation.findings import Findings
from moldiff.evaluation.metrics import known
from moldiff.evaluation.plots import draw, draw_rarity, draw_similarity
from moldiff.evaluation.report_page import report_page
from moldiff.files import atomic_writer, write_json, write_text
from moldiff.folders import Ours, new_folder, refuse_folder
from moldiff.foreign_text import safe_cell

REPORT_FILE = "report.json"
MOLECULES_FILE = "molecules.csv"
PAGE_FILE = "report.html"
PICTURES = (
    "bonds.png", "angles.png", "torsions.png", "properties.png", "composition.png", "similarity.png", "rarity.png",
)  # fmt: skip
OURS = Ours("a report", REPORT_FILE, (MOLECULES_FILE, PAGE_FILE, *PICTURES))
COLUMNS = (
    "index", "name", "valid", "reason", "n_atoms", "stable", "edm_stable",
    "smiles", "duplicate_of", "novel", "posebusters", *RARITY_COLUMNS,
)  # fmt: skip


def check_output(out: Path, *, overwrite: bool) -> None:
    """Raise MoldiffError if ``out`` exists without ``overwrite``, or is not a folder that held a report before."""
    refuse_folder(out, OURS, overwrite)


def write_report(report: Findings, out: Path, *, overwrite: bool = False) -> None:
    """Write the files into the folder ``out``, which appears when all of them are there.

    Raises:
        MoldiffError: ``out`` exists (without ``overwrite``), is something else, or cannot be written.
    """
    with new_folder(out, OURS, overwrite=overwrite) as folder:
        pictures: dict[str, bytes] = {}
        with dispensable("pictures in the report"):
            pictures = _pictures(report)
        for name, picture in pictures.items():
            with atomic_writer(folder / name, binary=True) as handle:
                handle.write(picture)
        write_text(folder / MOLECULES_FILE, molecules_csv(report))
        write_text(folder / PAGE_FILE, report_page(report).html())
        write_json(folder / REPORT_FILE, report.to_json())


def _pictures(report: Findings) -> dict[str, bytes]:
    """Return the PNGs of a report by the names of their files."""
    pictures = draw(report.sample, report.reference, report.comparison)
    if report.memorisation is not None:
        pictures["similarity.png"] = draw_similarity(report.memorisation)
    if report.rarity is not None:
        pictures["rarity.png"] = draw_rarity(report.rarity)
    return pictures


def molecules_csv(report: Findings) -> str:
    """Return one row per requested molecule, all its columns in `COLUMNS`.

    ``smiles`` carries stereo; ``duplicate_of`` is the index of the first molecule of the same SMILES without stereo;
    ``novel`` is told without stereo and empty without training keys; ``posebusters`` is "pass", the failed checks,
    "not checked: " and why, or empty where not run. The columns of rarity are empty without tables; atoms of the
    weakest bond are numbered from 0.
    """
    rows = report.rows
    duplicates = mark_duplicates([row.smiles or None for row in rows])
    keys = report.reference.keys if report.reference else None
    seen = known([row.smiles for row in rows], keys.graph) if keys is not None else None
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place, row in enumerate(rows):
        novel = "" if seen is None or not row.valid else int(not seen[place])
        checks = report.posebusters.told(row.index) if report.posebusters else ""
        first = duplicates[place]
        cells = [
            row.index, row.name, int(row.valid), row.reason, row.n_atoms, int(row.stable), int(row.distance_stable),
            row.smiles_stereo, "" if first is None else first, novel, checks, *_rarity(report, row.index),
        ]  # fmt: skip
        writer.writerow(map(safe_cell, cells))
    return buffer.getvalue()


def _rarity(report: Findings, index: int) -> list[object]:
    """Return the cells of `RARITY_COLUMNS`."""
    if report.rarity is None or index not in report.rarity.by_index:
        return [""] * len(RARITY_COLUMNS)
    ring, bond = report.rarity.by_index[index]
    return [ring.smiles, ring.count, bond.name, f"{bond.association:.4g}"]
