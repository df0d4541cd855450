"""The journal of long work: whole lines are kept, cut ones are made again, other requests are refused."""

import json
from pathlib import Path

import pytest
from servers import smb

from moldiff.errors import MoldiffError
from moldiff.files import claimed
from moldiff.journal import (
    FORMAT_VERSION,
    Journal,
    _line,
    differences,
    find_journal,
    journal_of,
    journal_path,
    refuse_unfinished,
)

REQUEST = {"seed": 0, "sizes": (1, 2), "options": {"n": 4, "name": "a" * 60}}


def begun(out: Path, *entries: object) -> Path:
    """A run that wrote some entries and was killed."""
    with journal_of(out, REQUEST, resume=False, overwrite=False) as journal:
        for place, entry in enumerate(entries):
            journal.add(entry, 1.5 * (place + 1))
    return journal_path(out)


def entries(out: Path, **flags: bool) -> list[object]:
    with journal_of(out, REQUEST, **{"resume": True, "overwrite": False, **flags}) as journal:
        return list(journal.entries())


def test_a_run_finds_what_an_earlier_one_wrote_and_adds_to_it(tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    begun(out, {"number": 0, "text": "Ångström\n"}, {"number": 1})
    with journal_of(out, REQUEST, resume=True, overwrite=False) as journal:
        assert (journal.count, journal.earlier, journal.seconds) == (2, 2, 3.0)
        journal.add({"number": 2}, 4.0)
        assert [entry["number"] for entry in journal.entries()] == [0, 1, 2]
        assert journal.earlier == 2
    assert [entry["number"] for entry in entries(out)] == [0, 1, 2]


def test_without_a_result_there_is_no_journal(tmp_path: Path) -> None:
    assert not begun(tmp_path / "m.sdf").exists()
    assert find_journal(tmp_path / "m.sdf") is None


def test_a_file_cut_at_any_byte_gives_its_whole_lines(tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    path = begun(out, "first", "second", "third")
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends[1:])
        assert entries(out) == ["first", "second", "third"][:kept]
        with journal_of(out, REQUEST, resume=True, overwrite=False) as journal:
            journal.add("more", 9.0)
        assert entries(out) == [*["first", "second", "third"][:kept], "more"]


def test_what_a_crash_of_the_machine_left_behind_is_not_believed(tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    path = begun(out, "first", "second", "third")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + b"\0" * len(lines[2]) + lines[3])
    assert entries(out) == ["first"]
    path.write_bytes(lines[0] + lines[1] + lines[2].replace(b"second", b"sfcond") + lines[3])
    assert entries(out) == ["first"]


def test_results_are_not_thrown_away_unasked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "m.sdf"
    begun(out, 1, 2)
    for check in (
        lambda: refuse_unfinished(out, resume=False, overwrite=False),
        lambda: entries(out, resume=False),
    ):
        with pytest.raises(MoldiffError, match=r"m\.sdf\.unfinished holds 2 results .*; pass resume to go on"):
            check()
    refuse_unfinished(out, resume=True, overwrite=False)
    refuse_unfinished(out, resume=False, overwrite=True)
    assert entries(out) == [1, 2]
    assert entries(out, resume=False, overwrite=True) == []
    assert "2 results of a run that was cut short are thrown away" in caplog.text
    assert not journal_path(out).exists()


def test_another_request_does_not_go_on(tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    begun(out, 1)
    other = {**REQUEST, "seed": 7, "options": {**REQUEST["options"], "n": 5}}  # type: ignore[dict-item]
    with (
        pytest.raises(MoldiffError, match=r"holds 1 results of another run \(seed 0, now 7; n 4, now 5\)"),
        journal_of(out, other, resume=True, overwrite=False),
    ):
        pass
    with journal_of(out, other, resume=True, overwrite=True) as journal:
        assert journal.count == 0
    assert differences({"a": "x" * 50}, {"b": 1}) == f"a {'x' * 37}..., now not given; b not given, now 1"


def test_a_journal_of_another_version_does_not_go_on(tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    path = begun(out, 1)
    head, entry = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(_line({**json.loads(head[9:]), "version": FORMAT_VERSION - 1}) + entry)
    with (
        pytest.raises(MoldiffError, match=r"holds 1 results of another run \(journal of version \d, now \d\)"),
        journal_of(out, REQUEST, resume=True, overwrite=False),
    ):
        pass
    with journal_of(out, REQUEST, resume=True, overwrite=True) as journal:
        assert journal.count == 0


def test_a_living_run_is_told_from_a_dead_one(tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    begun(out, 1)
    with claimed(out), pytest.raises(MoldiffError, match="is being written by another run"):
        refuse_unfinished(out, resume=True, overwrite=False)


@pytest.mark.parametrize("key", ["version", "request"])
def test_a_journal_that_does_not_say_what_was_asked_for_is_damaged(tmp_path: Path, key: str) -> None:
    out = tmp_path / "m.sdf"
    head, entry = begun(out, 1).read_bytes().splitlines(keepends=True)
    header = {name: value for name, value in json.loads(head[9:]).items() if name != key}
    journal_path(out).write_bytes(_line(header) + entry)
    with pytest.raises(MoldiffError, match="is damaged: it does not say what was asked for"):
        refuse_unfinished(out, resume=True, overwrite=False)


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    journal_path(out).write_text("my notes\n")
    with pytest.raises(MoldiffError, match="it is no journal of moldiff"):
        refuse_unfinished(out, resume=False, overwrite=True)
    assert journal_path(out).read_text() == "my notes\n"


def test_entries_can_be_forgotten(tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    begun(out, *range(7))
    with journal_of(out, REQUEST, resume=True, overwrite=False) as journal:
        journal.keep(4)
        assert (list(journal.entries()), journal.seconds) == ([0, 1, 2, 3], 6.0)
        journal.add("four", 8.0)
        assert list(journal.entries()) == [0, 1, 2, 3, "four"]
    with journal_of(out, REQUEST, resume=True, overwrite=False) as journal:
        journal.keep(0)
        journal.add("new", 1.0)
    assert entries(out) == ["new"]


def test_a_journal_is_removed_when_all_is_done(tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    with journal_of(out, REQUEST, resume=False, overwrite=False) as journal:
        journal.add(1, 1.0)
        assert isinstance(journal, Journal)
        assert json.loads(journal_path(out).read_text().splitlines()[0][9:])["request"]["sizes"] == [1, 2]
        journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_an_error_says_where_results_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    with (
        pytest.raises(MoldiffError, match=r"^no licence; .* kept in .*m\.sdf\.unfinished, resume=True goes on"),
        journal_of(out, REQUEST, resume=False, overwrite=False) as journal,
    ):
        journal.add(1, 1.0)
        raise MoldiffError("no licence")
    with (
        pytest.raises(MoldiffError, match=r"^nothing to do$"),
        journal_of(out, REQUEST, resume=True, overwrite=False) as journal,
    ):
        journal.remove()
        raise MoldiffError("nothing to do")


def test_a_disk_that_is_full_says_where_results_are_kept(tmp_path: Path) -> None:
    """Of whatever file of the run: its own name, or that of the output where the system names none."""
    out, table = tmp_path / "m.sdf", str(tmp_path / "m.csv")
    for told, error in (
        (f"{table} could not be written", OSError(28, "No space left on device", table)),
        (f"{out} could not be written", OSError(28, "No space left on device")),
        (str(out), OSError(5, "Input/output error")),
    ):
        with (
            pytest.raises(MoldiffError, match=rf"^{told}: {error.strerror}; .*m\.sdf\.unfinished, resume"),
            journal_of(out, REQUEST, resume=True, overwrite=False) as journal,
        ):
            journal.add(1, 1.0)
            raise error
    with pytest.raises(OSError, match="No space"), journal_of(out, REQUEST, resume=True, overwrite=False) as journal:
        journal.remove()
        raise OSError(28, "No space left on device")


def test_who_stops_listening_ends_the_run_as_everywhere(tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    with pytest.raises(BrokenPipeError), journal_of(out, REQUEST, resume=False, overwrite=False) as journal:
        journal.add(1, 1.0)
        raise BrokenPipeError(32, "Broken pipe")


def test_on_smb_a_journal_is_read_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smb(monkeypatch)
    out = tmp_path / "m.sdf"
    with claimed(out), journal_of(out, REQUEST, resume=False, overwrite=False) as journal:
        journal.add("first", 1.5)
        assert (list(journal.entries()), journal.seconds) == (["first"], 1.5)
        journal.add("second", 3.0)
        assert list(journal.entries()) == ["first", "second"]


def test_a_name_that_is_too_long_is_left_to_others(tmp_path: Path) -> None:
    refuse_unfinished(tmp_path / ("n" * 300), resume=False, overwrite=False)
