"""GFN2-xTB (Bannwarth et al. 2019): single points and local minima of a molecule. Extra: ``xtb``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from rdkit.Chem import Mol

from moldiff.chem.graph import graph

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

BOHR = 0.529177210903  # angstrom
HARTREE = 27.211386245988  # eV
DEBYE = 2.541746473  # debye per e bohr

MAX_EVALUATIONS = 500  # of the energy, on the way to a minimum
MAX_GRADIENT = 7e-4  # hartree/bohr, largest component

GFN2_PROPERTIES = ("gfn2_homo_eV", "gfn2_lumo_eV", "gfn2_gap_eV", "gfn2_dipole_D", "gfn2_energy_Eh")


@contextmanager
def one_thread() -> Iterator[None]:
    """Let tblite compute on one thread: several add up in another order each time, so that the last digits differ, and
    for a molecule of some dozens of atoms they are slower."""
    with _thread_pools().limit(limits=1):
        yield


def load_tblite() -> None:
    """Load the library, which takes a second."""
    _thread_pools()


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
    values = _values(result)
    return dict(zip(GFN2_PROPERTIES, values, strict=True)) if np.isfinite(values).all() else {}


def _values(result: Any) -> tuple[float, ...]:
    """Return the values of `GFN2_PROPERTIES` from a single point; NaN for what needs an unoccupied orbital."""
    energies, occupied = np.asarray(result.get("orbital-energies")), np.asarray(result.get("orbital-occupations")) > 1
    homo = HARTREE * float(energies[occupied].max(initial=-np.inf))
    lumo = HARTREE * float(energies[~occupied].min(initial=np.inf))
    dipole = DEBYE * float(np.linalg.norm(result.get("dipole")))
    frontier = (homo, lumo, lumo - homo) if np.isfinite([homo, lumo]).all() else (np.nan,) * 3
    return (*frontier, dipole, float(result.get("energy")))


@dataclass(frozen=True)
class Minimum:
    """The end of a descent to a local minimum.

    Attributes:
        positions: (n, 3) angstrom.
        energy, energy_before: hartree, there and at the start.
        gap: eV; NaN without unoccupied orbitals.
        dipole: debye.
        converged: no component of the gradient was larger than asked for; otherwise the energy is an upper bound.
    """

    positions: np.ndarray
    energy: float
    energy_before: float
    gap: float
    dipole: float
    converged: bool


def minimise(
    numbers: Sequence[int] | np.ndarray, positions: np.ndarray, charge: int, max_gradient: float = MAX_GRADIENT
) -> Minimum | None:
    """Descend from a geometry to a local minimum by L-BFGS.

    Args:
        numbers: n atomic numbers.
        positions: (n, 3) angstrom.
        charge: total charge in elementary charges; all electrons paired.
        max_gradient: hartree/bohr. Energies can still fall by some tenths of a kcal/mol along soft modes.

    Returns:
        The minimum, or None if the self-consistent field does not converge, the energy is not finite or an element is
        unknown to the method.
    """
    from scipy.optimize import minimize
    from tblite.exceptions import TBLiteRuntimeError, TBLiteValueError
    from tblite.interface import Calculator

    start = np.asarray(positions, dtype=np.float64) / BOHR
    try:
        calculator = Calculator("GFN2-xTB", np.asarray(numbers), start, charge=charge)
        calculator.set("verbosity", 0)

        result: Any = None

        def energy(flat: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal result
            calculator.update(flat.reshape(-1, 3))
            result = calculator.singlepoint(result)  # from the density of the last geometry: half the time
            return float(result.get("energy")), np.asarray(result.get("gradient")).ravel()

        with one_thread():
            before = energy(start.ravel())[0]
            options = {"maxfun": MAX_EVALUATIONS, "maxiter": MAX_EVALUATIONS, "gtol": max_gradient, "ftol": 1e-12}
            found = minimize(energy, start.ravel(), jac=True, method="L-BFGS-B", options=options)
            energy(found.x)
            _, _, gap, dipole, _ = _values(result)
    except (TBLiteRuntimeError, TBLiteValueError):
        return None
    if not np.isfinite([before, found.fun]).all():
        return None
    converged = bool(np.abs(found.jac).max() <= max_gradient)
    return Minimum(found.x.reshape(-1, 3) * BOHR, float(found.fun), before, gap, dipole, converged)
