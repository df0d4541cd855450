"""Temporary folders of workers: they go with the process that began the work, or with the next one."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import moldiff
from moldiff import temporary_folders
from moldiff.processes import pool_of
from moldiff.temporary_folders import name_around, temporary_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="folders that are locked")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where temporary files are, which nobody has looked through."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    temporary_folders._clear_leftovers.cache_clear()
    return tmp_path


def test_a_folder_lies_in_that_of_the_process_and_both_go(place: Path) -> None:
    with temporary_folder() as one, temporary_folder() as other:
        assert one.parent == other.parent == place / name_around()
        assert one != other
        assert one.parent.stat().st_mode & 0o777 == 0o700
        (one / "file").write_text("text")
    assert list(place.iterdir()) == []
    with pytest.raises(ValueError, match="mine"), temporary_folder():
        raise ValueError("mine")
    assert list(place.iterdir()) == []


def where(item: int) -> str:
    if item < 0:
        held = temporary_folder()  # not given up, and so not closed
        held.__enter__()
        os.kill(os.getpid(), -item)
    with temporary_folder() as folder:
        (folder / "file").write_text("text")
        return str(folder.parent)


def test_workers_have_theirs_in_that_of_their_parent(place: Path) -> None:
    with pool_of(2) as pool:
        assert list(pool.map_items(where, [1, 2, 3], timeout_s=60)) == [str(place / name_around())] * 3
        assert list(place.iterdir()) == []
        list(pool.map_items(where, [-signal.SIGALRM, 1, -signal.SIGSEGV, 2, -signal.SIGKILL], timeout_s=60))
    assert [path.name for path in place.iterdir()] == [name_around()], "until this process ends"
    with temporary_folder():  # it was not in use, so that what was left in it may go
        pass
    assert list(place.iterdir()) == []


SCRIPT = """
import os, sys, time
from moldiff.temporary_folders import temporary_folder
held = temporary_folder()
held.__enter__()
print("begun", flush=True)
time.sleep(%s)
"""


def begun(seconds: float) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(moldiff.__file__).parents[1])}
    command = [sys.executable, "-c", SCRIPT % seconds]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    return process


def test_a_process_that_ends_leaves_nothing_of_what_was_left_to_it(place: Path) -> None:
    with begun(0.0) as process:
        assert process.wait(30) == 0
    assert list(place.iterdir()) == []


def test_what_killed_processes_left_goes_with_the_next_one_and_what_is_in_use_or_of_others_stays(place: Path) -> None:
    with begun(60.0) as dead:
        dead.kill()
    left = set(place.iterdir())
    with begun(60.0) as living:
        (theirs,) = set(place.iterdir()) - left
        others = {place / name for name in ("moldiff-notes", "moldiff-20261128", "moldiff-0123456789ABCDEF")}
        for folder in others:
            folder.mkdir()
        (place / "moldiff-0123456789abcdef").symlink_to(place / "moldiff-notes")
        (place / "moldiff-fedcba9876543210").write_text("a file")
        with temporary_folder():
            assert not any(folder.exists() for folder in left)
            assert list(theirs.iterdir())
        assert all(folder.exists() for folder in others)
        assert {path.name for path in place.iterdir()} > {"moldiff-0123456789abcdef", "moldiff-fedcba9876543210"}
        living.kill()


def test_where_folders_are_not_locked_they_go_in_the_end(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with begun(60.0) as dead:
        dead.kill()
    left = set(place.iterdir())

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with temporary_folder() as folder:
        assert folder.is_dir()
    assert set(place.iterdir()) == {*left, place / name_around()}
    temporary_folders._remove_all(name_around())
    assert set(place.iterdir()) == left
