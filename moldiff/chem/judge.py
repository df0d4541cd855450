"""Molecules of a foreign file, judged by the same rules as decoded ones: unsanitised records in, `Conversion` out."""

from __future__ import annotations

import numpy as np
from rdkit import Chem, rdBase

from moldiff.arrays import MolArrays
from moldiff.chem.convert import Conversion, decode
from moldiff.chem.io.text_records import TextRecord
from moldiff.chem.sanitize import mol_refusal
from moldiff.chem.vocabulary import BOND_NAMES
from moldiff.vocabulary import BOND_ORDERS, Vocabulary


def read_block(record: TextRecord) -> tuple[Chem.Mol | None, str]:
    """Return (unsanitised molecule, "") of an SDF record, or (None, reason); never an exception for bad text."""
    if record.reason:
        return None, record.reason
    try:
        with rdBase.BlockLogs():
            mol = Chem.MolFromMolBlock(record.text, sanitize=False, removeHs=False)
    except (ValueError, RuntimeError):
        mol = None
    if mol is None:
        return None, "mol block: RDKit cannot read it"
    reason = mol_refusal(mol)
    return (None, reason) if reason else (mol, "")


def has_hydrogens(mol: Chem.Mol) -> bool:
    """Return True if any atom is a hydrogen."""
    return any(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms())


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
            although a file reader would fill it in silently; False = RDKit places the missing hydrogens.
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
    return decode(arrays, vocabulary)
