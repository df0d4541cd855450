"""Data fields of the input (SDF tags, other columns of a table) beside names of our own."""

from __future__ import annotations

from collections.abc import Container, Iterable


def apart(tags: Iterable[str], taken: Container[str]) -> dict[str, str]:
    """Return data field -> the name that it is carried on under: its own, with ``input_`` before it as long as that
    name is taken."""
    found: dict[str, str] = {}
    for tag in tags:
        name = tag
        while name in taken or name in found.values():
            name = f"input_{name}"
        found[tag] = name
    return found
