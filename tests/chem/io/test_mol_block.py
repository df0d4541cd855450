"""The text of a mol block: what RDKit would read in part is a reason before it reads anything."""

from collections.abc import Callable

import pytest

from moldiff.chem.io.capped import TextRecord
from moldiff.chem.io.mol_block import number_problem
from moldiff.chem.io.records import parse


def v3000(*, x: str = "0.75", bonds: str = "2", more: str = "") -> str:
    return (
        "water\n  t    3D\n\n  0  0  0     0  0            999 V3000\nM  V30 BEGIN CTAB\n"
        f"M  V30 COUNTS 3 {bonds} 0 0 0\nM  V30 BEGIN ATOM\nM  V30 1 O {x} 0 1e-1 0{more}\nM  V30 2 H 0.96 -.5 0. 0\n"
        "M  V30 3 H -0.24 0.93 0 0\nM  V30 END ATOM\nM  V30 BEGIN BOND\nM  V30 1 1 1 2\nM  V30 2 1 1 3\n"
        "M  V30 END BOND\nM  V30 END CTAB\nM  END\n"
    )


def v2000(x: str) -> str:
    return (
        f"water\n  t    3D\n\n  3  2  0  0  0  0  0  0  0  0999 V2000\n{x:>10}    0.0000    0.1000 O   0  0\n"
        "    0.9600    0.0000    0.0000 H   0  0\n   -0.2400    0.9300    0.0000 H   0  0\n  1  2  1  0\n  1  3  1  0\n"
        "M  END\n"
    )


@pytest.mark.parametrize("write", [lambda x: v3000(x=x), v2000], ids=["V3000", "V2000"])
@pytest.mark.parametrize("x", ["0,75", "0.75nm", "0.7_5", "0x10", "x", "1.2.3", "--1", "1e", "٣"])
def test_coordinates_that_are_no_numbers_are_a_reason(write: Callable[[str], str], x: str) -> None:
    assert number_problem(write(x)) == f"coordinates: '{x}' of atom 1 is no number"
    assert [number_problem(write(one)) for one in ("0.75", "-3", "+.5", "1e-3", "nan", "-inf")] == [""] * 6
    assert parse(TextRecord(0, "sdf", "", write(x))).reason.startswith("coordinates: ")
    assert parse(TextRecord(0, "sdf", "", write("0.0"))).mol is not None


def test_columns_without_a_coordinate_are_a_reason() -> None:
    assert number_problem(v2000("")) == "coordinates: '' of atom 1 is no number"


@pytest.mark.parametrize("bonds", ["0", "1"])
def test_bonds_beyond_those_that_are_counted_are_a_reason(bonds: str) -> None:
    assert number_problem(v3000(bonds=bonds)) == f"bonds: 2 stand there, and {bonds} are counted"
    assert parse(TextRecord(0, "sdf", "", v3000(bonds=bonds))).reason.startswith("bonds: ")
    assert number_problem(v3000()) == ""


@pytest.mark.parametrize("more", [" CHG=-99999999999999", " MASS=99999999999", " MASS=18 CHG=100000"])
def test_charges_and_masses_that_nothing_holds_are_a_reason(more: str) -> None:
    assert number_problem(v3000(more=more)) == f"number: {more.split()[-1]} is out of range"
    assert number_problem(v3000(more=" MASS=18 CHG=1")) == ""
