"""How far molecules are from a minimum of GFN2-xTB: the energy that relaxing their geometry sets free.

Needs the extra ``xtb`` (tblite). Energies are in kcal/mol, of the molecule as it is minus the local minimum that L-BFGS
finds from there. DFT geometries of QM9 give a median of 1.2; about 2.5 is what heat alone gives a drug-like molecule
(Nikitin et al. 2025, Digital Discovery 4:3282).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moldiff.chem.descriptors.xtb import is_installed, minimise
from moldiff.chem.graph import graph
from moldiff.chem.relax import KCAL_PER_MOL
from moldiff.errors import MoldiffError
from moldiff.evaluation.assess import Assessment
from moldiff.processes import map_chunks

MAX_GRADIENT = 5e-4  # hartree/bohr, largest component
CHUNK = 5  # molecules sent to a worker at once

Structure = tuple[int, list[int], list[list[float]], int]
"""Record index, atomic numbers, positions in angstrom, total charge: plain values for a worker."""


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
    """Record index -> result of the valid molecules that were drawn; None where GFN2-xTB itself failed."""

    relaxed: dict[int, Relaxed | None]

    def to_json(self) -> dict[str, Any]:
        """Return sample size, failures, and median, mean and 90 % quantile of the energy, median of the RMSD."""
        done = [found for found in self.relaxed.values() if found is not None]
        energies = np.array([found.energy for found in done])
        return {
            "method": "GFN2-xTB",
            "unit": "kcal/mol",
            "n": len(done),
            "failed": len(self.relaxed) - len(done),
            "unconverged": sum(not found.converged for found in done),
            "median": float(np.median(energies)) if done else None,
            "mean": float(energies.mean()) if done else None,
            "q90": float(np.quantile(energies, 0.9)) if done else None,
            "median_rmsd": float(np.median([found.rmsd for found in done])) if done else None,
        }


def check_installed() -> None:
    """Raise MoldiffError unless GFN2-xTB can be run."""
    if not is_installed():
        raise MoldiffError("relaxation energies need tblite; install it with: pip install 'moldiff[xtb]'")


def run_relaxation(
    rows: Sequence[Assessment],
    *,
    most: int,
    workers: int = 1,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> RelaxationResult:
    """Relax at most ``most`` valid molecules, drawn at random.

    Args:
        rows: all records of the file; the invalid ones have no energy.
        most: size of the sample.
        workers: processes.
        seed: of the draw.
        progress: called with the number of molecules done so far.

    Raises:
        MoldiffError: tblite is not installed, or a worker process died.
    """
    check_installed()
    valid = [row for row in rows if row.valid]
    chosen = list(range(len(valid)))
    if len(valid) > most:
        chosen = sorted(np.random.default_rng(seed).choice(len(valid), size=most, replace=False).tolist())
    structures = [_structure(valid[k]) for k in chosen]
    chunks = [structures[start : start + CHUNK] for start in range(0, len(structures), CHUNK)]
    relaxed: dict[int, Relaxed | None] = {}
    for chunk in map_chunks(_relax, chunks, workers=workers, what="GFN2-xTB"):
        relaxed.update(chunk)
        if progress is not None:
            progress(len(relaxed))
    return RelaxationResult(relaxed)


def _structure(row: Assessment) -> Structure:
    found = graph(row.mol)
    return row.index, found.numbers.tolist(), found.positions.tolist(), int(found.charges.sum())


def _relax(chunk: Sequence[Structure]) -> dict[int, Relaxed | None]:
    """Relax molecules one by one. Runs in a worker."""
    return {index: relax(numbers, positions, charge) for index, numbers, positions, charge in chunk}


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
