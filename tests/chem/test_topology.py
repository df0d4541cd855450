"""Graphs that wait for coordinates: spelled as a data set spells them, and put together without a change."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from moldiff.arrays import MolArrays
from moldiff.chem.convert import EncodingError, encode
from moldiff.chem.filters.validity import is_valid_and_connected
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.embed import embed
from moldiff.chem.topology import heavy_atom_skeleton, topology_of
from moldiff.datasets.rows import wide_vocabulary
from moldiff.vocabulary import Vocabulary

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
    found = topology_of(mol, vocabulary).arrays
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
    item = topology_of(mol, wide_vocabulary(True, explicit))
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


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize(
    "smiles",
    ["[2H]C([2H])([2H])O", "[3H]c1ccccc1", "[13CH3]C([2H])O", "CC(O)([2H])C(F)[2H]", "[2H]N(C)C", "[2H][C@](F)(Cl)C"],
)  # fmt: skip
def test_isotopes_stay_those_of_hydrogens_too(smiles: str, explicit: bool) -> None:
    given = Chem.MolFromSmiles(smiles)
    mixed = Chem.RenumberAtoms(given, list(range(given.GetNumAtoms()))[::-1])
    for mol in (given, mixed):
        item = topology_of(mol, wide_vocabulary(True, explicit))
        arrived, parts = item.__reduce__()
        item = arrived(*parts)  # as it arrives in another process
        full, reason = embed(mol, seed=1, timeout_s=20)
        assert full is not None, reason
        kept = full if explicit else Chem.RemoveAllHs(full)
        placed = item.place(kept.GetConformer().GetPositions())
        isotopes = [(atom.GetSymbol(), atom.GetIsotope()) for atom in placed.GetAtoms()]
        assert isotopes == [(atom.GetSymbol(), atom.GetIsotope()) for atom in Chem.AddHs(mol).GetAtoms()]
        for bond in Chem.AddHs(mol).GetBonds():
            assert placed.GetBondBetweenAtoms(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) is not None


@pytest.mark.parametrize(("smiles", "atom"), [("[2H][C@H](O)C", 1), ("C[C@@H]([3H])O", 1), ("[2H]/C=C/C", 1)])
def test_stereo_that_deuterium_makes_needs_hydrogens(smiles: str, atom: int) -> None:
    mol = Chem.MolFromSmiles(smiles)
    assert topology_of(mol, wide_vocabulary(True, True)).isotopes == ()
    with pytest.raises(EncodingError, match=rf"only isotopes of hydrogen decide, at atom {atom} \(C\)"):
        topology_of(mol, wide_vocabulary(True, False))


def test_hydrogens_that_the_input_leaves_out_come_last() -> None:
    item = topology_of(Chem.MolFromSmiles("C[C@H](O)C=O"), wide_vocabulary(True, True))
    assert [atom.GetSymbol() for atom in item.mol.GetAtoms()] == ["C", "C", "O", "C", "O"] + ["H"] * 6


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C.C", "more than one fragment"),
        ("CC[Xx]", "R group"),
        ("N->[Fe]", "dative bond is outside the vocabulary|DATIVE bond is outside the vocabulary"),
        ("C" * 400, "too large: 1202 atoms"),
    ],
)
def test_what_cannot_be_spelled_has_a_reason(smiles: str, reason: str) -> None:
    mol = Chem.MolFromSmiles(smiles.replace("[Xx]", "*"))
    with pytest.raises(EncodingError, match=reason):
        topology_of(mol, wide_vocabulary(True, True))


VOCABULARY = Vocabulary(("H", "C", "N", "O"), (-1, 0, 1), ("none", "single", "double", "triple", "aromatic"))


def arrays(smiles: str) -> MolArrays:
    mol, reason = embed(Chem.MolFromSmiles(smiles), seed=1, timeout_s=10)
    assert mol is not None, reason
    return encode(mol, VOCABULARY)


def without(molecule: MolArrays, atoms: list[int]) -> MolArrays:
    """Return the molecule with the bonds of some atoms cut."""
    kept = ~np.isin(molecule.bonds[:, :2], atoms).any(1)
    return MolArrays(molecule.pos, molecule.atom_type, molecule.charge, molecule.bonds[kept])


def smiles_of(molecule: MolArrays) -> str:
    conversion = heavy_atom_skeleton(molecule, VOCABULARY)
    assert is_valid_and_connected(conversion)[0]
    assert conversion.mol is not None
    assert conversion.mol.GetConformer().Is3D()
    return Chem.MolToSmiles(Chem.RemoveHs(conversion.mol))


def test_a_sound_molecule_is_its_own_skeleton() -> None:
    for text in ("OCCO", "c1ccccc1C#N", "c1cc[nH]c1", "CC([O-])=[NH2+]"):
        assert Chem.CanonSmiles(smiles_of(arrays(text))) == Chem.CanonSmiles(text)


def test_loose_hydrogens_and_pieces_are_left_out() -> None:
    ethanol = arrays("OCC")
    assert smiles_of(without(ethanol, [3, 4, 5])) == "CCO"  # hydrogens come loose
    assert smiles_of(without(ethanol, [0])) == "CC"  # so does the oxygen
    heavy = heavy_atom_skeleton(without(ethanol, [0]), VOCABULARY).mol
    assert heavy is not None
    np.testing.assert_allclose(heavy.GetConformer().GetPositions()[:2], ethanol.pos[1:3], atol=1e-5)


def test_what_has_no_sound_skeleton_is_told() -> None:
    ethane = arrays("CC")
    five = np.array([[0, k, 2] for k in range(1, 4)])
    crowded = MolArrays(ethane.pos[:4], np.array([1, 1, 1, 1]), np.ones(4, dtype=np.int64), five)
    assert heavy_atom_skeleton(crowded, VOCABULARY).reason.startswith("valence")
    hydrogens = MolArrays(ethane.pos[:2], np.zeros(2, dtype=np.int64), np.ones(2, dtype=np.int64), five[:0])
    assert heavy_atom_skeleton(hydrogens, VOCABULARY).reason == "empty: no atoms"


def test_conformers_of_a_heavy_atom_model_keep_the_order_of_the_input() -> None:
    heavy = Vocabulary(("C", "N", "O"), (-1, 0, 1), ("none", "single", "double", "triple", "aromatic"), False)
    for smiles in ("CC(=O)Nc1ccc(O)cc1", "C[C@H](N)C(=O)OCc1cnco1", "c1cc[nH]c1/C=C/O"):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        mol = Chem.RenumberAtoms(mol, np.random.default_rng(0).permutation(mol.GetNumAtoms()).tolist())
        assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
        pos = mol.GetConformer().GetPositions()
        is_heavy = np.array([atom.GetAtomicNum() > 1 for atom in mol.GetAtoms()])
        placed = topology_of(mol, heavy).place(pos[is_heavy])
        assert [atom.GetSymbol() for atom in placed.GetAtoms()] == [atom.GetSymbol() for atom in mol.GetAtoms()]
        np.testing.assert_allclose(placed.GetConformer().GetPositions()[is_heavy], pos[is_heavy], atol=1e-6)
        bonds = [{frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in one.GetBonds()} for one in (mol, placed)]
        assert bonds[0] == bonds[1]
        assert Chem.MolToSmiles(Chem.RemoveHs(placed)) == Chem.CanonSmiles(smiles)
    with pytest.raises(EncodingError, match="not bonded to one heavy atom"):
        topology_of(Chem.MolFromSmiles("[H][H]"), heavy)
