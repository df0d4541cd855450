"""Mol blocks that RDKit reads in part without a word; and sound ones, of which nothing is said."""

import time
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


ACETATE = """acetate
  test    3D

  7  6  0  0  0  0  0  0  0  0999 V2000
   -0.6772   -0.0312   -0.0189 C   0  0
    0.8043   -0.0137    0.0132 C   0  0
    1.3616    1.1084    0.0983 O   0  0
    1.5886   -1.1298   -0.0436 O   0  0
   -0.9441    0.8023   -0.7108 H   0  0
   -1.0505    0.2559    1.0070 H   0  0
   -1.0827   -0.9918   -0.3451 H   0  0
  1  2  1  0
  2  3  2  0
  2  4  1  0
  1  5  1  0
  1  6  1  0
  1  7  1  0
M  END
"""


def acetate(*lines: str, marks: str = " 0  0") -> str:
    """Acetate with these lines of properties, and such marks behind the symbol of its fourth atom."""
    block = ACETATE.replace("-0.0436 O   0  0", f"-0.0436 O  {marks}")
    return block.replace("M  END", "\n".join([*lines, "M  END"]))


def marked(block: str) -> tuple[list[int], list[int], list[int]]:
    """Charges, isotopes and radicals of a block that is read."""
    assert reason_of(block) == ""
    atoms = parse(TextRecord(0, "sdf", "", block)).mol.GetAtoms()
    found = [(atom.GetFormalCharge(), atom.GetIsotope(), atom.GetNumRadicalElectrons()) for atom in atoms]
    return tuple(map(list, zip(*found, strict=True)))


@pytest.mark.parametrize(
    "line",
    [
        "M  CHG  1   4  -1",
        "M  CHG  1   4  -1   ",
        "M  CHG 1 4   -1",
        "M  CHG1     4  -1",
        "M  CHG001 004-001",
        "M  CHG  1   4 -1",
        "M  CHG  2   4  -1   3   0",
    ],
)
def test_charges_in_their_columns_are_read(line: str) -> None:
    assert marked(acetate(line))[0] == [0, 0, 0, -1, 0, 0, 0]


@pytest.mark.parametrize(
    "line",
    [
        "M  CHG 1 4 -1",
        "M CHG  1   4  -1",
        "M   CHG  1   4  -1",
        "M\tCHG  1   4  -1",
        "m  chg  1   4  -1",
        "M  Chg  1   4  -1",
        "M  CHG   1   4  -1",
        "M  CHG  1   4  - 1",
        "M  CHG  1   4    -1",
        "M  CHG  1   4",
        "M  CHG  2   4  -1",
        "M  CHG  1   3   0   4  -1",
        "M  CHG  0   4  -1",
        "M  CHG      4  -1",
        "M  CHG -1   4  -1",
        "M  CHG  1   2  +1",
        "M  CHG  1   4  -1 and more",
        "M  ISO  1   2 +13",
        "M  ISO  1   2 -13",
        "M  ISO   1   2  13",
        "M  RAD  1   1  +2",
        "M RAD  1   1   2",
        "M  SUB  1   1  +2",
        "M   RBC  1   1   2",
        "M   LIN  1   1   3   2   5",
        "M   STY  1   1 SRU",
        "M  STY   1   1 SRU",
        "M  STY  0   1 SRU",
        "M  LIN  0   1   3   2   5",
        "M  ALS   4   2 F N   O",
    ],
)
def test_lines_of_properties_out_of_their_columns_are_not_skipped(line: str) -> None:
    reason = f"number: '{line}' is not in its columns"
    assert reason_of(acetate(line)) == reason
    assert reason_of(acetate("A    1", "ester", line)) == reason
    assert number_problem(acetate("M  CHG  1   4  -1").replace("M  END", f"M  END\n{line}")) == "", "no part of it"


def test_isotopes_and_radicals_in_their_columns_are_read() -> None:
    charge = "M  CHG  1   4  -1"
    assert marked(acetate(charge, "M  ISO  2   2  13   5   2"))[1] == [0, 13, 0, 0, 2, 0, 0]
    methyl = acetate(charge, "M  RAD  1   1   2").replace("  7  6", "  6  5").replace("  1  7  1  0\n", "")
    methyl = methyl.replace("   -1.0827   -0.9918   -0.3451 H   0  0\n", "")
    assert marked(methyl)[2] == [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("marks", "charge"),
    [
        (" 0  5", -1),
        (" 0 5   0  0", -1),
        (" 0  5  0  0  0", -1),
        (" 0  0", 0),
        ("", 0),
        (" 0", 0),
        ("  0  0  0  0  0", 0),
        ("     0", 0),
        ("    5", -1),
        (" 0     1", 0),
    ],
)
def test_charges_in_an_atoms_line_are_read(marks: str, charge: int) -> None:
    assert marked(acetate(marks=marks))[0][3] == charge


@pytest.mark.parametrize("marks", [" 0   5  0  0", "  0  5  0  0", " 0  +5", "+1  0", "  1  0  0", "     5", " 0  - 1"])
def test_those_out_of_their_columns_are_not_left_out(marks: str) -> None:
    assert reason_of(acetate(marks=marks)) == f"number: '{f'O  {marks}'.strip()}' is not in its columns"


@pytest.mark.parametrize("code", [4, 8, 15, -1])
def test_a_code_that_is_no_charge_is_not_taken_for_another(code: int) -> None:
    block = acetate(marks=f" 0{code:3d}")
    assert reason_of(block) == f"number: '{code}' is no charge of an atom that can be read"
    assert marked(acetate("M  CHG  1   4  -1", marks=f" 0{code:3d}"))[0][3] == -1, "which stands in its stead"


def test_many_properties_are_looked_at_in_a_moment() -> None:
    lines = ["M" + " " * 100_000 + "CHG", "M  CHG" + " 4  " * 50_000, *["M  STY  1   1 DAT"] * 10_000]
    began = time.process_time()
    for line in lines[:2]:
        assert "is not in its columns" in number_problem(acetate(line))
    assert number_problem(acetate(*lines[2:])) == ""
    assert time.process_time() - began < 1.0
