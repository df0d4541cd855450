"""Molecule files: reading any of the known kinds as `Record`s.

Every record of a file is yielded, also one that cannot be read: then without a molecule, but with a reason. `judge`
holds an unsanitised record to the rules of decoded molecules.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase

from moldiff.arrays import MolArrays
from moldiff.chem.convert import BOND_NAMES, Conversion, decode
from moldiff.chem.coordinates import COINCIDENT, FLAT, coordinates_problem
from moldiff.chem.hydrogens import relax_hydrogens, with_all_hydrogens
from moldiff.chem.io.capped import SHOWN, smiles_problem
from moldiff.chem.io.embed import embed
from moldiff.chem.io.mol_block import as_drawing, counts, is_marked, number_problem, symbols
from moldiff.chem.io.ordered_smiles import from_ordered_smiles
from moldiff.chem.io.perceive import parse_xyz, perceive
from moldiff.chem.io.sdf_writer import mol_to_sdf_record, write_sdf
from moldiff.chem.io.tables import Columns
from moldiff.chem.io.text_records import SUFFIXES, TextRecord, read_texts
from moldiff.chem.sanitize import (
    bond_refusal,
    count_refusal,
    hydrogen_refusal,
    mixture_refusal,
    mol_refusal,
    polymer_refusal,
    query_refusal,
    sanitize_reason,
    short_message,
    smiles_words,
    symbol_problem,
    unreadable_reason,
)
from moldiff.vocabulary import BOND_ORDERS, Vocabulary

__all__ = [
    "SUFFIXES",
    "LeftOut",
    "Record",
    "TextRecord",
    "completed",
    "embed",
    "is_molecule",
    "mol_to_sdf_record",
    "parse",
    "read_records",
    "read_texts",
    "write_sdf",
]

logger = logging.getLogger(__name__)

_SHORT = 300  # letters of a SMILES: too few for as many rings as RDKit cannot bear
_UNUSUAL = re.compile(r"[|*~:]|\s|\+[+\d]|\[\d*H[\]+-]")  # extensions, dummies, odd bonds and charges, hydrogens


@dataclass(frozen=True)
class Record:
    """One record of a molecule file.

    Attributes:
        index: position in the file, from 0.
        name: title of the record, "" if it has none.
        mol: sanitised molecule, hydrogens as in the file, stereo from its coordinates; None if it cannot be had.
        tags: data fields (SDF tags, other columns, QM9 properties) as text.
        reason: why ``mol`` is None: a code word, a colon and detail; "" if all is well.
        raw: the unsanitised molecule where only sanitising failed, else None.
        file: that it stands in; "" = none, or it is read alone.
    """

    index: int
    name: str
    mol: Chem.Mol | None
    tags: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    raw: Chem.Mol | None = None
    file: str = ""

    @property
    def seen(self) -> Chem.Mol | None:
        """The molecule as far as there is one, sanitised or not: what is asked for hazards."""
        return self.raw if self.mol is None else self.mol


class LeftOut:
    """Records of a yardstick that it is made without: how many, and the first of them.

    Args:
        source: of the records, in messages.
        effect: what comes of it that they are left out.
    """

    def __init__(self, source: str, effect: str = "count for nothing") -> None:
        self._source, self._effect = source, effect
        self._count, self._first = 0, ""

    def add(self, index: int, reason: str) -> None:
        """Take note of a record and why it is left out."""
        self._count += 1
        self._first = self._first or f"record {index}: {reason}"

    @property
    def told(self) -> str:
        """Their number, and the first with its reason; "" = there are none."""
        return f"{self._count} records {self._effect}; the first, {self._first}" if self._count else ""

    def tell(self) -> None:
        """Warn, if there are any."""
        if self.told:
            logger.warning("%s: %s", self._source, self.told)


def is_molecule(value: object) -> bool:
    """Return whether a value is an RDKit molecule."""
    return isinstance(value, Chem.Mol)


def completed(record: Record) -> Record:
    """Return a record whose molecule, if it has one with coordinates, has every hydrogen as an atom."""
    if record.mol is None or not record.mol.GetNumConformers():
        return record
    return replace(record, mol=with_all_hydrogens(record.mol))


def read_records(path: Path, columns: Columns | None = None) -> Iterator[Record]:
    """Yield every record of a molecule file of one of `SUFFIXES`, streamed.

    Args:
        path: the file.
        columns: see `read_texts`.

    Raises:
        MoldiffError: the file is missing, empty, damaged, of an unknown kind or not what its suffix says.
    """
    return map(parse, read_texts(path, columns))


def parse(text: TextRecord) -> Record:
    """Parse one text record; bad chemistry, and whatever RDKit makes of it, gives a reason, never an exception."""
    if (quick := _quick(text)) is not None:
        return Record(text.index, text.name, quick, text.tags)
    raw, reason = read_block(text)
    mol: Chem.Mol | None = None
    if raw is not None and not reason:
        reason = hydrogen_refusal(raw)  # before RDKit makes a hydrogen of it
    if not reason:
        try:
            with rdBase.BlockLogs():
                mol, reason = _finished(text, raw)
            if mol is not None and (reason := bond_refusal(mol)):
                mol = None
        except Exception as error:  # noqa: BLE001 - RDKit has many, and not only for bad chemistry
            reason = sanitize_reason(error, raw)
    return Record(text.index, text.name, mol, text.tags, reason, raw if mol is None else None)


def _quick(text: TextRecord) -> Chem.Mol | None:
    """Return the molecule of a SMILES that is short enough to hold nothing that RDKit should not see, and that is
    plainly fine, in one go; None says nothing."""
    if text.kind != "smiles" or text.reason or len(text.text) > _SHORT or _UNUSUAL.search(text.text):
        return None
    try:
        with rdBase.BlockLogs():
            mol = Chem.MolFromSmiles(text.text)
            return None if mol is None or mol_refusal(mol) else mol
    except Exception:  # noqa: BLE001 - RDKit has many
        return None


def read_block(text: TextRecord) -> tuple[Chem.Mol | None, str]:
    """Return (unsanitised molecule, "") of a record, or (None, reason); never an exception for bad text. Of a kind that
    says nothing of bonds, or that is only read whole, (None, "")."""
    if text.reason or text.kind not in ("sdf", "smiles"):
        return None, text.reason
    try:
        with rdBase.BlockLogs():
            if text.kind == "sdf":
                if refusal := count_refusal(*(counts(text.text) or (1, 0))) or number_problem(text.text):
                    return None, refusal
                raw, refusal = Chem.MolFromMolBlock(text.text, sanitize=False, removeHs=False), ""
            else:
                if refusal := smiles_problem(text.text):
                    return None, refusal
                parameters = Chem.SmilesParserParams()
                parameters.sanitize = parameters.removeHs = False
                raw = Chem.MolFromSmiles(text.text, parameters)
                words = "" if raw is not None else smiles_words(text.text)
                refusal = f"smiles: RDKit cannot read it: {words and words + ': '}'{text.text[:SHOWN]}'"
            if raw is None:
                return None, refusal or unreadable_reason(text.text)
            reason = symbol_problem(symbols(text.text) if text.kind == "sdf" else ())
            reason = reason or mol_refusal(raw) or polymer_refusal(raw) or query_refusal(raw)
    except Exception as error:  # noqa: BLE001 - the same
        return None, sanitize_reason(error, None)
    return (None, reason) if reason else (raw, "")


def _finished(text: TextRecord, raw: Chem.Mol | None) -> tuple[Chem.Mol | None, str]:
    """Return the sanitised molecule with its stereo, or None and a reason; RDKit's own errors are raised."""
    if text.kind == "sdf":
        mol = _sanitised(raw, text.text)
        # in space, one isomer stands there, whatever else the file means; a chiral flag of 0 means nothing any more
        reason = "" if mol.GetConformer().Is3D() else mixture_refusal(mol, "the drawing (STERAC or STEREL)")
        return (None, reason) if reason else (mol, "")
    if text.kind == "smiles":
        mol = Chem.MolFromSmiles(text.text)
        if mol is None:
            Chem.SanitizeMol(Chem.Mol(raw))
            return None, "smiles: RDKit cannot sanitise it"
        reason = mixture_refusal(mol, f"'{text.text[-SHOWN:]}'")
        return (None, reason) if reason else (mol, "")
    if text.kind == "placed":
        return _placed(text.text)
    parsed = parse_xyz(text.text)
    if isinstance(parsed, str):
        return None, parsed
    return perceive(parsed.symbols, parsed.pos, template=parsed.smiles)


