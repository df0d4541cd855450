"""Numbers of a molecule's geometry: PoseBusters, strain, GFN2-xTB. What comes without coordinates is given some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from rdkit import Chem

from moldiff.chem.descriptors.xtb import GFN2_PROPERTIES, gfn2_properties
from moldiff.chem.filters.checks import Measured, Subject
from moldiff.chem.libraries import load, unswitched
from moldiff.chem.relax import relax
from moldiff.choices import EnergyMethod
from moldiff.extras import XTB

if TYPE_CHECKING:
    from posebusters import PoseBusters

CONFIG = "mol_fast"
"""The set of PoseBusters' checks."""


@dataclass(frozen=True)
class GeometryMeasure:
    """A number that needs coordinates.

    Attributes:
        name: that users write.
        cost: about how many milliseconds a drug-like molecule takes on one core, coordinates apart.
        whole: values are whole numbers.
    """

    name: str
    cost: float
    whole: bool = False

    def __call__(self, subject: Subject) -> Measured:
        mol, reason = subject.placed
        if mol is None:
            return Measured(float("nan"), reason)
        return _FUNCTIONS[self.name](subject, mol, self.name)


def failed_checks(mol: Chem.Mol) -> tuple[str, ...]:
    """Return the names of PoseBusters' fast checks (Buttenschoen et al. 2024) that a molecule in 3D fails."""
    with unswitched():
        table = _checker().bust([mol])
    # A check that could not be run is missing in the table, and no pass.
    passed = table.astype(object).where(table.notna(), False).to_numpy(dtype=bool)[0]
    return tuple(name for name, flag in zip(table.columns, passed, strict=True) if not flag)


def load_posebusters() -> None:
    """Load the library, which takes a second or two."""
    _checker()


@cache
def _checker() -> PoseBusters:
    load("posebusters")
    from posebusters import PoseBusters

    return PoseBusters(config=CONFIG)


def _posebusters(subject: Subject, mol: Chem.Mol, name: str) -> Measured:
    failed = failed_checks(mol)
    return Measured(float(len(failed)), ", ".join(failed))


def _mmff_strain(subject: Subject, mol: Chem.Mol, name: str) -> Measured:
    return _strain(mol, EnergyMethod.MMFF94S)


def _gfn2_strain(subject: Subject, mol: Chem.Mol, name: str) -> Measured:
    return _strain(mol, EnergyMethod.GFN2)


def _strain(mol: Chem.Mol, method: EnergyMethod) -> Measured:
    found = relax(mol, method)
    if found.mol is None and "relaxed_by_kcal_mol" not in found.values:
        return Measured(float("nan"), found.reason)
    return Measured(found.values["relaxed_by_kcal_mol"])


def _gfn2(subject: Subject, mol: Chem.Mol, name: str) -> Measured:
    values = subject.remembered("gfn2", lambda: gfn2_properties(mol))
    return (
        Measured(values[name]) if values else Measured(float("nan"), "no self-consistent field, or an unknown element")
    )


_FUNCTIONS: Mapping[str, Callable[[Subject, Chem.Mol, str], Measured]] = MappingProxyType(
    {
        "posebusters": _posebusters,
        "mmff_strain_kcal_mol": _mmff_strain,
        "gfn2_strain_kcal_mol": _gfn2_strain,
        **dict.fromkeys(GFN2_PROPERTIES, _gfn2),
    }
)
GEOMETRY_MEASURES = (
    GeometryMeasure("posebusters", 110.0, whole=True),
    GeometryMeasure("mmff_strain_kcal_mol", 20.0),
    GeometryMeasure("gfn2_strain_kcal_mol", 1000.0),
    *(GeometryMeasure(name, 50.0) for name in GFN2_PROPERTIES),
)


def check_installed(name: str) -> None:
    """Raise MoldiffError if a measure needs an extra that is not there."""
    if name.startswith("gfn2_"):
        XTB.require(name, "where")
