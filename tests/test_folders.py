"""A folder is replaced at once or not at all, whenever the run is killed; what is not ours stays."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import moldiff
from moldiff.errors import MoldiffError
from moldiff.files import clear_leftovers, hold, write_text
from moldiff.folders import Ours, claimed_folder, new_folder, refuse_folder, standing

OURS = Ours("a set", "mark.txt", ("data.txt",))
SCRIPT = """
    import os, sys
    from pathlib import Path
    from moldiff.files import write_text
    from moldiff.folders import Ours, new_folder

    calls = 0

    def watched(function):
        def call(*arguments, **keywords):
            global calls
            calls += 1
            if calls == int(sys.argv[1]):
                os._exit(9)  # like kill -9: nothing is tidied up
            return function(*arguments, **keywords)
        return call

    for name in ("replace", "rename", "mkdir", "unlink", "rmdir", "link", "fsync"):
        setattr(os, name, watched(getattr(os, name)))
    with new_folder(Path(sys.argv[2]), Ours("a set", "mark.txt", ("data.txt",)), overwrite=True) as folder:
        write_text(folder / "data.txt", "new")
        write_text(folder / "mark.txt", "new")
"""


def make(out: Path, text: str, **options: bool) -> None:
    with new_folder(out, OURS, **options) as folder:
        for name in ("data.txt", "mark.txt"):
            write_text(folder / name, text)


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("notes", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_a_kill_at_any_step_leaves_the_old_or_the_new_folder(tmp_path: Path, before: bool, notes: bool) -> None:
    """Before every rename, removal, link and sync; and the next run finds nothing in its way and leaves nothing."""
    environment = {**os.environ, "PYTHONPATH": str(Path(moldiff.__file__).parents[1])}
    old = {"data.txt": "old", "mark.txt": "old"} if before else {}
    mine = {"notes.txt": "mine"} if before and notes else {}
    for step in range(1, 60):
        out = tmp_path / str(step) / "out"
        if before:
            make(out, "old")
            write_text(out / "notes.txt", "mine") if notes else None
        command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(step), str(out)]
        status = subprocess.run(command, env=environment, check=False, capture_output=True).returncode
        found = content(standing(out)) if standing(out).exists() else {}
        assert found in (old | mine, {"data.txt": "new", "mark.txt": "new"} | mine)
        if status == 0:
            break
        assert status == 9
        make(out, "newer", overwrite=True)
        assert content(out) == {"data.txt": "newer", "mark.txt": "newer"} | mine
        assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert step > 8


def test_without_overwrite_a_folder_that_was_being_replaced_is_there_again(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    (tmp_path / "out").rename(tmp_path / ".out.old")
    assert content(standing(tmp_path / "out")) == {"data.txt": "old", "mark.txt": "old"}
    with pytest.raises(MoldiffError, match="exists already"):
        refuse_folder(tmp_path / "out", OURS, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    make(tmp_path / "out", "old")
    expected = MoldiffError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), new_folder(tmp_path / "out", OURS, overwrite=True) as folder:
        write_text(folder / "data.txt", "half")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert content(tmp_path / "out")["data.txt"] == "old"


def test_what_is_not_ours_is_kept_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path / "out", "old")
    write_text(tmp_path / "out" / "notes.txt", "mine")
    write_text(tmp_path / "out" / "data.txt.d" / "deep" / "more.txt", "mine too")
    (tmp_path / "out" / "link").symlink_to("/nowhere")
    (tmp_path / "out" / ".data.txt.0123abcd.part").write_text("half a file of ours")
    make(tmp_path / "out", "new", overwrite=True)
    kept = {"notes.txt", "data.txt.d", "link"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"data.txt", "mark.txt"} | kept
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "out" / "data.txt.d" / "deep" / "more.txt").read_text() == "mine too"
    assert os.readlink(tmp_path / "out" / "link") == "/nowhere"
    assert sum("which is not part of a set" in message for message in caplog.messages) == 3


def test_only_folders_of_ours_are_replaced(tmp_path: Path) -> None:
    make(tmp_path / "ours", "old")
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "file").write_text("text")
    write_text(tmp_path / "photos" / "data.txt", "looks like ours, without the mark")
    (tmp_path / "disguised" / "mark.txt").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("link", "is a link; it is not replaced"), ("dangling", "is a link; it is not replaced"),
        ("file", "is a file, not a set"), ("photos", "is not a set; it is not replaced"),
        ("disguised", "is not a set"), ("ours", None), ("empty", None),
    ):  # fmt: skip
        if words is None:
            make(tmp_path / name, "new", overwrite=True)
            assert content(tmp_path / name)["data.txt"] == "new"
            continue
        with pytest.raises(MoldiffError, match=words):
            make(tmp_path / name, "new", overwrite=True)
    assert (tmp_path / "photos" / "data.txt").read_text().startswith("looks")


def test_leftovers_go_when_nobody_works_on_them(tmp_path: Path) -> None:
    """Files and folders of killed runs for this name; not those of a run that goes on, of other names, or a user's."""
    dead, other, users = ".a.txt.0123abcd.part", ".b.txt.0123abcd.part", ".a.txt.part"
    for name in (dead, other, users, ".a.txt.old"):
        (tmp_path / name).write_text("half")
    (tmp_path / ".a.txt.ffffffff.part").mkdir()
    with open(tmp_path / ".a.txt.11111111.part", "w") as handle:
        hold(handle.fileno())
        clear_leftovers(tmp_path / "a.txt")
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {other, users, ".a.txt.old", ".a.txt.11111111.part"}
    clear_leftovers(tmp_path / "a.txt")
    clear_leftovers(tmp_path / "a.txt", siblings=True)
    assert {path.name for path in tmp_path.iterdir()} == {users, ".a.txt.old"}


def test_two_runs_for_one_place_do_not_take_each_other_away(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out", OURS) as first:
        write_text(first / "mark.txt", "first")
        make(tmp_path / "other", "x")
        refuse_folder(tmp_path / "out", OURS, overwrite=True)
        assert first.is_dir()
    assert content(tmp_path / "out") == {"mark.txt": "first"}


CLAIM = """
import sys, time
from pathlib import Path
from moldiff.folders import claimed_folder
with claimed_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    out, link = tmp_path / "run", tmp_path / "link"
    link.symlink_to(out)
    other = subprocess.Popen([sys.executable, "-c", CLAIM, str(out)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        for name in (out, link):
            refused = rf"^{name} is being written by another run; choose another name"
            with pytest.raises(MoldiffError, match=refused), claimed_folder(name):
                pytest.fail("both hold it")
        with claimed_folder(tmp_path / "another"):
            pass
    finally:
        other.kill()
        other.wait()
    with claimed_folder(out):  # the mark of a killed process holds nobody up
        pass
    assert list(out.iterdir()) == []


def test_a_claimed_folder_goes_if_it_was_made_and_nothing_came_of_it(tmp_path: Path) -> None:
    empty, full, there = (tmp_path / name for name in ("empty", "full", "there"))
    there.mkdir()
    for folder in (empty, full, there):
        with pytest.raises(ValueError, match="no data"), claimed_folder(folder):
            assert folder.is_dir()
            if folder == full:
                write_text(folder / "a.txt", "text")
            raise ValueError("no data")
    assert sorted(tmp_path.rglob("*")) == [full, full / "a.txt", there]


def test_the_working_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert standing(Path(".")) == Path(".")
    with pytest.raises(MoldiffError):
        make(Path("."), "new", overwrite=True)
    assert list(tmp_path.iterdir()) == []
