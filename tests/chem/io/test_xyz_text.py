"""Frames of an .xyz that state too many atoms or too few: they cost themselves, and no other line is lost."""

from pathlib import Path

import pytest
from rdkit import Chem

from moldiff.chem.io.embed import embed
from moldiff.chem.io.mol_block import symbols
from moldiff.chem.io.perceive import parse_xyz
from moldiff.chem.io.records import mol_to_sdf_record, parse, read_records
from moldiff.chem.io.text_records import TextRecord
from moldiff.chem.io.xyz_text import frames

WATER = "3\nwater\nO 0 0 0.12\nH 0 0.76 -0.48\nH 0 -0.76 -0.48\n"
NOT_SO_MANY = "xyz: not an atom count followed by that many atoms"


def read(path: Path, text: str) -> list[str]:
    """The number of atoms of each record, or its reason."""
    path.write_text(text, encoding="utf-8")
    return [str(record.mol.GetNumAtoms()) if record.mol else record.reason for record in read_records(path)]


@pytest.mark.parametrize("count", [4, 5, 7, 40, 400, 100_000, 900_000_000])
@pytest.mark.parametrize("comment", ["water", "", "3", "H2O at 0.5 0.6"])
def test_a_frame_that_states_too_many_atoms_takes_no_other_with_it(tmp_path: Path, count: int, comment: str) -> None:
    frame = WATER.replace("water", comment)
    found = read(tmp_path / "a.xyz", frame * 2 + frame.replace("3", str(count), 1) + frame * 50)
    assert found == ["3", "3", NOT_SO_MANY, *["3"] * 50]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_atoms_behind_one_that_states_too_few_are_a_record(tmp_path: Path, count: int) -> None:
    found = read(tmp_path / "a.xyz", WATER + WATER.replace("3", str(count), 1) + WATER * 50)
    first = ["O 0 0 0.12", "H 0 0.76 -0.48", "H 0 -0.76 -0.48"][count]
    assert found[2] == f"xyz: text between frames: {3 - count} lines, the first: '{first}'"
    assert [found[0], *found[3:]] == ["3"] * 51
    assert not found[1].isdigit(), "the frame itself"


@pytest.mark.parametrize("line", ["three", "3 atoms", "-3", "3.0", "# water"])
def test_a_count_that_is_none_costs_its_frame(tmp_path: Path, line: str) -> None:
    found = read(tmp_path / "a.xyz", WATER + WATER.replace("3", line, 1) + WATER * 50)
    assert found == ["3", f"xyz: text between frames: 5 lines, the first: '{line}'", *["3"] * 50]


def test_the_end_of_a_file_is_told_in_lines(tmp_path: Path) -> None:
    found = read(tmp_path / "a.xyz", WATER + "\n" + "no frame\n" * 500 + "\n3\n")
    assert found == ["3", "xyz: text between frames: 501 lines, the first: 'no frame'"]
    assert list(frames([])) == list(frames(["\n", " \n"])) == []


def test_a_number_among_atoms_begins_a_frame_only_for_certain(tmp_path: Path) -> None:
    """Ammonia with a wrong count, and a comment that is a number: its first atom is no comment of a frame of three."""
    ammonia = "4 x\n3\nN 0 0 0.1\nO 0 0 0.12\nH 0 0.76 -0.48\nH 0 -0.76 -0.48\n"
    assert read(tmp_path / "a.xyz", ammonia + WATER) == ["xyz: text between frames: 6 lines, the first: '4 x'", "3"]
    lost = WATER.replace("H 0 0.76 -0.48", "1")
    assert read(tmp_path / "a.xyz", lost + WATER) == [NOT_SO_MANY, "3"]


def test_no_line_is_lost() -> None:
    lines = (WATER * 2 + WATER.replace("3", "9", 1) + "\n" + WATER * 3 + "stray\n").splitlines(keepends=True)
    found = list(frames(lines))
    assert sum(len(text.splitlines()) for text, _ in found) + 1 == len(lines)
    assert found[-1] == ("", "xyz: text between frames: 1 lines, the first: 'stray'")


