"""A property means what its name says: the source is chosen and told, unusable values are counted."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Crippen

from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import PreparedDataset

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


def test_unusable_values_are_counted(vendor: Path, tmp_path: Path) -> None:
    report = prepare(vendor, tmp_path / "out", properties=["dose"])
    assert report.unusable == {"dose": (4, "1,5")}
    assert np.isnan(column(tmp_path / "out")).sum() == 5
    assert PreparedDataset.open(tmp_path / "out").info["unusable"] == {"dose": [4, "1,5"]}
    assert prepare(vendor, tmp_path / "two", properties=["dose"], workers=2).unusable == report.unusable
