"""The text of a mol block: its counts, its symbols, its marks of stereo, its header."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CONTINUED = re.compile(r"-\r?\nM  V30 ")
_COUNTS = re.compile(r"^M  V30 +COUNTS +(\d{1,9}) +(\d{1,9})", re.MULTILINE | re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+|nan|inf|infinity)([ed][+-]?\d+)?", re.ASCII | re.IGNORECASE)
_ATOM = re.compile(r"^M  V30 +\d+ +[A-Za-z][\w']* +(\S+) +(\S+) +(\S+) ", re.MULTILINE | re.ASCII)
_ENDLESS = re.compile(r"\b(?:CHG|MASS|RAD|VAL)=[+-]?\d{5,}", re.ASCII)
_BONDS = re.compile(r"^M  V30 +BEGIN +BOND\b(.*?)^M  V30 +END +BOND\b", re.MULTILINE | re.DOTALL)
_BOND = re.compile(r"^M  V30 +\d", re.MULTILINE | re.ASCII)
_SHOWN = 40  # characters of what is no number


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
    """Return as a reason what RDKit would read in part, or not at all, and call the rest a molecule: coordinates that
    are no numbers, bonds beside those that are counted, charges and masses beyond all sense; "" = nothing."""
    lines = block.split("\n")
    line = "".join(lines[3:4])
    if "V3000" in line:
        return _number_problem_v3000(_CONTINUED.sub("", block))
    count = line[:3].strip()
    for number, atom in enumerate(lines[4 : 4 + int(count)] if count.isascii() and count.isdigit() else (), 1):
        if reason := _coordinate_problem(number, [atom[:10], atom[10:20], atom[20:30]]):
            return reason
    return ""


def _number_problem_v3000(block: str) -> str:
    if wrong := _ENDLESS.search(block):
        return f"number: {wrong[0][:_SHOWN]} is out of range"
    for number, found in enumerate(_ATOM.findall(block), 1):
        if reason := _coordinate_problem(number, found):
            return reason
    said, there = _COUNTS.findall(block), sum(len(_BOND.findall(part)) for part in _BONDS.findall(block))
    if said and there > int(said[0][1]):
        return f"bonds: {there} stand there, and {said[0][1]} are counted"
    return ""


def _coordinate_problem(number: int, words: Iterable[str]) -> str:
    wrong = next((word.strip() for word in words if not _NUMBER.fullmatch(word.strip())), None)
    return "" if wrong is None else f"coordinates: '{wrong[:_SHOWN]}' of atom {number} is no number"


def symbols(block: str) -> list[str]:
    """Return the element symbols of a mol block as they stand there."""
    lines = block.splitlines()
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
