"""Sanitising with limits in front of RDKit and short reasons behind it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from rdkit import Chem, rdBase

from moldiff.arrays import MOST_ATOMS

MAX_DEGREE = 16
MAX_BONDS_PER_ATOM = 4
MAX_RINGS = 300  # bonds beyond a tree; RDKit's ring search was seen to crash at 3000 (a C60 cage has 31)
MAX_COORDINATE = 9999.0  # angstrom; ten columns with four decimals hold no more

_CAPITALS_TAKEN = frozenset({"CL", "SI", "SE", "NA"})  # nobody calls an atom of another element so
# crowded, or a charge or an isotope to be looked at
_UNUSUAL = Chem.MolFromSmarts(f"[D{{{MAX_DEGREE + 1}-}},+{{2-}},-{{16-}},#0&+,!0*]")
_BONDED_ION = Chem.MolFromSmarts("[#1;!+0]~[#1,#6,#7,#8,#9,#15,#16,#17,#35,#53]")  # metals and boron share hydrides
_WITHOUT_ORDER = {Chem.BondType.UNSPECIFIED, Chem.BondType.HYDROGEN, Chem.BondType.ZERO}
_POLYMERS = frozenset({"SRU", "MON", "MER", "COP", "CRO", "MOD", "GRA", "ANY"})  # types of substance groups
_MIXTURES = frozenset({"COM", "MIX", "FOR"})  # others (DAT, SUP, MUL, GEN) leave a molecule what its atoms say
_LINK_NODES, _END_POINTS = "_molLinkNodes", "_MolFileBondEndPts"  # where RDKit keeps them
_MOST_CHARGE = 15  # of an atom, either way
_MOST_ISOTOPE = 999  # three digits; RDKit leaves out the others without a word
_ISOTOPE = Chem.MolFromSmarts("[!0*]")
_NOT_FINITE = re.compile(r"(?<![a-z])(nan|inf|infinity)(?![a-z])", re.IGNORECASE)
_SAID = re.compile(r"SMILES Parse Error: (.{1,60}?)(?: while parsing| for input|:|\n)")
_PLACE = re.compile(r"around position (\d+)")
_VALENCE = re.compile(r", (\d+), is greater")

_NO_KEKULE_FORM = "kekulize: aromatic bonds without a Kekule form"


def count_refusal(n_atoms: int, n_bonds: int) -> str:
    """Return why RDKit should not see a graph of so many atoms and bonds, or an empty string.

    RDKit's ring search crashes or hangs on dense graphs of atoms without a valence limit (metals, dummies); of a mol
    block it is made while reading, whether the molecule is to be sanitised or not.
    """
    if n_atoms == 0:
        return "empty: no atoms"
    if n_atoms > MOST_ATOMS:
        return f"too large: {n_atoms} atoms"
    if n_bonds > MAX_BONDS_PER_ATOM * n_atoms:
        return f"too many bonds: {n_bonds} among {n_atoms} atoms"
    if (rings := n_bonds - n_atoms + 1) > MAX_RINGS:
        return f"too many rings: at least {rings}"
    return ""


def size_refusal(n_atoms: int, bond_ends: np.ndarray) -> str:
    """Return why RDKit should not see a graph, or an empty string.

    Args:
        n_atoms: number of atoms.
        bond_ends: (m, 2) int atom indices of the bonds.
    """
    if reason := count_refusal(n_atoms, len(bond_ends)):
        return reason
    degree = int(np.bincount(bond_ends.ravel(), minlength=1).max())
    return f"too many bonds: {degree} on one atom" if degree > MAX_DEGREE else ""


def coordinate_refusal(pos: np.ndarray) -> str:
    """Return why (n, 3) coordinates in angstrom cannot be used or written, or an empty string."""
    bad = ~np.isfinite(pos).all(axis=1)
    if bad.any():
        return f"non-finite coordinates: {int(bad.sum())} atoms"
    if len(pos) and np.abs(pos).max() > MAX_COORDINATE:
        return f"coordinates out of range: beyond {MAX_COORDINATE:.0f} angstrom"
    return ""


def mol_refusal(mol: Chem.Mol) -> str:
    """Return why a molecule, sanitised or not, should not be worked on: its size, its bonds, its coordinates."""
    if _is_plain(mol):
        return coordinate_refusal(mol.GetConformer().GetPositions()) if mol.GetNumConformers() else ""
    if reason := count_refusal(mol.GetNumAtoms(), mol.GetNumBonds()):  # RDKit is slow to list the bonds of giants
        return reason
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    if reason := size_refusal(mol.GetNumAtoms(), np.array(ends, dtype=np.int64).reshape(-1, 2)):
        return reason
    for atom in mol.GetAtoms():
        charge = atom.GetFormalCharge()
        if charge and (reason := charge_refusal(charge, atom.GetAtomicNum(), atom.GetSymbol())):
            return reason
    if reason := isotope_refusal(mol):
        return reason
    return coordinate_refusal(mol.GetConformer().GetPositions()) if mol.GetNumConformers() else ""


def _is_plain(mol: Chem.Mol) -> bool:
    """Return whether a quick look shows that a molecule's size, bonds, charges, isotopes are no reason to refuse it."""
    atoms, bonds = mol.GetNumAtoms(), mol.GetNumBonds()
    if not (0 < atoms <= MOST_ATOMS and bonds <= MAX_BONDS_PER_ATOM * atoms and bonds - atoms + 1 <= MAX_RINGS):
        return False
    return not mol.HasSubstructMatch(_UNUSUAL)


