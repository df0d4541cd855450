"""Status of a molecule that was asked for: one word of `Status`, everywhere."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """States of a molecule; over a run, requested = valid + invalid + filtered + duplicate + withheld + failed."""

    VALID = "valid"
    """Sanitises, one fragment, no radicals or open valences, plausible geometry."""
    INVALID = "invalid"
    """Chemistry or geometry is wrong; the reason says what."""
    FILTERED = "filtered"
    """Valid, but not what was asked for: a filter of the user left it out, or the score gave it none."""
    DUPLICATE = "duplicate"
    """Valid, but there before; only of runs that drop duplicates."""
    WITHHELD = "withheld"
    """Hazardous: no structure of it is handed out, in any form."""
    FAILED = "failed"
    """No molecule: an error, not finite, a time-out, a crash."""
