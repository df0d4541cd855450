"""Electronic properties of a molecule as it is, by a GFN2-xTB single point (Bannwarth et al. 2019). Extra: ``xtb``."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from rdkit.Chem import Mol

from moldiff.chem.graph import graph

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

BOHR = 0.529177210903  # angstrom
HARTREE = 27.211386245988  # eV
DEBYE = 2.541746473  # debye per e bohr

GFN2_PROPERTIES = ("gfn2_homo_eV", "gfn2_lumo_eV", "gfn2_gap_eV", "gfn2_dipole_D", "gfn2_energy_Eh")


def is_installed() -> bool:
    """Return whether the extra ``xtb`` is there."""
    return all(importlib.util.find_spec(name) is not None for name in ("tblite", "threadpoolctl"))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let tblite compute on one thread: several add up in another order each time, so that the last digits differ, and
    for a molecule of some dozens of atoms they are slower."""
    with _thread_pools().limit(limits=1):
        yield


@cache
def _thread_pools() -> ThreadpoolController:
    """Return the control of this process's thread pools, those of tblite among them; it takes a while to find them."""
    import tblite.interface  # noqa: F401 - loads them
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def gfn2_properties(mol: Mol) -> dict[str, float]:
    """Return `GFN2_PROPERTIES` at the molecule's own coordinates, every hydrogen explicit, all electrons paired.

    Empty if the self-consistent field does not converge, an element is unknown to the method, or a value is not finite.

    Raises:
        ValueError: the molecule has no conformer.
    """
    from tblite.exceptions import TBLiteRuntimeError, TBLiteValueError
    from tblite.interface import Calculator

    found = graph(mol)
    try:
        calculator = Calculator("GFN2-xTB", found.numbers, found.positions / BOHR, charge=float(found.charges.sum()))
        calculator.set("verbosity", 0)
        with one_thread():
            result = calculator.singlepoint()
    except (TBLiteRuntimeError, TBLiteValueError):
        return {}
    energies, occupied = np.asarray(result.get("orbital-energies")), np.asarray(result.get("orbital-occupations")) > 1
    if occupied.all() or not occupied.any():
        return {}  # no unoccupied orbital: there is no gap
    homo, lumo = HARTREE * energies[occupied].max(), HARTREE * energies[~occupied].min()
    dipole = DEBYE * float(np.linalg.norm(result.get("dipole")))
    values = (float(homo), float(lumo), float(lumo - homo), dipole, float(result.get("energy")))
    return dict(zip(GFN2_PROPERTIES, values, strict=True)) if np.isfinite(values).all() else {}
