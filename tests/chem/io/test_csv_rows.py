"""Quotes in text tables: cells over several lines stay cells, a quote that nobody meant costs no row."""

import csv
import random
from pathlib import Path

import pytest

from moldiff.chem.io.capped import MAX_RECORD
from moldiff.chem.io.records import read_texts


def rows(path: Path, text: str) -> list[tuple[str, ...]]:
    path.write_text(text)
    return [(one.text, one.name, *one.tags.values()) if not one.reason else (one.reason,) for one in read_texts(path)]


@pytest.mark.parametrize("end", ["", "\n"])
def test_quotes_at_the_start_of_cells_take_in_no_rows(
    tmp_path: Path, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "q.tsv"
    text = f'smiles\tname\nCCO\t"abc\nCCN\tb\nCCC\t"c\nCCCC\td{end}'
    assert rows(path, text) == [("CCO", '"abc'), ("CCN", "b"), ("CCC", '"c'), ("CCCC", "d")]
    assert [line for line in caplog.messages if "a quote opens a cell" in line] == [
        f"{path}, line 2: a quote opens a cell that would take in the rows behind it; it is read as a letter, as are "
        "further such quotes"
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('C,"a\nCC,b"\nCCC,c\n', [("C", '"a'), ("CC", 'b"'), ("CCC", "c")]),  # closed, by another chance
        ('C,"5 inch\nCC,"6 inch\nCCC,c\n', [("C", '"5 inch'), ("CC", '"6 inch'), ("CCC", "c")]),
        ('C,"a\nCC,"x, y"\nCCC,c\n', [("C", '"a'), ("CC", "x, y"), ("CCC", "c")]),
        ('C,a\nCC,"b', [("C", "a"), ("CC", '"b')]),
        ('C,"a\n\nCC,b\n', [("C", '"a'), ("CC", "b")]),
        ('C,"a\nQ!!,b\nCC,"c\nCCC,d\n', [("C", '"a'), ("Q!!", "b"), ("CC", '"c'), ("CCC", "d")]),
        ('"C,a\nCC,b"\nCCC,c\n', [('"C', "a"), ("CC", 'b"'), ("CCC", "c")]),
        # a genuine cell behind one that is none
        ('C,"a\nCC,"two\nlines"\nCCC,c\n', [("C", '"a'), ("CC", "two\nlines"), ("CCC", "c")]),
    ],
)
def test_lines_that_a_quote_would_take_in_are_rows(tmp_path: Path, text: str, found: list[tuple[str, ...]]) -> None:
    assert rows(tmp_path / "a.csv", f"smiles,name\n{text}") == found


@pytest.mark.parametrize(
    ("header", "text", "found"),
    [
        ("smiles,name", 'C,"two\nlines"\nCC,b\n', [("C", "two\nlines"), ("CC", "b")]),
        ("smiles,name", 'C,"soluble in water\nethanol, acetone"\nCC,b\n', [
            ("C", "soluble in water\nethanol, acetone"), ("CC", "b"),
        ]),
        ("name,smiles", '"two\nlines",C\nb,CC\n', [("C", "two\nlines"), ("CC", "b")]),
        ("name,smiles", '"not in water, but\nin oil",C\nb,CC\n', [("C", "not in water, but\nin oil"), ("CC", "b")]),
        ("smiles,name,x", 'C,"a, b\n\n""c"", d",1\n', [("C", 'a, b\n\n"c", d', "1")]),
        ("smiles,name", 'C,"a"\nCC,"say ""b"""\nCCC,5"\n', [("C", "a"), ("CC", 'say "b"'), ("CCC", '5"')]),
        # as before: quotes within a line that are not doubled
        ("smiles,name", 'C,"a" b\nCC,"say "b" so"\n', [("C", "a b"), ("CC", 'say b" so"')]),
        ("smiles,name", 'C,"one\nsay "two" so"\nCC,b\n', [("C", 'one\nsay two" so"'), ("CC", "b")]),
    ],
)  # fmt: skip
def test_cells_in_quotes_may_go_over_several_lines(
    tmp_path: Path, header: str, text: str, found: list[tuple[str, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    assert rows(tmp_path / "a.csv", f"{header}\n{text}") == found
    assert "quote" not in caplog.text


def test_a_header_with_quotes(tmp_path: Path) -> None:
    (text,) = (path := tmp_path / "a.csv").write_text('\n"smiles","IC50\n(nM), mean"\nC,5\n') and read_texts(path)
    assert (text.text, text.tags) == ("C", {"IC50\n(nM), mean": "5"})
    path.write_text('smiles,"name\nC,a\nCC,b\n')
    assert [(one.text, one.tags) for one in read_texts(path)] == [("C", {'"name': "a"}), ("CC", {'"name': "b"})]


def test_whatever_python_writes_is_read_as_it_reads_it(tmp_path: Path) -> None:
    """Tables with all sorts of cells in every column but that of the SMILES."""
    draw = random.Random(0)
    path = tmp_path / "a.csv"
    for _ in range(200):
        cells = ["".join(draw.choices('xy ,;"\n', k=draw.randrange(12))) for _ in range(12)]
        table = [
            ["name", "smiles", "x"],
            *(["n" + a, "C", "x" + b] for a, b in zip(cells[::2], cells[1::2], strict=True)),
        ]
        with open(path, "w", newline="") as handle:
            csv.writer(handle, lineterminator="\n").writerows(table)
        found = [[one.name, one.text, one.tags["x"]] for one in read_texts(path)]
        assert found == table[1:]


def test_cells_as_long_as_a_record(tmp_path: Path) -> None:
    path, limit = tmp_path / "a.csv", 131_072
    csv.field_size_limit(limit)
    notes = [
        "x" * 200_000,
        '"' * (MAX_RECORD - 10),
        "\n" * 300_000 + "x",
        "y" * MAX_RECORD,
        "z" * 5 * MAX_RECORD,
        "short",
    ]
    with open(path, "w", newline="") as handle:
        csv.writer(handle).writerows([("smiles", "note"), *(("C", note) for note in notes)])
    found = list(read_texts(path))
    assert [text.tags.get("note") for text in found] == [*notes[:3], None, None, "short"]
    assert {text.reason for text in found[3:5]} == {"too large: record of more than 1000000 characters"}
    assert csv.field_size_limit() == limit
