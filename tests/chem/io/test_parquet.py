"""Parquet tables of other programs: bytes, odd days, two columns of a name; a cell that is too large costs its row."""

import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from moldiff.chem.io import parquet
from moldiff.chem.io.capped import MAX_RECORD, TOO_LARGE
from moldiff.chem.io.records import read_texts
from moldiff.errors import MoldiffError


def written(path: Path, columns: list[tuple[str, Any]], **options: Any) -> Path:
    arrays = [pyarrow.array(values) if isinstance(values, list) else values for _, values in columns]
    table = pyarrow.Table.from_arrays(arrays, names=[name for name, _ in columns])
    pyarrow.parquet.write_table(table, path, **options)
    return path


def texts_of_bytes(values: list[bytes], kind: Any) -> Any:
    """A column that says it holds texts, whatever the bytes."""
    return pyarrow.array(values, pyarrow.binary()).view(pyarrow.string()).cast(kind, safe=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.parquet"


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "binary", "large_binary", "binary_view"])
@pytest.mark.parametrize("store_schema", [True, False])
def test_text_of_every_layout_is_text(path: Path, kind: str, store_schema: bool) -> None:
    """Spark and Impala leave the mark of UTF-8 out."""
    smiles = pyarrow.array(["CCO", "CCN", "CCC"]).cast(pyarrow.binary()).cast(getattr(pyarrow, kind)())
    names = pyarrow.array(["Äthanol", None, ""]).cast(pyarrow.binary()).cast(getattr(pyarrow, kind)())
    found = list(read_texts(written(path, [("smiles", smiles), ("Ä", names)], store_schema=store_schema)))
    assert [text.text for text in found] == ["CCO", "CCN", "CCC"]
    assert [text.tags for text in found] == [{"Ä": "Äthanol"}, {}, {"Ä": ""}]


