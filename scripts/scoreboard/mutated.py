"""Mutated inputs: real ones with a few things wrong, each a function of a generator of chance."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

_SMILES = "CNOSPFIBcnosp[]()=#$:/\\.-+@*%0123456789~&HBrClSi|{} \t"
_BRACKETS = ("[*]", "[#119]", "[Fe+2]", "[999CH4]", "[C@@H]", "[NH4+9]", "[Og]", "[U-3]", "[H][H]", "[*:7]", "[R1]")
_TEXT = "0123456789.-+ eENnACHO*#<>$\t\n"
_NUMBERS = ("nan", "inf", "-inf", "1e308", "-999.99", "99999.9", "0.0000", "", "-0", "1.0.0", "999", "1000", "٣")
_LINES = (
    "M  END", "$$$$", "M  CHG  1   1   9", "M  RAD  1   1   3", "M  ISO  1   1 999", "M  V30 BEGIN CTAB", "> <tag>",
    ">  <$$$$>", "M  RGP  1   1   1", "A    1", "G    1  2", "V    1 text", "M  STY  1   1 GEN", "", "\x00", "\ufeff",
)  # fmt: skip
_ELEMENTS = ("C", "N", "H", "*", "R#", "A", "Q", "L", "D", "Fe", "U", "Xx", "LP", "h", "  ", "C1")
_YAML = (
    "NO", "no", "012", "1e-3", "1e400", ".nan", "-.inf", "true", "null", "~", "''", "2026-01-31", "0x1F", "1_000",
    "9" * 4000, "18446744073709551616", "-1", "[1, 2", "{a: b", "&a [*a, *a]", "*a",
    "!!python/object/apply:os.system [x]", "!!bool maybe", "!!timestamp x", "!!map [1]", "!!binary x",
    "'\\ud800'", '"\\ud800"', '"\\0"', "[" * 300, "{a: " * 60, "|\n  text", "? a", "- - - -", "%YAML 9.9", "---",
    "...", "@", "`", "\t", "a: b: c",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.0, -0.5, 1e308, 5e-324, "", "x", "NaN", "C", "Xx", "none",
    [], {}, [[]], [None], ["x"] * 3, {"x": 1}, {"1000000000": 1}, {"-5": 2.0}, [1e30], "é" * 5000, 10_000_000,
)  # fmt: skip


def smiles(chance: random.Random, seeds: Sequence[str]) -> str:
    """A SMILES with up to three edits, spliced with another, repeated, or of atoms that no valence limits."""
    kind = chance.random()
    if kind < 0.02:
        return chance.choice(seeds) * chance.choice((2, 9, 60))
    if kind < 0.03:
        return "C" * chance.choice((999, 1000, 9_999, 10_001))
    if kind < 0.05:  # a chain of dummies or metals with rings across it
        atom, rings = chance.choice(("[*]", "[Fe]", "*")), chance.randrange(1, 60)
        opened = "".join(f"{atom}%{10 + ring}" for ring in range(rings))
        closed = [f"{atom}%{10 + ring}" for ring in range(rings)]
        chance.shuffle(closed)
        return opened + "".join(closed)
    text = list(chance.choice(seeds))
    if kind < 0.15:
        other = chance.choice(seeds)
        text[chance.randrange(len(text)) :] = other[chance.randrange(len(other)) :]
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(text) + 1)
        piece = chance.choice(_BRACKETS) if chance.random() < 0.1 else chance.choice(_SMILES)
        text[place : place + chance.choice((0, 0, 1, 1, 3))] = [piece]
    return "".join(text)


def sdf_record(chance: random.Random, seeds: Sequence[str]) -> str:
    """A record of an SDF with its terminator: edited anywhere, in a column, by lines; or a dense graph."""
    kind = chance.random()
    if kind < 0.02:
        return dense_block(chance)
    lines = chance.choice(seeds).split("\n")
    for _ in range(chance.randint(1, 3)):
        number = chance.randrange(len(lines))
        line, deed = lines[number], chance.random()
        if deed < 0.35 and len(line) > 30:  # an atom: a coordinate or the symbol
            begin = 10 * chance.randrange(3)
            symbol, value = chance.choice(_ELEMENTS), chance.choice(_NUMBERS)
            lines[number] = (
                line[:31] + f"{symbol:<3}" + line[34:]
                if chance.random() < 0.4
                else line[:begin] + f"{value:>10.10}" + line[begin + 10 :]
            )
        elif deed < 0.42:  # the counts
            counts = f"{chance.choice((0, 1, 5, 99, 255, 999, -1)):3d}{chance.choice((0, 1, 5, 99, 999, -3)):3d}"
            lines[3 % len(lines)] = counts + lines[3 % len(lines)][6:]
        elif deed < 0.65 and line:
            place = chance.randrange(len(line))
            lines[number] = line[:place] + chance.choice(_TEXT) + line[place + chance.randint(0, 1) :]
        elif deed < 0.75:
            lines.insert(number, chance.choice(_LINES))
        elif deed < 0.85:
            lines.insert(number, line)
        elif len(lines) > 2:
            del lines[number]
    return "\n".join(lines) + ("" if lines[-1].startswith("$$$$") else "\n$$$$\n")


def dense_block(chance: random.Random) -> str:
    """A record of up to 120 atoms without a valence limit, half of whose pairs are bonds; or of none, or of a chain
    of ten thousand."""
    atoms = chance.choice((0, 1, 20, 60, 100, 120, 10_000))
    symbol = chance.choice(("*", "Fe", "R#", "U", "C"))
    pairs = [(i, i + 1) for i in range(1, atoms)]
    if atoms <= 120:
        pairs = [(i, j) for i in range(1, atoms + 1) for j in range(i + 1, atoms + 1) if chance.random() < 0.5]
    places = [(chance.uniform(-9, 9), chance.uniform(-9, 9), chance.uniform(-9, 9)) for _ in range(atoms)]
    if atoms < 1000 and len(pairs) < 1000:
        rows = [f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:<3} 0  0  0  0  0  0" for x, y, z in places]
        rows += [f"{i:3d}{j:3d}  1  0" for i, j in pairs]
        body = [f"{atoms:3d}{len(pairs):3d}  0  0  0  0  0  0  0  0999 V2000", *rows]
    else:
        rows = [f"M  V30 {i} {symbol} {x:.4f} {y:.4f} {z:.4f} 0" for i, (x, y, z) in enumerate(places, 1)]
        bonds = [f"M  V30 {k} 1 {i} {j}" for k, (i, j) in enumerate(pairs, 1)]
        body = ["  0  0  0  0  0  0  0  0  0  0999 V3000", "M  V30 BEGIN CTAB"]
        body += [f"M  V30 COUNTS {atoms} {len(pairs)} 0 0 0", "M  V30 BEGIN ATOM", *rows, "M  V30 END ATOM"]
        body += ["M  V30 BEGIN BOND", *bonds, "M  V30 END BOND", "M  V30 END CTAB"]
    return "\n".join(["dense", "", "", *body, "M  END", "$$$$", ""])


def yaml_text(chance: random.Random, seeds: Sequence[str]) -> str:
    """A YAML file with up to four lines that are changed, doubled, moved or lost."""
    lines = chance.choice(seeds).split("\n")
    for _ in range(chance.randint(1, 4)):
        number = chance.randrange(len(lines))
        line, deed = lines[number], chance.random()
        key, colon, _rest = line.partition(":")
        if deed < 0.5 and colon:
            lines[number] = f"{key}: {chance.choice(_YAML)}"
        elif deed < 0.6:
            lines.insert(chance.randrange(len(lines)), line)
        elif deed < 0.7:
            lines.insert(number, chance.choice(_YAML))
        elif deed < 0.8:
            lines[number] = " " * chance.randint(1, 5) + line
        elif deed < 0.95 and line:
            place = chance.randrange(len(line))
            lines[number] = line[:place] + chance.choice("\0\t #&*:[{é\u2028") + line[place:]
        elif len(lines) > 1:
            del lines[number]
    return "\n".join(lines)


def json_text(chance: random.Random, text: str) -> str:
    """JSON with one to three values replaced, left out, doubled or renamed; or with a character wrong."""
    if chance.random() < 0.1:
        place = chance.randrange(len(text))
        return text[:place] + chance.choice('{}[]",:0NaI\\\x00') + text[place + 1 :]
    value = json.loads(text)
    for _ in range(chance.randint(1, 3)):
        _change(chance, value)
    return json.dumps(value)


def _change(chance: random.Random, value: Any) -> None:
    """Change one place of nested lists and dictionaries."""
    while isinstance(value, dict | list) and value:
        key = chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value))
        if isinstance(value[key], dict | list) and value[key] and chance.random() < 0.75:
            value = value[key]
            continue
        deed = chance.random()
        if deed < 0.7:
            value[key] = copy.deepcopy(chance.choice(_VALUES))
        elif deed < 0.8:
            del value[key]
        elif isinstance(value, list):
            value.append(copy.deepcopy(value[key]))
        else:
            value[f"{key}x"] = value.pop(key)
        return


def bytes_of(chance: random.Random, data: bytes) -> bytes:
    """Bytes with up to eight flipped, cut short, or with a piece doubled; the head, where formats have their lengths,
    more often than the rest."""
    changed = bytearray(data)
    deed = chance.random()
    if deed < 0.2:
        return data[: chance.randrange(len(data))]
    if deed < 0.3:
        begin = chance.randrange(len(data))
        return data[:begin] + data[begin : begin + 64] + data[begin:]
    for _ in range(chance.randint(1, 8)):
        most = 64 if chance.random() < 0.5 else len(data)
        changed[chance.randrange(min(most, len(data)))] ^= 1 << chance.randrange(8)
    return bytes(changed)
