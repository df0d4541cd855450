"""Limits in front of every reader: what a small file unpacks to, or says of itself, cannot fill the memory."""

import bz2
import gzip
import io
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from moldiff.chem.io import capped, csv_rows, parquet, text_records
from moldiff.chem.io.capped import MAX_RECORD
from moldiff.chem.io.records import read_records, read_texts
from moldiff.errors import MoldiffError

DRUGS = Path(__file__).parents[2] / "fixtures" / "drugs.sdf"
MOST = 30 << 20  # bytes of memory


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["a.sdf.gz", "a.sdf", "a.smi", "a.csv", "a.xyz"])
def test_a_line_without_an_end_is_refused_in_little_memory(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capped, "MAX_LINE", 20 * MAX_RECORD)
    path = tmp_path / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(b"x" * (30 * MAX_RECORD)))
    else:
        with open(path, "wb") as handle:  # sparse: zeros behind its head, no space on the disk
            handle.write(b"x" * 5000)
            handle.truncate(1 << 33)
    assert path.stat().st_blocks < 200

    def read() -> None:
        with pytest.raises(MoldiffError, match=r"a\.\S+: line 1 has more than 20000000 characters"):
            list(read_texts(path))

    assert peak(read) < MOST


def test_a_long_line_costs_its_record_alone(tmp_path: Path) -> None:
    """The rest of the line is no record of its own, and those behind it are read."""
    smi = tmp_path / "a.smi"
    smi.write_text("CCO ethanol\n" + "C" * (3 * MAX_RECORD) + " long\nCC ethane\n")
    found = list(read_texts(smi))
    assert [(text.name, bool(text.reason)) for text in found] == [("ethanol", False), ("", True), ("ethane", False)]
    sdf = tmp_path / "a.sdf"
    good = DRUGS.read_text().split("$$$$\n")[0] + "$$$$\n"
    sdf.write_text(good + "x" * (2 * MAX_RECORD) + "\n$$$$\n" + good)
    assert [record.reason[:9] for record in read_records(sdf)] == ["", "too large", ""]
    xyz = tmp_path / "a.xyz"
    xyz.write_text("1\n" + "x" * (2 * MAX_RECORD) + "\nHe 0 0 0\n1\nneon\nNe 0 0 0\n")
    assert [text.reason[:9] for text in read_texts(xyz)] == ["too large", ""]


def test_empty_records_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_records, "MAX_EMPTY", 500)
    good = DRUGS.read_text().split("$$$$\n")[0] + "$$$$\n"
    for name, head, empty in (("a.sdf.gz", good, "$$$$\n"), ("a.csv", "smiles,x\nCC,1\n", ",\n")):
        path, pack = tmp_path / name, gzip.compress if name.endswith(".gz") else bytes
        path.write_bytes(pack((head + empty * 499 + head.removeprefix("smiles,x\n") + empty * 499).encode()))
        assert len(list(read_texts(path))) == 1000
        path.write_bytes(pack((head + empty * 501).encode()))
        with pytest.raises(MoldiffError, match=r"more than 500 empty records in a row, up to record 502"):
            list(read_texts(path))


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("a.smi", "CC\n"),
        ("a.csv", "smiles\nCC\n"),
        ("a.xyz", "1\nhelium\nHe 0 0 0\n"),
        ("a.sdf.gz", DRUGS.read_text().split("$$$$\n")[0] + "$$$$\n"),
    ],
)
def test_blank_lines_without_end_are_refused(
    tmp_path: Path, name: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capped, "MAX_BLANK", 500)
    path, pack = tmp_path / name, gzip.compress if name.endswith(".gz") else bytes
    path.write_bytes(pack((head + "\n" * 500).encode()))
    assert [text.reason for text in read_texts(path)] == [""]
    path.write_bytes(pack((head + "\n" * 501).encode()))
    with pytest.raises(MoldiffError, match=r"more than 500 blank lines in a row, up to line \d+"):
        list(read_texts(path))


def test_lines_are_the_same_however_a_text_comes_in_pieces() -> None:
    lengths = (0, 3, MAX_RECORD, MAX_RECORD + 1, MAX_RECORD + 2, 2 * MAX_RECORD, 5)
    text = "".join(" " * (length % 7) + "x" * (length - length % 7) + "\n" for length in lengths) + "  \n\n end"
    cut = [line if len(line) <= MAX_RECORD + 2 else line[: MAX_RECORD + 2] for line in text.splitlines(keepends=True)]
    for size in (1 << 16, 99_999, 999_999):
        pieces = (text[place : place + size] for place in range(0, len(text), size))
        assert list(capped.capped_lines(Path("a"), pieces)) == cut
    assert list(capped.capped_lines(Path("a"), "C\r\r\nN\r\nO\rF\n")) == ["C\n", "N\n", "O\rF\n"]


