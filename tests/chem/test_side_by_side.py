"""Bodies set side by side: they touch, and none lies in another."""

import numpy as np
import pytest
from rdkit import Chem

from moldiff.chem.side_by_side import contact_radii, side_by_side


def test_radii_are_those_of_contacts() -> None:
    table = Chem.GetPeriodicTable()
    for smiles, share in (("[Na+]", 0.5), ("[Cl-]", 1.0), ("[Ar]", 1.0)):
        mol = Chem.MolFromSmiles(smiles)
        assert contact_radii(mol).tolist() == [share * table.GetRvdw(mol.GetAtomWithIdx(0).GetAtomicNum())]
    methylammonium = Chem.MolFromSmiles("C[NH3+]")
    assert contact_radii(methylammonium).tolist() == [table.GetRvdw(6), table.GetRvdw(7)]


def test_bodies_side_by_side_touch() -> None:
    """Of two spheres the distance is known; of bodies inside each other none stays there."""
    two = side_by_side([np.zeros((1, 3)), np.ones((1, 3))], [np.array([1.5]), np.array([2.0])])
    assert np.linalg.norm(two[0] - two[1]) == pytest.approx(3.5)
    cage = np.array([[x, y, z] for x in (-4.0, 0.0, 4.0) for y in (-4.0, 0.0, 4.0) for z in (-4.0, 4.0)])
    bodies = side_by_side([np.zeros((1, 3)), cage, cage + 1.0], [np.ones(1), np.ones(18), np.ones(18)])
    for first, second in ((0, 1), (0, 2), (1, 2)):
        gap = np.linalg.norm(bodies[first][:, None] - bodies[second][None], axis=-1).min()
        assert gap == pytest.approx(2.0) or gap > 2.0
    assert bodies[1] - bodies[1].mean(axis=0) == pytest.approx(cage - cage.mean(axis=0)), "no body is turned"
