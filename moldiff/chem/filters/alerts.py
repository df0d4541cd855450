"""Structural alerts by family, as RDKit ships them (`FilterCatalog`), each alert by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from rdkit import Chem, rdBase
from rdkit.Chem import FilterCatalog

from moldiff.chem.filters.checks import CheckResult, Subject
from moldiff.choices import AlertFamily

COSTS: Mapping[AlertFamily, float] = {
    AlertFamily.PAINS: 1.2,
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
    with rdBase.BlockLogs():
        return list(dict.fromkeys(entry.GetDescription() for entry in _catalogue(family).GetMatches(bare)))


@cache
def _catalogue(family: AlertFamily) -> FilterCatalog.FilterCatalog:
    parameters = FilterCatalog.FilterCatalogParams()
    known = FilterCatalog.FilterCatalogParams.FilterCatalogs.names
    parameters.AddCatalog({name.lower(): member for name, member in known.items()}[family])
    return FilterCatalog.FilterCatalog(parameters)
