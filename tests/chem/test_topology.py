"""Graphs that wait for coordinates: spelled as a data set spells them, and put together without a change."""

import numpy as np
import pytest
from rdkit import Chem

from moldiff.chem.convert import EncodingError, encode
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.embed import embed
from moldiff.chem.topology import skeleton
from moldiff.datasets.rows import wide_vocabulary

SMILES = ["c1cc[nH]c1", "CC(=O)[O-]", "C[N+](C)(C)CC#N", "O=C1N[C@H]2C[C@@H]1C2", "Cc1ccncc1", "N", r"C/C=C\C"]


def bonds(mol: Chem.Mol) -> list[tuple[int, int, str]]:
    return [(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), str(b.GetBondType())) for b in mol.GetBonds()]


@pytest.mark.parametrize("smiles", SMILES)
@pytest.mark.parametrize("aromatic", [True, False])
@pytest.mark.parametrize("explicit", [True, False])
def test_a_graph_is_spelled_as_a_data_set_spells_it(smiles: str, aromatic: bool, explicit: bool) -> None:
    vocabulary = wide_vocabulary(aromatic, explicit)
    mol = Chem.MolFromSmiles(smiles)
    expected = encode(embed(mol, seed=1, timeout_s=20)[0], vocabulary)
    found = skeleton(mol, vocabulary).arrays
    assert np.array_equal(found.atom_type, expected.atom_type)
    assert np.array_equal(found.charge, expected.charge)
    assert np.array_equal(found.bonds, expected.bonds)
    assert found.pos.shape == (len(found.atom_type), 3)
    assert not found.pos.any()


@pytest.mark.parametrize("smiles", SMILES)
@pytest.mark.parametrize("explicit", [True, False])
def test_positions_come_back_on_the_same_graph(smiles: str, explicit: bool) -> None:
    mol, reason = embed(Chem.MolFromSmiles(smiles), seed=1, timeout_s=20)
    assert mol is not None, reason
    item = skeleton(mol, wide_vocabulary(True, explicit))
    kept = mol if explicit else Chem.RemoveAllHs(mol)
    assert item.mol.GetNumConformers() == 0
    placed = item.place(kept.GetConformer().GetPositions())
    assert bonds(placed)[: kept.GetNumBonds()] == bonds(kept)
    assert placed.GetNumAtoms() == mol.GetNumAtoms()
    assert canonical_smiles(placed, stereo=True) == canonical_smiles(mol, stereo=True)
    n = kept.GetNumAtoms()
    assert np.allclose(placed.GetConformer().GetPositions()[:n], kept.GetConformer().GetPositions())
    assert placed.GetConformer().Is3D()
    assert item.mol.GetNumConformers() == 0  # the skeleton is not used up


def test_hydrogens_that_the_input_leaves_out_come_last() -> None:
    item = skeleton(Chem.MolFromSmiles("C[C@H](O)C=O"), wide_vocabulary(True, True))
    assert [atom.GetSymbol() for atom in item.mol.GetAtoms()] == ["C", "C", "O", "C", "O"] + ["H"] * 6


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C.C", "more than one fragment"),
        ("CC[Xx]", "element"),
        ("N->[Fe]", "dative bond is outside the vocabulary|DATIVE bond is outside the vocabulary"),
        ("C" * 400, "too large: 1202 atoms"),
    ],
)
def test_what_cannot_be_spelled_has_a_reason(smiles: str, reason: str) -> None:
    mol = Chem.MolFromSmiles(smiles.replace("[Xx]", "*"))
    with pytest.raises(EncodingError, match=reason):
        skeleton(mol, wide_vocabulary(True, True))
