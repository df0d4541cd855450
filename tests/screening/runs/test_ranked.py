"""The ranked of a run: places in the tables, picks of the top, and what can be given no coordinates."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet
import pytest
from rdkit import Chem

import moldiff
from moldiff.chem.io.records import read_records


def test_the_top_differs_and_the_tables_hold_all(tmp_path: Path) -> None:
    library = tmp_path / "library.smi"
    library.write_text("CCCCCCO a\nCCCCCCCO b\nc1ccccc1 c\nCCN d\n")
    run = moldiff.screen(library, tmp_path / "run", rank="mw", top=2, diverse=0.5, where="mw<500")
    assert run is not None
    rows = pyarrow.parquet.read_table(run.folder / "ranked.parquet").to_pylist()
    assert [(row["rank"], row["name"]) for row in rows] == [(1, "b"), (2, "a"), (3, "c"), (4, "d")]
    assert [row["pick"] for row in rows] == [1, None, 2, None]  # a is too much like b
    top = [record.mol for record in read_records(run.top)]
    assert [Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in top if mol is not None] == ["CCCCCCCO", "c1ccccc1"]
    assert all(mol is not None and mol.GetConformer().Is3D() for mol in top)


def test_a_pick_without_coordinates_is_told(tmp_path: Path) -> None:
    library = tmp_path / "library.smi"
    library.write_text("[Pt](Cl)(Cl)(Cl)(Cl)(Cl)Cl heavy\nCCO light\n")
    run = moldiff.screen(library, tmp_path / "run", rank="mw", top=2)
    assert run is not None
    rows = pyarrow.parquet.read_table(run.folder / "ranked.parquet").to_pylist()
    written = [record.name for record in read_records(run.top)]
    assert {row["name"] for row in rows} >= set(written)
    assert "light" in written


@pytest.mark.parametrize("column", ["", ",dose"])
def test_the_data_fields_of_all_that_are_ranked_stand_in_the_tables(tmp_path: Path, column: str) -> None:
    rows = [f"{'C' * size}O,alcohol_{size}" + (f",{10 * size}" if column else "") for size in range(1, 5)]
    (tmp_path / "a.csv").write_text("\n".join([f"smiles,name{column}", *rows, ""]))
    run = moldiff.screen(tmp_path / "a.csv", tmp_path / "run", where="mw<70", rank="mw", top=1)
    assert run is not None
    assert list(run.ranked["name"]) == ["alcohol_3", "alcohol_2", "alcohol_1"]
    assert not column or list(map(str, run.ranked["dose"])) == ["30", "20", "10"]
