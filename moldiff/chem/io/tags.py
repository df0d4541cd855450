"""Names that others give (SDF tags, columns, properties) beside names of our own."""

from __future__ import annotations

from collections.abc import Container, Iterable

MEASURED = "measured_"
"""Before the name of a property that has the name of another column."""


def apart(names: Iterable[str], taken: Container[str], prefix: str = "input_") -> dict[str, str]:
    """Return name -> the name that it is carried on under: its own, with a prefix before it as long as that name is
    taken, by ours or by one before it.

    Args:
        names: in their order.
        taken: names of our own.
        prefix: says whose it is.
    """
    found: dict[str, str] = {}
    for name in names:
        own = name
        while own in taken or own in found.values():
            own = f"{prefix}{own}"
        found[name] = own
    return found
