"""3D coordinates for molecules that come without: ETKDGv3 plus MMFF94s, with a time limit."""

from __future__ import annotations

import math
import time

from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from moldiff.chem.sanitize import MAX_ATOMS, short_message
from moldiff.pauses import stood_still

MMFF_ITERATIONS = 1000
_RDKIT_SEEDS = 1 << 31  # that RDKit tells apart; those from there on begin again


def embed(mol: Chem.Mol, seed: int, timeout_s: int) -> tuple[Chem.Mol | None, str]:
    """Return a copy with explicit hydrogens and one conformer, or None and the reason.

    Args:
        mol: sanitised molecule; existing coordinates are ignored.
        seed: seed of ETKDGv3; the same seed gives the same conformer.
        timeout_s: limit of the embedding in whole seconds of processor time (0 = none). RDKit looks at the clock
            between its attempts; the set-up before them grows with the cube of the size, to about 7 s for 900 atoms.

    Returns:
        (molecule, "") or (None, reason). A molecule without MMFF94s parameters is relaxed with UFF.
    """
    if mol.GetNumAtoms() == 0:
        return None, "embedding: no atoms"
    with rdBase.BlockLogs():
        full = Chem.AddHs(Chem.Mol(mol))
        if full.GetNumAtoms() > MAX_ATOMS:
            return None, f"embedding: too large, {full.GetNumAtoms()} atoms"
        try:
            if not _place(full, seed, timeout_s):
                return None, f"embedding: no conformer found (limit {timeout_s} s)"
            reason = _relax(full)
        except Exception as error:  # noqa: BLE001 - RDKit has many
            return None, f"embedding: {short_message(error)}"
        if reason:
            return None, reason
        Chem.AssignStereochemistryFrom3D(full)
    return full, ""


def _place(mol: Chem.Mol, seed: int, timeout_s: int) -> bool:
    """Embed in place; large flexible molecules often need random starting coordinates, so these are tried second. The
    limit is one of processor time: RDKit looks at the clock, which also goes on while the process is stopped."""
    begun = time.thread_time()
    for from_random in (False, True):
        stopped = True
        while stopped:  # what was stopped for longer than the limit begins again
            left = math.ceil(timeout_s - (time.thread_time() - begun))
            if timeout_s and left <= 0:
                return False
            parameters = rdDistGeom.ETKDGv3()
            parameters.randomSeed = seed % _RDKIT_SEEDS
            parameters.timeout = left if timeout_s else 0
            parameters.numThreads = 1
            parameters.useRandomCoords = from_random
            clock, used = time.monotonic(), time.thread_time()
            if rdDistGeom.EmbedMolecule(mol, parameters) == 0:
                return True
            waited, used = time.monotonic() - clock, time.thread_time() - used
            stopped = bool(timeout_s) and waited >= left and stood_still(waited, used)
    return False


def _relax(mol: Chem.Mol) -> str:
    """Relax in place with MMFF94s (UFF without parameters); return a reason if no force field knows the molecule."""
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol, mmffVariant="MMFF94s", maxIters=MMFF_ITERATIONS)
        return ""
    if rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.UFFOptimizeMolecule(mol, maxIters=MMFF_ITERATIONS)
        return ""
    return "embedding: no force field has parameters for this molecule"
