"""Hydrogens of a molecule whose heavy atoms have coordinates: placed, relaxed by a force field, or taken away."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rdkit import Chem, rdBase

from moldiff.chem.force_field import ForceField, mmff94s, uff
from moldiff.chem.hydrogen_state import Hydrogens, hydrogens_of

RELAXED = "mmff94s"
"""How hydrogens are placed where nothing stands in the way."""
_STEPS = 500
_STRETCHED = 1.4  # length of a bond to hydrogen over that of its placement: beyond, it was torn off
_TURNS = 12  # directions of a hydroxyl that are tried
_TRIES = 500  # energies of directions, about: as many as the minimiser may take
_GAIN = 0.01  # kcal/mol: directions that symmetry makes equal differ by rounding
_SP2, _SP3 = Chem.HybridizationType.SP2, Chem.HybridizationType.SP3
_EXCESS = {
    (6, _SP3, 1): 0.0015, (6, _SP3, 2): 0.004, (6, _SP3, 3): 0.0065, (6, _SP2, 1): 0.008, (6, _SP2, 2): 0.0095,
    (7, _SP3, 1): 0.0105, (7, _SP3, 2): 0.0115, (7, _SP2, 1): 0.0025, (7, _SP2, 2): 0.005,
    (8, _SP3, 1): 0.010, (8, _SP2, 1): 0.008,
}  # fmt: skip
"""Angstrom by which bonds to hydrogen are longer at minima of MMFF94s than at those of GFN2-xTB: medians of
data/drugs_gfn2 (scripts/benchmarks/hydrogens.py), heavy atoms where they are. By element, hybridisation and hydrogens
of an uncharged atom."""


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

    MMFF94s, whose bonds to hydrogen are then made as long as those of GFN2-xTB; where it has no parameters for a
    molecule, UFF; where that has none, or a hydrogen comes off, hydrogens stay where they are. The text is "mmff94s",
    or the method, a colon and why no better one would do. It is a function of the molecule alone. Where bonds leave the
    direction of a hydrogen open (hydroxyl, thiol, amine, imine), the minimum is that below the best of the directions:
    a minimiser alone stays on the side where it begins.

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
        if placed is not None and name == RELAXED:
            _shorten(placed, hydrogens)
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
    mol: Chem.Mol, hydrogens: list[int], field: Callable[[Chem.Mol], ForceField | None]
) -> tuple[Chem.Mol | None, str]:
    """Return the molecule with hydrogens at a minimum, or None and why not."""
    try:
        with rdBase.BlockLogs():
            found = field(mol)
            if found is None:
                return None, "has no parameters"
            for index in set(range(mol.GetNumAtoms())).difference(hydrogens):
                found.field.AddFixedPoint(index)
            _turn(found, hydrogens)
            found.field.Minimize(maxIts=_STEPS)  # one that is not quite there is nearer all the same
    except (ValueError, RuntimeError):
        return None, "fails"
    before, after = (one.GetConformer().GetPositions() for one in (mol, found.mol))
    if not np.isfinite(after).all() or _torn(mol, hydrogens, before, after):
        return None, "tears a hydrogen off"
    placed = Chem.Mol(mol)
    before[list(hydrogens)] = after[list(hydrogens)]
    placed.GetConformer().SetPositions(before)
    return placed, ""


def _shorten(mol: Chem.Mol, hydrogens: list[int]) -> None:
    """Make bonds of hydrogens at a minimum of MMFF94s as long as those of GFN2-xTB, see `_EXCESS`."""
    pos = mol.GetConformer().GetPositions()
    for index in hydrogens:
        around = mol.GetAtomWithIdx(index).GetNeighbors()
        if len(around) != 1 or (atom := around[0]).GetFormalCharge():
            continue
        count = sum(other.GetAtomicNum() == 1 for other in atom.GetNeighbors())
        bond = pos[index] - pos[atom.GetIdx()]
        excess = _EXCESS.get((atom.GetAtomicNum(), atom.GetHybridization(), count), 0.0)
        pos[index] -= bond * (excess / max(float(np.linalg.norm(bond)), 1e-9))
    mol.GetConformer().SetPositions(pos)


@dataclass(frozen=True)
class _Open:
    """Hydrogens of one atom whose direction its other neighbours, which stay, leave open.

    With one such neighbour they turn about its bond; with two, the only hydrogen may lie on either side of the plane.
    """

    atom: int
    fixed: tuple[int, ...]
    hydrogens: tuple[int, ...]
    angles: tuple[float, ...]

    def others(self, pos: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the coordinates (atoms, 3) of the molecule with the hydrogens in each of the other directions."""
        moving, origin = list(self.hydrogens), pos[self.atom]
        arms = pos[list(self.fixed)] - origin
        axis = arms[0] if len(arms) == 1 else np.cross(arms[0], arms[1])
        axis = axis / max(float(np.linalg.norm(axis)), 1e-9)
        vectors = pos[moving] - origin
        along = np.outer(vectors @ axis, axis)
        for angle in self.angles:
            other = pos.copy()
            turned = along + np.cos(angle) * (vectors - along) + np.sin(angle) * np.cross(axis, vectors)
            other[moving] = origin + (turned if len(arms) == 1 else vectors - 2 * along)
            yield other


