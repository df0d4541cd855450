"""Molecules as users have them: a file, an RDKit molecule, a SMILES, or a list, generator, pandas column or RDKit
supplier of such. `records_of` decides what is what, for every function of the package."""

from __future__ import annotations

import glob
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np
from rdkit import Chem

from moldiff.arguments import Part, refusal
from moldiff.chem.convert import to_bytes
from moldiff.chem.coordinates import has_conformer
from moldiff.chem.io.capped import smiles_record
from moldiff.chem.io.encodings import tell_once
from moldiff.chem.io.records import Record, completed, is_molecule, parse, sound
from moldiff.chem.io.tables import Columns, add_fields, refuse_columns
from moldiff.chem.io.text_records import SUFFIXES, TextRecord, read_texts
from moldiff.chem.sanitize import bond_refusal, isotope_refusal, mixture_refusal, polymer_refusal, query_refusal
from moldiff.errors import MoldiffError, blaming, blaming_for
from moldiff.reading import sha256_of

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Molecules = Union[str, Path, Sequence[Path], "Mol", Iterable[Union["Mol", str, None]]]
"""A molecule file or a list of such paths, an RDKit molecule, a SMILES, or molecules and SMILES one after the other."""
_EXPECTED = "a molecule file, an RDKit molecule, a SMILES, or a list, column or supplier of molecules or SMILES"
_REFUSED = ("polymer", "mixture", "link node", "variable attachment", "stereo", "query", "smiles: a line break")
"""What reasons begin with that RDKit has none for: it reads such texts, some in part."""
_MISSING = "missing: there is no molecule"


def file_of(molecules: object, argument: str = "molecules") -> Path | None:
    """Return the file that is meant; None if molecules are given themselves.

    A `Path` is a file; so is a text that ends like one. Another text is a SMILES. ``argument`` names it in messages.

    Raises:
        MoldiffError: a text is neither, or could be both.
    """
    if isinstance(molecules, Path):
        return molecules
    if not isinstance(molecules, str):
        return None
    if molecules.lower().endswith(SUFFIXES):
        return Path(molecules)
    reason = parse(smiles_record(0, molecules)).reason if molecules.strip() else _MISSING
    is_smiles = not reason
    there = bool(molecules.strip()) and _exists(molecules)
    if is_smiles and there:
        raise MoldiffError(
            f"{argument} '{molecules}': a SMILES, and there is a file of that name; give a Path or a list of SMILES",
            argument=argument,
        )
    if there:
        return Path(molecules)
    if reason.startswith(_REFUSED):
        raise MoldiffError(f"{argument} '{molecules[:60]}': {reason}", argument=argument)
    if not is_smiles:
        told = f"neither a SMILES that RDKit can read nor a molecule file ({', '.join(SUFFIXES)})"
        words = molecules.split(maxsplit=1)
        if len(words) == 2 and not parse(smiles_record(0, words[0])).reason:
            told = f"not a SMILES alone ({reason}); a list of SMILES takes them one by one"
        raise MoldiffError(f"{argument} '{molecules[:60]}': {told}", argument=argument)
    return None


def files_of(molecules: object, argument: str = "molecules") -> tuple[Path, ...] | None:
    """Return the files that are meant: one as in `file_of`, or a list of `Path`; None if molecules are given
    themselves."""
    if isinstance(molecules, list | tuple) and molecules and all(isinstance(item, Path) for item in molecules):
        with blaming(argument):
            return files_named(molecules)
    path = file_of(molecules, argument)
    return None if path is None else (path,)


def files_named(names: Sequence[str | Path]) -> tuple[Path, ...]:
    """Return molecule files, in order; a name with * ? or [ that is no file stands for all that match it, sorted.

    Raises:
        MoldiffError: no file is named, none matches, or one is named twice, in whatever spelling or by a link.
    """
    found = tuple(path for name in names for path in _expanded(Path(name)))
    if not found:
        raise MoldiffError("there are no molecule files to begin with", argument="files")
    known = dict[str, Path]()
    for path in found:
        if (before := known.get(whole := _whole_name(path))) is not None:
            hint = "" if before == path else f", as {before} too"
            raise MoldiffError(f"{path} is named twice{hint}", argument="files")
        known[whole] = path
    return found


def _whole_name(path: Path) -> str:
    """Return what is the same for all names of a file."""
    try:
        return os.path.realpath(path)  # unlike Path.resolve, this takes a loop of links calmly
    except ValueError:  # no name that a file can have: whoever reads it says so
        return str(path)


