"""Text files of any encoding, packed or not; tables of any delimiter; what a parser cannot read is quoted."""

import bz2
import gzip
import io
import lzma
import os
import random
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem

from moldiff.chem.io import encodings
from moldiff.chem.io.capped import MAX_RECORD
from moldiff.chem.io.records import read_records, read_texts
from moldiff.chem.io.tables import Columns
from moldiff.errors import MoldiffError


def found(path: Path, columns: Columns | None = None) -> list[tuple[str, str]]:
    return [
        (record.name, Chem.MolToSmiles(record.mol) if record.mol is not None else record.reason)
        for record in read_records(path, columns)
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings_are_found_out(tmp_path: Path, encoding: str, packed: bool) -> None:
    text = "smiles,name\nCCO,Äthanol\nCC(=O)O,essigsäure\n".encode(encoding)
    path = tmp_path / ("a.csv.gz" if packed else "a.csv")
    path.write_bytes(gzip.compress(text) if packed else text)
    assert found(path) == [("Äthanol", "CCO"), ("essigsäure", "CC(=O)O")]


def test_bytes_of_another_encoding_late_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.smi"
    path.write_bytes(b"CCO a\n" * 20_000 + "CC(=O)O säure\n".encode("cp1252"))
    assert found(path)[-1] == ("säure", "CC(=O)O")


def test_a_packed_file_under_a_plain_name(tmp_path: Path) -> None:
    path = tmp_path / "a.smi"
    path.write_bytes(gzip.compress(b"CCO a\n"))
    assert found(path) == [("a", "CCO")]


@pytest.mark.parametrize("order", ["le", "be"])
def test_a_mark_of_four_bytes_is_none_of_two(tmp_path: Path, order: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("\ufeffsmiles,name\nCCO,Äthanol\n".encode(f"utf-32-{order}"))
    assert found(path) == [("Äthanol", "CCO")]
    assert f"{path} is read as UTF-32" in caplog.text


@pytest.mark.parametrize("letter", ["\u200b", "\ufeff", "\u200d", "\u2060", "\u00ad", "\u00a0"])
def test_characters_that_nobody_sees_are_taken_out_and_said(
    tmp_path: Path, letter: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"smiles,name\nCC{letter}O,x\n" if letter != "\u00a0" else "smiles,name\n\u00a0CCO,x\n", "utf-8")
    assert found(path) == [("x", "CCO")]
    assert letter == "\u00a0" or "characters that nobody sees were taken out" in caplog.text


@pytest.mark.parametrize(
    ("smiles", "words"),
    [
        ("CC(=O)O\u2212", "'\u2212' (U+2212, minus sign) cannot stand in one: 'CC(=O)O\u2212'"),
        ("CCO\u00b7HCl", "(U+00B7, middle dot)"),
        ("\u0421CO", "cyrillic capital letter es"),
        ("C(C", "RDKit cannot read it: extra open parentheses at position 2: 'C(C'"),
        ("C1CC", "RDKit cannot read it: unclosed ring: 'C1CC'"),
        ("C==", "RDKit cannot read it: syntax error at position 3: 'C=='"),
    ],
)
def test_what_cannot_be_read_is_quoted_and_never_cut(tmp_path: Path, smiles: str, words: str) -> None:
    path = tmp_path / "a.smi"
    path.write_text(f"{smiles} x\n", "utf-8")
    ((_, reason),) = found(path)
    assert reason.startswith("smiles: ") and words in reason


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("column", ["smiles", "Canonical_SMILES", "isomeric_smiles", "SMILES (parent)"])
def test_tables_of_other_programs(tmp_path: Path, delimiter: str, column: str) -> None:
    path = tmp_path / ("a.tsv" if delimiter == "\t" else "a.csv")
    path.write_text(f"{delimiter.join(('id', column, 'dose'))}\n{delimiter.join(('m1', 'CCO', '2'))}\n")
    (text,) = read_texts(path)
    assert (text.name, text.text, text.tags) == ("m1", "CCO", {"dose": "2"})


def test_columns_that_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("structure|code|smiles\nCCO|a|C\n")
    assert found(path, Columns("structure", "CODE", "|")) == [("a", "CCO")]
    with pytest.raises(MoldiffError, match="no column 'x'; its columns are structure, code, smiles") as caught:
        found(path, Columns("x", None, "|"))
    assert (caught.value.argument, caught.value.word) == ("columns", "smiles_column")
    with pytest.raises(MoldiffError, match="delimiter must be one character"):
        Columns(delimiter="ab")
    other = tmp_path / "a.smi"
    other.write_text("C\n")
    with pytest.raises(MoldiffError, match=r"a\.smi is no table"):
        found(other, Columns("x"))


def test_several_columns_with_smiles_and_none_of_a_usual_name_are_a_question(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("smiles_a,smiles_b\nC,CC\n")
    with pytest.raises(MoldiffError, match="smiles_a, smiles_b; call the one of the molecules 'smiles', or name it"):
        found(path)


def test_a_bad_row_costs_one_record(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"smiles,note\nCCO,a\nCC,{'x' * MAX_RECORD}\nCCC,b,c\nC,\nCN,d\n")
    rows = found(path)
    assert [smiles for _, smiles in rows][::4] == ["CCO", "CN"]
    assert rows[1][1] == "too large: record of more than 1000000 characters"
    assert rows[2][1] == "row: 3 cells, where the table has 2 columns"
    assert rows[3][1] == "C"


def test_columns_that_come_twice_are_told_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.csv"
    path.write_text("smiles,dose,dose\nC,1,2\n")
    (text,) = read_texts(path)
    assert text.tags == {"dose": "1", "dose (2)": "2"}
    assert "more than one column 'dose'" in caplog.text


@pytest.mark.parametrize("line", ["CCO,a", "CCO;a", "CCO a", "CCO\ta", "CCO , a"])
def test_smiles_files_of_any_separator(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.smi"
    path.write_text(f"smiles,name\n{line}\n")
    assert found(path) == [("a", "CCO")]


@pytest.mark.parametrize("line", [",ethanol", ";ethanol", " , ethanol", "\t;\tethanol", ",;ethanol"])
def test_a_line_without_a_smiles_is_a_record_and_a_blank_one_is_none(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.smi"
    path.write_text(f"{line}\nCCN amine\n\n  \t\n# CCO\n#\n;CCO\n,\nCC\n")
    empty = "empty: no SMILES"
    assert found(path) == [("ethanol", empty), ("amine", "CCN"), ("CCO", empty), ("", empty), ("", "CC")]


def test_what_was_taken_out_is_told_of_the_first_record_of_a_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "three.smi").write_text("C\u200bO a\nC\u200bN b\nC\u200bC c\n", encoding="utf-8")
    assert len(list(read_texts(tmp_path / "three.smi"))) == 3
    assert [line.split(":")[0].rpartition(", ")[2] for line in caplog.messages] == ["record 1"]


@pytest.mark.parametrize("packed", [False, True])
def test_what_was_looked_at_is_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    """Another file that takes the place of one meanwhile, a pipe say, is not opened."""
    path = tmp_path / ("a.smi.gz" if packed else "a.smi")
    path.write_bytes(gzip.compress(b"CCO a\n") if packed else b"CCO a\n")
    real, opened = encodings.open_regular, list[Any]()

    def swapped(asked: Path) -> Any:
        opened.append(real(asked))
        asked.unlink()
        os.mkfifo(asked)
        return opened[-1]

    monkeypatch.setattr(encodings, "open_regular", swapped)
    with encodings.open_text(path) as text:
        assert "".join(text) == "CCO a\n"
    assert [handle.closed for handle in opened] == [True]


@pytest.mark.parametrize(
    "content",
    [b"no gzip at all", b"\x1f\x8b\x08\x00", gzip.compress(b"CCO a\n" * 99, mtime=0)[:-20]],
    ids=["none", "its head", "cut short"],
)
def test_a_damaged_file_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    path = tmp_path / "a.smi.gz"
    path.write_bytes(content)
    real, opened = encodings.open_regular, list[Any]()

    def watched(asked: Path) -> Any:
        opened.append(real(asked))
        return opened[-1]

    monkeypatch.setattr(encodings, "open_regular", watched)
    with pytest.raises((OSError, EOFError)), encodings.open_text(path) as text:
        list(text)
    assert [handle.closed for handle in opened] == [True]
    with pytest.raises(MoldiffError, match=r"a\.smi\.gz"):
        found(path)


def test_a_file_that_has_changed_is_warned_of_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, other = tmp_path / "a.csv", tmp_path / "b.csv"
    for file in (path, other):
        file.write_text("smiles,dose,dose\nC,1,2\n")
    for _ in "123":
        assert len(found(path)) == len(found(other)) == 1
    assert caplog.text.count("more than one column 'dose'") == 2
    path.write_text("smiles,dose,dose\nC,1,2\nCC,1,2\n")
    for _ in "123":
        assert len(found(path)) == 2
        assert len(found(other)) == 1
    assert caplog.text.count("more than one column 'dose'") == 3


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_changes_while_it_is_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, packed: bool
) -> None:
    path = tmp_path / ("a.smi.gz" if packed else "a.smi")
    text = "CCO a\n" * 200_000
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    with encodings.open_text(path) as handle:
        assert sum(map(len, handle)) == len(text)
    assert not caplog.records
    with encodings.open_text(path) as handle:
        pieces = iter(handle)
        next(pieces)
        os.utime(path, (1, 1))
        assert len(list(pieces))
    assert caplog.messages == [f"{path} has changed while it was read: hashes of it are of what it is now"]


def test_what_was_told_is_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(encodings, "_MOST", 10)
    for known in ("_told", "_versions"):
        monkeypatch.setattr(encodings, known, {})
    for number in range(30):
        path = tmp_path / f"{number}.smi"
        path.write_bytes(b"C\xe9\n")
        with encodings.open_text(path) as text:
            assert "".join(text) == "C\u00e9\n"
    assert len(encodings._told) == len(encodings._versions) == 10


PACKERS = {
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "gzip": lambda data: gzip.compress(gzip.compress(data)),
    "zip": lambda data: zipped(data),
}


def zipped(data: bytes) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a.smi", data)
    return whole.getvalue()


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("name", ["a.smi", "a.smi.gz", "a.csv", "a.sdf", "a.xyz"])
@pytest.mark.parametrize("rows", [1, 5000])
def test_what_is_packed_in_another_way_is_refused_by_name(tmp_path: Path, packer: str, name: str, rows: int) -> None:
    path = tmp_path / name
    data = PACKERS[packer](b"".join(b"CCO name%d\n" % row for row in range(rows)))
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") and packer != "gzip" else data)
    with pytest.raises(MoldiffError, match=rf"{name} holds a {packer} file, which its name does not say: unpack it"):
        found(path)


@pytest.mark.parametrize(
    "content",
    [
        "CCO a\nCCN b\n".encode("utf-32-le"),
        ("smiles,name\n" + "CCO,\u00c4thanol\n" * 5000).encode("utf-32-be"),
        bytes(5000),
        random.Random(1).randbytes(9000),
        zlib.compress(random.Random(2).randbytes(5000)),
    ],
    ids=["utf-32-le", "utf-32-be", "zeros", "noise", "zlib"],
)
@pytest.mark.parametrize("name", ["a.smi", "a.csv", "a.sdf", "a.xyz"])
def test_what_is_no_text_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MoldiffError, match=rf"{name} is no text \(UTF-32 needs its mark\)"):
        found(tmp_path / name)


def test_some_control_characters_cost_their_records_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.smi"
    path.write_bytes(b"CCO a\nC\0O b\n" + b"CCN c\n" * 9)
    (first, second, *others) = found(path)
    assert first == ("a", "CCO") and second[1].startswith("smiles: ") and len(others) == 9


@pytest.mark.parametrize(("before", "letters"), [(0, 1), (1, 1), (600, 1), (700, 1), (144, 496), (600, 496)])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["a.smi", "a.smi.gz"])
def test_windows_letters_are_said_wherever_they_stand(
    tmp_path: Path, before: int, letters: int, mark: bytes, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In the first piece, at its end, or in a later one; with a UTF-8 letter in front, which stays one."""
    text = (
        mark + "CC \u00e4\n".encode() + (b"CCO " + b"a" * letters + b"\n") * before + b"CCN caf\xe9\n" * 2 + b"CCC b\n"
    )
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    rows = found(tmp_path / name)
    assert (rows[0], rows[-2:]) == (("\u00e4", "CC"), [("caf\u00e9", "CCN"), ("b", "CCC")])
    assert len(rows) == before + 4
    assert caplog.messages == [f"{tmp_path / name} is no UTF-8; its other characters are read as Windows-1252"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_of_other_texts_nothing_is_said_of_windows(
    tmp_path: Path, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.smi"
    title = "\u00e9\u20ac" * 100
    path.write_bytes(("CCO a\n" * 20 + f"CCO {title}\n" * 300).encode(encoding))
    assert found(path)[-1] == (title, "CCO")
    assert "Windows" not in caplog.text


def test_a_letter_that_is_cut_at_the_end_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.smi"
    path.write_bytes(b"CCO a\n" * 9 + b"CCN caf\xc3")
    assert found(path)[-1] == ("caf\u00c3", "CCN")
    assert "read as Windows-1252" in caplog.text


ENDS = ["\x1a", "\x1a" * 100, "\0" * 300, "\x1a\0\0\0", "\x1a\n", "\x1a\r\n\x1a"]


@pytest.mark.parametrize("end", ENDS, ids=repr)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_end_of_a_file_of_dos_is_no_record(tmp_path: Path, end: str, encoding: str, packed: bool) -> None:
    """A short file is a text all the same."""
    sdf = "".join(Chem.MolToMolBlock(Chem.MolFromSmiles(smiles)) + "$$$$\n" for smiles in ("CCO", "CCN"))
    for name, text in (("a.smi", "CCO\nCCN\n"), ("a.csv", "smiles\nCCO\nCCN\n"), ("a.sdf", sdf)):
        data = (text.replace("\n", "\r\n") + end).encode(encoding)
        path = tmp_path / (name + ".gz" * packed)
        path.write_bytes(gzip.compress(data) if packed else data)
        assert found(path) == [("", "CCO"), ("", "CCN")]


def test_within_a_file_it_is_a_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.smi"
    path.write_bytes(b"CCO a\x1ab\x1a\nCCN c\0\n" + b"CCC d\n" * 9 + b"CC e\n\x1a\x1a\n")
    for size in (1 << 16, 1, 2, 3, 7):
        monkeypatch.setattr(encodings, "_PIECE", size)
        rows = found(path)
        assert [name for name, _ in rows] == ["a\x1ab\x1a", "c\0", *"ddddddddd", "e"], size


def test_such_ends_without_end_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.smi"
    path.write_bytes(b"CCO a\n" * 1000 + b"\0" * 100_000)
    monkeypatch.setattr(encodings, "_PIECE", 1000)
    monkeypatch.setattr(encodings, "_LONGEST_END", 1000)
    with encodings.open_text(path) as text:
        pieces = list(text)
    assert max(map(len, pieces)) <= 3000
    assert "".join(pieces).startswith("CCO a\n" * 1000)
    assert sum(map(len, pieces)) > 100_000, "a record that cannot be read"
