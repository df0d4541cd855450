"""The split of a data set by the chemistry of its molecules: one molecule, one side, always."""

from __future__ import annotations

from moldiff.chem.identity import text_key

VALIDATION_FRACTION = 0.05
TEST_FRACTION = 0.05


def split_of(block: str) -> str:
    """Return "train", "validation" or "test" (90/5/5 %) for an InChIKey block: one molecule, one side, always."""
    fraction = text_key(block) / 2**64
    if fraction < TEST_FRACTION:
        return "test"
    return "validation" if fraction < TEST_FRACTION + VALIDATION_FRACTION else "train"
