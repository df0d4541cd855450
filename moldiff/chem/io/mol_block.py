"""The text of a mol block: its counts, its numbers, its symbols, its marks of stereo, its header."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

from moldiff.chem.io.capped import SHOWN
from moldiff.foreign_text import number_in

_CONTINUED = re.compile(r"-\r?\nM  V30 ")
_COUNTS = re.compile(r"^M  V30 +COUNTS +(\d{1,9}) +(\d{1,9})", re.MULTILINE | re.ASCII)
_TOO_LONG = re.compile(r"(?<!\S)(?:[A-Z]+=)?[+-]?\d{10,}(?!\S)", re.ASCII)  # RDKit takes such a number for 0
# of a word that makes the molecule: RDKit leaves out CHG=+1 and MASS="13" without a word; a mass may be 12.011
_NO_NUMBER = re.compile(
    r"(?<!\S)(?:(?:CHG|RAD|VAL|CFG)=(?!-?\d+(?!\S))|MASS=(?!\d+(?:\.\d*)?(?!\S)))\S*", re.IGNORECASE
)
_COLUMN = r"(?: {4}\d| {3}[\d-]\d| {2}[\d-]\d\d| [\d-]\d{3}|[\d-]\d{4})\.\d{4}"  # 10 characters: a number to its end
_PLACE = re.compile(_COLUMN * 3, re.ASCII)  # of an atom as nearly every program writes it
_SHORTEST_ATOM = 32  # characters of an atom's line, of which 30 are its coordinates
_WHOLE, _UNSIGNED = re.compile(r"-?\d+", re.ASCII), re.compile(r"\d+", re.ASCII)
_NO_MARKS = (" 0  0", "")  # mass difference and charge of an atom's line, as nearly all have them
_CHARGES = frozenset("0123567")  # codes of charges; RDKit leaves out 4, a radical, and counts on beyond 7: 8 is -4
# lines of properties that make the molecule: a count, and as many pairs; but for those of LIN and ALS
_PROPERTY = re.compile(
    r"\s*M\s+(CHG|ISO|RAD|ALS|HYD|LIN|RBC|RGP|STY|SUB|UNS|ZBO|ZCH)(?![A-Z])", re.ASCII | re.IGNORECASE
)
_LIST = re.compile(r"M  ALS [ \d]{2}\d[ \d]{2}\d [TF] ", re.ASCII)  # atom, number of elements, whether none is meant
# number, symbol or list of symbols, coordinates
_LONG_ATOM = re.compile(r"\S+\s+(?:\"[^\"]*\"|(?:NOT *)?\[[^\]]*\]|\S+)\s+(\S+)\s+(\S+)\s+(\S+)", re.IGNORECASE)


def counts(block: str) -> tuple[int, int] | None:
    """Return the numbers of atoms and bonds that a mol block says it has, the most if it says so twice; None if it does
    not say so at all."""
    line = "".join(block.split("\n", 4)[3:4])
    said = f"{line[:3].strip()} {line[3:6].strip()}"
    found = [said.split()] if re.fullmatch(r"\d+ \d+", said, re.ASCII) else []
    if "V3000" in line:
        found += _COUNTS.findall(_CONTINUED.sub("", block))
    return max(((int(atoms), int(bonds)) for atoms, bonds in found), key=lambda pair: pair[::-1], default=None)


def number_problem(block: str) -> str:
    """Return which number of a mol block RDKit would leave out, take for 0 or read in part without a word, "" if there
    is none: stated counts that are not those of the lines, numbers out of range or out of their columns, coordinates
    that are none."""
    lines = block.split("\n")
    if len(lines) > 4 and "V3000" in lines[3]:
        return _long_problem(block)
    said = (lines[3][:3].strip(), lines[3][3:6].strip()) if len(lines) > 4 else ("", "")
    n_atoms, n_bonds = (int(count if count.isdecimal() else 0) for count in said)
    atoms, properties = lines[4 : 4 + n_atoms], lines[4 + n_atoms + n_bonds :]
    odd = (line for line in atoms if _PLACE.match(line) is None)
    places = ((line[:10], line[10:20], line[20:30]) for line in odd if len(line) >= _SHORTEST_ATOM)
    return _place_problem(places) or _property_problem(properties) or _mark_problem(atoms, properties)


def _property_problem(lines: Iterable[str]) -> str:
    """Return which of the lines behind the bonds of a V2000 block RDKit would skip, or read in part, without a word."""
    for line in itertools.takewhile(lambda line: not line.startswith("M  END"), lines):
        if (found := _PROPERTY.match(line)) and not _is_in_columns(line, found[1].upper()):
            return f"number: '{line.strip()[:SHOWN]}' is not in its columns"
    return ""


def _is_in_columns(line: str, word: str) -> bool:
    """Return whether a line of properties has its word where RDKit looks for it, and behind it as many numbers as it
    says, in four columns each and without a plus sign, which RDKit takes for 0."""
    if word == "ALS":
        return _LIST.match(line) is not None
    if not line.startswith(f"M  {word}"):
        return False
    count, rest = line[6:9].strip(), line[9:].rstrip()
    words = [rest[place : place + 4].strip() for place in range(0, len(rest), 4)]
    if not _WHOLE.fullmatch(count) or len(words) != int(count) * (4 if word == "LIN" else 2):
        return False
    numbers = words[::2] if word == "STY" else words  # each second one is a type there
    number = _UNSIGNED if word == "ISO" else _WHOLE
    return all(map(number.fullmatch, numbers))


def _mark_problem(atoms: Iterable[str], properties: Sequence[str]) -> str:
    """Return which mass difference or charge of an atom's line RDKit would read as another; lines of properties stand
    in their stead."""
    superseded = any(line.startswith(("M  CHG", "M  RAD")) for line in properties)
    for line in (line for line in atoms if line[34:39] not in _NO_MARKS and line[34:].strip()):
        mass, charge = line[34:36].strip(), line[36:39].strip()
        # blank columns are 0, unless a number stands where only one that slipped does
        is_shifted = not (mass and charge) and (line[36:37] + line[39:40]).strip(" 0")
        if is_shifted or not all(_WHOLE.fullmatch(mark) for mark in (mass, charge) if mark):
            return f"number: '{line[31:].strip()[:SHOWN]}' is not in its columns"
        if charge and charge not in _CHARGES and not superseded:
            return f"number: '{charge}' is no charge of an atom that can be read"
    return ""


def _place_problem(places: Iterable[tuple[str, ...]]) -> str:
    """Return which coordinate is no number. Blank columns are none either: a format of fixed columns may mean 0 by
    them, but no program writes a coordinate of 0 so, and what was left out is not known."""
    for text in (text for place in places for text in place):
        try:
            number_in(text)
        except ValueError:
            told = f"'{text.strip()}' is no number" if text.strip() else "one is blank"
            return f"coordinates: {told}"
    return ""


def _long_problem(block: str) -> str:
    """Return the `number_problem` of a V3000 block. Of bonds that it states none of, RDKit skips the lines."""
    joined = _CONTINUED.sub("", block)
    atoms, bonds = _tables(joined)
    said = _COUNTS.search(joined)
    for number, table, name in zip(said.groups() if said else (), (atoms, bonds), ("atoms", "bonds"), strict=False):
        if int(number) != len(table):
            return f"mol block: states {int(number)} {name} and lists {len(table)}"
    if far := next(filter(None, map(_TOO_LONG.search, (*atoms, *bonds))), None):
        return f"number: '{far[0]}' is out of range"
    if odd := next(filter(None, map(_NO_NUMBER.search, (*atoms, *bonds))), None):
        return f"number: '{odd[0].strip()}' is none"
    return _place_problem(found.groups() for found in map(_LONG_ATOM.match, atoms) if found)


def _tables(block: str) -> tuple[list[str], list[str]]:
    """Return the lines of the atoms and of the bonds of a V3000 block whose lines are not continued, without what
    each begins with."""
    tables: dict[str, list[str]] = {"ATOM": [], "BOND": []}
    name = ""
    for line in block.split("\n"):
        words = line[7:].upper().split()
        if not line.startswith("M  V30 ") or not words:
            continue
        if words[0] == "END" and words[1:] == ["CTAB"]:
            break  # templates and R groups, with tables of their own, follow
        if words[0] in ("BEGIN", "END"):
            name = words[1] if words[0] == "BEGIN" and len(words) > 1 else ""
        elif name in tables:
            tables[name].append(line[7:])
    return tables["ATOM"], tables["BOND"]


def symbols(block: str) -> list[str]:
    """Return the element symbols of a mol block as they stand there."""
    lines = block.split("\n")
    count = int(lines[3][:3]) if len(lines) > 3 and lines[3][:3].strip().isdigit() else 0
    if "V3000" in lines[3]:
        fields = (line.split() for line in lines[4:] if line.startswith("M  V30 "))
        return [words[3] for words in fields if len(words) > 6 and words[2].isdigit()]
    return [line[31:34].strip() for line in lines[4 : 4 + count]]


def is_marked(block: str) -> bool:
    """Return whether a mol block may say something of stereo."""
    lines = block.split("\n")
    counts = lines[3][:3], lines[3][3:6]
    if "V3000" in block or not all(count.strip().isdigit() for count in counts):
        return True
    atoms, bonds = map(int, counts)
    return any(line[9:12].strip() not in ("", "0") for line in lines[4 + atoms : 4 + atoms + bonds])


def as_drawing(block: str) -> str:
    """Return a mol block whose header says that it is flat."""
    title, program, *rest = block.split("\n")
    return "\n".join([title, f"{program[:20]:<20}2D{program[22:]}", *rest])
