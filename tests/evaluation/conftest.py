"""Small SDF files, hand-made and real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"

Atoms = Sequence[tuple[str, float, float, float]]
Bonds = Sequence[tuple[int, int, int]]

WATER: Atoms = [("O", 0.0, 0.0, 0.0), ("H", 0.96, 0.0, 0.0), ("H", -0.24, 0.93, 0.0)]


def sdf_record(name: str, atoms: Atoms, bonds: Bonds, extra: str = "") -> str:
    """Return a V2000 record; bonds are (i, j, order) from 1, extra holds whole property lines."""
    lines = [name, "     test          3D", "", f"{len(atoms):3d}{len(bonds):3d}  0  0  0  0  0  0  0  0999 V2000"]
    lines += [
        f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:<3} 0  0  0  0  0  0  0  0  0  0  0  0" for symbol, x, y, z in atoms
    ]
    lines += [f"{i:3d}{j:3d}{order:3d}  0" for i, j, order in bonds]
    return "\n".join(lines) + "\n" + extra + "M  END\n$$$$\n"


@pytest.fixture(scope="session")
def record() -> Callable[..., str]:
    """The function that writes one SDF record."""
    return sdf_record


@pytest.fixture(scope="session")
def water() -> str:
    """One valid record."""
    return sdf_record("water", WATER, [(1, 2, 1), (1, 3, 1)])


@pytest.fixture(scope="session")
def sample_path() -> Path:
    """200 real QM9 molecules, DFT geometries."""
    return SAMPLE


@pytest.fixture(scope="session")
def sample_texts() -> list[str]:
    """Their records, each with its terminator."""
    return [text + "$$$$\n" for text in SAMPLE.read_text().split("$$$$\n")[:-1]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes records into a fresh SDF and returns its path."""

    def writer(*records: str, name: str = "molecules.sdf") -> Path:
        path = tmp_path / name
        path.write_text("".join(records))
        return path

    return writer
