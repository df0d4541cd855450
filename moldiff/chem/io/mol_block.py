"""The text of a mol block: its counts, its symbols, its marks of stereo, its header."""

from __future__ import annotations

import re

_CONTINUED = re.compile(r"-\r?\nM  V30 ")
_COUNTS = re.compile(r"^M  V30 +COUNTS +(\d{1,9}) +(\d{1,9})", re.MULTILINE | re.ASCII)


def counts(block: str) -> tuple[int, int] | None:
    """Return the numbers of atoms and bonds that a mol block says it has, the most if it says so twice; None if it does
    not say so at all."""
    line = "".join(block.split("\n", 4)[3:4])
    said = f"{line[:3].strip()} {line[3:6].strip()}"
    found = [said.split()] if re.fullmatch(r"\d+ \d+", said, re.ASCII) else []
    if "V3000" in line:
        found += _COUNTS.findall(_CONTINUED.sub("", block))
    return max(((int(atoms), int(bonds)) for atoms, bonds in found), key=lambda pair: pair[::-1], default=None)


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
