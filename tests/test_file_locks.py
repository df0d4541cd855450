"""Locks: who holds one is told from a disk that knows none."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import another_machine, nfs, smb
from started import started

from moldiff import file_locks
from moldiff.errors import MoldiffError
from moldiff.file_locks import lock, lock_if_free
from moldiff.files import claimed, clear_leftovers, file_set, refuse_existing_file, write_text
from moldiff.reading import sha256_of
from moldiff.screening.runs.locking import run_lock


def no_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(file_locks, "_said", set())


def test_a_file_is_locked_once_or_shared(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with open(path, "a+") as one, open(path, "a+") as two:
        assert lock(one) is True and lock(two) is False
    with open(path, "a+") as one, open(path, "a+") as two, open(path, "a+") as three:
        assert lock(one, shared=True) is True and lock(two, shared=True) is True and lock(three) is False


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF])
def test_where_nothing_can_be_locked_work_goes_on(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    no_locks(monkeypatch, number)
    for _ in range(2):
        with claimed(tmp_path / "a.txt"):
            write_text(tmp_path / "a.txt", "a")
        with run_lock(tmp_path / "run") as held:
            held.exclusive()
            held.shared()
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "run"}
    assert caplog.text.count("files cannot be locked here (no)") == 1


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_what_another_holds_is_refused(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_locks(monkeypatch, number)
    with pytest.raises(MoldiffError, match="is being written by another run"), claimed(tmp_path / "a.txt"):
        pass
    with run_lock(tmp_path / "run") as held, pytest.raises(MoldiffError, match="another process works in"):
        held.shared()


HOLDER = """
import sys, time
from pathlib import Path
from moldiff.files import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_on_nfs_a_run_meets_its_own_claim_and_what_killed_runs_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nfs(monkeypatch)
    out, dead, living = tmp_path / "a.sdf", tmp_path / ".a.sdf.0123abcd.part", tmp_path / ".a.sdf.ffffffff.part"
    dead.write_text("half")
    with claimed(out), file_set(tmp_path / "a.json") as files, open(living, "w") as handle:
        files.add(out, "whole")
        assert lock(handle) is True
        refuse_existing_file(out, overwrite=False)
        assert not dead.exists()
        assert living.exists()
        files.commit({})
    assert caplog.messages == []


def test_what_may_only_be_read_is_locked_where_that_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The leftover of somebody else: on a disk of this machine it goes, on NFS it stays, and nobody is warned."""
    opened, dead = os.open, tmp_path / ".a.sdf.0123abcd.part"

    def refused(path: Any, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR and str(path) == str(dead):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", refused)
    dead.write_text("half")
    with monkeypatch.context() as patch:
        nfs(patch)
        clear_leftovers(tmp_path / "a.sdf")
        assert dead.exists()
    clear_leftovers(tmp_path / "a.sdf")
    assert not dead.exists()
    assert caplog.messages == []


def test_on_smb_a_file_is_hashed_through_the_handle_that_locks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smb(monkeypatch)
    with file_set(tmp_path / "last.json") as files:
        text, data = files.open(tmp_path / "a.txt"), files.open(tmp_path / "a.bin", binary=True)
        for _ in range(2):  # what is written after a look comes behind it
            text.write("Å\n")
            data.write(b"\0\r\n")
            files.sync()
            hashes = [files.sha256(path) for path in files.paths]
        files.commit(hashes)
    assert (tmp_path / "a.txt").read_bytes() == 2 * "Å\n".encode()
    assert (tmp_path / "a.bin").read_bytes() == 2 * b"\0\r\n"
    assert hashes == [sha256_of(tmp_path / name) for name in ("a.txt", "a.bin")]


def test_a_leftover_is_held_until_it_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a run could take the mark of a killed one for its own between the look and the removal."""
    mark, unlink, taken = tmp_path / ".a.sdf.00000000.part", os.unlink, list[bool | None]()
    mark.write_text("")

    def watched(path: Any, **options: Any) -> None:
        with open(path, "a") as other:
            taken.append(lock(other))
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", watched)
    clear_leftovers(tmp_path / "a.sdf")
    assert taken == [False]
    assert not mark.exists()


def with_first(lock_: Callable[..., bool | None], act: Callable[[], object]) -> Callable[..., bool | None]:
    """Return a lock before whose first use something happens."""
    waiting = [act]

    def first(*arguments: Any, **options: Any) -> bool | None:
        if waiting:
            waiting.pop()()
        return lock_(*arguments, **options)

    return first


def test_a_name_that_is_another_file_by_now_is_not_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = tmp_path / "mark", tmp_path / "new"
    for one in (path, other):
        one.write_text("")
    monkeypatch.setattr(file_locks, "lock", with_first(lock, lambda: other.rename(path)))
    with lock_if_free(path) as is_free:
        assert not is_free
    with lock_if_free(path) as is_free:
        assert is_free
    with lock_if_free(tmp_path / "nowhere") as is_free:
        assert not is_free


def test_a_file_that_is_cleared_as_soon_as_it_is_there_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another run, between its making and its lock."""

    def clear() -> None:
        for path in tmp_path.glob(".*.part"):
            path.unlink()

    monkeypatch.setattr(file_locks, "lock", with_first(lock, clear))
    write_text(tmp_path / "a.txt", "a")
    assert (tmp_path / "a.txt").read_text() == "a"
    monkeypatch.setattr(file_locks, "lock", with_first(lock, clear))
    with claimed(tmp_path / "a.txt"):
        assert [path.name for path in tmp_path.glob(".*")] == [".a.txt.00000000.part"]


def test_what_a_run_on_another_machine_claims_is_not_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folders are locked on that machine alone."""
    another_machine(monkeypatch)
    out, part = tmp_path / "set", tmp_path / ".set.0123abcd.part"
    part.mkdir()
    with started([sys.executable, "-c", HOLDER, str(out)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        clear_leftovers(out)
        clear_leftovers(tmp_path / "other", siblings=True)
        assert part.is_dir()
        holder.kill()
        holder.wait()
    clear_leftovers(out)
    assert list(tmp_path.iterdir()) == []
