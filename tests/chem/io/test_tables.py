"""Tables of text: what stands between cells, names of columns, what a pass writes and the next one reads."""

import contextlib
import csv
import gc
import sys
from pathlib import Path
from typing import Any

import pytest

from moldiff.chem.io import tables
from moldiff.chem.io.capped import MAX_RECORD
from moldiff.chem.io.outputs import CsvRows, ParquetRows, kind_of
from moldiff.chem.io.records import read_texts
from moldiff.chem.io.tables import Columns, add_fields
from moldiff.errors import MoldiffError
from moldiff.files import file_set


@pytest.mark.parametrize(
    ("header", "row", "tags"),
    [
        ('"name, long";smiles', "a;CCO", {"name, long": "a"}),
        ('smiles;"a, b, c";"d, e"', "CCO;1;2", {"a, b, c": "1", "d, e": "2"}),
        ("a, b, c;SMILES", "1;CCO", {"a, b, c": "1"}),
        ('smiles\t"dose, mg; oral"', "CCO\t5", {"dose, mg; oral": "5"}),
        ('smiles,"a;b;c;d"', "CCO,5", {"a;b;c;d": "5"}),
        ('"a, b, c";SMILES (parent)', "1;CCO", {"a, b, c": "1"}),
        ("x;y,Canonical_Smiles", "5,CCO", {"x;y": "5"}),
        ("smiles", "CCO", {}),
        ("smiles,a,b", "CCO,1,2", {"a": "1", "b": "2"}),
    ],
)
def test_what_stands_between_cells_is_told_by_the_column_of_the_smiles(
    tmp_path: Path, header: str, row: str, tags: dict[str, str]
) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n{row}\n")
    (text,) = read_texts(tmp_path / "a.csv")
    assert (text.text, text.tags) == ("CCO", tags)


def test_and_by_the_one_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a, b, c;structure\n1;CCO\n")
    (text,) = read_texts(path, Columns(" Structure"))
    assert (text.text, text.tags) == ("CCO", {"a, b, c": "1"})
    with pytest.raises(MoldiffError, match="no column 'x'; its columns are a, b, c;structure"):
        list(read_texts(path, Columns("x")))


class Sheet:
    """Rows with one column more than the SMILES."""

    whole = frozenset[str]()

    def __init__(self, name: str) -> None:
        self.headings = self.texts = ("smiles", name)

    def cells(self, item: str) -> list[str]:
        return ["C", item]

    def line(self, item: str) -> tuple[str, ...]:
        return ()

    def sdf(self, item: str) -> str:
        return ""


@pytest.mark.parametrize("name", ["@id", "=x", "-y", "+1 dose", "'@id", "''=x", "plain", "'quoted'", "-1"])
@pytest.mark.parametrize("value", ["=1+1", "'=x", "-5", "x"])
def test_names_and_cells_that_a_spreadsheet_takes_for_formulas_come_back(tmp_path: Path, name: str, value: str) -> None:
    path, names = tmp_path / "a.csv", name
    for _ in range(3):
        with open(path, "wb") as handle:
            table = CsvRows[str](handle, Sheet(names))
            table.add(value)
            table.close()
        (text,) = read_texts(path)
        ((names, value),) = text.tags.items()
    assert names == name
    with open(path, newline="") as handle:
        heading = next(csv.reader(handle))[1]
    assert heading in (name, f"'{name}")


@pytest.mark.parametrize("kind", [CsvRows, ParquetRows])
@pytest.mark.parametrize("letters", ["x", '"', "€ ", "\n,"])
def test_the_longest_field_that_an_sdf_holds_is_written_and_read(tmp_path: Path, kind: Any, letters: str) -> None:
    path = tmp_path / ("a.csv" if kind is CsvRows else "a.parquet")
    value = (letters * MAX_RECORD)[: MAX_RECORD - 100] + "!"
    with open(path, "wb") as handle:
        table = kind(handle, Sheet("note"))
        for one in (value, "short"):
            table.add(one)
        table.close()
    assert [text.tags["note"] for text in read_texts(path)] == [value, "short"]


@pytest.mark.parametrize("name", ["a.parquet", "a.csv.gz"])
def test_the_end_of_a_table_that_is_given_up_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Writers of pyarrow and gzip write it when they are forgotten, which is after their file was closed."""
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: complaints.append(one.exc_value))
    with contextlib.suppress(KeyboardInterrupt), file_set(tmp_path / "a.json") as files:
        table = kind_of(Path(name)).opened(files, tmp_path / name, Sheet("note"))
        table.add("x")
        raise KeyboardInterrupt
    del table
    gc.collect()
    assert (complaints, list(tmp_path.iterdir())) == ([], [])


def test_columns_that_differ_in_blanks_alone_are_told_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.csv").write_text("smiles,dose, dose,'@id,@id\nC,1,2,3,4\n")
    (text,) = read_texts(tmp_path / "a.csv")
    assert text.tags == {"dose": "1", "dose (2)": "2", "@id": "3", "@id (2)": "4"}
    assert "more than one column 'dose'" in caplog.text


def test_fields_of_all_records_together_are_as_many_as_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_COLUMNS", 3)
    known: dict[str, None] = {}
    for fields in (["a", "b"], ["b", "c"]):
        add_fields(known, fields, tmp_path)
    with pytest.raises(MoldiffError, match="has records with more than 3 different data fields"):
        add_fields(known, ["d"], tmp_path)


@pytest.mark.parametrize(
    ("above", "cut"),
    [
        ("sep=;", ";"),
        ("SEP=,", ","),
        ('"sep=|"', "|"),
        ("sep=\t", "\t"),
        ("\ufeffsep=;", ";"),
        ("sep= ", " "),
        ("Sep=^", "^"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_for_excel_says_what_stands_between_cells(tmp_path: Path, above: str, cut: str, end: str) -> None:
    rows = [above, cut.join(("name", "smiles", '"a,b;c"')), cut.join(("m1", "CCO", "1,5" if cut != "," else "15"))]
    (tmp_path / "a.csv").write_bytes((end.join(rows) + end).encode())
    (text,) = read_texts(tmp_path / "a.csv")
    assert (text.name, text.text, text.tags) == ("m1", "CCO", {"a,b;c": "15" if cut == "," else "1,5"})


def test_what_is_no_such_line_is_a_header(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.csv"
    for header in ("sep=;;x", "sep=", "sep =;"):
        path.write_text(f"{header}\nsmiles;x\nC;1\n")
        with pytest.raises(MoldiffError, match="no column 'smiles'"):
            list(read_texts(path))
    path.write_text('sep=,\nsmiles;x,y\nC;1,2\nCC,"3\nCCC,4\n')
    with pytest.raises(MoldiffError, match="no column 'b'"):
        list(read_texts(path, Columns("b")))
    assert next(text.tags for text in read_texts(path, Columns(delimiter=";"))) == {"x,y": "1,2"}
    path.write_text('sep=,\nsmiles,y\nC,1\nCC,"3\nCCC,4\n')
    assert len(list(read_texts(path))) == 3
    assert f"{path}, line 4: a quote opens a cell" in caplog.text


def test_a_line_for_excel_alone_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\n")
    with pytest.raises(MoldiffError, match="no column 'smiles'"):
        list(read_texts(tmp_path / "a.csv"))