@pytest.mark.parametrize("kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.binary()])
def test_what_is_no_utf8_is_windows_1252(path: Path, kind: Any) -> None:
    names = [b"s\xe4ure", "ö".encode(), b"x"]
    column = pyarrow.array(names, kind) if kind == pyarrow.binary() else texts_of_bytes(names, kind)
    found = list(read_texts(written(path, [("smiles", ["C", "CC", "CCC"]), ("name", column)])))
    assert [text.name for text in found] == ["säure", "ö", "x"]


def test_bytes_that_are_no_text_are_nothing(path: Path) -> None:
    fixed = pyarrow.array([b"ab", b"\x00\x01"], pyarrow.binary(2))
    found = list(read_texts(written(path, [("smiles", ["C", "CC"]), ("code", fixed), ("bits", [b"\x00", b"ok"])])))
    assert [text.tags for text in found] == [{"code": "ab"}, {"bits": "ok"}]


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (pyarrow.timestamp("us"), 2**62),
        (pyarrow.timestamp("ms"), -(2**61)),
        (pyarrow.date32(), 2**30),
        (pyarrow.duration("s"), 2**62),
        (pyarrow.timestamp("us", "UTC"), 2**62),
    ],
)
def test_a_time_beyond_the_calendar_is_nothing_and_said(
    path: Path, kind: Any, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    whole = pyarrow.int32() if kind == pyarrow.date32() else pyarrow.int64()
    odd = pyarrow.array([number, 0, None], whole).view(kind)
    found = list(read_texts(written(path, [("smiles", ["C", "CC", "CCC"]), ("made", odd), ("n", [1, 2, 3])])))
    plain = str(pyarrow.array([0], whole).view(kind).to_pylist()[0])
    assert [text.tags for text in found] == [{"n": "1"}, {"made": plain, "n": "2"}, {"n": "3"}]
    assert "the column 'made' has cells that are no text" in caplog.text


def test_a_zone_that_nobody_knows_is_that_of_greenwich(path: Path) -> None:
    times = pyarrow.array([0, None], pyarrow.timestamp("us", "Mars/Phobos"))
    found = list(read_texts(written(path, [("smiles", ["C", "CC"]), ("made", times)])))
    assert [text.tags for text in found] == [{"made": "1970-01-01 00:00:00+00:00"}, {}]


def test_columns_that_come_twice_are_told_apart(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    columns = [("smiles", ["C"]), ("dose", [1]), ("dose", ["two"]), (" dose", [3.0]), ("", [4]), (" ", [5])]
    (text,) = read_texts(written(path, columns))
    assert text.tags == {"dose": "1", "dose (2)": "two", "dose (3)": "3.0", "": "4", " (2)": "5"}
    assert "more than one column 'dose'" in caplog.text


def test_numbers_structures_and_lists(path: Path) -> None:
    columns = [
        ("smiles", ["C", "CC"]),
        ("half", [0.5, None]),
        ("true", [True, False]),
        ("pair", [{"a": 1}, None]),
        ("list", [["x"], []]),
        ("map", pyarrow.array([[("a", 1)], []], pyarrow.map_(pyarrow.string(), pyarrow.int64()))),
        ("kind", pyarrow.array(["x", "y"]).dictionary_encode()),
    ]
    first, second = read_texts(written(path, columns))
    assert first.tags == {"half": "0.5", "true": "True", "pair": "{'a': 1}", "kind": "x"}
    assert second.tags == {"true": "False", "kind": "y"}


@pytest.mark.parametrize("letter", ["x", "€"])
def test_a_cell_that_is_too_large_costs_its_row_alone(path: Path, letter: str) -> None:
    notes = [letter * length for length in (MAX_RECORD - 10, 3, MAX_RECORD + 1, 5 * MAX_RECORD, 200_000)]
    columns = [("smiles", ["CCO"] * 5), ("note", notes), ("name", list("abcde"))]
    found = list(read_texts(written(path, columns)))
    too_large = f"too large: record of more than {MAX_RECORD} characters"
    assert [text.reason for text in found] == ["", "", too_large, too_large, ""]
    assert [text.tags.get("note") for text in found] == [notes[0], notes[1], None, None, notes[4]]
    assert [text.name for text in found] == list("abcde")


def test_cells_that_are_too_large_together_cost_their_row(path: Path) -> None:
    columns = [("smiles", ["CCO", "C"]), *((f"note {k}", ["x" * 200_000, "y"]) for k in range(6))]
    assert [bool(text.reason) for text in read_texts(written(path, columns))] == [True, False]


def test_rows_are_the_same_however_many_are_taken_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [("smiles", ["C" * (1 + k % 7) for k in range(1500)]), ("note", ["x" * (k % 5) for k in range(1500)])]
    found = list(read_texts(written(path, columns)))
    assert [text.text for text in found] == columns[0][1]
    monkeypatch.setattr(parquet, "_AT_ONCE", 60)
    assert list(read_texts(path)) == found


def test_large_cells_are_taken_some_at_a_time(path: Path) -> None:
    notes = [f"{number} " + "x" * 100_000 for number in range(512)]
    written(path, [("smiles", ["C"] * 512), ("note", notes)])
    tracemalloc.start()
    try:
        assert [text.tags["note"][:9] for text in read_texts(path)] == [note[:9] for note in notes]
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()


def test_whatever_breaks_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("two\nlines")

    written(path, [("smiles", ["C"])])
    monkeypatch.setattr(parquet, "_cells", broken)
    with pytest.raises(MoldiffError, match=r"a\.parquet cannot be read: KeyError: 'two"):
        list(read_texts(path))


def test_coordinates_of_more_than_fits_cost_their_row(path: Path) -> None:
    many = pyarrow.array([[0] * (3 * MAX_RECORD), [0] * 3])
    written(path, [("smiles", ["O", "O"]), ("coordinates_mA", many)])
    tracemalloc.start()
    first, second = read_texts(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (first.reason, second.reason) == (TOO_LARGE, "")
    assert second.kind == "placed"
    assert most < 8 * MAX_RECORD, "it never becomes a list"


def test_structures_that_hold_lists_are_no_cells(path: Path) -> None:
    columns = [("smiles", ["C"]), ("deep", [{"a": {"b": [1, 2]}, "c": 1}]), ("flat", [{"a": {"b": 1}}])]
    (text,) = read_texts(written(path, columns))
    assert text.tags == {"flat": "{'a': {'b': 1}}"}
