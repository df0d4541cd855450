"""Identity of molecules: canonical SMILES, InChIKey block, integer keys."""

from __future__ import annotations

import hashlib

from rdkit import Chem, rdBase


def without_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    """Return a copy without explicit hydrogens, except those that carry an isotope or have no heavy neighbour ([H][H]).

    The hydrogen that defines the stereo of an imine (C=N-H) stays, as in RDKit's own SMILES.
    """
    if mol.GetNumHeavyAtoms() == mol.GetNumAtoms():
        return Chem.Mol(mol)
    return Chem.RemoveHs(mol, sanitize=False)


def canonical_smiles(mol: Chem.Mol, *, stereo: bool) -> str:
    """Return the canonical SMILES of a sanitised molecule without hydrogens, with or without stereo and isotopes.

    Numbers that a reaction gave its atoms (``[CH3:1]``) are no part of it.
    """
    with rdBase.BlockLogs():
        smiles = _smiles(mol, stereo)
        if ":" not in smiles:  # which RDKit writes for nothing else
            return smiles
        plain = Chem.Mol(mol)
        for atom in plain.GetAtoms():
            atom.SetAtomMapNum(0)
        return _smiles(plain, stereo)


def _smiles(mol: Chem.Mol, stereo: bool) -> str:
    if stereo:
        bare = mol.GetNumHeavyAtoms() == mol.GetNumAtoms()
        return str(Chem.MolToSmiles(mol if bare else without_hydrogens(mol)))
    flat = Chem.Mol(mol)
    for atom in flat.GetAtoms():
        if atom.GetIsotope():
            atom.SetIsotope(0)  # here, as a deuterium would stay an atom, and be a hydrogen
    # before the hydrogens: one that defines an imine's stereo would stay and make the text depend on the geometry
    Chem.RemoveStereochemistry(flat)
    return str(Chem.MolToSmiles(without_hydrogens(flat), isomericSmiles=False))


def inchikey_block(mol: Chem.Mol) -> str:
    """Return the first 14 letters of the InChIKey: connectivity with mobile hydrogens, no stereo, isotopes or protons
    more or less, as far as InChI knows the group as an acid or a base.

    Raises:
        ValueError: InChI refuses the molecule ("inchi: ..." is the reason).
    """
    with rdBase.BlockLogs():
        key = str(Chem.MolToInchiKey(mol, options="/SNon"))
    if len(key) < 14:
        raise ValueError("inchi: no key for this molecule")
    return key[:14]


def parent_block(mol: Chem.Mol) -> str:
    """Return the InChIKey block of a sanitised molecule, which charges and mobile hydrogens leave alone; of several
    fragments that of the one with the most heavy atoms, so that a salt has that of its parent. Where InChI refuses, it
    is the canonical SMILES."""
    parts = Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False)
    if len(parts) < 2:
        return _block_or_smiles(_uncharged(mol))
    most = max(part.GetNumHeavyAtoms() for part in parts)
    return min(_block_or_smiles(_uncharged(part)) for part in parts if part.GetNumHeavyAtoms() == most)


def _uncharged(mol: Chem.Mol) -> Chem.Mol:
    """Return a molecule with the protons that make it neutral: InChI does not know all acids, such as tetrazoles."""
    if not any(atom.GetFormalCharge() for atom in mol.GetAtoms()):
        return mol
    from rdkit.Chem.MolStandardize import rdMolStandardize  # whose import only charged molecules pay for

    try:
        with rdBase.BlockLogs():
            return rdMolStandardize.Uncharger().uncharge(mol)
    except (ValueError, RuntimeError):
        return mol


def _block_or_smiles(mol: Chem.Mol) -> str:
    try:
        return inchikey_block(mol)
    except ValueError:
        return canonical_smiles(mol, stereo=False)  # as good a key; only InChI's view of tautomers is lost


def inchikey(mol: Chem.Mol) -> str:
    """Return the standard InChIKey, 27 letters: connectivity with mobile hydrogens, stereo, isotopes, charge.

    Raises:
        ValueError: InChI refuses the molecule ("inchi: ..." is the reason).
    """
    with rdBase.BlockLogs():
        key = str(Chem.MolToInchiKey(mol))
    if len(key) != 27:
        raise ValueError("inchi: no key for this molecule")
    return key


def bytes_key(data: bytes) -> int:
    """Return the first 8 bytes of the SHA-256 of ``data`` as an unsigned 64-bit integer (big-endian)."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big")


def text_key(text: str) -> int:
    """Return the `bytes_key` of a text in UTF-8."""
    return bytes_key(text.encode("utf-8"))
