"""Internal coordinates against hand-made shapes and against RDKit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from rdkit.Chem import Mol, MolFromSmarts, rdMolTransforms

from moldiff.chem.graph import MolGraph, concatenate, graph
from moldiff.evaluation.assess import assess_file
from moldiff.evaluation.geometry import Terms, label, measure


def make(numbers: list[int], positions: list[list[float]], bonds: list[tuple[int, int, int]]) -> MolGraph:
    return MolGraph(
        np.array(numbers),
        np.zeros(len(numbers), dtype=np.int64),
        np.array(positions, dtype=float),
        np.array(bonds, dtype=np.int64).reshape(-1, 3),
    )


def by_label(terms: Terms) -> dict[str, list[float]]:
    return {label(code): sorted(values.tolist()) for code, values in terms.by_type().items()}


def peroxide(torsion: float) -> MolGraph:
    """H-O-O-H with right angles and a given torsion in degrees."""
    turn = math.radians(torsion)
    positions = [[0.0, 1, 0], [0, 0, 0], [1.5, 0, 0], [1.5, math.cos(turn), math.sin(turn)]]
    return make([1, 8, 8, 1], positions, [(0, 1, 1), (1, 2, 1), (2, 3, 1)])


@pytest.fixture(scope="module")
def molecules(sample_path: Path) -> list[Mol]:
    return [row.mol for row in assess_file(sample_path)[0] if row.mol is not None]


@pytest.mark.parametrize("torsion", [0.0, 30.0, 90.0, 111.5, 180.0])
def test_peroxide(torsion: float) -> None:
    terms = measure(peroxide(torsion))
    assert by_label(terms["bond"]) == {"O-H": [1.0, 1.0], "O-O": [1.5]}
    assert by_label(terms["angle"]) == {"O-O-H": pytest.approx([90.0, 90.0])}
    assert by_label(terms["torsion"]) == {"H-O-O-H": pytest.approx([torsion], abs=1e-6)}


def test_mirror_images_measure_the_same() -> None:
    left, right = measure(peroxide(70.0))["torsion"].values, measure(peroxide(-70.0))["torsion"].values
    assert left == pytest.approx(right)


def test_a_type_is_the_same_from_either_end() -> None:
    positions = [[0.0, 0, 0], [1.2, 0.3, 0], [2.0, -0.8, 0.1], [3.1, 0, 0.7]]
    chain = make([8, 6, 7, 1], positions, [(0, 1, 2), (1, 2, 1), (2, 3, 1)])
    back = make([1, 7, 6, 8], positions[::-1], [(2, 3, 2), (1, 2, 1), (0, 1, 1)])
    for kind in ("bond", "angle", "torsion"):
        there, again = by_label(measure(chain)[kind]), by_label(measure(back)[kind])
        assert there.keys() == again.keys()
        assert all(there[name] == pytest.approx(again[name]) for name in there)
    assert set(by_label(measure(chain)["torsion"])) == {"O=C-N-H"}
    assert set(by_label(measure(chain)["bond"])) == {"C=O", "C-N", "N-H"}


def test_every_bond_order_has_its_own_type() -> None:
    far = [[float(3 * k), 0.0, 0.0] for k in range(10)]
    bonds = [(2 * k, 2 * k + 1, order) for k, order in enumerate((1, 2, 3, 4, 7))]
    assert set(by_label(measure(make([6] * 10, far, bonds))["bond"])) == {"C-C", "C=C", "C#C", "C:C", "C~C"}


def test_a_three_membered_ring_has_no_torsion_of_its_own() -> None:
    ring = make([6, 6, 6], [[0.0, 0, 0], [1.5, 0, 0], [0.75, 1.3, 0]], [(0, 1, 1), (1, 2, 1), (0, 2, 1)])
    assert len(measure(ring)["angle"].values) == 3
    assert len(measure(ring)["torsion"].values) == 0


def test_no_torsion_over_a_straight_angle() -> None:
    acetylene = make(
        [1, 6, 6, 1], [[-1.06, 0, 0], [0.0, 0, 0], [1.2, 0, 0], [2.26, 0.01, 0]], [(0, 1, 1), (1, 2, 3), (2, 3, 1)]
    )
    assert by_label(measure(acetylene)["angle"])["C#C-H"] == pytest.approx([179.46, 180.0], abs=0.01)
    assert len(measure(acetylene)["torsion"].values) == 0


def test_single_atoms_and_nothing() -> None:
    for found in (measure(make([18], [[0.0, 0, 0]], [])), measure(concatenate([]))):
        assert all(len(terms.values) == 0 for terms in found.values())
        assert found["bond"].by_type() == {}


def test_dummy_atoms_keep_their_place_in_a_type() -> None:
    pair = make([0, 6], [[0.0, 0, 0], [1.5, 0, 0]], [(0, 1, 1)])
    assert set(by_label(measure(pair)["bond"])) == {"C-*"}


def test_molecules_together_measure_as_molecules_apart(molecules: list[Mol]) -> None:
    graphs = [graph(mol) for mol in molecules[:20]]
    together = measure(concatenate(graphs))
    for kind in together:
        apart = np.concatenate([measure(g)[kind].values for g in graphs])
        assert np.sort(together[kind].values) == pytest.approx(np.sort(apart))


def test_rdkit_measures_the_same(molecules: list[Mol]) -> None:
    angle, torsion = MolFromSmarts("*~*~*"), MolFromSmarts("*~*~*~*")
    for mol in molecules[:30]:
        conformer, terms = mol.GetConformer(), measure(graph(mol))
        triples = [m for m in mol.GetSubstructMatches(angle, uniquify=False, maxMatches=9999) if m[0] < m[2]]
        expected = sorted(rdMolTransforms.GetAngleDeg(conformer, *m) for m in triples)
        assert np.sort(terms["angle"].values) == pytest.approx(expected, abs=1e-4)
        chains = [m for m in mol.GetSubstructMatches(torsion, uniquify=False, maxMatches=9999) if m[0] < m[3]]
        bent = [
            m for m in chains if max(rdMolTransforms.GetAngleDeg(conformer, *part) for part in (m[:3], m[1:])) < 175
        ]
        expected = sorted(abs(rdMolTransforms.GetDihedralDeg(conformer, *m)) for m in bent)
        assert np.sort(terms["torsion"].values) == pytest.approx(expected, abs=1e-3)


def test_aromatic_bonds_have_their_own_type_whatever_the_kekule_form(molecules: list[Mol]) -> None:
    labels = {name for mol in molecules for name in by_label(measure(graph(mol))["bond"])}
    assert {"C-H", "C-C", "C=O", "C:C", "C:N", "C#N"} <= labels
