"""Archives of .xyz files: what a few packed bytes may ask for, and that all sound members come out."""

import bz2
import contextlib
import gzip
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from moldiff.chem.io import archive
from moldiff.chem.io.archive import read_members
from moldiff.chem.io.capped import MAX_RECORD
from moldiff.chem.io.text_records import read_texts
from moldiff.errors import MoldiffError

EXTENDED = ("XHDTYPE", "XGLTYPE", "SOLARIS_XHDTYPE", "GNUTYPE_LONGNAME", "GNUTYPE_LONGLINK")
WATER = b"3\nwater\nO 0 0 0.12\nH 0 0.76 -0.48\nH 0 -0.76 -0.48\n"


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def member(name: str, content: bytes) -> bytes:
    return header(name, len(content)) + content + b"\0" * (-len(content) % 512)


def packed(path: Path, pieces: Iterable[bytes]) -> Path:
    packer = bz2.BZ2Compressor()
    with path.open("wb") as file:
        for piece in pieces:
            file.write(packer.compress(piece))
        file.write(packer.compress(b"\0" * 1024) + packer.flush())
    return path


def test_members_come_in_order_whatever_lies_between(tmp_path: Path) -> None:
    long = "n" * 300 + ".xyz"
    with tarfile.open(tmp_path / "a.tar.bz2", "w:bz2", format=tarfile.PAX_FORMAT) as file:
        for name, content in (("a.xyz", WATER), ("readme", b"x" * 3000), ("d/b.XYZ", WATER), (long, WATER)):
            (tmp_path / "one").write_bytes(content)
            file.add(tmp_path / "one", name)
        file.add(tmp_path, "folder", recursive=False)
    text = WATER.decode()
    assert list(read_members(tmp_path / "a.tar.bz2", ".xyz")) == [("a", text), ("b", text), (long[:-4], text)]


def test_a_member_that_is_too_large_has_no_text_and_the_next_one_has(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar.bz2", [member("big.xyz", b" " * (MAX_RECORD + 1)), member("a.xyz", WATER)])
    assert list(read_members(path, ".xyz")) == [("big", ""), ("a", WATER.decode())]


@pytest.mark.parametrize("kind", [getattr(tarfile, name) for name in EXTENDED])
def test_a_header_that_would_fill_the_memory_is_refused_unread(tmp_path: Path, kind: bytes) -> None:
    path = packed(tmp_path / "a.tar.bz2", [member("a.xyz", WATER), header("x", 1 << 40, kind)])
    found = read_members(path, ".xyz")
    assert next(found)[0] == "a"
    with pytest.raises(MoldiffError, match=r"a\.tar\.bz2, an archive of \.xyz files, holds a header of 1,099,511"):
        next(found)


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.REGTYPE])
def test_other_members_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes) -> None:
    monkeypatch.setattr(archive, "MOST_OTHERS", 50)
    wanted, other = member("a.xyz", WATER), header("d", 0, kind)
    assert len(list(read_members(packed(tmp_path / "a.tar.bz2", [other * 50, wanted] * 3), ".xyz"))) == 3
    with pytest.raises(MoldiffError, match="holds too much that is no such file"):
        list(read_members(packed(tmp_path / "a.tar.bz2", [wanted, other * 51]), ".xyz"))


@pytest.mark.parametrize("name", ["rest.bin", "rest.xyz"])
def test_bytes_that_are_skipped_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(archive, "MOST_SKIPPED", 3 * MAX_RECORD)
    rest = member(name, b"\0" * (MAX_RECORD + 1))
    assert len(list(read_members(packed(tmp_path / "a.tar.bz2", [rest] * 2), ".xyz"))) in (0, 2)
    with pytest.raises(MoldiffError, match="or too large for one"):
        list(read_members(packed(tmp_path / "a.tar.bz2", [rest] * 3), ".xyz"))


@pytest.mark.parametrize("cut", [10, 40, -9])
@pytest.mark.parametrize("content", [b"none" * 20, bz2.compress(b"x" * 2000), bz2.compress(member("a.xyz", WATER))])
def test_what_is_damaged_is_said_to_be(tmp_path: Path, content: bytes, cut: int) -> None:
    (tmp_path / "a.tar.bz2").write_bytes(content[:cut])
    with pytest.raises((tarfile.TarError, EOFError)):
        list(read_members(tmp_path / "a.tar.bz2", ".xyz"))


