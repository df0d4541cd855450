"""Shares as people read them."""

from __future__ import annotations


def percent(share: float, digits: int = 1) -> str:
    """Return a share in percent: all and none are told of as 100 and 0 only where they are that.

    >>> percent(0.5), percent(0.9999), percent(1.0), percent(0.0001)
    ('50.0%', '>99.9%', '100.0%', '<0.1%')
    """
    step = 10.0**-digits
    if 0 < share < 1:
        if share * 100 > 100 - step:
            return f">{100 - step:.{digits}f}%"
        if share * 100 < step:
            return f"<{step:.{digits}f}%"
    return f"{share:.{digits}%}"