def _expanded(path: Path) -> Iterable[Path]:
    if os.path.exists(path) or not glob.has_magic(str(path)):  # Path.exists is surprised by a name that is too long
        return [path]
    found = sorted(glob.glob(str(path), recursive=True))
    if not found:
        raise MoldiffError(f"no file matches {path}", argument="files")
    return map(Path, found)


def texts_of(files: Sequence[Path], columns: Columns | None = None) -> Iterator[tuple[Path, TextRecord]]:
    """Yield file and text record of some files, one after the other, counted through.

    Raises:
        MoldiffError: as in `moldiff.chem.io.text_records.read_texts`; what the first bytes of any show, at once.
    """
    for path in files:
        read_texts(path, columns)
    pairs = ((path, text) for path in files for text in read_texts(path, columns))
    return ((path, replace(text, index=index)) for index, (path, text) in enumerate(pairs))


def blamed(reason: str) -> str:
    """Return the argument to blame where molecules cannot be used: one that the reason names, or the molecules."""
    return "add_hydrogens" if "add_hydrogens" in reason else "molecules"


@dataclass(frozen=True)
class Survey:
    """The content of molecule files, as a pass over them found it before the work began. Whatever is written of them
    later is taken from here: by then they may be others, or gone.

    Attributes:
        files: in order.
        sha256: of each.
        records: in all of them.
        tags: names of all their data fields, in the order in which they come.
    """

    files: tuple[Path, ...]
    sha256: tuple[str, ...]
    records: int
    tags: tuple[str, ...]

    def span(self, shard: Part) -> range:
        """Return the numbers of the records that belong to a part; MoldiffError if it has none of those that there
        are."""
        found = shard.span(self.records)
        if self.records and not found:
            raise MoldiffError(f"shard: there are only {self.records} records to share out", argument="shard")
        return found


def survey(files: Sequence[Path], columns: Columns | None = None) -> Survey:
    """Return what is in molecule files; errors as in `texts_of`."""
    count, tags = 0, dict[str, None]()
    for path, text in texts_of(files, columns):
        count += 1
        add_fields(tags, text.tags, path)
    return Survey(tuple(files), tuple(map(sha256_of, files)), count, tuple(tags))


def fields_of(molecules: Molecules) -> tuple[str, ...]:
    """Return the names of all data fields of molecules that were given themselves and can be read more than once, in
    the order in which they come."""
    items = (molecules,) if is_molecule(molecules) or not isinstance(molecules, Iterable) else molecules
    return tuple(dict.fromkeys(name for item in items if is_molecule(item) for name in _fields(item)))


def kept(molecules: Molecules) -> Molecules:
    """Return molecules that can be read more than once: what a generator or a supplier yields as a list."""
    if isinstance(molecules, str | Path) or is_molecule(molecules) or not isinstance(molecules, Iterable):
        return molecules
    return molecules if isinstance(molecules, Mapping | bytes) or hasattr(molecules, "columns") else list(molecules)


def sha256_of_molecules(molecules: Molecules) -> str:
    """Return a hash of molecules that were given themselves and can be read more than once."""
    digest = hashlib.sha256()
    one = is_molecule(molecules) or isinstance(molecules, str) or not isinstance(molecules, Iterable)
    for item in [molecules] if one else molecules:  # type: ignore[union-attr]
        digest.update(to_bytes(item) if is_molecule(item) else str(item).encode("utf-8"))
        digest.update(b"\n")
    return digest.hexdigest()


def records_of(
    molecules: object,
    columns: Columns | None = None,
    add_hydrogens: bool = False,
    span: range | None = None,
    argument: str = "molecules",
) -> Iterator[Record]:
    """Return the records of a file, of several or of given molecules (sanitised; a title is their property ``_Name``,
    further properties are their tags).

    What cannot be read, or is missing from a column or a supplier, is a record with a reason.

    Args:
        molecules: what users have.
        columns: of a table, see `moldiff.chem.io.text_records.read_texts`.
        add_hydrogens: place the hydrogens that molecules with coordinates leave out.
        span: of the records that are wanted; None = all.
        argument: what messages call the molecules.

    Raises:
        MoldiffError: no molecules, or something else; of a generator while iterating.
    """
    records = _records(molecules, columns, span, argument)
    return map(completed, records) if add_hydrogens else records


