"""Checks that prepare what others, tables and files need: an InChIKey, coordinates."""

from __future__ import annotations

from dataclasses import dataclass

from moldiff.chem.filters.checks import CheckResult, Subject


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
