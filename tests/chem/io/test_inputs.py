"""What counts as molecules: a file, a Mol, a SMILES, and lists, generators, columns and suppliers of them."""

from pathlib import Path, PurePath

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from moldiff.chem.io.inputs import file_of, files_named, kept, records_of
from moldiff.errors import MoldiffError

ETHANOL = Chem.MolFromSmiles("CCO")


def smiles(molecules: object) -> list[str]:
    return [
        Chem.MolToSmiles(record.mol) if record.mol is not None else record.reason for record in records_of(molecules)
    ]


@pytest.mark.parametrize(
    "molecules",
    [
        [ETHANOL, "C"],
        (ETHANOL, "C"),
        pd.Series(["CCO", "C"], index=[5, 7]),
        pd.DataFrame({"smiles": ["CCO", "C"]})["smiles"],
        np.array(["CCO", "C"]),
        {"CCO": 1, "C": 2}.keys(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_collections(molecules: object) -> None:
    assert smiles(molecules) == ["CCO", "C"]
    assert [record.index for record in records_of(molecules)] == [0, 1]


def test_one_molecule_a_smiles_and_a_generator() -> None:
    assert smiles(ETHANOL) == smiles("OCC") == ["CCO"]
    assert smiles(mol for mol in (ETHANOL, ETHANOL)) == ["CCO", "CCO"]
    assert smiles(kept(text for text in ("C", "N"))) == ["C", "N"]
    named = Chem.Mol(ETHANOL)
    named.SetProp("_Name", "drink")
    assert next(records_of(named)).name == "drink"


def test_files_and_suppliers(sample_path: Path, tmp_path: Path) -> None:
    assert len(list(records_of(str(sample_path)))) == len(list(records_of(sample_path))) == 200
    supplier = Chem.SDMolSupplier(str(sample_path), removeHs=False)
    assert [record.name for record in records_of(supplier)] == [record.name for record in records_of(sample_path)]
    broken = Chem.SDMolSupplier()
    broken.SetData("nonsense\n$$$$\n")
    assert [record.mol for record in records_of(broken)] == [None]
    assert file_of("nowhere.SDF") == Path("nowhere.SDF")
    with pytest.raises(MoldiffError, match="cannot be read"):
        records_of("nowhere.sdf")


def test_what_is_missing_keeps_its_place() -> None:
    found = smiles(pd.Series(["C", None, float("nan"), "", "C(C", pd.NA]))
    assert found[0] == "C"
    assert found[1:4] == ["missing: there is no molecule"] * 3
    assert found[4].startswith("smiles")
    assert found[5] == found[1]
    assert smiles(["C", pd.NA]) == ["C", found[1]]


@pytest.mark.parametrize(
    ("molecules", "words"),
    [
        (5, "molecules must be a molecule file, an RDKit molecule, a SMILES"),
        ([5], "molecules must be a molecule file"),
        (None, "molecules must be"),
        (b"CCO", "molecules must be"),
        ({"a": ETHANOL}, "of a table, one column"),
        (pd.DataFrame({"smiles": ["C"]}), "of a table, one column"),
        ([], "there are no molecules"),
        (["a.sdf"], "'a.sdf' in a list is a file"),
        ("no molecule", "neither a SMILES that RDKit can read nor a molecule file"),
        ("", "neither a SMILES"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_refusals(molecules: object, words: str) -> None:
    with pytest.raises(MoldiffError, match=words) as caught:
        list(records_of(molecules))
    assert caught.value.argument == "molecules"
    assert "\n" not in str(caught.value)


def test_a_text_that_could_be_both_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "CCO").write_text("C\n")
    with pytest.raises(MoldiffError, match="a SMILES, and there is a file of that name"):
        records_of("CCO")
    assert smiles(["CCO"]) == ["CCO"]


SPELLINGS = {
    "plain": ("a.smi", "a.smi"),
    "dots": ("a.smi", "d/../a.smi"),
    "absolute": ("./a.smi", "{here}/a.smi"),
    "link": ("a.smi", "link.smi"),
    "pattern": ("link.smi", "a*"),
    "folder": ("a.smi", "linked/a.smi"),
}


@pytest.mark.parametrize("kind", SPELLINGS)
def test_a_file_is_named_once_in_any_spelling(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.smi", "b.smi"):
        Path(name).write_text("C\n")
    Path("d").mkdir()
    Path("link.smi").symlink_to("a.smi")
    Path("linked").symlink_to(".")
    Path("circle.smi").symlink_to("circle.smi")
    first, second = (name.format(here=tmp_path) for name in SPELLINGS[kind])
    with pytest.raises(MoldiffError, match="named twice") as caught:
        files_named([first, "b.smi", second])
    assert caught.value.argument == "files"
    assert first == second or f"as {Path(first)} too" in str(caught.value)
    odd = ["b.smi", "d/b.smi", "circle.smi", "n" * 300, "a\0.smi"]
    assert list(map(str, files_named(odd))) == odd, "whoever reads them says what is wrong"


def test_any_number_of_files_is_looked_at_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with each, 4,000 would be 8,000,000 comparisons, and those of a data set hours."""
    compared, equal = [0], PurePath.__eq__

    def counting(self: PurePath, other: object) -> bool:
        compared[0] += 1
        return bool(equal(self, other))

    monkeypatch.setattr(PurePath, "__eq__", counting)
    names = [f"m{number}.smi" for number in range(4_000)]
    assert len(files_named(names)) == len(names)
    assert compared[0] <= len(names)


@pytest.mark.parametrize(
    "text", ["CN(C)(C)(C)C", "c1cccc1", "[H]C(C)(C)(C)C", "C[C@H](N)C(=O)O", "c1ccccc1[O-]", "C1CC1F"]
)
@pytest.mark.parametrize("looked_at", ["nothing", "valences", "rings"])
def test_a_molecule_that_rdkit_has_not_looked_at_is_taken_as_its_smiles(
    text: str, looked_at: str, capfd: pytest.CaptureFixture[str]
) -> None:
    given = Chem.MolFromSmiles(text, sanitize=False)
    if looked_at != "nothing":
        given.UpdatePropertyCache(strict=False)
    if looked_at == "rings":
        Chem.FastFindRings(given)
    before = given.ToBinary()
    (of_mol,), (of_text,) = records_of(given), records_of([text])
    assert of_mol.reason == of_text.reason
    if of_text.mol is not None:
        assert Chem.MolToSmiles(of_mol.mol) == Chem.MolToSmiles(of_text.mol)
        assert of_mol.mol.GetRingInfo().NumRings() == of_text.mol.GetRingInfo().NumRings()
        kinds = [[atom.GetHybridization() for atom in record.mol.GetAtoms()] for record in (of_mol, of_text)]
        assert kinds[0] == kinds[1]
    assert given.ToBinary() == before
    assert capfd.readouterr().err == ""
    assert smiles(Chem.Mol()) == ["empty: no atoms"]


def test_a_molecule_that_rdkit_has_looked_at_stays_as_it_is() -> None:
    kekulised = Chem.MolFromSmiles("c1ccccc1O")
    Chem.Kekulize(kekulised, clearAromaticFlags=True)
    (record,) = records_of(kekulised)
    assert record.mol is kekulised


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CCÖ", "smiles: 'Ö' (U+00D6, latin capital letter o with diaeresis) cannot stand in one: 'CCÖ'"),  # not ethane
        ("CC\u2019", "smiles: '\u2019' (U+2019, right single quotation mark) cannot stand in one: 'CC\u2019'"),
        ("CC\uff2f", "smiles: '\uff2f' (U+FF2F, fullwidth latin capital letter o) cannot stand in one: 'CC\uff2f'"),
        (" CC\u200bO\ufeff", "CCO"),
        ("\u00a0CCN", "CCN"),
    ],
)  # fmt: skip
def test_letters_that_no_smiles_has_are_seen_in_python_as_in_files(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "one.smi"
    path.write_text(f"{text}\n", encoding="utf-8")
    assert smiles([text]) == smiles(path) == [expected]
