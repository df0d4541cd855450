"""Conformers of one stereoisomer among each other: energies above the lowest, and which are the same.

What lies behind looks at no stereo: whoever has several stereoisomers asks for each of them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

from rdkit import Chem, rdBase

from moldiff.chem.descriptors.xtb import gfn2_properties
from moldiff.chem.force_field import mmff94s_energy
from moldiff.chem.hydrogens import without_hydrogen_atoms
from moldiff.chem.relax import KCAL_PER_MOL
from moldiff.chem.rmsd import symmetric_rmsd
from moldiff.choices import EnergyMethod

logger = logging.getLogger(__name__)

InOrder = tuple[list[float], list[int], list[int | None]]
"""Energies of some conformers; their places, the lowest first; for each of these the one before that it repeats."""


def relative_energies(conformers: Sequence[Chem.Mol], method: EnergyMethod) -> list[float]:
    """Return the energies of conformers of one stereoisomer at their own coordinates, kcal/mol above the lowest; NaN
    where the method knows none.

    Args:
        conformers: sanitised, every hydrogen an atom.
        method: a force field, or GFN2-xTB (extra ``xtb``).
    """
    energies = [_guarded(_energy, mol, method) for mol in conformers]
    lowest = min((energy for energy in energies if math.isfinite(energy)), default=math.nan)
    return [energy - lowest for energy in energies]


def in_order(conformers: Sequence[Chem.Mol], method: EnergyMethod, threshold: float) -> InOrder:
    """Return how conformers of one stereoisomer compare; see `relative_energies` and `repeats`."""
    energies = relative_energies(conformers, method)
    order = sorted(range(len(conformers)), key=lambda k: (math.isnan(energies[k]), energies[k], k))
    return energies, order, repeats([conformers[k] for k in order], threshold)


def _guarded(function: Callable[..., float], *arguments: object) -> float:
    """Return a number, or NaN where RDKit or tblite cannot cope with a molecule."""
    try:
        return function(*arguments)
    except Exception:
        logger.debug("%s failed", function.__name__, exc_info=True)
        return math.nan


def _energy(mol: Chem.Mol, method: EnergyMethod) -> float:
    if method is EnergyMethod.GFN2:
        return KCAL_PER_MOL * gfn2_properties(mol).get("gfn2_energy_Eh", math.nan)
    with rdBase.BlockLogs():
        return mmff94s_energy(mol)


def repeats(conformers: Sequence[Chem.Mol], threshold: float) -> list[int | None]:
    """Return for each conformer the first one before it, itself no repeat, that lies within a threshold; None if it is
    unlike all of them.

    Args:
        conformers: of one stereoisomer, in the order in which they are preferred.
        threshold: root mean square distance of heavy atoms after alignment, symmetry allowed for, angstrom.
    """
    bare = [without_hydrogen_atoms(mol) for mol in conformers]
    kept: list[int] = []
    found: list[int | None] = []
    for place, mol in enumerate(bare):
        same = next((other for other in kept if _guarded(symmetric_rmsd, mol, bare[other]) < threshold), None)
        found.append(same)
        if same is None:
            kept.append(place)
    return found
