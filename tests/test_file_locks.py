"""Locks: who holds one is told from a disk that knows none."""

import errno
import fcntl
from pathlib import Path

import pytest

from moldiff import file_locks
from moldiff.errors import MoldiffError
from moldiff.file_locks import lock
from moldiff.files import claimed, write_text
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
