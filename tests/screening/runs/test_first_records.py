"""The table of first records: one number for each key, on any disk, whatever the folder is called."""

import fcntl
import os
import sqlite3
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from servers import nfs

from moldiff.errors import MoldiffError
from moldiff.files import claimed
from moldiff.screening.runs.first_records import _uri, first_on_disk


def test_a_key_keeps_its_first_number_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / ".records.0123abcd.part").write_text("of a killed run")
    with first_on_disk(tmp_path / "records") as first:
        assert [first.setdefault(key, number) for number, key in enumerate("abab")] == [0, 1, 0, 1]
    assert list(tmp_path.iterdir()) == []


def test_where_locks_are_on_bytes_sqlite_does_not_wait_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS; and nobody else takes the table for a leftover."""
    nfs(monkeypatch)
    with first_on_disk(tmp_path / "records") as first:
        assert first.setdefault("a", 7) == 7
        with pytest.raises(MoldiffError, match="is being written by another run"), claimed(tmp_path / "records"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_sqlite_asks_for_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk may have none for it, or somebody else's, such as a backup's."""
    nfs(monkeypatch)
    connect, held = sqlite3.connect, []

    def connect_to_locked(place: str, **options: Any) -> sqlite3.Connection:
        held.append(open(unquote(urlsplit(place).path or place), "wb"))  # noqa: SIM115 - as long as the test
        fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        return connect(place, timeout=0.1, **options)

    monkeypatch.setattr(sqlite3, "connect", connect_to_locked)
    with first_on_disk(tmp_path / "records") as first:
        assert first.setdefault("a", 7) == 7
    held.pop().close()


@pytest.mark.parametrize("name", [b"50% ?mode=ro#1", b"n\xff", "Å b".encode()])
def test_a_folder_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    monkeypatch.chdir(folder)
    for path in (folder / "records", Path("records")):
        with first_on_disk(path) as first:
            assert len(list(folder.iterdir())) == 2, "the table and its claim lie here"
            assert first.setdefault("a", 1) == 1
        assert list(folder.iterdir()) == []


def test_a_disk_that_is_full_is_one_line(tmp_path: Path) -> None:
    told = "the table of keys beside .*records could not be written: database or disk is full"
    with pytest.raises(MoldiffError, match=told), first_on_disk(tmp_path / "records"):
        raise sqlite3.OperationalError("database or disk is full")
    assert list(tmp_path.iterdir()) == []


def test_a_server_of_windows_is_no_authority_for_sqlite() -> None:
    """Which refuses one: "invalid uri authority"."""
    assert _uri(PureWindowsPath(r"\\host\share\run\x")) == "file:////host/share/run/x"
    assert _uri(PureWindowsPath(r"C:\run\x")) == "file:///C:/run/x"
