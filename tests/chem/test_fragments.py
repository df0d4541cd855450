"""What is kept of a molecule, which valences are open, what counts as a change, and every refusal."""

from typing import Any

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

import moldiff
from moldiff.chem.convert import EncodingError, encode
from moldiff.chem.coordinates import coordinates_problem
from moldiff.chem.fragments import MolFragment, block_of, cut_fragment
from moldiff.chem.topology import topology_of
from moldiff.datasets.rows import wide_vocabulary
from moldiff.errors import MoldiffError
from moldiff.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("H", "C", "N", "O"), (-1, 0, 1), ("none", "single", "double", "triple", "aromatic"))
KEKULE = Vocabulary(("H", "C", "N", "O"), (0,), ("none", "single", "double", "triple"))


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    return mol


def cut(*mols: Chem.Mol, vocabulary: Vocabulary = VOCABULARY, **more: Any) -> MolFragment:
    arguments: dict[str, Any] = {"fixed_atoms": None, "smarts": None, "attach_at": ()} | more
    return cut_fragment([Chem.MolToMolBlock(mol) for mol in mols], "f.sdf", vocabulary, **arguments)


def open_at(fragment: MolFragment) -> dict[int, int]:
    """Return index in the input -> open valence."""
    pairs = zip(fragment.atoms.tolist(), fragment.open_valences.tolist(), strict=True)
    return {atom: lacks for atom, lacks in pairs if lacks}


def test_a_molecule_without_gaps_is_kept_whole() -> None:
    mol = embedded("OCC#N")
    kept = cut(mol)
    assert open_at(kept) == {}
    assert kept.atoms.tolist() == list(range(mol.GetNumAtoms()))
    assert [VOCABULARY.elements[k] for k in kept.arrays.atom_type] == [atom.GetSymbol() for atom in mol.GetAtoms()]
    np.testing.assert_allclose(kept.arrays.pos, mol.GetConformer().GetPositions(), atol=1e-4)
    assert kept.change(mol) == ""


def test_atoms_that_are_left_out_open_a_valence_of_the_order_of_their_bond() -> None:
    mol = embedded("CC(=O)C#N")  # C0 C1 O2 C3 N4, hydrogens 5 to 7 on C0
    assert open_at(cut(mol, fixed_atoms=[0, 1, 3, 4])) == {1: 2}
    assert open_at(cut(mol, fixed_atoms=[0, 1, 2, 3])) == {3: 3}
    kept = cut(mol, fixed_atoms=[1, 0])
    assert open_at(kept) == {1: 3}
    assert kept.atoms.tolist() == [0, 1, 5, 6, 7], "input order, and hydrogens stay with their atom"


def test_a_hydrogen_missing_from_the_file_leaves_its_valence_open() -> None:
    whole = embedded("CO")
    mol = Chem.RWMol(whole)
    mol.RemoveAtom(5)  # the hydrogen of the oxygen
    assert open_at(cut(mol.GetMol())) == {1: 1}
    assert open_at(cut(Chem.RemoveHs(whole))) == {0: 3, 1: 1}


def test_an_attachment_point_loses_its_last_hydrogen() -> None:
    mol = embedded("CO")
    kept = cut(mol, attach_at=[0])
    assert open_at(kept) == {0: 1}
    assert kept.atoms.tolist() == [0, 1, 2, 3, 5]
    assert open_at(cut(mol, attach_at=[0, 0, 1])) == {0: 2, 1: 1}
    assert open_at(cut(mol, fixed_atoms=[0], attach_at=[0])) == {0: 1}, "an open valence is one already"


def test_rings_keep_their_aromatic_bonds_or_a_kekule_form() -> None:
    mol = embedded("c1cc[nH]c1")
    kept = cut(mol, attach_at=[3])
    names = [VOCABULARY.bonds[kind] for i, j, kind in kept.arrays.bonds if max(i, j) < 5]
    assert names == ["aromatic"] * 5
    assert open_at(kept) == {3: 1}
    names = [KEKULE.bonds[kind] for i, j, kind in cut(mol, vocabulary=KEKULE, attach_at=[3]).arrays.bonds if j < 5]
    assert sorted(names) == ["double"] * 2 + ["single"] * 3