def _turn(force_field: ForceField, hydrogens: list[int]) -> None:
    """Move hydrogens whose direction is open to the best of them: all together where there are few, else one atom after
    the other until none gains."""
    mol, field = force_field
    found = _open_directions(mol, set(hydrogens))
    together = math.prod(1 + len(one.angles) for one in found) <= _TRIES
    groups = [found] if together else [[one] for one in found]
    best = mol.GetConformer().GetPositions()
    energy, tries, gained = math.inf, 0, bool(found)
    while gained and tries < _TRIES:
        gained = False
        for group in groups:
            for other in _directions(group, best):
                tries += 1
                if (new := field.CalcEnergy(other.ravel().tolist())) < energy - _GAIN:
                    best, energy, gained = other, new, not together
    mol.GetConformer().SetPositions(best)


def _directions(group: list[_Open], pos: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the coordinates of the molecule with the hydrogens of a group in all their directions, the given first."""
    if not group:
        yield pos
        return
    for other in (pos, *group[0].others(pos)):
        yield from _directions(group[1:], other)


def _open_directions(mol: Chem.Mol, hydrogens: set[int]) -> list[_Open]:
    """Return the atoms whose hydrogens have more than one direction; methyls and their like turn into themselves."""
    found = []
    for atom in mol.GetAtoms():
        around = [other.GetIdx() for other in atom.GetNeighbors()]
        moving, fixed = [tuple(i for i in around if (i in hydrogens) is free) for free in (True, False)]
        if atom.GetAtomicNum() == 6 or not moving:
            continue
        angles: tuple[float, ...] = ()
        if len(fixed) == 1 and len(moving) < 3:
            bond = mol.GetBondBetweenAtoms(atom.GetIdx(), fixed[0])
            if bond.GetBondType() == Chem.BondType.SINGLE:
                angles = tuple(2 * np.pi * step / _TURNS for step in range(1, _TURNS))
            elif bond.GetStereo() == Chem.BondStereo.STEREONONE:
                angles = (np.pi,)
        elif len(fixed) == 2 and len(moving) == 1 and _may_invert(mol, atom):
            angles = (np.pi,)
        if angles:
            found.append(_Open(atom.GetIdx(), fixed, moving, angles))
    return found


def _may_invert(mol: Chem.Mol, atom: Chem.Atom) -> bool:
    """Return whether an atom with three neighbours is a pyramid without stereo: unmarked, in no ring of three."""
    marked = atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED
    pyramid = atom.GetHybridization() == Chem.HybridizationType.SP3
    return pyramid and not marked and not mol.GetRingInfo().IsAtomInRingOfSize(atom.GetIdx(), 3)


def _torn(mol: Chem.Mol, hydrogens: list[int], before: np.ndarray, after: np.ndarray) -> bool:
    ends = np.array(
        [(index, other.GetIdx()) for index in hydrogens for other in mol.GetAtomWithIdx(index).GetNeighbors()]
    )
    old, new = (np.linalg.norm(pos[ends[:, 0]] - pos[ends[:, 1]], axis=1) for pos in (before, after))
    return bool((new > _STRETCHED * np.maximum(old, 1.0)).any())


_FIELDS = {RELAXED: mmff94s, "uff": uff}
