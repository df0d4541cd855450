"""Hydrogens of a molecule whose heavy atoms have coordinates: placed, relaxed by a force field, or taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdForceFieldHelpers
from rdkit.ForceField import rdForceField
from rdkit.Geometry import Point3D

from moldiff.chem.hydrogen_state import Hydrogens, hydrogens_of

RELAXED = "mmff94s"
"""How hydrogens are placed where nothing stands in the way."""
_STEPS = 500
_STRETCHED = 1.4  # length of a bond to hydrogen over that of its placement: beyond, it was torn off


def with_all_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    """Return a copy in which every hydrogen is an atom, those that were missing placed in a conformer, see
    `relax_hydrogens`; the other atoms stay where they are.

    Where a record has only some of its hydrogens, carbons marked as radicals are taken for ones whose hydrogens were
    stripped: that is the mark that some programs leave there. The molecule need not be sanitised.
    """
    copy = Chem.Mol(mol)
    if hydrogens_of(copy) == Hydrogens.PARTIAL:
        for atom in copy.GetAtoms():
            if atom.GetAtomicNum() == 6 and atom.GetNumRadicalElectrons():
                atom.SetNumRadicalElectrons(0)
                atom.SetNoImplicit(False)
    copy.UpdatePropertyCache(strict=False)
    if not copy.GetNumConformers():
        return Chem.AddHs(copy)
    sound = Chem.Mol(copy)
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(sound)  # directions follow from hybridisation: without it, all point one way
    except Exception:  # noqa: BLE001 - RDKit has many; the chemistry is what is wrong with it, wherever hydrogens lie
        return Chem.AddHs(copy, addCoords=True)
    whole = Chem.AddHs(sound, addCoords=True)
    placed = range(sound.GetNumAtoms(), whole.GetNumAtoms())
    return relax_hydrogens(whole, placed)[0] if whole.GetConformer().Is3D() else whole


def relax_hydrogens(mol: Chem.Mol, which: Sequence[int] | None = None) -> tuple[Chem.Mol, str]:
    """Return a copy whose hydrogens lie at a minimum of a force field, other atoms unmoved, and how they were placed.

    MMFF94s; where it has no parameters for a molecule, UFF; where that has none, or a hydrogen comes off, hydrogens
    stay where they are. The text is "mmff94s", or the method, a colon and why no better one would do. It is a function
    of the molecule alone.

    Args:
        mol: sanitised, with a conformer and every hydrogen an atom.
        which: the hydrogens that move; None = all.
    """
    hydrogens = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() == 1] if which is None else list(which)
    if not hydrogens:
        return Chem.Mol(mol), RELAXED
    why = ""
    for name, field in _FIELDS.items():
        placed, problem = _relaxed(mol, hydrogens, field)
        if placed is not None:
            return placed, f"{name}: {why}" if why else name
        why = f"{why}; {name} {problem}" if why else f"{name} {problem}"
    return Chem.Mol(mol), f"rdkit: {why}"


def without_hydrogen_atoms(mol: Chem.Mol) -> Chem.Mol:
    """Return a copy of the heavy atoms alone, with their bonds, charges and stereo; that of H2 is empty."""
    with rdBase.BlockLogs():
        return Chem.RemoveHs(mol, _all_of_them(), sanitize=False)


def _all_of_them() -> Chem.RemoveHsParameters:
    """Return what removes every hydrogen, and leaves their number on atoms that take no implicit ones (pyrrole)."""
    parameters = Chem.RemoveHsParameters()
    for name in dir(parameters):
        if name.startswith("remove"):
            setattr(parameters, name, True)
    parameters.updateExplicitCount = True
    return parameters


def _relaxed(
    mol: Chem.Mol, hydrogens: list[int], field: Callable[[Chem.Mol], rdForceField.ForceField | None]
) -> tuple[Chem.Mol | None, str]:
    """Return the molecule with hydrogens at a minimum, or None and why not."""
    scratch = Chem.Mol(mol)  # a force field sets aromaticity as it sees it
    try:
        with rdBase.BlockLogs():
            force_field = field(scratch)
            if force_field is None:
                return None, "has no parameters"
            force_field.Initialize()
            for index in set(range(mol.GetNumAtoms())).difference(hydrogens):
                force_field.AddFixedPoint(index)
            force_field.Minimize(maxIts=_STEPS)  # one that is not quite there is nearer all the same
    except (ValueError, RuntimeError):
        return None, "fails"
    before, after = (one.GetConformer().GetPositions() for one in (mol, scratch))
    if not np.isfinite(after).all() or _torn(mol, hydrogens, before, after):
        return None, "tears a hydrogen off"
    placed = Chem.Mol(mol)
    conformer = placed.GetConformer()
    for index in hydrogens:
        conformer.SetAtomPosition(index, Point3D(*after[index].tolist()))
    return placed, ""


def _torn(mol: Chem.Mol, hydrogens: list[int], before: np.ndarray, after: np.ndarray) -> bool:
    ends = np.array(
        [(index, other.GetIdx()) for index in hydrogens for other in mol.GetAtomWithIdx(index).GetNeighbors()]
    )
    old, new = (np.linalg.norm(pos[ends[:, 0]] - pos[ends[:, 1]], axis=1) for pos in (before, after))
    return bool((new > _STRETCHED * np.maximum(old, 1.0)).any())


def _mmff94s(mol: Chem.Mol) -> rdForceField.ForceField | None:
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol, mmffVariant="MMFF94s")
    return None if properties is None else rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties)


def _uff(mol: Chem.Mol) -> rdForceField.ForceField | None:
    return (
        rdForceFieldHelpers.UFFGetMoleculeForceField(mol) if rdForceFieldHelpers.UFFHasAllMoleculeParams(mol) else None
    )


_FIELDS = {RELAXED: _mmff94s, "uff": _uff}
