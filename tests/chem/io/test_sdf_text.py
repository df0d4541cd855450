"""SDF as it comes: no line is lost, whatever separates the records."""

import time
from pathlib import Path

import pytest

from moldiff.chem.io import encodings
from moldiff.chem.io.records import read_records, read_texts

SAMPLE = Path(__file__).parents[3] / "data" / "sample.sdf"
BLOCKS = [
    text.partition("M  END\n")[0].removeprefix("\n") + "M  END\n" for text in SAMPLE.read_text().split("$$$$")[:4]
]


def names(path: Path) -> list[str]:
    return [record.name if record.mol is not None else record.reason for record in read_records(path)]


def titles(blocks: list[str]) -> list[str]:
    return [block.split("\n")[0] for block in blocks]


@pytest.mark.parametrize("between", ["", "\n", "\n\n", ">  <dose>\n1.5\n\n", ">  <empty>\n\n>  <b>\nx\ny\n\n"])
def test_mol_files_that_are_joined_without_a_delimiter(tmp_path: Path, between: str) -> None:
    path = tmp_path / "joined.sdf"
    path.write_text(between.join([*BLOCKS, ""]))
    assert names(path) == titles(BLOCKS)
    path.write_text("$$$$\n".join([BLOCKS[0] + BLOCKS[1], BLOCKS[2], BLOCKS[3] + between + BLOCKS[0]]))
    assert names(path) == titles([*BLOCKS, BLOCKS[0]])


def test_tags_go_to_the_record_before_them(tmp_path: Path) -> None:
    path = tmp_path / "joined.sdf"
    path.write_text("".join(f"{block}>  <number>\n{number}\n\n" for number, block in enumerate(BLOCKS)))
    assert [text.tags for text in read_texts(path)] == [{"number": str(number)} for number in range(4)]


def test_what_is_neither_tag_nor_record_is_a_failure_by_name(tmp_path: Path) -> None:
    path = tmp_path / "strays.sdf"
    path.write_text(f"{BLOCKS[0]}lost line\nand another\n$$$$\n{BLOCKS[1]}$$$$\n")
    assert names(path) == [
        titles(BLOCKS)[0], "text between records: 2 lines, the first: 'lost line'", titles(BLOCKS)[1],
    ]  # fmt: skip
    assert [record.index for record in read_records(path)] == [0, 1, 2]


def test_a_mol_block_in_a_tag_is_its_value(tmp_path: Path) -> None:
    path = tmp_path / "quoted.sdf"
    path.write_text(f"{BLOCKS[0]}>  <reference>\n{BLOCKS[1]}\n>  <x>\n1\n\n$$$$\n{BLOCKS[2]}$$$$\n")
    first, second = read_texts(path)
    assert (first.name, second.name) == (titles(BLOCKS)[0], titles(BLOCKS)[2])
    assert first.tags["reference"].endswith("M  END") and first.tags["x"] == "1"


def test_tags_of_many_forms(tmp_path: Path) -> None:
    path = tmp_path / "tags.sdf"
    tags = "> 7 <ki> (3)\n2\n\n>  <note>\none\n> <not closed\n>3 <5> nM\n\n> DT3\n4\n\n>\nz\n\n"
    tags += ">  <a>\n>  <a>\n1\n>  <b>\n2\n"
    path.write_text(f"{BLOCKS[0]}{tags}$$$$\n")
    (text,) = read_texts(path)
    assert text.tags == {
        "ki": "2", "note": "one\n> <not closed\n>3 <5> nM", "DT3": "4", "no name": "z", "a": "", "a (2)": "1", "b": "2",
    }  # fmt: skip
    assert text.note == "tag 'a' comes more than once"


@pytest.mark.parametrize("value", [">", "> 10 <uM>", "> 3", "> DT3", ">\nmore", "first\n> 10 <uM>", "a\n>"])
@pytest.mark.parametrize("between", ["\n", ""])
def test_a_line_behind_the_header_of_a_tag_is_its_value(tmp_path: Path, value: str, between: str) -> None:
    """ChEMBL's "Standard Relation" is ">". A plain header ends a value, or stands in its place."""
    path = tmp_path / "tags.sdf"
    tags = f">  <relation>\n{value}\n{between}>  <empty>\n{between}> <b> (2)\n{value}\n\n"
    path.write_text(f"{BLOCKS[0]}{tags}$$$$\n")
    (text,) = read_texts(path)
    assert text.tags == {"relation": value, "empty": "", "b": value}


@pytest.mark.parametrize("header", [">  <>", "> <>", "><>", ">  < >", ">  <> (3)"])
def test_a_tag_without_a_name_is_a_tag(tmp_path: Path, header: str) -> None:
    path = tmp_path / "tags.sdf"
    path.write_text(f"{BLOCKS[0]}{header}\n0\n\n>  <b>\n1\n\n$$$$\n{BLOCKS[1]}$$$$\n")
    first, second = read_texts(path)
    assert first.tags == {"no name": "0", "b": "1"}
    assert second.name == titles(BLOCKS)[1]


