"""The skeleton of a half-made molecule."""

import numpy as np
from rdkit import Chem

from moldiff.arrays import MolArrays
from moldiff.chem.convert import encode
from moldiff.chem.filters.validity import is_valid_and_connected
from moldiff.chem.io.embed import embed
from moldiff.chem.sketch import sketch
from moldiff.vocabulary import Vocabulary

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
    conversion = sketch(molecule, VOCABULARY)
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
    heavy = sketch(without(ethanol, [0]), VOCABULARY).mol
    assert heavy is not None
    np.testing.assert_allclose(heavy.GetConformer().GetPositions()[:2], ethanol.pos[1:3], atol=1e-5)


def test_what_has_no_sound_skeleton_is_told() -> None:
    ethane = arrays("CC")
    five = np.array([[0, k, 2] for k in range(1, 4)])
    crowded = MolArrays(ethane.pos[:4], np.array([1, 1, 1, 1]), np.ones(4, dtype=np.int64), five)
    assert sketch(crowded, VOCABULARY).reason.startswith("valence")
    hydrogens = MolArrays(ethane.pos[:2], np.zeros(2, dtype=np.int64), np.ones(2, dtype=np.int64), five[:0])
    assert sketch(hydrogens, VOCABULARY).reason == "empty: no atoms"
