"""Stereo of a geometry against the marks of a graph: right, all inverted, or another diastereomer."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.embed import embed
from moldiff.chem.io.records import read_records
from moldiff.chem.stereo import StereoMatch, compare_stereo, signed_volume, with_stereo_of_geometry

SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"
CHIRAL = [
    "C[C@H](O)C=O",
    "C[C@H](O)[C@@H](N)C=O",
    "C[C@@H]1C[C@H]1C",  # two centres whose mirror image is another molecule
    "CS(=O)C[C@@H](C)O",
    r"C[C@H](O)/C=C/C",
    "C[N@+](CC)(CO)N",
]
ACHIRAL = [r"C/C=C\C", "[H]/N=C/C", "C[C@H]1C[C@@H]1C", "C[C@H]1CC[C@@H](O)CC1", "CC(=O)OC"]


def built(smiles: str, geometry_of: str | None = None) -> Chem.Mol:
    """Return the graph and marks of one SMILES with the geometry of another, of the same atoms in the same order."""
    marks = Chem.AddHs(Chem.MolFromSmiles(smiles))
    geometry, reason = embed(Chem.MolFromSmiles(geometry_of or smiles), seed=1, timeout_s=20)
    assert geometry is not None, reason
    marks.AddConformer(geometry.GetConformer(), assignId=True)
    return marks


def mirrored(mol: Chem.Mol) -> Chem.Mol:
    copy = Chem.Mol(mol)
    for index, place in enumerate(-mol.GetConformer().GetPositions()):
        copy.GetConformer().SetAtomPosition(index, place.tolist())
    return copy


@pytest.mark.parametrize("smiles", CHIRAL + ACHIRAL)
def test_the_geometry_of_a_graph_is_right(smiles: str) -> None:
    match = compare_stereo(built(smiles))
    assert match.right and not match.mirrored
    assert match.problem == ""


@pytest.mark.parametrize("smiles", CHIRAL)
def test_the_mirror_image_is_told_and_mirrored_again_is_right(smiles: str) -> None:
    image = mirrored(built(smiles))
    match = compare_stereo(image)
    assert match.mirrored and not match.right
    assert compare_stereo(mirrored(image)).right
    assert canonical_smiles(with_stereo_of_geometry(image), stereo=True) != canonical_smiles(image, stereo=True)


@pytest.mark.parametrize(
    ("smiles", "geometry", "problem"),
    [
        ("C[C@H](O)[C@@H](N)C=O", "C[C@H](O)[C@H](N)C=O", "wrong 1 of 2 centres"),
        (r"C/C=C\C", "C/C=C/C", "wrong 1 of 1 double bonds"),
        (r"C[C@H](O)/C=C\C", "C[C@H](O)/C=C/C", "wrong 0 of 1 centres and 1 of 1 double bonds"),
        (r"C[C@H](O)/C=C\C", "C[C@@H](O)/C=C/C", "wrong 0 of 1 centres and 1 of 1 double bonds"),
        ("C[C@H]1CC[C@@H](O)CC1", "C[C@H]1CC[C@H](O)CC1", "wrong 1 of 2 centres"),
        ("[H]/N=C/C", r"[H]/N=C\C", "wrong 1 of 1 double bonds"),
    ],
)
def test_a_diastereomer_is_neither(smiles: str, geometry: str, problem: str) -> None:
    match = compare_stereo(built(smiles, geometry))
    assert not match.right
    assert not match.mirrored
    assert match.problem == problem
    assert not compare_stereo(mirrored(built(smiles, geometry))).right


@pytest.mark.parametrize("geometry", ["C[C@H](O)[C@@H](N)C=O", "C[C@H](O)[C@H](N)C=O", "C[C@@H](O)[C@@H](N)C=O"])
def test_what_is_not_specified_does_not_count(geometry: str) -> None:
    assert compare_stereo(built("CC(O)C(N)C=O", geometry)) == StereoMatch(0, 0, 0, 0, 0)
    half = compare_stereo(built("C[C@H](O)C(N)C=O", geometry))
    assert half.centres == 1
    assert half.right or half.mirrored


def test_a_flat_centre_is_wrong_in_either_image() -> None:
    flat = built("C[C@H](O)C=O")
    for index, place in enumerate(flat.GetConformer().GetPositions() * np.array([1, 1, 0])):
        flat.GetConformer().SetAtomPosition(index, place.tolist())
    match = compare_stereo(flat)
    assert not match.right
    assert not match.mirrored


def test_molecules_of_a_file_agree_with_their_own_geometry() -> None:
    for record in read_records(SAMPLE):
        assert record.mol is not None
        match, image = compare_stereo(record.mol), compare_stereo(mirrored(record.mol))
        assert match.right
        assert image.mirrored == (match.centres > 0)


@pytest.mark.parametrize("smiles", ["C[N@]1C[C@H]1C", "C[N@@]1C[C@H]1C", "C[S@](=O)CC", "C[P@](O)N", "C[C@H](O)F"])
def test_every_mark_that_is_read_can_be_seen(smiles: str) -> None:
    """Also on pyramidal nitrogen, sulphur and phosphorus, with a lone pair for the fourth neighbour."""
    wanted = Chem.AddHs(Chem.MolFromSmiles(smiles))
    wanted.AddConformer(embed(Chem.MolFromSmiles(smiles), seed=1, timeout_s=10)[0].GetConformer())
    match = compare_stereo(wanted)
    assert match.centres == smiles.count("[") and match.right
    wanted.GetConformer().SetPositions(-wanted.GetConformer().GetPositions())
    assert compare_stereo(wanted).mirrored


def test_the_volume_of_four_neighbours_is_that_of_the_first_three() -> None:
    corners = np.array([[1.0, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
    three = signed_volume(np.zeros(3), corners[:3])
    assert abs(three) == pytest.approx(0.77, abs=0.01)
    assert signed_volume(np.zeros(3), corners) == pytest.approx(three)
    assert signed_volume(np.zeros(3), corners[[1, 0, 2, 3]]) == pytest.approx(-three)
    assert signed_volume(np.zeros(3), 7 * corners) == pytest.approx(three), "directions alone count"


@pytest.mark.parametrize("mark", ["wU:7.6", "wD:7.6"])
@pytest.mark.parametrize("seed", range(3))
def test_an_axis_of_chirality_is_told_from_its_mirror_image(mark: str, seed: int) -> None:
    wanted = Chem.AddHs(Chem.MolFromSmiles(f"Cc1cccc(Cl)c1-c1c(C)cccc1Br |{mark}|"))
    mol, _ = embed(Chem.MolFromSmiles("Cc1cccc(Cl)c1-c1c(C)cccc1Br"), seed=seed, timeout_s=20)  # of either hand
    assert mol is not None
    wanted.AddConformer(mol.GetConformer())
    found = [compare_stereo(one) for one in (wanted, mirrored(wanted))]
    assert sorted((one.centres, one.right, one.mirrored) for one in found) == [(1, False, True), (1, True, False)]
    assert [one.problem for one in found if not one.right] == ["wrong 0 of 1 centres"]