def test_smarts_keep_their_match_with_its_hydrogens() -> None:
    mol = embedded("CC(=O)Nc1ccccc1")
    kept = cut(mol, smarts="c1ccccc1")
    assert Chem.MolToSmiles(kept.mol).count("c") == 6
    assert len(kept) == 11
    assert open_at(kept) == {4: 1}


@pytest.mark.parametrize("hydrogens", [True, False])
def test_isotopes_of_what_is_kept_are_told_of(hydrogens: bool) -> None:
    vocabulary = Vocabulary(("H", "C", "N", "O")[not hydrogens :], (0,), VOCABULARY.bonds, explicit_hydrogens=hydrogens)
    mol = embedded("C([2H])OCN")
    assert cut(mol, vocabulary=vocabulary, fixed_atoms=[0]).has_isotopes
    assert not cut(mol, vocabulary=vocabulary, fixed_atoms=[3, 4]).has_isotopes
    assert cut(embedded("[13CH3]N"), vocabulary=vocabulary).has_isotopes


@pytest.mark.parametrize("smiles", ["*c1ccoc1", "[1*]C(N)C", "**", "CC[*:2]"])
def test_r_groups_of_a_file_are_told_what_to_write_instead(smiles: str) -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    stars = [atom.GetIdx() for atom in mol.GetAtoms() if not atom.GetAtomicNum()]
    carbon = Chem.RWMol(mol)
    for index in stars:
        carbon.GetAtomWithIdx(index).SetAtomicNum(6)
        carbon.GetAtomWithIdx(index).SetNoImplicit(True)
    Chem.SanitizeMol(carbon)
    assert rdDistGeom.EmbedMolecule(carbon, randomSeed=1) == 0
    mol.AddConformer(carbon.GetConformer())
    assert coordinates_problem(mol) == ""
    for vocabulary in (VOCABULARY, KEKULE, wide_vocabulary(True, False)):
        with pytest.raises(MoldiffError, match=r"f\.sdf: R group or \*: .*SMILES of a fragment.*attach_at"):
            cut(mol, vocabulary=vocabulary)
        with pytest.raises(EncodingError, match=r"^R group or \*: "):
            encode(mol, vocabulary)
        with pytest.raises(EncodingError, match=r"^R group or \*: "):
            topology_of(mol, vocabulary)


@pytest.mark.parametrize(
    ("smiles", "extension"),
    [
        ("*[C@H](C)O", "|a:1|"), ("*CC", "|atomProp:0.x.y|"), ("*CCO", "|$_R1;;;$|"),
        ("C[C@H](O)*", "|(0,0,;1,0,;2,0,;3,0,)|"),
    ],
)  # fmt: skip
def test_an_extension_behind_a_smiles_does_not_make_a_pattern_of_it(smiles: str, extension: str) -> None:
    plain, extended = moldiff.Fragment(smiles), moldiff.Fragment(f"{smiles} {extension}")
    assert extended.points == plain.points != ()
    one, other = (Chem.MolFromMolBlock(fragment.blocks[0], removeHs=False) for fragment in (plain, extended))
    assert Chem.MolToSmiles(other) == Chem.MolToSmiles(one)
    # a block of stereo groups has more digits
    assert np.allclose(other.GetConformer().GetPositions(), one.GetConformer().GetPositions(), atol=1e-4)
    assert moldiff.Fragment("*C=CC |c:1|").points == (0,)


def test_parts_are_numbered_on() -> None:
    kept = cut(embedded("O"), moved(embedded("N"), 5.0), attach_at=[0, 3])
    assert open_at(kept) == {0: 1, 3: 1}
    assert [atom.GetSymbol() for atom in kept.mol.GetAtoms()] == ["O", "H", "N", "H", "H"]


