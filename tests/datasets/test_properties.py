"""A property means what its name says: the source is chosen and told, unusable values are counted."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Crippen

from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import PreparedDataset
from moldiff.datasets.properties import what_to_write
from moldiff.errors import MoldiffError

SMILES = ["CCO", "CC(=O)O", "c1ccoc1", "CCN", "CCCl", "CC=O"]


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    """A column whose name RDKit has too, and one with what people write for numbers."""
    values = ["1,5", ">10", "", "2", "2_000", "1e400"]
    path = tmp_path / "vendor.csv"
    rows = [
        f'{smiles},{100 + place},"{value}"\n' for place, (smiles, value) in enumerate(zip(SMILES, values, strict=True))
    ]
    path.write_text("smiles,logp,dose\n" + "".join(rows))
    return path


def column(folder: Path) -> list[float]:
    return PreparedDataset.open(folder).arrays["properties"][:, 0].tolist()


def test_a_name_that_both_have_is_rdkits_and_said(
    vendor: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(vendor, tmp_path / "out", properties=["logp"])
    assert column(tmp_path / "out") == pytest.approx([Crippen.MolLogP(Chem.MolFromSmiles(text)) for text in SMILES])
    assert "'logp' is computed by RDKit; the files have a tag 'logp' too, which tag:logp takes" in caplog.text


def test_the_source_can_be_chosen(vendor: Path, tmp_path: Path) -> None:
    prepare(vendor, tmp_path / "tag", properties=["tag:logp"])
    assert column(tmp_path / "tag") == list(range(100, 106))
    entry = PreparedDataset.open(tmp_path / "tag").info["properties"][0]
    assert (entry["name"], entry["source"]) == ("tag_logp", "tag")
    prepare(vendor, tmp_path / "both", properties=["rdkit:logp", "tag:dose"])
    assert [entry["name"] for entry in PreparedDataset.open(tmp_path / "both").info["properties"]] == ["logp", "dose"]


@pytest.mark.parametrize(
    ("asked", "name", "first"),
    [("tag:weird", "tag:weird", 0.0), ("tag:tag:weird", "tag:weird", 0.0), ("tag:plain", "plain", 10.0),
     ("plain", "plain", 10.0), ("tag:x:y", "x:y", 20.0), ("x:y", "x:y", 20.0)],
)  # fmt: skip
def test_a_tag_whose_own_name_begins_like_the_word_for_one(tmp_path: Path, asked: str, name: str, first: float) -> None:
    rows = [f"{smiles},{place},{10 + place},{20 + place}" for place, smiles in enumerate(SMILES)]
    (tmp_path / "odd.csv").write_text("\n".join(["smiles,tag:weird,plain,x:y", *rows]))
    prepare(tmp_path / "odd.csv", tmp_path / "set", properties=[asked])
    assert PreparedDataset.open(tmp_path / "set").property_names == (name,)
    assert column(tmp_path / "set")[0] == first
    with pytest.raises(MoldiffError, match="unknown property 'tag:strange'"):
        prepare(tmp_path / "odd.csv", tmp_path / "none", properties=["tag:strange"])


def test_unusable_values_are_counted(vendor: Path, tmp_path: Path) -> None:
    report = prepare(vendor, tmp_path / "out", properties=["dose"])
    assert report.unusable == {"dose": (4, "1,5")}
    assert np.isnan(column(tmp_path / "out")).sum() == 5
    assert PreparedDataset.open(tmp_path / "out").info["unusable"] == {"dose": [4, "1,5"]}
    assert prepare(vendor, tmp_path / "two", properties=["dose"], workers=2).unusable == report.unusable


def table(path: Path, values: list[str]) -> Path:
    rows = [f'{smiles},"{value}"\n' for smiles, value in zip(SMILES, values, strict=False)]
    path.write_text("smiles,v\n" + "".join(rows))
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("TRUE", "'TRUE' is no number; write 1 and 0"),
        ("no", "'no' is no number; write 1 and 0"),
        ("<5", "a bound is no value; write a number, or leave the cell empty"),
        ("≥ 1e-3", "a bound is no value"),
        ("7%", "without the %"),
        ("12.5 %", "without the %"),
        ("1,5", "write a point before the decimals"),
        ("-1.000,25", "write a point before the decimals"),
        ("abc", "'abc' is no number; write plain numbers such as 1.5"),
        ("5 mg", "write plain numbers such as 1.5"),
        ("1e35", "'1e35' is beyond 1.27e+30; write it in another unit, or as a logarithm"),
        ("-1.3E30", "is beyond"),
        ("inf", "'inf' is not finite; leave the cell empty"),
        ("NaN", "'NaN' is not finite; leave the cell empty"),
        ("x" * 100, f"'{'x' * 40}' is no number"),
    ],
)
def test_what_cannot_be_used_says_what_to_write(text: str, words: str) -> None:
    assert words in what_to_write(f" {text} ")


@pytest.mark.parametrize("values", [["True", "False"], ["yes", "", "no"], ["<5", "7%"], ["1,5", "2,5"], ["1e35"]])
def test_a_column_without_one_number_is_refused_with_an_example(tmp_path: Path, values: list[str]) -> None:
    path = table(tmp_path / "t.csv", values)
    with pytest.raises(MoldiffError) as caught:
        prepare(path, tmp_path / "out", properties=["v"])
    count = sum(map(bool, values))
    assert f"property 'v' is a number in none of the molecules kept: {count} values, " in str(caught.value)
    assert str(caught.value).endswith(what_to_write(values[0]))


def test_a_column_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(MoldiffError, match="property 'v' has no value in any of the molecules kept"):
        prepare(table(tmp_path / "t.csv", ["", " ", ""]), tmp_path / "out", properties=["v"])


@pytest.mark.parametrize("huge", ["1.3e30", "-5e34", "3e38", "1e39"])
def test_a_value_beyond_what_a_set_can_hold_is_unknown_and_counted(tmp_path: Path, huge: str) -> None:
    """Whatever is written can be opened."""
    path = table(tmp_path / "t.csv", ["1.26e30", huge, "2", huge, "-1.26e30", "5"])
    report = prepare(path, tmp_path / "out", properties=["v"])
    assert report.unusable == {"v": (2, huge)}
    assert np.isnan(column(tmp_path / "out")).tolist() == [False, True, False, True, False, False]


def test_a_constant_is_told_and_a_small_spread_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "t.csv"
    path.write_text("smiles,same,ic50\n" + "".join(f"{s},4,{2e-9 * (1 + k)}\n" for k, s in enumerate(SMILES)))
    report = prepare(path, tmp_path / "out", properties=["same", "ic50"])
    assert [text for text in caplog.messages if "constant" in text] == [
        "property 'same' counts as constant, 4 to 4 in the training molecules: nothing can be learnt from it"
    ]
    assert 1e-9 < report.statistics.properties["ic50"].std < 1e-8


def test_a_name_that_was_cut_at_its_comma_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('smiles,"Bond, type",a=b\n' + "".join(f"{s},{k},{k}\n" for k, s in enumerate(SMILES)))
    for name in ("Bond", "type"):
        with pytest.raises(MoldiffError) as caught:
            prepare(path, tmp_path / "out", properties=[name])
        words = f"unknown property '{name}' (if you mean 'Bond, type', write it in double quotes); the files have"
        assert str(caught.value).startswith(words)
    report = prepare(path, tmp_path / "out", properties=["Bond, type", "a=b"])
    assert list(report.statistics.properties) == ["Bond, type", "a=b"]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (["dose", "tag:dose"], "dose"),
        (["tag:dose", "dose"], "dose"),
        (["logp", "rdkit:logp"], "logp"),
        (["rdkit:logp", "qed", "logp"], "logp"),
        (["tag:logp", "tag_logp"], "tag_logp"),
    ],
)
def test_no_two_properties_are_one(
    vendor: Path, tmp_path: Path, asked: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moldiff.datasets.prepare.convert_chunks", None)  # it is seen before the work
    vendor.write_text(vendor.read_text().replace("dose\n", "dose,tag_logp\n").replace('"\n', '",7\n'))
    first, last = asked[0], asked[-1]
    with pytest.raises(MoldiffError) as caught:
        prepare(vendor, tmp_path / "out", properties=asked)
    words = f"properties '{first}' and '{last}' would both be called '{name}' in the set; leave one out"
    assert str(caught.value) == words
    assert not (tmp_path / "out").exists()
