"""Durations as people read them."""

import pytest

from moldiff.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.9, "59 s"), (60, "1 min 00 s"), (200, "3 min 20 s"), (3600, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