def moved(mol: Chem.Mol, by: float) -> Chem.Mol:
    mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() + by)
    return mol


@pytest.mark.parametrize(
    ("smiles", "words"),
    [
        ("CCO", ""),
        ("CC", "atom 2 is "),
        ("CCN", "atom 2 is N, not O"),
        ("CC[O-]", "atom 2 is O-1, not O"),
        ("C=CO", "bond 0-1 is double instead of single"),
        ("C.CO", "bond 0-1 is none instead of single"),
        ("C1CO1", "bond 0-2 is single instead of none"),
    ],
)
def test_changes_are_seen(smiles: str, words: str) -> None:
    kept = cut(embedded("CCO"), fixed_atoms=[0, 1, 2])  # with all hydrogens: nothing is open
    heavy = MolFragment(Chem.RemoveAllHs(kept.mol), kept.arrays, np.array([3, 2, 1]), kept.atoms[:3])
    found = heavy.change(Chem.AddHs(Chem.MolFromSmiles(smiles)))
    assert found.startswith(words) if words else found == ""


def test_new_bonds_fill_exactly_the_open_valence() -> None:
    methyl = cut(embedded("C"), attach_at=[0])  # C and three hydrogens
    for smiles, words in (("[H]C([H])([H])C", ""), ("[H]C([H])[H]", "atom 0 has new bonds of 0 in all, not 1")):
        mol = Chem.MolFromSmiles(smiles, sanitize=False)
        mol = Chem.RenumberAtoms(mol, [1, 0, 2, 3, *range(4, mol.GetNumAtoms())])
        assert methyl.change(mol) == words


def flat() -> Chem.Mol:
    mol = Chem.MolFromSmiles("CCO")
    mol.AddConformer(Chem.Conformer(3))
    mol.GetConformer().Set3D(False)
    return mol


@pytest.mark.parametrize(
    ("mol", "more", "words"),
    [
        (embedded("CF"), {}, "element F is outside the vocabulary of the model"),
        (embedded("CS"), {}, "element S"),
        (flat(), {}, "needs 3D coordinates"),
        (embedded("CO"), {"fixed_atoms": [0, 6]}, "fixed_atoms 6: f.sdf has atoms 0 to 5"),
        (embedded("CO"), {"attach_at": [9]}, "attach_at 9: f.sdf has atoms 0 to 5"),
        (embedded("CO"), {"fixed_atoms": [0], "attach_at": [1]}, "attach_at 1: that atom of f.sdf is not kept"),
        (embedded("CO"), {"attach_at": [1, 1]}, r"atom 1 of f.sdf \(O\) has no hydrogen to remove"),
        (embedded("CO"), {"attach_at": [2]}, r"\(H\) has no hydrogen to remove"),
        (embedded("CO"), {"fixed_atoms": [0], "smarts": "C"}, "give one of them"),
        (embedded("CO"), {"fixed_atoms": []}, "no atom is kept"),
        (embedded("CO"), {"smarts": "C(("}, "keep_smarts: RDKit cannot read the SMARTS pattern"),
        (embedded("CO"), {"smarts": "N"}, "matches nothing"),
        (embedded("CC"), {"smarts": "[CH3]"}, r"matches 2 places in f.sdf: choose with fixed_atoms \(0; 1\)"),
        (embedded("c1ccccc1"), {"fixed_atoms": [0, 1, 2]}, "an aromatic bond would be cut"),
    ],
)
def test_refusals(mol: Chem.Mol, more: dict[str, Any], words: str) -> None:
    with pytest.raises(MoldiffError, match=words):
        cut(mol, **more)


def test_atoms_on_top_of_each_other_are_refused() -> None:
    with pytest.raises(MoldiffError, match="atoms 0 and 3 lie on top of each other"):
        cut(embedded("O"), embedded("O"))


HEAVY = Vocabulary(("C", "N", "O"), (-1, 0, 1), ("none", "single", "double", "triple", "aromatic"), False)