LETTERS = ("\f", "\v", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")  # ends of lines to Python alone


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_comment_holds_any_letter(tmp_path: Path, letter: str, end: str) -> None:
    text = WATER.replace("water", f"wa{letter}ter{letter}").replace("\n", end)
    path = tmp_path / "a.xyz"
    path.write_bytes((text * 3).encode())
    assert [record.mol.GetNumAtoms() for record in read_records(path)] == [3, 3, 3]
    assert not isinstance(parse_xyz(text), str)


@pytest.mark.parametrize("letter", LETTERS)
def test_so_does_the_header_of_a_mol_block(letter: str) -> None:
    mol, _ = embed(Chem.MolFromSmiles("CO"), seed=1, timeout_s=10)
    _, program, _, counts, *rest = Chem.MolToMolBlock(mol).split("\n")
    block = "\n".join([f"na{letter}me", program, f"com{letter}ment{letter}", counts, *rest])
    assert parse(TextRecord(0, "sdf", "", block)).mol is not None
    assert symbols(block) == ["C", "O", "H", "H", "H", "H"]
    wrong = block.replace(" C   0", " CA  0")
    assert "'CA' in capitals" in parse(TextRecord(0, "sdf", "", wrong)).reason


@pytest.mark.parametrize("letter", LETTERS)
def test_and_a_group_that_is_written(letter: str) -> None:
    mol, _ = embed(Chem.MolFromSmiles("CO"), seed=1, timeout_s=10)
    group = Chem.CreateMolSubstanceGroup(mol, "DAT")
    group.AddAtomWithIdx(0)
    group.SetProp("FIELDNAME", f"one{letter}two")
    written = mol_to_sdf_record(mol, "x", {})
    assert f"one{letter}two" in written
    assert parse(TextRecord(0, "sdf", "", written.partition("$$$$")[0])).mol is not None


GDB = "gdb 7\t" + "\t".join(map(str, range(15)))


@pytest.mark.parametrize(
    "comment", ["gdb", "gdb_1", "gdb 12", "gdb9 frame 3 energy -76.4", "gdbx " + "1 " * 16, "gdb " + "1 " * 15, GDB]
)
def test_frames_whose_comment_begins_as_those_of_qm9_do_are_read(tmp_path: Path, comment: str) -> None:
    found = read(tmp_path / "a.xyz", WATER.replace("water", comment) * 7)
    assert found == ["3"] * 7


def test_the_lines_behind_a_frame_of_qm9_are_part_of_it_as_far_as_they_are_there(tmp_path: Path) -> None:
    whole = WATER.replace("water", GDB)
    rest = ["1595.1\t3657.1\t3755.9\n", "O\tO\n", "InChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2\n"]
    for number in range(4):
        text = whole + "".join(rest[:number])
        assert read(tmp_path / "a.xyz", (text + WATER) * 3) == ["3"] * 6
        parsed = parse_xyz(text)
        assert not isinstance(parsed, str) and parsed.smiles == ("O" if number > 1 else "")
    lost = whole + "".join(rest) + "lost line\n" + WATER
    assert read(tmp_path / "a.xyz", lost)[1] == "xyz: text between frames: 1 lines, the first: 'lost line'"


@pytest.mark.parametrize("comment", ["gdb 1", GDB + "\t16", "gdb"])
def test_those_of_an_altered_comment_are_part_of_it_too(tmp_path: Path, comment: str) -> None:
    whole = WATER.replace("water", comment) + "1595.1\t3657.1\t3755.9\nO\tO\nInChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2\n"
    assert read(tmp_path / "a.xyz", whole * 3) == ["3"] * 3
    parsed = parse_xyz(whole)
    assert not isinstance(parsed, str) and parsed.smiles == "O"


def test_a_line_of_another_file_is_no_smiles_of_the_molecule() -> None:
    parsed = parse_xyz(WATER.replace("water", "gdb 5") + "3\nnext CC\nO 0 0 0.12\n")
    assert not isinstance(parsed, str) and parsed.smiles == ""
