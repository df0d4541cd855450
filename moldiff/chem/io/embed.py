"""3D coordinates for molecules that come without: ETKDGv3 plus MMFF94s, with a time limit; parts side by side."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom

from moldiff.arrays import MOST_ATOMS
from moldiff.chem.convert import placeholder_problem
from moldiff.chem.coordinates import add_conformer
from moldiff.chem.force_field import mmff94s, uff
from moldiff.chem.sanitize import short_message
from moldiff.chem.side_by_side import contact_radii, side_by_side
from moldiff.pauses import stood_still

MMFF_ITERATIONS = 1000
_RDKIT_SEEDS = 1 << 31  # that RDKit tells apart; those from there on begin again


def embed(mol: Chem.Mol, seed: int, timeout_s: int, attempts: int = 0) -> tuple[Chem.Mol | None, str]:
    """Return a copy with explicit hydrogens and one conformer, or None and the reason.

    Args:
        mol: sanitised molecule; existing coordinates are ignored.
        seed: seed of ETKDGv3; the same seed gives the same conformer.
        timeout_s: limit of the embedding in whole seconds of processor time (0 = none). RDKit looks at the clock
            between its attempts; the set-up before them grows with the cube of the size, to about 7 s for 900 atoms.
        attempts: at most so many from either kind of start; 0 = as many as RDKit takes for granted.

    Returns:
        (molecule, "") or (None, reason). A molecule without MMFF94s parameters is relaxed with UFF. Of a molecule of
        several parts (a salt) each is embedded and relaxed alone; then they stand side by side, van der Waals spheres
        in contact.
    """
    if mol.GetNumAtoms() == 0:
        return None, "embedding: no atoms"
    if reason := placeholder_problem(mol):
        return None, reason
    with rdBase.BlockLogs():
        full = Chem.AddHs(Chem.Mol(mol))
        if full.GetNumAtoms() > MOST_ATOMS:
            return None, f"embedding: too large, {full.GetNumAtoms()} atoms"
        try:
            several = len(Chem.GetMolFrags(full)) > 1
            limits = _Limits(timeout_s, attempts, time.thread_time())
            reason = (_embedded_parts if several else _embedded)(full, seed, limits)
        except Exception as error:  # noqa: BLE001 - RDKit has many
            return None, f"embedding: {short_message(error)}"
        if reason:
            return None, reason
        Chem.AssignStereochemistryFrom3D(full)
    return full, ""


@dataclass(frozen=True)
class _Limits:
    """Ends of an embedding: time and attempts.

    Attributes:
        timeout_s, attempts: see `embed`.
        begun: from when on the time counts.
    """

    timeout_s: int
    attempts: int
    begun: float

    def left_s(self) -> int:
        """Return the whole seconds that are left; rounded: what is left of a second is no time for another attempt,
        which may take several."""
        return round(self.timeout_s - (time.thread_time() - self.begun))


def _embedded(mol: Chem.Mol, seed: int, limits: _Limits) -> str:
    """Embed and relax in place; return why that cannot be."""
    if not _place(mol, seed, limits):
        return f"embedding: no conformer found (limit {limits.timeout_s} s)"
    return _relax(mol)


def _embedded_parts(mol: Chem.Mol, seed: int, limits: _Limits) -> str:
    """Embed the parts of a molecule of several in place, each for itself: together, ETKDG puts them on top of each
    other, and RDKit's force fields leave out what acts between parts. Return why that cannot be."""
    mol.RemoveAllConformers()
    atoms = list[list[int]]()
    parts = Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False, fragsMolAtomMapping=atoms)
    for part in parts:
        Chem.GetSymmSSSR(part)  # force fields look for aromatic rings
        if part.GetNumAtoms() == 1:  # wants no force field
            part.AddConformer(Chem.Conformer(1))
        elif reason := _embedded(part, seed, limits):
            return reason
    places = side_by_side(
        [part.GetConformer().GetPositions() for part in parts], [contact_radii(part) for part in parts]
    )
    add_conformer(mol, np.concatenate(places)[np.argsort(np.concatenate(atoms))])
    return ""


def _place(mol: Chem.Mol, seed: int, limits: _Limits) -> bool:
    """Embed in place; large flexible molecules often need random starting coordinates, so these are tried second. The
    limit is one of processor time: RDKit looks at the clock, which also goes on while the process is stopped."""
    for from_random in (False, True):
        stopped = True
        while stopped:  # what was stopped for longer than the limit begins again
            left = limits.left_s()
            if limits.timeout_s and left <= 0:
                return False
            parameters = rdDistGeom.ETKDGv3()
            parameters.randomSeed = seed % _RDKIT_SEEDS
            parameters.timeout = left if limits.timeout_s else 0
            parameters.maxIterations = limits.attempts
            parameters.numThreads = 1
            parameters.useRandomCoords = from_random
            clock, used = time.monotonic(), time.thread_time()
            if rdDistGeom.EmbedMolecule(mol, parameters) == 0:
                return True
            waited, used = time.monotonic() - clock, time.thread_time() - used
            stopped = bool(limits.timeout_s) and waited >= left and stood_still(waited, used)
    return False


def _relax(mol: Chem.Mol) -> str:
    """Relax in place with MMFF94s (UFF without parameters); return a reason if no force field knows the molecule."""
    found = mmff94s(mol) or uff(mol)
    if found is None:
        return "embedding: no force field has parameters for this molecule"
    found.field.Minimize(maxIts=MMFF_ITERATIONS)
    mol.GetConformer().SetPositions(found.positions())
    return ""