def charge_refusal(charge: int, atomic_number: int, symbol: str) -> str:
    """Return why an atom cannot have this charge, or an empty string. (RDKit looks up an element without electrons.)"""
    if charge > max(atomic_number, 0):
        return f"charge: {symbol}{charge:+d} has lost more electrons than it has"
    if abs(charge) > _MOST_CHARGE:
        return f"charge: {symbol}{charge:+d} is beyond the {_MOST_CHARGE} that a mol file holds"
    return ""


def isotope_refusal(mol: Chem.Mol) -> str:
    """Return why a molecule, sanitised or not, cannot be written with its isotopes, or an empty string."""
    marked = mol.GetAtoms() if mol.HasSubstructMatch(_ISOTOPE) else ()
    for atom in marked:
        if atom.GetIsotope() > _MOST_ISOTOPE:
            return f"isotope: {atom.GetIsotope()}{atom.GetSymbol()} is beyond the {_MOST_ISOTOPE} that a mol file holds"
    return ""


def sanitize_reason(error: Exception, mol: Chem.Mol | None) -> str:
    """Return a short reason shared by many molecules (a code word, then the cause; no atom numbers)."""
    if isinstance(error, Chem.AtomValenceException) and mol is not None:
        atom = mol.GetAtomWithIdx(error.cause.GetAtomIdx())
        charge = atom.GetFormalCharge()
        label = atom.GetSymbol() + (f"{charge:+d}" if charge else "")
        found = _VALENCE.search(str(error))
        return f"valence: {label} with {found.group(1)} bonds" if found else f"valence: {label}"
    if isinstance(error, Chem.KekulizeException | Chem.AtomKekulizeException):
        return _NO_KEKULE_FORM
    if isinstance(error, Chem.MolSanitizeException):
        return f"sanitize: {type(error).__name__}"
    return f"rdkit: {short_message(error)}"


def bond_refusal(mol: Chem.Mol) -> str:
    """Return why a sanitised molecule's bonds are no bonds of one molecule, or an empty string: RDKit accepts the "any"
    of a query, hydrogen bonds, and an aromatic bond outside a ring, and counts hydrogens and masses as if they had an
    order; no SMILES of such a molecule says the same again. And it accepts what `hydrogen_refusal` tells of."""
    for bond in mol.GetBonds():
        kind = bond.GetBondType()
        if kind in _WITHOUT_ORDER:
            return f"bond type: {str(kind).lower()}"
        if kind == Chem.BondType.AROMATIC and not bond.GetIsAromatic():
            return _NO_KEKULE_FORM
    return hydrogen_refusal(mol)


