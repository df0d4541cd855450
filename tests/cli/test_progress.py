"""Progress where there is no terminal."""

import logging

import pytest

from moldiff.cli.progress import ProgressLines, progress_bar


class Clock:
    """A clock that stands until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_progress_without_a_terminal_is_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    tell = ProgressLines("molecules", 1000, clock)
    for second in range(7200):
        clock.now = 100.0 + second
        tell(second // 10)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "6 of 1000 molecules in 1 min 00 s, 2 h 45 min left"
    assert lines[1].startswith("18 of 1000 molecules in 3 min 00 s")
    assert 10 <= len(lines) <= 16, "in two hours"


def test_the_pace_of_a_resumed_run_is_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """What was there before it began took no time of it."""
    caplog.set_level(logging.INFO)
    clock = Clock()
    tell = ProgressLines("molecules", 600, clock)
    clock.now += 10  # the model is loaded
    tell(500)
    clock.now += 100
    tell(510)
    assert caplog.records[-1].getMessage() == "510 of 600 molecules in 1 min 50 s, 15 min 00 s left"


def test_progress_of_draws_that_move_is_a_share_of_the_work(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    tell = ProgressLines("molecules", 12, clock, shares=True)
    clock.now += 120
    tell(10)
    assert caplog.records[-1].getMessage() == "83 % of the work in 2 min 00 s, 24 s left"


def test_progress_towards_no_known_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    for total, done, message in ((None, 7, "7 records in 2 min 00 s"), (9, 0, "0 records in 2 min 00 s")):
        tell = ProgressLines("records", total, clock)
        clock.now += 120
        tell(done)
        assert caplog.records[-1].getMessage() == message


def test_a_short_run_says_nothing(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.INFO)
    with progress_bar("molecules", 3) as tell:
        for done in range(4):
            tell(done)
    assert not caplog.records
    assert capsys.readouterr() == ("", "")
