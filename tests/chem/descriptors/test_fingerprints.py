"""Distances between molecules, by hand for fingerprints that are all alike or have nothing in common."""

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import AllChem

from moldiff.chem.descriptors.fingerprints import fingerprint, mean_distances
from moldiff.chem.descriptors.score_functions import SimilarityScore
from moldiff.chem.filters.checks import Subject
from moldiff.chem.filters.reference_measures import similarity_to


def test_mean_distances_leave_out_the_molecule_itself() -> None:
    assert mean_distances(["C", "C", "N"]).tolist() == [0.5, 0.5, 1.0]
    assert mean_distances(["CCO", "CCO"]).tolist() == [0.0, 0.0]


def test_mean_distances_are_those_of_pairs() -> None:
    smiles = ["CCO", "CCN", "c1ccccc1O", "CC(=O)O"]
    generator = AllChem.GetMorganGenerator(radius=2, fpSize=2048)
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(one)) for one in smiles]
    pairs = np.array([[1 - DataStructs.TanimotoSimilarity(a, b) for b in prints] for a in prints])
    np.testing.assert_allclose(mean_distances(smiles), pairs.sum(1) / 3)


def test_what_cannot_be_read_does_not_count() -> None:
    found = mean_distances(["C", "no molecule", "C", "N"])
    assert np.isnan(found[1])
    assert found[[0, 2, 3]].tolist() == [0.5, 0.5, 1.0]
    assert np.isnan(mean_distances(["C"])).all()
    assert np.isnan(mean_distances(["C", "no molecule"])).all()


@pytest.mark.parametrize("smiles", ["CC=N", "N=C(N)c1ccccc1", "CC(=N)OC", "CCO", "[2H]C(=N)C", "[H][H]"])
@pytest.mark.parametrize("reads_hydrogens", [True, False])
def test_a_molecule_is_like_itself_in_3d(smiles: str, reads_hydrogens: bool) -> None:
    """The hydrogen of an imine has a side, and stays where RDKit takes hydrogens away."""
    flat = Chem.MolFromSmiles(smiles)
    mol = Chem.AddHs(flat)
    assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
    Chem.AssignStereochemistryFrom3D(mol)
    mol = mol if reads_hydrogens else Chem.RemoveHs(mol)
    assert fingerprint(mol) == fingerprint(flat)
    for reference in (mol, flat):
        assert similarity_to([reference])(Subject(mol)).value == 1.0
    assert SimilarityScore(smiles)([mol]) == [1.0]
    assert SimilarityScore(Chem.MolToSmiles(mol))([flat]) == [1.0]
