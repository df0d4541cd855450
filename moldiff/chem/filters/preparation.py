"""Checks that prepare what others, tables and files need: an InChIKey, coordinates; and checks that are got ready."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from rdkit import Chem, rdBase

from moldiff.chem.filters.checks import Check, CheckResult, Prepared, Subject
from moldiff.chem.filters.measures import MeasureCheck


@dataclass(frozen=True)
class InchikeyCheck:
    """Passes everything. Value: the standard InChIKey; None where InChI refuses the molecule."""

    name = "inchikey"
    cost = 0.25
    is_text = True

    def __call__(self, subject: Subject) -> CheckResult:
        return CheckResult(self.name, True, subject.inchikey or None)


@dataclass(frozen=True)
class CoordinatesCheck:
    """Passes what has 3D coordinates or can be given some by ETKDGv3. Value: None."""

    name = "coordinates"
    cost = 40.0
    is_text = True

    def __call__(self, subject: Subject) -> CheckResult:
        mol, reason = subject.placed
        return CheckResult(self.name, mol is not None, None, reason)


def ethanol(seed: int) -> Subject:
    """Return a molecule that every check can cope with.

    Args:
        seed: of its coordinates.
    """
    return Subject(Chem.MolFromSmiles("CCO"), seed)


def prepare(checks: Iterable[Check], subject: Subject) -> None:
    """Let checks build what they keep: catalogues, tables, libraries. Those that run a user's code do not run it; what
    goes wrong is said of a record, which it costs."""
    with rdBase.BlockLogs():
        for check in checks:
            source = check.measure if isinstance(check, MeasureCheck) else check
            with contextlib.suppress(Exception):
                if isinstance(source, Prepared):
                    source.prepare(subject)
                else:
                    check(subject)
