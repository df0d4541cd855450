"""Parts of a molecule side by side in space: moved until their van der Waals spheres touch, none turned."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from rdkit import Chem

_CATION = 0.5  # Na+ 1.1, K+ 1.4, Ca2+ 1.2 angstrom, as in crystals; further off, GFN2-xTB finds no state of a salt
_DIRECTIONS = 48  # from the parts that stand to the next one, of which it takes the one that brings it nearest


def contact_radii(part: Chem.Mol) -> np.ndarray:
    """Return (n,) van der Waals radii in angstrom; a cation that is an atom alone has half of its atom's."""
    table = Chem.GetPeriodicTable()
    radii = np.array([table.GetRvdw(atom.GetAtomicNum()) for atom in part.GetAtoms()])
    return _CATION * radii if len(radii) == 1 and part.GetAtomWithIdx(0).GetFormalCharge() > 0 else radii


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
