"""Records of an SDF hold what they are given: every tag under a name of its own, values, names of any length."""

from pathlib import Path

import pytest
from rdkit import Chem

from moldiff.chem.io.embed import embed
from moldiff.chem.io.records import Record, read_records
from moldiff.chem.io.sdf_writer import mol_to_sdf_record, write_sdf


@pytest.fixture(scope="module")
def mol() -> Chem.Mol:
    return embed(Chem.MolFromSmiles("CCO"), seed=1, timeout_s=20)[0]


def written(path: Path, mol: Chem.Mol, tags: dict[str, str], name: str = "a") -> tuple[Record, dict[str, str]]:
    """The first of two records as it is read again, and its tags as RDKit reads them."""
    write_sdf(path, [mol_to_sdf_record(mol, name, tags), mol_to_sdf_record(mol, "last", {})])
    first, last = read_records(path)
    theirs = list(Chem.SDMolSupplier(str(path)))
    assert last.name == "last" and first.mol is not None
    assert [one.GetProp("_Name") for one in theirs] == [first.name, "last"]
    return first, {tag: theirs[0].GetProp(tag) for tag in theirs[0].GetPropNames()}


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        (["", "ic50"], ["no name", "ic50"]),
        (["<>", "  ", "no name"], ["no name (2)", "no name (3)", "no name"]),
        (["a<b", "ab"], ["ab (2)", "ab"]),
        (["ab", "a<b", "a>b", "ab (2)"], ["ab", "ab (3)", "ab (4)", "ab (2)"]),
        (["two\nlines", "two lines"], ["two lines (2)", "two lines"]),
        (["<b>", "IC50 (nM)", "> <x"], ["b", "IC50 (nM)", "x"]),
    ],
)
def test_every_tag_has_a_name_of_its_own(tmp_path: Path, mol: Chem.Mol, tags: list[str], names: list[str]) -> None:
    given = {tag: str(number) for number, tag in enumerate(tags)}
    record, theirs = written(tmp_path / "a.sdf", mol, given)
    assert record.tags == theirs == dict(zip(names, given.values(), strict=True))


@pytest.mark.parametrize("value", [">", "> 10 <uM>", ">x", "> <x> y", ">=5", "$$$", "M  END", "", "<b>", "> DT3"])
def test_values_are_read_back(tmp_path: Path, mol: Chem.Mol, value: str) -> None:
    record, theirs = written(tmp_path / "a.sdf", mol, {"relation": value, "b": "1"})
    expected = {"relation": " ".join(value.split()), "b": "1"}
    assert record.tags == theirs == expected


@pytest.mark.parametrize("value", ["> <x>", ">  <b> (3)", "><b>"])
def test_a_value_that_is_plainly_a_header_has_a_blank_in_front_for_others(
    tmp_path: Path, mol: Chem.Mol, value: str
) -> None:
    record, theirs = written(tmp_path / "a.sdf", mol, {"quoted": value, "b": "1"})
    assert record.tags == {"quoted": " ".join(value.split()), "b": "1"}
    assert theirs == {"quoted": f" {' '.join(value.split())}", "b": "1"}


def test_names_are_whole(tmp_path: Path, mol: Chem.Mol) -> None:
    names = [f"{'N' * 80}{end}" for end in ("", "1", "2", "3" * 2000)]
    assert [written(tmp_path / "a.sdf", mol, {}, name)[0].name for name in names] == names


@pytest.mark.parametrize("dollars", [4, 5, 7, 8, 12])
def test_no_number_of_dollars_ends_a_record(tmp_path: Path, mol: Chem.Mol, dollars: int) -> None:
    record, _ = written(tmp_path / "a.sdf", mol, {"price": "$" * dollars}, "$" * dollars)
    assert (record.name, record.tags) == ("$$$", {"price": "$$$"})


@pytest.mark.parametrize("name", ["two\nlines", "two\u2028lines", "a\rb"])
def test_a_name_that_a_molecule_brings_moves_no_line(tmp_path: Path, mol: Chem.Mol, name: str) -> None:
    named = Chem.Mol(mol)
    named.SetProp("_Name", name)
    assert mol_to_sdf_record(named, "a", {"b": "1"}) == mol_to_sdf_record(mol, "a", {"b": "1"})
