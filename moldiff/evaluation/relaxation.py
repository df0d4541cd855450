"""Relaxation energy: what GFN2-xTB sets free on the way from a molecule's geometry to the nearest minimum.

Needs the extra ``xtb`` (tblite). Energies are in kcal/mol, of the molecule as it is minus the local minimum that L-BFGS
finds from there. DFT geometries of QM9 give a median of 1.2; about 2.5 is what heat alone gives a drug-like molecule
(Nikitin et al. 2025, Digital Discovery 4:3282).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moldiff.chem.descriptors.xtb import load_tblite, minimise
from moldiff.chem.graph import graph
from moldiff.chem.relax import KCAL_PER_MOL
from moldiff.evaluation.assess import Assessment
from moldiff.evaluation.checks import check_all, draw
from moldiff.extras import XTB

MAX_GRADIENT = 5e-4  # hartree/bohr, largest component
TIMEOUT_S = 600.0  # for one molecule; one of QM9 takes 0.3 s, one of 100 atoms a minute

Structure = tuple[list[int], list[list[float]], int]
"""Atomic numbers, positions in angstrom, total charge: plain values for a worker."""


@dataclass(frozen=True)
class Relaxed:
    """One relaxed molecule.

    Attributes:
        energy: kcal/mol set free, never negative.
        rmsd: angstrom between the two geometries, all atoms, after alignment.
        converged: the largest gradient fell below `MAX_GRADIENT`; otherwise the energy is a lower bound.
    """

    energy: float
    rmsd: float
    converged: bool


@dataclass(frozen=True)
class RelaxationResult:
    """Relaxation energies of the valid molecules that were drawn, and who has none.

    Attributes:
        relaxed: record index -> result; None where GFN2-xTB itself failed.
        unchecked: record index -> why there is no result: a crash, no end in time.
    """

    relaxed: dict[int, Relaxed | None]
    unchecked: dict[int, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return sample size, failures, and median, mean and 90 % quantile of the energy, median of the RMSD."""
        done = [found for found in self.relaxed.values() if found is not None]
        energies = np.array([found.energy for found in done])
        return {
            "method": "GFN2-xTB",
            "unit": "kcal/mol",
            "n": len(done),
            "failed": len(self.relaxed) - len(done),
            "not_checked": {str(index): reason for index, reason in self.unchecked.items()},
            "unconverged": sum(not found.converged for found in done),
            "median": float(np.median(energies)) if done else None,
            "mean": float(energies.mean()) if done else None,
            "q90": float(np.quantile(energies, 0.9)) if done else None,
            "median_rmsd": float(np.median([found.rmsd for found in done])) if done else None,
        }


def run_relaxation(
    rows: Sequence[Assessment],
    *,
    most: int,
    workers: int = 1,
    isolated: bool = False,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> RelaxationResult:
    """Relax at most ``most`` valid molecules, drawn at random.

    Args:
        rows: all records of the file; the invalid ones have no energy.
        most: size of the sample.
        workers, isolated: processes; see `moldiff.processes.pool_of`.
        seed: of the draw.
        progress: called with the number of molecules done so far.

    Raises:
        MoldiffError: tblite is not installed.
    """
    XTB.require("relax", "relax")
    valid = [row for row in rows if row.valid]
    structures = [(row.index, _structure(row)) for row in (valid[k] for k in draw(len(valid), most, seed))]
    checked = check_all(
        _relax,
        structures,
        timeout_s=TIMEOUT_S,
        workers=workers,
        isolated=isolated,
        ready=load_tblite,
        progress=progress,
    )
    return RelaxationResult(checked.results, checked.unchecked)


def _structure(row: Assessment) -> Structure:
    found = graph(row.mol)
    return found.numbers.tolist(), found.positions.tolist(), int(found.charges.sum())


def _relax(structure: Structure) -> Relaxed | None:
    """Relax one molecule. Runs in a worker."""
    return relax(*structure)


def relax(numbers: Sequence[int], positions: Sequence[Sequence[float]], charge: int) -> Relaxed | None:
    """Relax one molecule with GFN2-xTB.

    Args:
        numbers: n atomic numbers.
        positions: (n, 3) angstrom.
        charge: total charge in elementary charges; all electrons paired.

    Returns:
        The result, or None if the self-consistent field does not converge, the energy is not finite or an element is
        unknown to the method.
    """
    found = minimise(numbers, np.asarray(positions), charge, MAX_GRADIENT)
    if found is None:
        return None
    energy = max(0.0, found.energy_before - found.energy) * KCAL_PER_MOL
    return Relaxed(energy, _rmsd(np.asarray(positions, dtype=np.float64), found.positions), found.converged)


def _rmsd(first: np.ndarray, second: np.ndarray) -> float:
    """Return the root mean square distance of (n, 3) points after the best rotation and shift."""
    import torch

    from moldiff.geometry import kabsch

    mobile, target = torch.from_numpy(first)[None], torch.from_numpy(second)[None]
    rotation, shift = kabsch(mobile, target, torch.ones(mobile.shape[:2], dtype=torch.bool))
    moved = torch.einsum("bij,bnj->bni", rotation, mobile) + shift[:, None]
    return float((moved - target).square().sum(-1).mean().sqrt())
