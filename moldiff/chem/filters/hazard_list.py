"""Lists of molecules that are withheld, as hashes: a file that tells whether a molecule is on it, and holds none.

| key             | content                                                                                     |
|-----------------|---------------------------------------------------------------------------------------------|
| format, version | "moldiff-hazard-list", 1                                                                    |
| source          | where the molecules come from, in words                                                     |
| salt            | 32 hexadecimal digits                                                                       |
| keys            | of each molecule 32 hexadecimal digits, sorted: of the SHA-256 of the salt and its key      |
| sha256          | of salt, source and keys; a list that has changed is refused                                |

The key is the first block of an InChIKey in which keto and enol, and hydrogens five bonds apart, are the same: it knows
connectivity, and no isotopes, charges by protonation, or stereo. Whoever has the list can ask it about any molecule, so
the salt hides nothing from one who tries out many.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdkit import Chem, rdBase
from rdkit.Chem.MolStandardize import rdMolStandardize

from moldiff.chem.io.inputs import files_named
from moldiff.chem.io.records import parse, read_texts
from moldiff.chem.io.tables import Columns
from moldiff.errors import MoldiffError
from moldiff.files import write_json
from moldiff.reading import read_json

FORMAT, FORMAT_VERSION = "moldiff-hazard-list", 1
_TAUTOMERS = "/KET /15T"
_DIGITS = 32


@dataclass(frozen=True)
class HazardList:
    """A list of hashes.

    Attributes:
        source: where its molecules come from.
        salt: of the hashes.
        keys: hashes.
    """

    source: str
    salt: str
    keys: frozenset[str]

    def has(self, key: str) -> bool:
        """Return whether a molecule with this key of `connectivity_keys` is on the list."""
        return _hashed(self.salt, key) in self.keys

    @property
    def sha256(self) -> str:
        """Hash of the content."""
        told = json.dumps([self.source, self.salt, sorted(self.keys)])
        return hashlib.sha256(told.encode("utf-8")).hexdigest()

    def write(self, path: Path) -> None:
        """Write the file; MoldiffError if it cannot be written."""
        record: dict[str, Any] = {"format": FORMAT, "version": FORMAT_VERSION, "source": self.source}
        write_json(path, {**record, "salt": self.salt, "keys": sorted(self.keys), "sha256": self.sha256})


def _hashed(salt: str, key: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + key.encode("ascii")).hexdigest()[:_DIGITS]


def connectivity_keys(mol: Chem.Mol) -> list[str]:
    """Return the key of each of a molecule's fragments that has carbon or more than two heavy atoms; of one that has
    none such, the keys of all.

    Raises:
        ValueError: InChI refuses the molecule, so that nothing can be said.
    """
    with rdBase.BlockLogs():
        if any(len(atom.GetNeighbors()) and atom.GetAtomicNum() in _METALS for atom in mol.GetAtoms()):
            mol = rdMolStandardize.MetalDisconnector().Disconnect(mol)
        parts = Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False)
        organic = [part for part in parts if _is_worth_a_key(part)]
        keys = [str(Chem.MolToInchiKey(part, options=_TAUTOMERS))[:14] for part in organic or parts]
    if not all(len(key) == 14 for key in keys):
        raise ValueError("hazard: InChI has no key for this molecule")
    return keys


_METALS = frozenset({3, 11, 19, 37, 55, 4, 12, 20, 38, 56, 13, 30})  # groups 1 and 2, aluminium, zinc: salts


def _is_worth_a_key(part: Chem.Mol) -> bool:
    return part.GetNumHeavyAtoms() > 2 or any(atom.GetAtomicNum() == 6 for atom in part.GetAtoms())


def hazard_list_of(files: Iterable[str | Path], source: str, columns: Columns | None = None) -> HazardList:
    """Return the list of all molecules of some files; each of their organic fragments is one.

    Args:
        files: of molecules, with coordinates or without; a name with * ? or [ stands for all that match it.
        source: where they come from, in words.
        columns: where files that are tables have their SMILES; None = it is found out.

    Raises:
        MoldiffError: a file or a record cannot be read, or a molecule has no key.
    """
    salt, keys = secrets.token_hex(16), set[str]()
    for path in files_named(tuple(files)):
        for text in read_texts(path, columns):
            record = parse(text)
            if record.mol is None:
                raise MoldiffError(f"{path}: record {record.index} cannot be read ({record.reason})", argument="files")
            try:
                keys |= {_hashed(salt, key) for key in connectivity_keys(record.mol)}
            except ValueError as error:
                raise MoldiffError(f"{path}: record {record.index}: {error}", argument="files") from error
    if not source.strip() or not keys:
        raise MoldiffError("a list needs a source, in words, and at least one molecule", argument="source")
    return HazardList(source.strip(), salt, frozenset(keys))


def read_hazard_list(path: Path) -> HazardList:
    """Read a list.

    Raises:
        MoldiffError: it is missing, no list, or not as it was written.
    """
    argument = "hazard_lists"
    try:
        value = read_json(path)
    except MoldiffError as error:
        raise MoldiffError(f"hazard_lists {path} cannot be used: {error}", argument=argument) from error
    if not isinstance(value, dict) or value.get("format") != FORMAT or value.get("version") != FORMAT_VERSION:
        raise MoldiffError(f"hazard_lists {path}: no list of version {FORMAT_VERSION}", argument=argument)
    try:
        found = HazardList(str(value["source"]), str(value["salt"]), frozenset(map(str, value["keys"])))
        is_whole = bool(found.keys) and found.sha256 == value["sha256"] and bool(bytes.fromhex(found.salt))
    except (KeyError, TypeError, ValueError):
        is_whole = False
    if not is_whole:
        raise MoldiffError(f"hazard_lists {path} is not as it was written; build it again", argument=argument)
    return found