def _sanitised(raw: Chem.Mol, block: str) -> Chem.Mol:
    mol = Chem.Mol(raw)
    try:
        Chem.SanitizeMol(mol)
    except Exception:
        raw.UpdatePropertyCache(strict=False)
        raise
    problem = coordinates_problem(mol)
    if problem == FLAT:  # wedged bonds of a drawing are only understood while reading one
        return Chem.MolFromMolBlock(as_drawing(block), sanitize=True, removeHs=False)
    mol.GetConformer().Set3D(True)  # geometry decides, whatever the header says
    if not problem.startswith(COINCIDENT):
        _assign_stereo(mol, marked=is_marked(block))
    return mol


def sound(mol: Chem.Mol) -> tuple[Chem.Mol | None, str]:
    """Return a molecule that is given itself, or a sanitised copy of one that RDKit has not looked at; None and the
    reason, as of a text, where its chemistry is none."""
    if reason := mol_refusal(mol):
        return None, reason
    copy = Chem.Mol(mol)
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(copy)
    except Exception as error:  # noqa: BLE001 - RDKit has many, and not only for bad chemistry
        shown = Chem.Mol(mol)
        shown.UpdatePropertyCache(strict=False)
        return None, sanitize_reason(error, shown)
    if _is_sanitised(mol):
        return mol, ""
    Chem.AssignStereochemistry(copy, cleanIt=True, force=True)
    return copy, ""


