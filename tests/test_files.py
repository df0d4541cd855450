"""A final name never holds half a file, whatever goes wrong on the way."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moldiff import file_locks
from moldiff.errors import MoldiffError
from moldiff.file_locks import open_locked
from moldiff.files import (
    atomic_writer,
    claimed,
    file_set,
    refuse_existing,
    refuse_existing_file,
    refuse_existing_files,
    write_json,
    write_text,
)
from moldiff.folders import Ours, refuse_folder
from moldiff.reading import read_json, sha256_of


def test_a_file_appears_when_its_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    with atomic_writer(path) as handle:
        handle.write("Å\n")
        handle.flush()
        assert not path.exists()
    assert path.read_bytes() == "Å\n".encode()
    with atomic_writer(path, binary=True) as handle:
        handle.write(b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("before", [None, "old"])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: BaseException, before: str | None) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)
    expected = MoldiffError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), atomic_writer(path) as handle:
        handle.write("half")
        raise error
    assert [file.read_text() for file in tmp_path.iterdir()] == ([] if before is None else [before])


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_is_full_at_the_end_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(MoldiffError, match=r"a\.txt could not be written: No space left on device"):
        write_text(tmp_path / "a.txt", "text")
    assert list(tmp_path.iterdir()) == []


def test_the_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)

        def recorded(*arguments: object, name: str = name, original: object = original) -> None:
            calls.append(name)
            original(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(os, name, recorded)
    write_text(tmp_path / "a.txt", "text")
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, the folder


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MoldiffError, match="could not be written"):
        write_text(tmp_path / "file" / "a.txt", "text")
    with pytest.raises(MoldiffError, match="is not a folder"):
        refuse_existing(tmp_path / "file" / "deep" / "a.txt", overwrite=True)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(MoldiffError, match="link is not a folder"):
        refuse_existing(tmp_path / "link" / "a.txt", overwrite=True)


def test_an_existing_file_is_replaced_only_when_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(MoldiffError, match="exists already; choose another name or pass overwrite"):
        refuse_existing(tmp_path / "a.txt", overwrite=False)
    refuse_existing(tmp_path / "a.txt", overwrite=True)
    refuse_existing(tmp_path / "new" / "b.txt", overwrite=False)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_holds_no_nan(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": number})
    assert list(tmp_path.iterdir()) == []


def test_json_round_trip_and_hash(tmp_path: Path) -> None:
    value = {"x": [1, 2.5, None, "Å"]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value == json.loads((tmp_path / "a.json").read_text())
    assert sha256_of(tmp_path / "a.json") == hashlib.sha256((tmp_path / "a.json").read_bytes()).hexdigest()


def test_json_that_cannot_be_read_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(MoldiffError, match=r"a\.json cannot be read: No such file"):
        read_json(tmp_path / "a.json")
    for text in (b"{", b"\xff\xfe"):
        (tmp_path / "b.json").write_bytes(text)
        with pytest.raises(MoldiffError, match=r"b\.json is not valid JSON"):
            read_json(tmp_path / "b.json")


CLAIM = """
import sys, time
from pathlib import Path
from moldiff.files import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_file_is_made_by_one_process_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "a.sdf"
    other = subprocess.Popen([sys.executable, "-c", CLAIM, str(out)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(MoldiffError, match=r"a\.sdf is being written by another run"), claimed(out):
            pytest.fail("both hold it")
        with claimed(tmp_path / "b.sdf"):
            pass
    finally:
        other.kill()
        other.wait()
    assert [entry.name for entry in tmp_path.iterdir()] == [".a.sdf.00000000.part"]
    with claimed(out):  # of a killed process nothing is left
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_replaced_and_a_name_that_is_too_long_is_named(tmp_path: Path) -> None:
    there, link = tmp_path / "there.sdf", tmp_path / "link.sdf"
    there.write_text("theirs")
    link.symlink_to(there)
    with pytest.raises(MoldiffError, match=r"link\.sdf is a link; it is not replaced"):
        refuse_existing_file(link, overwrite=True)
    there.unlink()
    with pytest.raises(MoldiffError, match=r"link\.sdf is a link; it is not replaced"):
        refuse_existing_file(link, overwrite=False)
    with (
        pytest.raises(MoldiffError, match=r"a+ cannot be written: File name too long"),
        claimed(tmp_path / f"{'a' * 240}.sdf"),
    ):
        raise AssertionError("it was claimed")


@pytest.mark.parametrize("folders", ["", "made/later/"])
@pytest.mark.parametrize("letters", [237, 241, 251, 300])
def test_a_name_whose_file_cannot_be_made_is_refused_beforehand(tmp_path: Path, letters: int, folders: str) -> None:
    """255 bytes are what file systems allow, and a file has a longer name until it is whole."""
    with pytest.raises(MoldiffError, match=r"a+ cannot be (written|used): File name too long"):
        refuse_existing_file(tmp_path / f"{folders}{'a' * letters}.sdf", overwrite=False)
    path = tmp_path / f"{folders}{'a' * 236}.sdf"
    refuse_existing_file(path, overwrite=False)
    write_text(path, "x")
    assert path.read_text() == "x"


def test_names_that_are_no_text_are_written_as_json_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"files": [os.fsdecode(b"n\xff.sdf"), "größe.sdf"]})
    assert read_json(path) == {"files": ["n?.sdf", "größe.sdf"]}


