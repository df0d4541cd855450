"""Cells of benchmarks: what is missing is made, what is there is read."""

from functools import partial
from pathlib import Path

from script import load_script

Cells = load_script("benchmarks/cells").Cells


def test_only_missing_cells_are_made_and_the_table_grows_with_each(tmp_path: Path) -> None:
    made = list[str]()

    def rows(name: str) -> list[dict[str, str]]:
        made.append(name)
        return [{"figure": "1"}, {"figure": "2", "kind": "other"}]

    def table(*names: str) -> list[list[str]]:
        cells = Cells(tmp_path / "work" / "cells.csv", ("seed", "kind", "figure"), ("seed", "kind"))
        found = cells.complete({"seed": "0"}, [({"kind": name}, partial(rows, name)) for name in names])
        return [[row["kind"] for row in some] for some in found]

    assert table("a") == [["a", "other"]]
    assert table("a", "b") == [["a", "other"], ["a", "other", "b", "other"]], "a row's own value counts"
    assert made == ["a", "b"]
