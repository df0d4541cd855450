"""Patterns of users: the same match wherever they are asked, hydrogens atoms or not."""

from pathlib import Path

import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from moldiff.chem.descriptors.score_functions import SmartsScore
from moldiff.chem.filters.checks import Subject
from moldiff.chem.filters.patterns import pattern_check
from moldiff.chem.fragments import cut_fragment
from moldiff.chem.smarts import MAX_SMARTS, has_match, places_of, smarts_problem, smarts_query
from moldiff.errors import MoldiffError
from moldiff.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("H", "C", "N", "O"), (-1, 0, 1), ("none", "single", "double", "triple", "aromatic"))


def in_space(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    return mol


@pytest.mark.parametrize(
    ("smiles", "pattern", "matches"),
    [
        ("CCO", "[CD2]", True),
        ("CCO", "[CD4]", False),
        ("CCO", "[OH]", True),
        ("CCO", "[#1]", False),
        ("CCO", "[CX4H3]", True),
        ("c1ccccc1N", "[ND1]", True),
        ("c1cc[nH]c1", "[nD2]", True),
        ("C[C@H](N)O", "*~*~*", True),
        ("CO", "*~*~*", False),
        ("CC=N", "[ND1]=C", True),
        ("C1CC1", "[r3]", True),
    ],
)
def test_every_command_sees_the_same_match(smiles: str, pattern: str, matches: bool) -> None:
    whole = in_space(smiles)
    query = smarts_query(pattern)
    assert query is not None
    check = pattern_check({"mine": pattern})
    for mol in (whole, Chem.RemoveHs(whole)):
        assert has_match(mol, query) is matches
        assert SmartsScore(pattern)([mol]) == [float(matches)]
        assert check(Subject(mol)).passed is not matches
        assert bool(places_of(mol, query)) is matches
        try:
            cut_fragment([Chem.MolToMolBlock(mol)], "f.sdf", VOCABULARY, None, pattern, ())
        except MoldiffError as error:
            assert ("matches nothing" in str(error)) is not matches


def test_places_are_numbered_as_in_the_molecule() -> None:
    whole = in_space("CC(=O)O")
    behind = Chem.RenumberAtoms(whole, [*range(4, whole.GetNumAtoms()), 3, 2, 1, 0])
    acid, methyl = smarts_query("C(=O)[OH]"), smarts_query("[CD1]")
    assert acid is not None and methyl is not None
    assert places_of(whole, acid) == [(1, 2, 3)]
    assert places_of(behind, acid) == [(6, 5, 4)]
    assert places_of(behind, methyl) == [(7,)]


def test_what_is_no_pattern_has_no_query() -> None:
    assert smarts_query("[O") is None
    assert smarts_query("") is None


def one_of(terms: int) -> str:
    return f"[#6{',#6' * terms}]"


@pytest.mark.parametrize(
    "pattern", [one_of(2_000), one_of(60_000), one_of(150_000), "C" * (MAX_SMARTS + 1), "[$(" * 9_000], ids=len
)
def test_a_pattern_that_would_crash_rdkit_is_refused_wherever_it_comes_from(tmp_path: Path, pattern: str) -> None:
    path = tmp_path / "long.smarts"
    path.write_text(f"[#6] carbon\n{pattern} long\n")
    blocks = [Chem.MolToMolBlock(in_space("CCO"))]
    for read, where in (
        (lambda: pattern_check(path), r"long\.smarts:2: "),
        (lambda: pattern_check({"x": pattern}), "smarts 'x': "),
        (lambda: SmartsScore(pattern), "score: "),
        (lambda: cut_fragment(blocks, "f.sdf", VOCABULARY, None, pattern, ()), "keep_smarts: "),
    ):
        with pytest.raises(MoldiffError, match=rf"{where}the SMARTS pattern '.*' has more than 5000 char") as caught:
            read()
        assert len(str(caught.value)) < 300


def test_the_longest_patterns_are_matched() -> None:
    nested = ("C(" * 1_660 + "C" + ")" * 1_660, "[$(" * 900 + "C" + ")]" * 900)
    for pattern in (one_of(1_660), "[" + "!" * 4_900 + "C]", *nested):
        assert len(pattern) <= MAX_SMARTS
        assert smarts_problem(pattern) == ""
    query = smarts_query(one_of(1_660))
    assert query is not None
    assert has_match(Chem.MolFromSmiles("CCO"), query)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("[OH]\nCC", "a line break stands in it"),
        ("[OH] [NH2]", "'[NH2]' stands behind it"),
        ("C\tN", "'N' stands behind it"),
        ("[OH] |$a$| N", "stands behind it"),
    ],
)
def test_a_pattern_is_read_to_its_end_wherever_it_comes_from(pattern: str, words: str) -> None:
    """RDKit stops at a line break, a tab or a blank without a word."""
    for read in (
        lambda: pattern_check({"x": pattern}),
        lambda: SmartsScore(pattern),
        lambda: cut_fragment([Chem.MolToMolBlock(in_space("CCO"))], "f.sdf", VOCABULARY, None, pattern, ()),
    ):
        with pytest.raises(MoldiffError) as caught:
            read()
        assert "would be read in part" in str(caught.value) and words in str(caught.value)
    assert smarts_query(pattern) is None


def test_names_behind_patterns_of_a_file_and_extensions_are_no_part_of_them(tmp_path: Path) -> None:
    (tmp_path / "a.smarts").write_text("[OH] an alcohol\n[NH2]\tan amine\nC \n[SH] a thiol\t\n[F] F\ta note\n")
    assert pattern_check(tmp_path / "a.smarts").patterns == (
        ("an alcohol", "[OH]"), ("an amine", "[NH2]"), ("C", "C"), ("a thiol", "[SH]"), ("F a note", "[F]")
    )  # fmt: skip
    assert smarts_problem("[OH] |$a$|") == smarts_problem(" [OH]\n") == ""


@pytest.mark.parametrize("pattern", ["[#6]\u6f22", "CC\u00d6", "c1ccccc1\u2212"])
def test_a_pattern_with_foreign_letters_is_not_read_in_part(pattern: str) -> None:
    assert smarts_query(pattern) is None
    assert "cannot stand in one" in smarts_problem(pattern)