def test_blank_lines_and_ends_of_lines_that_were_translated_twice(tmp_path: Path) -> None:
    path = tmp_path / "odd.sdf"
    whole = "$$$$\n".join([*BLOCKS, ""])
    path.write_text(whole.replace("M  END", "\nM  END"))
    assert names(path) == titles(BLOCKS)
    path.write_bytes(whole.replace("\n", "\r\r\n").encode())
    assert names(path) == titles(BLOCKS)
    path.write_bytes(whole.replace("\n", "\r").encode())
    assert names(path) == titles(BLOCKS)


def test_records_are_the_same_however_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.sdf"
    path.write_text(f"{BLOCKS[0]}>  <price>\n5 $$$$\n\n$$$$\n{BLOCKS[1]}$$$$ and more\n$$$$\n{BLOCKS[2]}$$$$")
    found = list(read_texts(path))
    assert [text.name for text in found] == [titles(BLOCKS)[0], titles(BLOCKS)[1], "", titles(BLOCKS)[2]]
    assert found[0].tags == {"price": "5 $$$$"}
    for size in (1, 2, 5, 64, 999):
        monkeypatch.setattr(encodings, "_PIECE", size)
        assert list(read_texts(path)) == found


@pytest.mark.parametrize(
    "line",
    [
        ">" + " " * 20_000 + "<a>" + " " * 20_000 + "x",
        ">" + " <" * 20_000,
        "> <a>" + " (" * 20_000,
        "> <" + "a> (b) " * 10_000 + "x",
        "> <a>" + "(" + ">" * 20_000,
        "> " + "DT1 " * 10_000,
    ],
    ids=range(6),
)
def test_any_line_is_read_in_a_moment(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.sdf"
    path.write_text(f"{BLOCKS[0]}{line}\nvalue\n\n$$$$\n")
    began = time.process_time()
    assert len(list(read_texts(path))) in (1, 2)
    assert time.process_time() - began < 1.0


def test_many_small_records_that_nothing_parts_are_read_in_a_moment(tmp_path: Path) -> None:
    path, count = tmp_path / "a.sdf", 10_000
    path.write_text("".join(f"m{k}\n\n\n  0  0  0 V2000\nM  END\n" for k in range(count)))
    began = time.process_time()
    assert [text.name for text in read_texts(path)] == [f"m{k}" for k in range(count)]
    assert time.process_time() - began < 5.0


def test_a_tag_that_comes_again_and_again_is_read_in_a_moment(tmp_path: Path) -> None:
    path, count = tmp_path / "a.sdf", 50_000
    path.write_text(BLOCKS[0] + "> <a>\n1\n\n" * count + "$$$$\n")
    began = time.process_time()
    (text,) = read_texts(path)
    assert list(text.tags)[-1] == f"a ({count})"
    assert time.process_time() - began < 5.0


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("> 55 (MD-08974) <BOILING.POINT> DT12", "BOILING.POINT"),
        ("> (MD-08974) <BOILING.POINT> FROM ARCHIVES", "BOILING.POINT"),
        (">  <CAS_RN>  S.No.: 15", "CAS_RN"),
        ("> <a> (3) DT4 (external 17)", "a"),
        ("> <a> (b", "a"),
        ("> DT12 55", "DT12"),
        ("> 55 DT12", "DT12"),
        ("> 55 (MD-08974) DT12", "DT12"),
        ("> DT12 (MD 08974) 55 FROM ARCHIVES", "DT12"),
    ],
)
@pytest.mark.parametrize("between", ["", "\n"])
def test_headers_as_the_specification_has_them(tmp_path: Path, header: str, name: str, between: str) -> None:
    path = tmp_path / "tags.sdf"
    path.write_text(f"{BLOCKS[0]}{between}{header}\n17.5\n\n>  <b>\n1\n\n$$$$\n{BLOCKS[1]}{header}\n18\n")
    first, second = read_texts(path)
    assert (first.tags, second.tags) == ({name: "17.5", "b": "1"}, {name: "18"})


@pytest.mark.parametrize(
    "line", ["> 55", "> (MD-08974)", "> text", "> DT12x", "> DT12 text", ">DT12", "> 5DT3", "> <a"]
)
def test_what_is_no_header_is_still_none(tmp_path: Path, line: str) -> None:
    path = tmp_path / "tags.sdf"
    path.write_text(f"{BLOCKS[0]}{line}\n$$$$\n")
    assert names(path)[1] == f"text between records: 1 lines, the first: '{line}'"


@pytest.mark.parametrize(
    "line",
    [
        "> " + "1 " * 40_000 + "x",
        ">" + " (a)" * 20_000 + "(",
        "> " + " " * 60_000 + "DT",
        "> <a>" + " b" * 30_000 + "<",
    ],
    ids=range(4),
)
def test_such_a_line_is_read_in_a_moment(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.sdf"
    path.write_text(f"{BLOCKS[0]}{line}\nvalue\n\n$$$$\n")
    began = time.process_time()
    assert len(list(read_texts(path))) in (1, 2)
    assert time.process_time() - began < 1.0