def test_for_a_model_of_heavy_atoms_hydrogens_are_kept_as_valences_that_new_bonds_must_not_take() -> None:
    mol = embedded("Cc1ccc[nH]1")
    kept = cut(mol, vocabulary=HEAVY, attach_at=[0])
    assert kept.atoms.tolist() == [0, 1, 2, 3, 4, 5]
    assert open_at(kept) == {0: 1}
    assert [HEAVY.elements[k] for k in kept.arrays.atom_type] == ["C", "C", "C", "C", "C", "N"]
    for smiles, words in (
        ("CCc1ccc[nH]1", ""),
        ("Cc1ccc[nH]1", "atom 0 has new bonds of 0 in all, not 1"),
        ("CCc1ccc(C)[nH]1", "atom 4 has new bonds of 1 in all, not 0"),
    ):
        grown = Chem.AddHs(Chem.MolFromSmiles(smiles))
        order = list(grown.GetSubstructMatch(Chem.MolFromSmarts("[#6]c1ccc[nH]1")))
        rest = [index for index in range(grown.GetNumAtoms()) if index not in order]
        assert kept.change(Chem.RenumberAtoms(grown, order + rest)) == words


def test_hydrogens_fill_what_new_bonds_leave_open() -> None:
    kept = cut(embedded("CC(=O)O"), vocabulary=HEAVY, fixed_atoms=[0, 1, 3])  # the oxygen of the double bond goes
    assert open_at(kept) == {1: 2}
    assert (kept.least_bonds.tolist(), kept.with_hydrogens) == ([0, 1, 0], False)
    for smiles, words in (("CC(O)=C", ""), ("CC(O)C", ""), ("CCO", "atom 1 has new bonds of 0 in all, not 1 to 2")):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        assert kept.change(mol) == words


def test_an_atom_grows_as_often_as_it_was_named() -> None:
    for words in ({"attach_at": [0, 0]}, {"points": [0, 0]}, {"attach_at": [0], "points": [0]}):
        kept = cut(embedded("Cc1ccccc1"), vocabulary=HEAVY, **words)
        assert (kept.open_valences.tolist()[:2], kept.least_bonds.tolist()[:2]) == ([2, 0], [2, 0])
        once = Chem.AddHs(Chem.MolFromSmiles("C(C)c1ccccc1"))
        order = [0, 2, 3, 4, 5, 6, 7, 1]
        rest = list(range(8, once.GetNumAtoms()))
        assert kept.change(Chem.RenumberAtoms(once, order + rest)) == "atom 0 has new bonds of 1 in all, not 2"
    mol = embedded("CCO")
    assert cut(mol, vocabulary=HEAVY, fixed_atoms=[0, 1], points=[1]).least_bonds.tolist() == [0, 1]
    with pytest.raises(MoldiffError, match=r"^f\.sdf: the atom that its \* stands at, 2, is not kept$"):
        cut(mol, fixed_atoms=[0, 1], points=[2])


def test_a_file_of_heavy_atoms_alone_has_its_hydrogens_all_the_same() -> None:
    bare = Chem.RemoveHs(embedded("CCO"))
    assert open_at(cut(bare, vocabulary=HEAVY, attach_at=[1])) == {1: 1}
    assert open_at(cut(bare, vocabulary=HEAVY)) == {}
    assert open_at(cut(bare)) == {0: 3, 1: 2, 2: 1}, "a model of all atoms makes the missing ones"


def test_a_title_of_several_lines_is_none_of_the_block() -> None:
    mol = embedded("CCO")
    mol.SetProp("_Name", "batch 1\nsample 2\nsample 3")
    assert block_of(mol).splitlines()[0] == ""
    assert mol.GetProp("_Name") == "batch 1\nsample 2\nsample 3"
    read = cut_fragment([block_of(mol)], "m", VOCABULARY, None, None, [0])
    assert len(read) == mol.GetNumAtoms() - 1
