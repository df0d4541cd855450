"""Shares as people read them."""

import pytest

from moldiff.shares import percent


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.0, 1, "0.0%"), (1.0, 1, "100.0%"), (0.5, 1, "50.0%"), (0.123456, 2, "12.35%"),
        (2500 / 2501, 1, ">99.9%"), (29999 / 30000, 2, ">99.99%"), (0.9989, 1, "99.9%"), (1 / 2500, 1, "<0.1%"),
        (0.0011, 1, "0.1%"), (0.004, 0, "<1%"),
    ],
)  # fmt: skip
def test_all_and_none_are_told_only_where_they_are_that(share: float, digits: int, text: str) -> None:
    assert percent(share, digits) == text