def _is_sanitised(mol: Chem.Mol) -> bool:
    """Return whether RDKit has looked at a molecule, up to the last thing that it looks for."""
    unknown = Chem.HybridizationType.UNSPECIFIED
    return not mol.NeedsUpdatePropertyCache() and all(atom.GetHybridization() != unknown for atom in mol.GetAtoms())


def _assign_stereo(mol: Chem.Mol, *, marked: bool = True) -> None:
    """Assign stereo from the geometry alone: it decides also where the file says "either" (crossed or wavy bonds).

    Args:
        mol: is changed.
        marked: bonds may carry such marks.
    """
    for bond in mol.GetBonds() if marked else ():
        bond.SetBondDir(Chem.BondDir.NONE)
        bond.SetStereo(Chem.BondStereo.STEREONONE)
    Chem.AssignStereochemistryFrom3D(mol)


def _placed(text: str) -> tuple[Chem.Mol | None, str]:
    smiles, *coordinates = text.split()
    try:
        mol = from_ordered_smiles(smiles, [int(value) for value in coordinates])
    except (ValueError, RuntimeError) as error:
        return None, short_message(error)
    if reason := mol_refusal(mol):
        return None, reason
    _assign_stereo(mol)
    return mol, ""


def without_implied_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    """Return a copy whose atoms have just the hydrogens that are atoms; readers fill open valences in silently."""
    copy = Chem.Mol(mol)
    for atom in copy.GetAtoms():
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(0)
        atom.SetNumRadicalElectrons(0)
    return copy


def judge(mol: Chem.Mol, *, explicit_hydrogens: bool) -> Conversion:
    """Sanitise an unsanitised record the way generated arrays are: nothing is repaired or left out.

    Radical and hydrogen counts that the file claims are ignored; what counts are the atoms and bonds that are there.

    Args:
        mol: as `read_block` gives it.
        explicit_hydrogens: True = every hydrogen is an atom of the record, so a missing one is an open valence,
            although a file reader would fill it in silently; False = the missing hydrogens are placed and relaxed.
    """
    bonds = list(mol.GetBonds())
    names = {bond.GetBondType(): BOND_NAMES.get(bond.GetBondType(), "") for bond in bonds}
    if unknown := sorted(str(kind).lower() for kind, name in names.items() if not name):
        return Conversion(None, mol, f"bond type: {unknown[0]}")
    if mol.GetNumConformers() == 0:
        return Conversion(None, mol, "no coordinates: the record has none")
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
    if dummies := [atom.GetSymbol() for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0]:
        return Conversion(None, mol, f"element: {dummies[0]} is none")
    charges = [atom.GetFormalCharge() for atom in mol.GetAtoms()]
    vocabulary = Vocabulary(tuple(sorted(set(symbols))), tuple(sorted(set(charges))), BOND_ORDERS, explicit_hydrogens)
    rows = [
        (*sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx())), BOND_ORDERS.index(names[b.GetBondType()])) for b in bonds
    ]
    arrays = MolArrays(
        mol.GetConformer().GetPositions(),
        np.array([vocabulary.elements.index(name) for name in symbols], dtype=np.int64),
        np.array([vocabulary.charges.index(charge) for charge in charges], dtype=np.int64),
        np.array(rows, dtype=np.int64).reshape(-1, 3),
    )
    found = decode(arrays, vocabulary)
    if found.mol is not None and any(isotopes := [atom.GetIsotope() for atom in mol.GetAtoms()]):
        for index, isotope in enumerate(isotopes):
            found.mol.GetAtomWithIdx(index).SetIsotope(isotope)
        _assign_stereo(found.mol)  # a centre may be one by its isotopes alone
    if explicit_hydrogens or found.mol is None:
        return found
    return replace(found, mol=relax_hydrogens(found.mol, range(len(symbols), found.mol.GetNumAtoms()))[0])
