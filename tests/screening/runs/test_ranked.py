"""The ranked of a run: places in the tables, picks of the top, and what can be given no coordinates."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet
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