def test_names_that_are_no_text_have_question_marks(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar.bz2", [member(os.fsdecode(b"caf\xe9.xyz"), WATER)])
    assert [name for name, _ in read_members(path, ".xyz")] == ["caf?"]


def pax(**fields: str) -> bytes:
    """Return a header that says more of the next member."""
    lines = "".join(f"{len(key) + len(value) + 5:2d} {key}={value}\n" for key, value in fields.items()).encode()
    return header("h", len(lines), tarfile.XHDTYPE) + lines + b"\0" * (-len(lines) % 512)


@pytest.mark.parametrize(
    "fields",
    [
        {"GNU.sparse.size": "x"},
        {"GNU.sparse.map": "0,a"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "b"},
        {"size": "x"},
        {"hdrcharset": "none"},
    ],
    ids=str,
)
def test_headers_that_say_what_cannot_be_are_damage(tmp_path: Path, fields: dict[str, str]) -> None:
    path = packed(tmp_path / "a.tar.bz2", [pax(**fields), member("a.xyz", WATER)])
    with contextlib.suppress(MoldiffError, tarfile.TarError):
        assert [name for name, _ in read_members(path, ".xyz")] == ["a"], "or it means nothing to tarfile"


def test_headers_of_headers_and_files_with_holes_are_refused(tmp_path: Path) -> None:
    many = packed(tmp_path / "a.tar.bz2", [pax(comment="a")] * 5000 + [member("a.xyz", WATER)])
    with pytest.raises(tarfile.ReadError, match="a header that cannot be read"):
        list(read_members(many, ".xyz"))
    holes = packed(tmp_path / "b.tar.bz2", [header("b", 512, tarfile.GNUTYPE_SPARSE) + b"\0" * 512])
    with pytest.raises(MoldiffError, match="a file with holes"):
        list(read_members(holes, ".xyz"))


def archived(*names: str) -> bytes:
    return b"".join(member(name, WATER) for name in names) + b"\0" * 1024


JOINED = {
    "packed": bz2.compress(archived("a.xyz", "b.xyz")) + bz2.compress(archived("c.xyz")),
    "plain": bz2.compress(archived("a.xyz", "b.xyz") + archived("c.xyz")),
    "padded": bz2.compress(archived("a.xyz", "b.xyz") + b"\0" * 51_200 + archived("c.xyz") + b"\0" * 9_216),
    "on tape": bz2.compress(archived("a.xyz", "b.xyz"))
    + b"\0" * 70_000
    + bz2.compress(archived("c.xyz"))
    + b"\0" * 999,
    "cut": bz2.compress(member("a.xyz", WATER) + member("b.xyz", WATER)) + bz2.compress(archived("c.xyz") + b"\0" * 99),
    "empty between": bz2.compress(archived("a.xyz", "b.xyz")) + bz2.compress(b"") + bz2.compress(archived("c.xyz")),
}


@pytest.mark.parametrize("name", JOINED)
def test_archives_that_were_joined_are_read_to_the_end(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.tar.bz2").write_bytes(JOINED[name])
    assert list(read_members(tmp_path / "a.tar.bz2", ".xyz")) == [(stem, WATER.decode()) for stem in "abc"]


FIRST = bz2.compress(archived("a.xyz"))


@pytest.mark.parametrize(
    "content",
    [
        FIRST + archived("b.xyz"),
        FIRST + gzip.compress(archived("b.xyz")),
        FIRST + b"\0" * 512 + b"text",
        FIRST + bz2.compress(archived("b.xyz"))[:-5],
        bz2.compress(archived("a.xyz") + b"text" * 200),
        bz2.compress(archived("a.xyz") + b"text"),
        bz2.compress(member("a.xyz", WATER) + b"x" + member("b.xyz", WATER)[1:]),
        bz2.compress(member("a.xyz", WATER) + header("b.xyz", 10)[:100]),
    ],
    ids=[
        "a plain one",
        "gzip",
        "text",
        "a cut one",
        "packed text",
        "a little text",
        "a damaged header",
        "half a header",
    ],
)
def test_what_follows_and_is_none_is_damage_not_the_end(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar.bz2").write_bytes(content)
    found = read_texts(tmp_path / "a.tar.bz2")
    assert next(found).name == "a"
    with pytest.raises(MoldiffError, match=r"a\.tar\.bz2 is damaged after [12] records: "):
        list(found)


def test_zeros_behind_an_archive_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_SKIPPED", 1_000_000)
    path = tmp_path / "a.tar.bz2"
    path.write_bytes(bz2.compress(archived("a.xyz") + b"\0" * 899_584 + archived("b.xyz")))
    assert len(list(read_members(path, ".xyz"))) == 2
    path.write_bytes(bz2.compress(archived("a.xyz") + b"\0" * 1_100_288 + archived("b.xyz")))
    with pytest.raises(MoldiffError, match="holds too many zeros in a row"):
        list(read_members(path, ".xyz"))
