"""3D coordinates for molecules that come without: ETKDGv3 plus MMFF94s, with a time limit; parts side by side."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from rdkit.Geometry import Point3D

from moldiff.chem.sanitize import MAX_ATOMS, short_message
from moldiff.pauses import stood_still

MMFF_ITERATIONS = 1000
_RDKIT_SEEDS = 1 << 31  # that RDKit tells apart; those from there on begin again
_CATION = 0.5  # Na+ 1.1, K+ 1.4, Ca2+ 1.2 angstrom, as in crystals; further off, GFN2-xTB finds no state of a salt
_DIRECTIONS = 48  # from the parts that stand to the next one, of which it takes the one that brings it nearest


def embed(mol: Chem.Mol, seed: int, timeout_s: int) -> tuple[Chem.Mol | None, str]:
    """Return a copy with explicit hydrogens and one conformer, or None and the reason.

    Args:
        mol: sanitised molecule; existing coordinates are ignored.
        seed: seed of ETKDGv3; the same seed gives the same conformer.
        timeout_s: limit of the embedding in whole seconds of processor time (0 = none). RDKit looks at the clock
            between its attempts; the set-up before them grows with the cube of the size, to about 7 s for 900 atoms.

    Returns:
        (molecule, "") or (None, reason). A molecule without MMFF94s parameters is relaxed with UFF. Of a molecule of
        several parts (a salt) each is embedded and relaxed alone; then they stand side by side, van der Waals spheres
        in contact.
    """
    if mol.GetNumAtoms() == 0:
        return None, "embedding: no atoms"
    with rdBase.BlockLogs():
        full = Chem.AddHs(Chem.Mol(mol))
        if full.GetNumAtoms() > MAX_ATOMS:
            return None, f"embedding: too large, {full.GetNumAtoms()} atoms"
        try:
            several = len(Chem.GetMolFrags(full)) > 1
            reason = (_embedded_parts if several else _embedded)(full, seed, timeout_s, time.thread_time())
        except Exception as error:  # noqa: BLE001 - RDKit has many
            return None, f"embedding: {short_message(error)}"
        if reason:
            return None, reason
        Chem.AssignStereochemistryFrom3D(full)
    return full, ""


def _embedded(mol: Chem.Mol, seed: int, timeout_s: int, begun: float) -> str:
    """Embed and relax in place; return why that cannot be. The time counts from ``begun`` on."""
    if not _place(mol, seed, timeout_s, begun):
        return f"embedding: no conformer found (limit {timeout_s} s)"
    return _relax(mol)


def _embedded_parts(mol: Chem.Mol, seed: int, timeout_s: int, begun: float) -> str:
    """Embed the parts of a molecule of several in place, each for itself: together, ETKDG puts them on top of each
    other, and RDKit's force fields leave out what acts between parts. Return why that cannot be."""
    mol.RemoveAllConformers()
    atoms = list[list[int]]()
    parts = Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False, fragsMolAtomMapping=atoms)
    for part in parts:
        Chem.GetSymmSSSR(part)  # force fields look for aromatic rings
        if part.GetNumAtoms() == 1:  # wants no force field
            part.AddConformer(Chem.Conformer(1))
        elif reason := _embedded(part, seed, timeout_s, begun):
            return reason
    places = side_by_side(
        [part.GetConformer().GetPositions() for part in parts],
        [np.array([_radius(atom) for atom in part.GetAtoms()]) for part in parts],
    )
    conformer = Chem.Conformer(mol.GetNumAtoms())
    for indices, positions in zip(atoms, places, strict=True):
        for index, point in zip(indices, positions.tolist(), strict=True):
            conformer.SetAtomPosition(index, Point3D(*point))
    mol.AddConformer(conformer, assignId=True)
    return ""


def _radius(atom: Chem.Atom) -> float:
    """Return the van der Waals radius in angstrom; a cation that is an atom alone has half of its atom's."""
    radius = float(Chem.GetPeriodicTable().GetRvdw(atom.GetAtomicNum()))
    return _CATION * radius if atom.GetFormalCharge() > 0 and not atom.GetDegree() else radius


def side_by_side(positions: Sequence[np.ndarray], radii: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return bodies moved, none turned, so that spheres of different bodies touch at most.

    The largest stands first; each further one comes as near to the middle of those that stand as some direction lets
    it. The same bodies come to the same places.

    Args:
        positions: (n, 3) centres of the spheres of each body, angstrom.
        radii: (n,) of each body.
    """
    centred = [one - one.mean(axis=0) for one in positions]
    first, *others = sorted(range(len(centred)), key=lambda number: -len(centred[number]))
    found = {first: centred[first]}
    for number in others:
        standing = np.concatenate(list(found.values()))
        reach = np.concatenate([radii[other] for other in found])[:, None] + radii[number][None, :]
        between = (standing - standing.mean(axis=0))[:, None, :] - centred[number][None, :, :]
        shifts = [_shift(between, reach, direction) for direction in _directions()]
        # equal but for rounding, as for two ions: the first one
        best = min(range(len(shifts)), key=lambda place: round(shifts[place], 6))
        found[number] = centred[number] + standing.mean(axis=0) + shifts[best] * _directions()[best]
    return [found[number] for number in range(len(centred))]


def _shift(between: np.ndarray, reach: np.ndarray, direction: np.ndarray) -> float:
    """Return how far along a direction a body is moved until none of its spheres cuts one that stands.

    Args:
        between: (n, m, 3) from each centre of the body to each that stands, while both bodies have one middle.
        reach: (n, m) distance at which they touch.
        direction: (3,) of length 1.
    """
    along = between @ direction
    square = along**2 - (between**2).sum(-1) + reach**2  # where it is negative, the two pass each other by
    return float(np.where(square >= 0, along + np.sqrt(np.maximum(square, 0.0)), 0.0).max(initial=0.0))


@functools.cache
def _directions() -> np.ndarray:
    """Return (`_DIRECTIONS`, 3) directions, evenly spread over the sphere along a spiral."""
    height = 1 - (2 * np.arange(_DIRECTIONS) + 1) / _DIRECTIONS
    angle = np.arange(_DIRECTIONS) * math.pi * (3 - math.sqrt(5))
    around = np.sqrt(1 - height**2)
    return np.stack([around * np.cos(angle), around * np.sin(angle), height], axis=1)


def _place(mol: Chem.Mol, seed: int, timeout_s: int, begun: float) -> bool:
    """Embed in place; large flexible molecules often need random starting coordinates, so these are tried second. The
    limit is one of processor time: RDKit looks at the clock, which also goes on while the process is stopped."""
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
