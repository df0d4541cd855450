"""A library of any size, enumerated from fragments that are written here: amides of aromatic acids and amines.

Acids and amines are rings with two substituents each. Molecules differ, up to the few that two ways of writing lead to;
they weigh 250 to 560 g/mol.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

SUBSTITUENTS = (
    "C", "CC", "C(C)C", "OC", "OCC", "F", "Cl", "C#N", "C(F)(F)F", "N(C)C", "S(C)(=O)=O", "C(=O)OC", "OC(F)F", "C1CC1",
    "N3CCOCC3", "N3CCCC3", "C(=O)N", "O", "c3ccccc3", "SC",
)  # fmt: skip
RINGS = (
    "c2cc({0})cc({1})c2", "c2ccc({0})c({1})c2", "c2c({0})cccc2{1}", "c2c({0})ccc({1})c2", "c2cc({0})nc({1})c2",
    "c2c({0})ncc({1})c2", "c2nc({0})cc({1})n2", "c2cc({0})sc2{1}", "c2cc({0})n(C)c2{1}", "c2c({0})onc2{1}",
)  # fmt: skip
"""Rings with places for two substituents."""
LINKERS = ("N", "NC", "NCC", "N(C)C", "NC(C)")
"""From the carbonyl to the ring of the amine."""


def amides() -> Iterator[str]:
    """Yield SMILES, 80 million; neighbours in the order differ much."""
    pairs = list(itertools.product(SUBSTITUENTS, repeat=2))
    acids = [ring.format(*pair) for pair in pairs for ring in RINGS]
    amines = [linker + ring.format(*pair) for pair in pairs for ring in RINGS for linker in LINKERS]
    for shift in range(len(amines)):
        for place, acid in enumerate(acids):
            yield f"O=C({acid}){amines[(shift + 7 * place) % len(amines)]}"


def write_library(path: Path, count: int) -> None:
    """Write the first amides as a SMILES file."""
    with path.open("w", encoding="utf-8") as file:
        for number, smiles in enumerate(itertools.islice(amides(), count)):
            file.write(f"{smiles} amide_{number}\n")