def test_blank_lines_are_counted_over_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capped, "MAX_BLANK", 5)
    text = "C\n" + " \n" * 5 + " N\n" + "\n" * 5 + "O\n \n\n\n\n\n\n"
    for size in (1, 2, 3, 4):
        pieces = [text[place : place + size] for place in range(0, len(text), size)]
        with pytest.raises(MoldiffError, match="more than 5 blank lines in a row, up to line 19"):
            list(capped.capped_lines(Path("a"), pieces))


def test_comments_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_records, "MAX_BLANK", 500)
    path = tmp_path / "a.smi"
    path.write_text("C\n" + "# note\n" * 500 + "CC\n" + "#\n" * 500)
    assert [text.text for text in read_texts(path)] == ["C", "CC"]
    path.write_text("C\n" + "# note\n" * 501)
    with pytest.raises(MoldiffError, match=r"more than 500 lines without a SMILES in a row, up to line 502"):
        list(read_texts(path))


def test_columns_that_all_bear_one_name_take_no_time_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("smiles" + ",x" * 5000 + ",x (7)\nC" + ",1" * 5001 + "\n")
    began = time.thread_time()
    (text,) = read_texts(path)
    assert time.thread_time() - began < 2
    assert len(text.tags) == 5001 and "x (7) (2)" in text.tags
    path.write_text("smiles" + ",x" * 20_000 + "\nC\n")
    with pytest.raises(MoldiffError, match="has 20001 columns, more than 20000"):
        list(read_texts(path))


def test_a_csv_row_over_many_lines_ends_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    monkeypatch.setattr(csv_rows, "MAX_ROW", 100_000)
    for lines, end in (('"' + "y" * 1000 + '\n",', "z"), ('x","y\n', '"')):
        path.write_text("smiles,x\nCC,1\nCCC," + lines * (500_000 // len(lines)) + f"{end}\nCCO,1\n")
        began = time.thread_time()
        first, *others, last = read_texts(path)
        assert time.thread_time() - began < 10, "each line is read a few times, not once for each line before it"
        assert (first.text, first.reason, last.text, last.reason) == ("CC", "", "CCO", "")
        assert len(others) > 10, "no row of so many lines"


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_quote_that_is_not_closed_is_said(tmp_path: Path, end: str, caplog: pytest.LogCaptureFixture) -> None:
    """It would give the record a name of many lines, and the molecules in them would be gone unseen."""
    path = tmp_path / "a.csv"
    path.write_text('smiles,name\nC,"a\nb"\nCCO,"c\nCCN,d\nCCC,e' + end)
    assert [(text.text, text.name, text.reason) for text in read_texts(path)] == [
        ("C", "a\nb", ""), ("CCO", '"c', ""), ("CCN", "d", ""), ("CCC", "e", ""),
    ]  # fmt: skip
    assert f"{path}, line 4: a quote opens a cell that would take in the rows behind it" in caplog.text
    path.write_text('smiles,name\nC,"a"\nCC,"b"' + end)
    assert [(record.text, record.reason) for record in read_texts(path)] == [("C", ""), ("CC", "")]


@pytest.mark.parametrize("store_schema", [True, False])
def test_a_parquet_of_few_bytes_cannot_unpack_to_gigabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_schema: bool
) -> None:
    path = tmp_path / "a.parquet"
    same = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 20_000, pyarrow.int32()), ["C" * MAX_RECORD])
    table = pyarrow.table({"smiles": same})
    pyarrow.parquet.write_table(table, path, compression="zstd", store_schema=store_schema)
    assert path.stat().st_size < 10_000
    before = pyarrow.total_allocated_bytes()

    def read() -> None:
        assert {text.reason for text in read_texts(path)} == {"too large: SMILES of 1000000 characters"}

    assert peak(read) < MOST
    assert pyarrow.total_allocated_bytes() - before < MOST
    monkeypatch.setattr(parquet, "MAX_COLUMN", 1_000_000)
    rows = {"smiles": ["C"] * 20, "coordinates_mA": [[0] * 100_000] * 20}
    pyarrow.parquet.write_table(pyarrow.table(rows), path)
    with pytest.raises(MoldiffError, match=r"column coordinates_mA.* unpacks to more than 1000000 bytes"):
        list(read_texts(path))


def test_an_archive_forgets_its_members(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(40_000):
            tar.addfile(tarfile.TarInfo(f"{number}.txt"))
        info = tarfile.TarInfo("a.xyz")
        info.size = len(b"1\nx\nHe 0 0 0\n")
        tar.addfile(info, io.BytesIO(b"1\nx\nHe 0 0 0\n"))
    path = tmp_path / "a.tar.bz2"
    path.write_bytes(bz2.compress(buffer.getvalue(), 1))
    assert peak(lambda: [text.name for text in read_texts(path)]) < 14 << 20