def _records(molecules: object, columns: Columns | None, span: range | None, argument: str) -> Iterator[Record]:
    if (files := files_of(molecules, argument)) is not None:
        with blaming(argument, "columns"):
            texts = texts_of(files, columns)
        return _of_files(texts, span, argument)
    refuse_columns(columns)
    if is_molecule(molecules) or isinstance(molecules, str):
        molecules = [molecules]
    # the columns of a data frame, the keys of a mapping and the numbers of bytes are no molecules
    if not isinstance(molecules, Iterable):
        raise refusal(argument, _EXPECTED, molecules)
    if isinstance(molecules, Mapping | bytes) or hasattr(molecules, "columns"):
        raise refusal(argument, f"{_EXPECTED} (of a table, one column)", molecules)
    items = (item for item in molecules)  # asked for its iterator twice, a supplier begins anew
    try:
        first = next(items)
    except StopIteration:
        raise MoldiffError(f"{argument}: there are no molecules to begin with", argument=argument) from None
    read = partial(_record, argument)
    records = itertools.chain([read(0, first)], itertools.starmap(read, enumerate(items, start=1)))
    return records if span is None else itertools.islice(records, span.start, span.stop)


def _of_files(texts: Iterator[tuple[Path, TextRecord]], span: range | None, argument: str) -> Iterator[Record]:
    wanted = texts if span is None else itertools.islice(texts, span.start, span.stop)
    try:
        for path, text in blaming_for(wanted, argument, "columns"):
            yield replace(parse(text), file=str(path))
    except MoldiffError as error:
        if argument == "molecules":
            raise
        raise error.without_hint() from error  # columns are named of the molecules, not of what is brought along


def _record(argument: str, index: int, item: object) -> Record:
    """Return the record of one molecule or SMILES."""
    if is_molecule(item):
        mol: Chem.Mol = item
        tags = _fields(mol, argument)
        refused = polymer_refusal(mol) or isotope_refusal(mol) or query_refusal(mol)
        if not refused and not has_conformer(mol):
            refused = mixture_refusal(mol, "the molecule (with stereo groups)")
        try:
            name = mol.GetProp("_Name") if mol.HasProp("_Name") else ""
        except UnicodeDecodeError:
            name, mol = "", Chem.Mol(mol)
            mol.ClearProp("_Name")  # or whoever asks for it later stumbles
            _tell_of_unreadable(argument)
        if refused:
            return Record(index, name, None, tags, refused)
        good, reason = (None, refused) if (refused := bond_refusal(mol)) else sound(mol)
        return Record(index, name, good, tags, reason, mol if good is None else None)
    if isinstance(item, str):
        if item.lower().endswith(SUFFIXES):
            raise MoldiffError(
                f"{argument}: '{item}' in a list is a file; give files as a list of Path", argument=argument
            )
        if not item.strip():
            return Record(index, "", None, reason=_MISSING)
        text = smiles_record(index, item)
        if text.note:
            tell_once(f"{argument}: {text.note}")
        return parse(text)
    if _is_nothing(item):
        return Record(index, "", None, reason=_MISSING)
    raise refusal(argument, _EXPECTED, item)


def _is_nothing(item: object) -> bool:
    """Return whether an item is a supplier's failure, or what pandas has for nothing: None, NaN, NaT, NA."""
    if item is None or type(item).__name__ == "NAType":
        return True
    differs = item != item  # of an array, each number of it
    return isinstance(differs, bool | np.bool_) and bool(differs)


def _fields(mol: Chem.Mol, argument: str = "molecules") -> dict[str, str]:
    """Return the properties of a molecule as texts. One whose name or text is no UTF-8 is left out, and said."""
    try:
        # a text stays as it is: "007" is no number
        return {name: str(value) for name, value in mol.GetPropsAsDict(autoConvertStrings=False).items()}
    except UnicodeDecodeError:
        names, found = mol.GetPropNames(), dict[str, str]()
    for place in range(len(names)):
        try:
            name = names[place]
            found[name] = mol.GetProp(name)
        except UnicodeDecodeError:
            _tell_of_unreadable(argument)
    return found


def _tell_of_unreadable(argument: str) -> None:
    """Say once that texts of old files, as RDKit hands them on, are left out."""
    told = "titles and properties that are no UTF-8 are left out; the file, given by its path, is read with them"
    tell_once(f"{argument}: {told}")


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # too long for a name
        return False
