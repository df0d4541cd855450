"""Molecules as records of an SDF, and files of such records."""

from __future__ import annotations

import gzip
import re
import textwrap
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from rdkit import Chem, rdBase

from moldiff.chem.io.sdf_text import NO_NAME, protected
from moldiff.chem.sanitize import coordinate_refusal, short_message
from moldiff.files import atomic_writer
from moldiff.foreign_text import free_name

_ATOM_LISTS = (
    "atom.prop.",
    "atom.iprop.",
    "atom.dprop.",
    "atom.bprop.",
    "moldiff_type_",
    "moldiff_bond_",
)  # a value an atom
_LINE = 200  # characters
_DOLLARS = re.compile(r"\${4,}")


def mol_to_sdf_record(mol: Chem.Mol, name: str, tags: dict[str, str]) -> str:
    """Return the `sdf_record` of a molecule; ValueError as `headless_block`."""
    return sdf_record(headless_block(mol), name, tags)


def sdf_record(block: str, name: str, tags: dict[str, str]) -> str:
    """Return one SDF record: name, `headless_block`, tags, "$$$$" and a newline.

    Line breaks in the name and the tags become blanks, and "$$$$" in them cannot end the record early. The name stands
    there whole, however long: readers take it, although the format says 80 characters. Names of tags: see
    `_written_names`; values that look like the header of a tag: see `moldiff.chem.io.sdf_text.protected`.
    """
    lines = [_one_line(name), block]
    for tag, value in zip(_written_names(tuple(tags)), tags.values(), strict=True):
        lines += [f">  <{tag}>", *_value_lines(tag, value), ""]
    return "\n".join([*lines, "$$$$", ""])


def headless_block(mol: Chem.Mol) -> str:
    """Return a Kekulised V2000 mol block (V3000 above 999 atoms or bonds) without its first line, the name.

    Only a failed molecule can lack a Kekule form; its bonds keep the format's aromatic type 4, so that it stays failed:
    written as single bonds, H:O:H would come back as water.

    Raises:
        ValueError: no conformer, coordinates that are not finite or do not fit the format's columns, or atoms that
            RDKit cannot write.
    """
    if mol.GetNumConformers() == 0:
        raise ValueError("no conformer to write")
    if reason := coordinate_refusal(mol.GetConformer().GetPositions()):
        raise ValueError(reason)
    try:
        with rdBase.BlockLogs():
            block = _mol_block(mol)
    except Exception as error:
        raise ValueError(short_message(error)) from error
    return block.removesuffix("\n").partition("\n")[2]


@lru_cache(maxsize=64)  # most records of a file have tags of the same names
def _written_names(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of tags as the format can hold them: in one line, without < and >. One of which nothing is left
    gets a name, and those that would become the same are numbered; a name that needs no change keeps it."""
    clean = {tag: _one_line(tag).replace("<", "").replace(">", "").strip() or NO_NAME for tag in tags}
    taken = {tag for tag, name in clean.items() if tag == name}
    names, copies = list[str](), Counter[str]()
    for tag, name in clean.items():
        found = name if tag == name else free_name(name, taken, copies)
        taken.add(found)
        names.append(found)
    return tuple(names)


def _mol_block(mol: Chem.Mol) -> str:
    """Return a mol block. Its chiral flag says that marks are absolute; without, other readers see a racemate."""
    mol = Chem.RWMol(mol)
    mol.ClearProp("_Name")  # it may hold line breaks
    if mol.GetStereoGroups():
        mol.SetStereoGroups([])  # "and" and "or" are not absolute
    if any(atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED for atom in mol.GetAtoms()):
        mol.SetIntProp("_MolFileChiralFlag", 1)
    try:
        return str(Chem.MolToMolBlock(mol, kekulize=True))
    except (Chem.KekulizeException, Chem.AtomKekulizeException):
        return str(Chem.MolToMolBlock(mol, kekulize=False, includeStereo=False))


def _value_lines(tag: str, value: str) -> list[str]:
    """Return a tag's value as one line; a list of atom properties in lines of the length that the format allows."""
    line = _one_line(value)
    return textwrap.wrap(line, _LINE) if tag.startswith(_ATOM_LISTS) else [protected(line)]


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return _DOLLARS.sub("$$$", line) if "$" in line else line


def write_sdf(path: Path, records: Iterable[str]) -> int:
    """Write records from `mol_to_sdf_record` to ``path`` (compressed if it ends in .gz), atomically; return how many.

    Raises:
        MoldiffError: the file could not be written completely; nothing is left under ``path`` then.
    """
    count = 0
    with atomic_writer(path, binary=True) as handle:
        compress = path.name.lower().endswith(".gz")
        # no file name and no time in the header: the same molecules give the same bytes
        out = gzip.GzipFile(filename="", fileobj=handle, mode="wb", mtime=0) if compress else handle
        for record in records:
            out.write(record.encode("utf-8"))
            count += 1
        if compress:
            out.close()
    return count
