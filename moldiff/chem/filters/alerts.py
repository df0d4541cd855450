"""Structural alerts by family, as RDKit ships them (`FilterCatalog`), each alert by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from rdkit import Chem, DataStructs
from rdkit.Chem import FilterCatalog

from moldiff.chem.filters.checks import CheckResult, Subject
from moldiff.choices import AlertFamily

COSTS: Mapping[AlertFamily, float] = {
    AlertFamily.PAINS: 0.3,
    AlertFamily.BRENK: 0.15,
    AlertFamily.NIH: 1.0,
    AlertFamily.ZINC: 0.05,
    AlertFamily.CHEMBL: 2.5,
    AlertFamily.CHEMBL_GLAXO: 0.1,
    AlertFamily.CHEMBL_DUNDEE: 0.15,
    AlertFamily.CHEMBL_BMS: 0.9,
    AlertFamily.CHEMBL_SURECHEMBL: 0.3,
    AlertFamily.CHEMBL_MLSMR: 0.2,
    AlertFamily.CHEMBL_INPHARMATICA: 0.3,
    AlertFamily.CHEMBL_LINT: 0.2,
}
"""About how many milliseconds a drug-like molecule takes on one core."""
SCREENED = frozenset({AlertFamily.PAINS})
"""Families whose large patterns pay for a screen by fingerprints: a fifth of the time. Of the others, too many pass."""
BITS = 2048
_STORED = re.compile(rb"(\d+) \xef\xbe\xad\xde")  # a length, and how RDKit's molecules begin


@dataclass(frozen=True)
class AlertCheck:
    """Passes what has no alert of a family. Value: the names of the alerts that were found.

    Attributes:
        family: of alerts.
    """

    family: AlertFamily
    is_text = True

    @property
    def name(self) -> str:
        return str(self.family)

    @property
    def cost(self) -> float:
        return COSTS[self.family]

    def __call__(self, subject: Subject) -> CheckResult:
        if subject.bare is None:
            return CheckResult(self.name, False, None, "RDKit cannot leave out the hydrogens", broken=True)
        found = "; ".join(alerts(self.family, subject.bare))
        return CheckResult(self.name, not found, found or None, found)


def alerts(family: AlertFamily, bare: Chem.Mol) -> list[str]:
    """Return the names of the alerts of a family that a sanitised molecule without explicit hydrogens has, without
    those that it has twice."""
    screen = _screen(family) if family in SCREENED else None
    if screen is None:
        found = list(_catalogue(family).GetMatches(bare))
    else:
        missing = (screen.bits & ~_bits(bare)).any(axis=1)
        candidates = (screen.entries[place] for place in np.flatnonzero(~missing))
        found = [entry for entry in candidates if entry.HasFilterMatch(bare)]
    return list(dict.fromkeys(entry.GetDescription() for entry in found))


@dataclass(frozen=True)
class _Screen:
    """The alerts of a family beside the fingerprints of their patterns: a molecule that lacks a bit of one cannot have
    that alert.

    Attributes:
        entries: P alerts.
        bits: (P, BITS / 64) uint64.
    """

    entries: tuple[Any, ...]
    bits: np.ndarray


@cache
def _screen(family: AlertFamily) -> _Screen | None:
    """Return the screen of a family; None where its patterns cannot be told from what RDKit stores."""
    catalogue = _catalogue(family)
    entries = tuple(catalogue.GetEntryWithIdx(place) for place in range(catalogue.GetNumEntries()))
    patterns = [_pattern(bytes(entry.Serialize())) for entry in entries]
    if any(pattern is None for pattern in patterns):
        return None
    return _Screen(entries, np.stack([_bits(pattern) for pattern in patterns]))


def _pattern(stored: bytes) -> Chem.Mol | None:
    """Return the pattern within an alert as RDKit stores it: its length, a blank and the molecule."""
    places = list(_STORED.finditer(stored))
    if len(places) != 1:
        return None
    start = places[0].end(1) + 1
    try:
        return Chem.Mol(stored[start : start + int(places[0][1])])
    except Exception:  # noqa: BLE001 - another format than this one
        return None


def _bits(mol: Chem.Mol) -> np.ndarray:
    """Return the fingerprint for substructure screens, (BITS / 64,) uint64."""
    return np.frombuffer(DataStructs.BitVectToBinaryText(Chem.PatternFingerprint(mol, BITS)), dtype=np.uint64)


@cache
def _catalogue(family: AlertFamily) -> FilterCatalog.FilterCatalog:
    parameters = FilterCatalog.FilterCatalogParams()
    known = FilterCatalog.FilterCatalogParams.FilterCatalogs.names
    parameters.AddCatalog({name.lower(): member for name, member in known.items()}[family])
    return FilterCatalog.FilterCatalog(parameters)
