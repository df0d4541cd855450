"""Outputs of two checkouts, read and compared: records, SMILES, states, coordinates, numbers.

The tables `RENAMED_...` have what a newer checkout calls by another name, old name first.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rdkit import Chem

RENAMED_STATES: dict[str, str] = {"filtered": "invalid"}  # of a draw or record; geometry counts as chemistry now
RENAMED_COLUMNS: dict[str, str] = {}  # of any CSV, and metrics of report.json

COORDINATES = 1e-4  # angstrom: one unit of the last decimal of an SDF
VALUES = 1e-4  # relative, of values below 1 absolute


@dataclass(frozen=True)
class Case:
    """A command to compare.

    Attributes:
        command: what stands after ``moldiff``; ``{n}`` molecules, ``{few}`` of each of five, ``{inputs}`` is a folder.
        precision: whether it can be asked for a precision. If not, its input still is of that precision.
        table: CSV that it writes.
        smiles, status: columns of that; "" = it has none.
        numbers: whether the other columns of that are compared, as far as they hold numbers.
        sdf, report: what else it writes, molecules and a JSON with metrics; "" = it does not.
    """

    command: str
    precision: bool = True
    table: str = "out.csv"
    smiles: str = "smiles"
    status: str = "status"
    numbers: bool = False
    sdf: str = "out.sdf"
    report: str = ""


@dataclass(frozen=True)
class Output:
    """What a command wrote.

    Attributes:
        smiles, states: of the records, in order.
        molecules: symbols and coordinates (atoms, 3) of each record of the SDF, in order.
        values: name -> numbers, NaN = none.
        seconds: of CPU time.
    """

    smiles: list[str]
    states: list[str]
    molecules: list[tuple[list[str], np.ndarray]]
    values: dict[str, list[float]]
    seconds: float

    @property
    def records(self) -> int:
        """How many rows the CSV has."""
        return max(len(self.smiles), len(self.states))


@dataclass(frozen=True)
class Row:
    """A row of the table, without what was run.

    Attributes:
        cells: from records to values.
        differences: what is not the same; nothing if all is.
        seconds: CPU seconds of OLD and NEW.
    """

    cells: tuple[str, ...] = ("",) * 5
    differences: tuple[str, ...] = ()
    seconds: tuple[float, ...] = (math.nan, math.nan)

    @property
    def verdict(self) -> str:
        """The last cell of the row."""
        return f"DIFFERENT: {', '.join(self.differences)}".replace("|", "/") if self.differences else "same"


def read_output(case: Case, folder: Path, seconds: float) -> Output:
    """Read what a command wrote, all names being those of a newer checkout.

    Raises:
        OSError, ValueError, KeyError, TypeError: it is not there or not as it should be.
    """
    with (folder / case.table).open(encoding="utf-8", newline="") as file:
        rows = [{newer(name): text for name, text in row.items()} for row in csv.DictReader(file)]
    if not rows:
        raise ValueError(f"no rows in {case.table}")
    smiles, status = newer(case.smiles), newer(case.status)
    values = numbers(rows) if case.numbers else {}
    if case.report:
        metrics = json.loads((folder / case.report).read_text(encoding="utf-8"))["metrics"]
        values |= {newer(name): [number(metric["value"])] for name, metric in metrics.items()}
    return Output(
        [row[smiles] for row in rows] if smiles else [],
        [RENAMED_STATES.get(row[status], row[status]) for row in rows],
        read_molecules(folder / case.sdf) if case.sdf else [],
        values,
        seconds,
    )


def newer(name: str) -> str:
    """Return the name of a column or metric in a newer checkout."""
    return RENAMED_COLUMNS.get(name, name)


def number(value: str | float | None) -> float:
    """Return a number, NaN for none; ValueError if it is something else."""
    return math.nan if value is None or value == "" else float(value)


def numbers(rows: Sequence[Mapping[str, str]]) -> dict[str, list[float]]:
    """Return the columns that hold nothing but numbers and empty cells."""
    found = {}
    for name in rows[0]:
        with contextlib.suppress(ValueError):
            found[name] = [number(row[name]) for row in rows]
    return found


def read_molecules(path: Path) -> list[tuple[list[str], np.ndarray]]:
    """Return symbols and coordinates of each record, as they stand there; ValueError if one cannot be read."""
    if not path.stat().st_size:
        return []
    found = []
    for place, mol in enumerate(Chem.SDMolSupplier(str(path), sanitize=False, removeHs=False)):
        if mol is None:
            raise ValueError(f"record {place} of {path.name}")
        found.append(([atom.GetSymbol() for atom in mol.GetAtoms()], mol.GetConformer().GetPositions()))
    return found


def compare(old: Output, new: Output) -> Row:
    """Compare what two sides wrote."""
    differences = []
    if old.records != new.records or len(old.molecules) != len(new.molecules):
        differences.append("number of records")
    counts = []
    for what, ours, theirs in (("SMILES", old.smiles, new.smiles), ("states", old.states, new.states)):
        same, most = sum(a == b for a, b in zip(ours, theirs, strict=False)), max(len(ours), len(theirs))
        counts.append(f"{same} of {most}" if most else "-")
        if same < most:
            differences.append(what)
    shift = max((distance(*pair) for pair in zip(old.molecules, new.molecules, strict=False)), default=None)
    if shift is not None and not shift <= COORDINATES + 1e-9:
        differences.append("coordinates" if math.isfinite(shift) else "atoms")
    drift = max(deviations(old.values, new.values), default=None)
    if drift is not None and not drift <= VALUES:
        differences.append("values" if math.isfinite(drift) else "missing values")
    records = str(old.records) if old.records == new.records else f"{old.records} / {new.records}"
    cells = (records, *counts, *("-" if one is None else f"{one:.2g}" for one in (shift, drift)))
    return Row(cells, tuple(differences), (old.seconds, new.seconds))


def distance(old: tuple[list[str], np.ndarray], new: tuple[list[str], np.ndarray]) -> float:
    """Return how far a coordinate of any atom moved, angstrom; infinite if the atoms are other ones."""
    if old[0] != new[0]:
        return math.inf
    return finite(float(np.abs(old[1] - new[1]).max(initial=0.0)))


def deviations(old: Mapping[str, list[float]], new: Mapping[str, list[float]]) -> Iterable[float]:
    """Yield how far each old value is from its new counterpart, relative; infinite where there is none."""
    for name, ours in old.items():
        theirs = new.get(name, [])
        if len(ours) != len(theirs):
            yield math.inf
        for a, b in zip(ours, theirs, strict=False):
            if a == b or (math.isnan(a) and math.isnan(b)):
                yield 0.0
            else:
                yield finite(abs(a - b) / max(1.0, abs(a)))


def finite(number: float) -> float:
    """Return a number; infinity for NaN, which `max` would lose."""
    return math.inf if math.isnan(number) else number