def test_two_outputs_are_not_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    for other in ("g.html", "sub/../g.html", str(tmp_path / "g.html"), "link/g.html"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        with pytest.raises(MoldiffError, match=r"g\.html would be written twice"):
            refuse_existing_files([Path("g.html"), Path("m.sdf"), Path(other)], overwrite=True)
    refuse_existing_files([Path("g.html"), Path("sub/g.html"), Path("g.htm")], overwrite=False)


def test_a_set_holds_each_file_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="being written already"), file_set(tmp_path / "m.run.json") as files:
        files.add(tmp_path / "g.html", "one")
        files.add(tmp_path / "." / "g.html", "two")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["no", 1, None, "False", []])
def test_what_is_not_true_overwrites_nothing(tmp_path: Path, value: Any) -> None:
    for path in (tmp_path / "there", tmp_path / "not there"):
        (tmp_path / "there").write_text("mine")
        with pytest.raises(MoldiffError, match=r"overwrite must be True or False, not") as caught:
            refuse_existing_files([path], value)
        assert caught.value.argument == "overwrite"
    with pytest.raises(MoldiffError, match="overwrite must be"):
        refuse_folder(tmp_path / "folder", Ours("a folder", "mark", ()), value)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_file_is_not_replaced_and_nobody_is_told_to(tmp_path: Path, overwrite: bool) -> None:
    pipe, listening, there = tmp_path / "pipe", tmp_path / "listening", tmp_path / "there"
    os.mkfifo(pipe)
    there.write_text("theirs")
    (tmp_path / "link").symlink_to(there)
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(listening))
        for path in (pipe, listening, Path(os.devnull)):
            with pytest.raises(MoldiffError, match="is no regular file; it is not replaced") as refused:
                refuse_existing_file(path, overwrite)
            assert refused.value.argument == ""
    for name, told in (("link", "is a link; it is not replaced"), ("folder", "is a folder, not a file")):
        with pytest.raises(MoldiffError, match=told):
            refuse_existing_file(tmp_path / name, overwrite)


def test_no_writer_takes_the_place_of_a_pipe(tmp_path: Path) -> None:
    """Whoever forgot to ask beforehand."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(MoldiffError, match="pipe is no regular file"):
        write_text(pipe, "text")
    with pytest.raises(MoldiffError, match="pipe is no regular file"), file_set(tmp_path / "last.json") as files:
        files.add(pipe, "text")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no disk that is full")
@pytest.mark.parametrize("text", ["short", "long " * 10_000])
def test_a_set_names_the_file_for_which_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Whether it is written at once, or with what else waits when the set is whole."""

    def on_full_disk(path: Path, flags: int) -> int:
        return os.open("/dev/full", os.O_RDWR) if path.name.startswith(".b.sdf") else open_locked(path, flags)

    monkeypatch.setattr(file_locks, "open_locked", on_full_disk)
    told = rf"^{tmp_path / 'b.sdf'} could not be written: No space left on device$"
    with pytest.raises(MoldiffError, match=told), file_set(tmp_path / "last.json") as files:
        for name in ("a.csv", "b.sdf"):
            files.add(tmp_path / name, text)
        files.commit({})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_set_names_a_file_as_it_is_called_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    told = rf"^{tmp_path / 'a.csv'} could not be written: No space left on device$"
    with pytest.raises(MoldiffError, match=told), file_set(tmp_path / "last.json") as files:
        monkeypatch.setattr(os, call, full) if call == "open" else None
        files.add(tmp_path / "a.csv", "text")
        monkeypatch.setattr(os, call, full)
        files.commit({})
    assert list(tmp_path.iterdir()) == []
