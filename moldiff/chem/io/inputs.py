"""Molecules as users have them: a file, an RDKit molecule, a SMILES, or a list, generator, pandas column or RDKit
supplier of such. `records_of` decides what is what, for every function of the package."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Union

from rdkit import Chem

from moldiff.arguments import refusal
from moldiff.chem.io.records import Record, completed, is_molecule, parse, read_records
from moldiff.chem.io.tables import Columns
from moldiff.chem.io.text_records import SUFFIXES, TextRecord
from moldiff.errors import MoldiffError

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Molecules = Union[str, Path, "Mol", Iterable[Union["Mol", str, None]]]
"""A molecule file, an RDKit molecule, a SMILES, or molecules and SMILES one after the other."""
_EXPECTED = "a molecule file, an RDKit molecule, a SMILES, or a list, column or supplier of molecules or SMILES"
_MISSING = "missing: there is no molecule"


def file_of(molecules: object) -> Path | None:
    """Return the file that is meant; None if molecules are given themselves.

    A `Path` is a file; so is a text that ends like one. Another text is a SMILES.

    Raises:
        MoldiffError: a text is neither, or could be both.
    """
    if isinstance(molecules, Path):
        return molecules
    if not isinstance(molecules, str):
        return None
    if molecules.lower().endswith(SUFFIXES):
        return Path(molecules)
    is_smiles = bool(molecules.strip()) and parse(TextRecord(0, "smiles", "", molecules)).mol is not None
    there = bool(molecules.strip()) and _exists(molecules)
    if is_smiles and there:
        raise MoldiffError(
            f"molecules '{molecules}': a SMILES, and there is a file of that name; give a Path or a list of SMILES",
            argument="molecules",
        )
    if there:
        return Path(molecules)
    if not is_smiles:
        known = ", ".join(SUFFIXES)
        raise MoldiffError(
            f"molecules '{molecules[:60]}': neither a SMILES that RDKit can read nor a molecule file ({known})",
            argument="molecules",
        )
    return None


def kept(molecules: Molecules) -> Molecules:
    """Return molecules that can be read more than once: what a generator or a supplier yields as a list."""
    if isinstance(molecules, str | Path) or is_molecule(molecules) or not isinstance(molecules, Iterable):
        return molecules
    return molecules if isinstance(molecules, Mapping | bytes) or hasattr(molecules, "columns") else list(molecules)


def records_of(molecules: object, columns: Columns | None = None, add_hydrogens: bool = False) -> Iterator[Record]:
    """Return the records of a file or of given molecules (sanitised; a title is their property ``_Name``, further
    properties are their tags).

    What cannot be read, or is missing from a column or a supplier, is a record with a reason.

    Args:
        molecules: what users have.
        columns: of a table, see `moldiff.chem.io.text_records.read_texts`.
        add_hydrogens: place the hydrogens that molecules with coordinates leave out.

    Raises:
        MoldiffError: no molecules, or something else; of a generator while iterating.
    """
    records = _records(molecules, columns)
    return map(completed, records) if add_hydrogens else records


def _records(molecules: object, columns: Columns | None) -> Iterator[Record]:
    if (path := file_of(molecules)) is not None:
        return read_records(path, columns)
    if is_molecule(molecules) or isinstance(molecules, str):
        molecules = [molecules]
    # the columns of a data frame, the keys of a mapping and the numbers of bytes are no molecules
    if not isinstance(molecules, Iterable):
        raise refusal("molecules", _EXPECTED, molecules)
    if isinstance(molecules, Mapping | bytes) or hasattr(molecules, "columns"):
        raise refusal("molecules", f"{_EXPECTED} (of a table, one column)", molecules)
    items = (item for item in molecules)  # asked for its iterator twice, a supplier begins anew
    try:
        first = next(items)
    except StopIteration:
        raise MoldiffError("there are no molecules to begin with", argument="molecules") from None
    return itertools.chain([_record(0, first)], itertools.starmap(_record, enumerate(items, start=1)))


def _record(index: int, item: object) -> Record:
    """Return the record of one molecule or SMILES."""
    if is_molecule(item):
        mol: Chem.Mol = item
        tags = {name: str(value) for name, value in mol.GetPropsAsDict().items()}
        return Record(index, mol.GetProp("_Name") if mol.HasProp("_Name") else "", mol, tags)
    if isinstance(item, str):
        if item.lower().endswith(SUFFIXES):
            raise MoldiffError(f"molecules: '{item}' in a list is a file; give one file alone", argument="molecules")
        return (
            parse(TextRecord(index, "smiles", "", item)) if item.strip() else Record(index, "", None, reason=_MISSING)
        )
    if item is None or item != item or str(item) == "<NA>":  # a supplier's failure; what pandas has for nothing
        return Record(index, "", None, reason=_MISSING)
    raise refusal("molecules", _EXPECTED, item)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # too long for a name
        return False