def hydrogen_refusal(mol: Chem.Mol) -> str:
    """Return why hydrogens of a molecule, sanitised or not, are none, or an empty string: RDKit accepts a hydride or a
    proton that is bonded to carbon, say."""
    ion = mol.GetSubstructMatch(_BONDED_ION)
    if not ion:
        return ""
    atom = mol.GetAtomWithIdx(ion[0])
    return f"valence: H{atom.GetFormalCharge():+d} with {atom.GetDegree()} bonds"


def mixture_refusal(mol: Chem.Mol, what: str) -> str:
    """Return why a molecule without coordinates in space is none but a racemate, or of a relative configuration, by its
    groups of stereo atoms ("and", "or"); an empty string if it has none.

    Args:
        mol: sanitised.
        what: it is called.
    """
    if any(group.GetGroupType() != Chem.StereoGroupType.STEREO_ABSOLUTE for group in mol.GetStereoGroups()):
        return f"stereo: {what} means a mixture; write one of its stereoisomers"
    return ""


def polymer_refusal(mol: Chem.Mol) -> str:
    """Return why a molecule, sanitised or not, is none but a polymer, a mixture, chains of several lengths or a bond to
    any of several atoms, by its substance groups, link nodes and bonds' ends; an empty string if it is one. Its atoms
    are those of one unit, which RDKit takes for all."""
    if mol.HasProp(_LINK_NODES):
        return "link node: chains of several lengths, not one molecule"
    if any(bond.HasProp(_END_POINTS) for bond in mol.GetBonds()):
        return "variable attachment: a bond to one of several atoms, or to all of them, not one molecule"
    for group in Chem.GetMolSubstanceGroups(mol):
        kind = group.GetProp("TYPE")
        if kind in _POLYMERS:
            return f"polymer: a group of type {kind}, not one molecule"
        if kind in _MIXTURES:
            return f"mixture: a group of type {kind}, not one molecule"
    return ""


def query_refusal(mol: Chem.Mol) -> str:
    """Return why a molecule, sanitised or not, is none but a query, by what its elements and orders of bonds stand for;
    an empty string if it is one. RDKit takes the first of a list of elements, and leaves the other conditions out."""
    if any(atom.HasQuery() and atom.GetAtomicNum() for atom in mol.GetAtoms()):
        return "query: an atom of a pattern, not of one molecule"
    if any(bond.HasQuery() and bond.GetBondType() not in _WITHOUT_ORDER for bond in mol.GetBonds()):
        return "query: a bond of a pattern, not of one molecule"
    return ""


def smiles_words(text: str) -> str:
    """Return what RDKit says of a SMILES that it cannot read: "unclosed ring"; "" if it says nothing. It says so to its
    log, which is as before afterwards."""
    parameters = Chem.SmilesParserParams()
    parameters.sanitize = False
    with rdBase.CaptureErrorLog() as log:
        Chem.MolFromSmiles(text, parameters)
    if (said := _SAID.search(log.messages)) is None:
        return ""
    place = _PLACE.search(log.messages)
    return said[1] + (f" at position {place[1]}" if place else "")


def unreadable_reason(block: str) -> str:
    """Return why RDKit could not read a mol block: coordinates that are no numbers, or else just that."""
    bad = sum(bool(_NOT_FINITE.search(line[:31])) for line in block.split("\n")[4:])
    return f"non-finite coordinates: {bad} atoms" if bad else "mol block: RDKit cannot read it"


def symbol_problem(symbols: Iterable[str]) -> str:
    """Return which symbol of a file says two things: CA in capitals is calcium to a reader, but the alpha carbon of
    whoever wrote a protein's names; "" if none does."""
    for name in symbols:
        if len(name) == 2 and name.isalpha() and name.isupper() and name[0] in "CNOHSP" and name not in _CAPITALS_TAKEN:
            return f"element: '{name}' in capitals is {name.capitalize()} or a name of {name[0]}; write which"
    return ""


def error_reason(error: Exception) -> str:
    """Return the reason of a molecule that something broke on: "error: KeyError: ..."."""
    return f"error: {type(error).__name__}: {short_message(error)}"


def short_message(error: Exception) -> str:
    """Return the telling line of an RDKit error: a violated condition is named in the second line, after a heading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[1 if lines[0].endswith("Violation") and len(lines) > 1 else 0][:80]
