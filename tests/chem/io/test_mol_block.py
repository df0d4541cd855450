"""Mol blocks that RDKit reads in part without a word; and sound ones, of which nothing is said."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from rdkit import Chem

from moldiff.chem.io.mol_block import number_problem
from moldiff.chem.io.records import parse, read_block, read_texts
from moldiff.chem.io.text_records import TextRecord

ROOT = Path(__file__).parents[3]
ATOMS = ("O 0 0 0.12 0", "H 0 0.76 -0.48 0", "H 0 -0.76 -0.48 0")
BONDS = ("1 1 1 2", "2 1 1 3")


def v3000(counts: str = "3 2", atoms: Sequence[str] = ATOMS, bonds: Sequence[str] = BONDS) -> str:
    lines = ["BEGIN CTAB", f"COUNTS {counts} 0 0 0", "BEGIN ATOM", *(f"{k} {atom}" for k, atom in enumerate(atoms, 1))]
    lines += ["END ATOM", *(["BEGIN BOND", *bonds, "END BOND"] if bonds else []), "END CTAB"]
    table = "".join(f"M  V30 {line}\n" for line in lines)
    return f"water\n\n\n  0  0  0     0  0            999 V3000\n{table}M  END\n"


def reason_of(block: str) -> str:
    """What parsing and judging say alike."""
    record = parse(TextRecord(0, "sdf", "", block))
    assert (record.mol is None) == bool(record.reason)
    assert read_block(TextRecord(0, "sdf", "", block))[1] == record.reason
    return record.reason


def test_sound_blocks_have_no_problem() -> None:
    for path in (ROOT / "data" / "sample.sdf", ROOT / "tests" / "fixtures" / "drugs.sdf"):
        for text in list(read_texts(path))[:40]:
            mol = Chem.MolFromMolBlock(text.text, removeHs=False)
            assert number_problem(text.text) == number_problem(Chem.MolToV3KMolBlock(mol)) == ""
    assert reason_of(v3000()) == reason_of(v3000("2 0", ATOMS[1:], ())) == ""
    assert reason_of(v3000(bonds=("1 1 1 -\nM  V30 2", BONDS[1]))) == "", "a line that is continued"


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ("3 0", "states 0 bonds and lists 2"),
        ("3 1", "states 1 bonds and lists 2"),
        ("3 3", "states 3 bonds and lists 2"),
        ("2 2", "states 2 atoms and lists 3"),
        ("2 0", "states 2 atoms and lists 3"),
        ("4 2", "states 4 atoms and lists 3"),
    ],
)
def test_stated_counts_are_those_of_the_lines(counts: str, reason: str) -> None:
    """RDKit skips the bonds of a block that states none."""
    assert reason_of(v3000(counts)) == f"mol block: {reason}"
    assert reason_of(v3000(counts).replace("BEGIN BOND", "BEGIN  bond")) == f"mol block: {reason}"


def test_bonds_without_an_end_are_counted_and_those_of_a_template_are_not() -> None:
    assert reason_of(v3000("3 0").replace("M  V30 END BOND\n", "")) == "mol block: states 0 bonds and lists 2"
    inner = "".join(v3000().partition("M  V30 BEGIN CTAB\n")[1:]).removesuffix("M  END\n")
    template = f"M  V30 BEGIN TEMPLATE\nM  V30 TEMPLATE 1 AA/Ala/A\n{inner}M  V30 END TEMPLATE\nM  END\n"
    assert number_problem(v3000().replace("M  END\n", template)) == ""


@pytest.mark.parametrize(
    "said", ["CHG=-99999999999999", "CHG=5000000000", "MASS=99999999999", "RAD=99999999999", "VAL=+99999999999"]
)
def test_a_number_out_of_range_is_not_0(said: str) -> None:
    assert reason_of(v3000(atoms=(f"{ATOMS[0]} {said}", *ATOMS[1:]))) == f"number: '{said}' is out of range"
    continued = f"{ATOMS[0]} {said[:4]}-\nM  V30 {said[4:]}"
    assert reason_of(v3000(atoms=(continued, *ATOMS[1:]))) == f"number: '{said}' is out of range"


@pytest.mark.parametrize(
    "said", ["CHG=+1", "chg=+1", "CHG=", 'MASS="18"', "MASS=+18", "MASS=1,8", "RAD=1.5", "VAL=one", "CFG=--1"]
)
def test_a_number_that_is_none_is_not_left_out(said: str) -> None:
    for more in (said, f"{said} RGROUPS=(1 1)", f"CLASS=AA {said}"):
        assert reason_of(v3000(atoms=(f"{ATOMS[0]} {more}", *ATOMS[1:]))) == f"number: '{said}' is none"
    for more in ("CHG=-1", "MASS=18.0", "MASS=18.", "RAD=2 VAL=-1 CFG=0", "CLASS=CHG=+1"):
        assert number_problem(v3000(atoms=(f"{ATOMS[0]} {more}", *ATOMS[1:]))) == ""


def test_numbers_in_range_and_long_coordinates_are_read() -> None:
    block = v3000(atoms=("O 0.12345678901234 0 0.12 0 MASS=18", *ATOMS[1:]))
    assert Chem.MolToSmiles(Chem.RemoveHs(parse(TextRecord(0, "sdf", "", block)).mol)) == "[18OH2]"


def v2000(column: str, which: int = 0) -> str:
    """Water whose hydrogen has this text of 10 characters as one of its coordinates."""
    columns = ["    0.0000", "    0.7600", "   -0.4800"]
    columns[which] = column
    atoms = ["    0.0000    0.0000    0.1200 O  ", "".join(columns) + " H  ", "    0.0000   -0.7600   -0.4800 H  "]
    counts = "  3  2  0  0  0  0  0  0  0  0999 V2000"
    return "\n".join(
        ["water", "", "", counts, *(f"{atom} 0  0" for atom in atoms), "  1  2  1  0", "  1  3  1  0", "M  END\n"]
    )


NO_NUMBERS = ("0,75", "0.75nm", "0.7_5", "0x10", "x", "--1", "1d2", "0.7 5", "1.2.3")


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("which", range(3))
def test_coordinates_are_numbers_from_beginning_to_end(text: str, which: int) -> None:
    """RDKit reads as far as it can, and takes the rest for 0."""
    assert reason_of(v2000(f"{text:>10}", which)) == f"coordinates: '{text}' is no number"
    assert reason_of(v2000(f"{text:<10}", which)) == f"coordinates: '{text}' is no number"
    if " " not in text:
        place = ["0", "0.76", "-0.48"]
        place[which] = text
        block = v3000(atoms=(ATOMS[0], f"H {' '.join(place)} 0", ATOMS[2]))
        assert reason_of(block) == f"coordinates: '{text}' is no number"


@pytest.mark.parametrize("column", ["   -0,3600", "    0,7600", "-1000,0000", "     1-.00", "   - 0.360"])
def test_a_comma_in_the_columns_of_a_point_is_none(column: str) -> None:
    assert reason_of(v2000(column)) == f"coordinates: '{column.strip()}' is no number"


@pytest.mark.parametrize("which", range(3))
def test_blank_columns_are_no_zero(which: int) -> None:
    assert reason_of(v2000(" " * 10, which)) == "coordinates: one is blank"


@pytest.mark.parametrize("column", ["0.0       ", "        .1", "      +0.1", "       0.1", "   -0.0500", "         0"])
def test_numbers_of_any_form_are_read(column: str) -> None:
    assert reason_of(v2000(column)) == reason_of(v3000(atoms=(ATOMS[0], f"H {column} 0.76 -0.48 0", ATOMS[2]))) == ""
    placed = parse(TextRecord(0, "sdf", "", v2000(column))).mol.GetConformer().GetAtomPosition(1)
    assert placed.x == float(column)


def test_what_is_not_finite_stays_so_called_and_lists_of_symbols_have_blanks() -> None:
    for text in ("nan", "inf", "-Infinity"):
        assert reason_of(v2000(f"{text:>10}")) == "non-finite coordinates: 1 atoms"
    for symbol in ("[N, S]", "NOT [N, S]", '"NOT [N,S]"', "R#"):
        assert number_problem(v3000(atoms=(f"{symbol} 0 0 0.1 0", *ATOMS[1:]))) == ""
        assert "'0,1'" in number_problem(v3000(atoms=(f"{symbol} 0 0,1 0.1 0", *ATOMS[1:])))
