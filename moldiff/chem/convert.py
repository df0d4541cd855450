"""RDKit molecules to class arrays and back, `encode` and `decode`; to bytes and back, for keeping many.

`decode` is total: whatever arrays a network produces, it returns a molecule or a reason, never a crash. RDKit itself
can crash on dense graphs of atoms without a valence limit and accepts NaN coordinates, so everything is checked before
it is called.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
from rdkit import Chem, rdBase

from moldiff.arrays import MolArrays
from moldiff.chem.coordinates import add_conformer, coordinates_problem
from moldiff.chem.hydrogen_state import partial_problem
from moldiff.chem.sanitize import charge_refusal, coordinate_refusal, hydrogen_refusal, sanitize_reason, size_refusal
from moldiff.vocabulary import Vocabulary

HYDROGEN_TRIALS = 64  # placements of ring N-H tried for a heavy-atom aromatic system

# RDKit's clean-up rewrites charges and bonds (a nitro group with five-bonded nitrogen): that would be a repair
SANITIZE_WITHOUT_REPAIR = Chem.SANITIZE_ALL ^ Chem.SANITIZE_CLEANUP ^ Chem.SANITIZE_CLEANUP_ORGANOMETALLICS

RADICALS = "radical electrons are outside the vocabulary"
BOND_NAMES: dict[Chem.BondType, str] = {
    Chem.BondType.SINGLE: "single",
    Chem.BondType.DOUBLE: "double",
    Chem.BondType.TRIPLE: "triple",
    Chem.BondType.AROMATIC: "aromatic",
}
_ORDERS = {name: order for order, name in BOND_NAMES.items()}


class EncodingError(ValueError):
    """The molecule cannot be written in the vocabulary; the message is the reason, short enough to count by."""


@contextlib.contextmanager
def rdkit_errors() -> Iterator[None]:
    """Turn whatever RDKit raises about a molecule into an `EncodingError`."""
    try:
        yield
    except EncodingError:
        raise
    except Exception as error:
        raise EncodingError(sanitize_reason(error, None)) from error


@dataclass(frozen=True)
class Conversion:
    """A decoded molecule or the reason why there is none.

    Attributes:
        mol: sanitised molecule with a 3D conformer, no implicit hydrogens, stereo assigned from the geometry; None if
            it failed.
        raw: the same atoms, coordinates and bonds unsanitised, for writing failures to a file; Kekulised where that is
            possible, else with aromatic bonds. None if not even that can be built.
        reason: empty if it worked, else a code word, a colon and detail: "valence: N with 5 bonds".
    """

    mol: Chem.Mol | None
    raw: Chem.Mol | None
    reason: str


@rdkit_errors()
def encode(mol: Chem.Mol, vocabulary: Vocabulary, *, fragments: bool = True) -> MolArrays:
    """Write a sanitised molecule of a file, with a conformer, as class arrays.

    Coordinates are taken as they are (angstrom, not centred). Whatever the arrays cannot hold is a reason, the same
    for every command; the causes are looked for in the order coordinates, bonds, parts, elements and charges,
    hydrogens, and what has no class: isotopes, radical electrons.

    Args:
        mol: the molecule.
        vocabulary: classes.
        fragments: False = more than one fragment is refused.

    Raises:
        EncodingError: coordinates that are none of a molecule (see `moldiff.chem.coordinates`), hydrogens without
            coordinates, or anything else outside the vocabulary.
    """
    if reason := coordinates_problem(mol):
        raise EncodingError(reason)
    spelled = mol if vocabulary.explicit_hydrogens else Chem.RemoveAllHs(mol)
    _bond_rows(spelled, vocabulary, kekulised="aromatic" not in vocabulary.bonds)
    if reason := parts_problem(mol, fragments):
        raise EncodingError(reason)
    if reason := placeholder_problem(mol):
        raise EncodingError(reason)
    if vocabulary.explicit_hydrogens:
        _atom_classes(mol, vocabulary)
        if reason := partial_problem(mol):
            raise EncodingError(reason)
    if isotopes := sorted({f"{atom.GetIsotope()}{atom.GetSymbol()}" for atom in mol.GetAtoms() if atom.GetIsotope()}):
        raise EncodingError(f"isotope {isotopes[0]} is outside the vocabulary")
    if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        raise EncodingError(RADICALS)
    return classes_of(mol, vocabulary)


def parts_problem(mol: Chem.Mol, fragments: bool = False) -> str:
    """Return why the atoms of a molecule do not hang together; "" if they do, or need not (``fragments``)."""
    if fragments or len(Chem.GetMolFrags(mol)) <= 1:
        return ""
    # atoms in space, neutral and without a bond, are a record whose bonds nobody gave
    is_salt = mol.GetNumBonds() or not mol.GetNumConformers() or any(a.GetFormalCharge() for a in mol.GetAtoms())
    return "more than one fragment" if is_salt else "no bonds: the record has atoms alone"


def placeholder_problem(mol: Chem.Mol) -> str:
    """Return that an atom of a molecule is none, but stands for others (``*``, R, R1); "" if there is no such one."""
    if all(atom.GetAtomicNum() for atom in mol.GetAtoms()):
        return ""
    return "R group or *: it stands for other atoms; only the SMILES of a fragment may have one (*)"


@rdkit_errors()
def classes_of(mol: Chem.Mol, vocabulary: Vocabulary) -> MolArrays:
    """Write a sanitised molecule with a conformer as class arrays, whatever its coordinates are; isotopes and radical
    electrons are lost.

    Raises:
        EncodingError: coordinates that are not finite, hydrogens without any, a category outside the vocabulary.
    """
    if not np.isfinite(mol.GetConformer().GetPositions()).all():
        raise EncodingError("non-finite coordinates")
    if vocabulary.explicit_hydrogens:
        if missing := sum(atom.GetTotalNumHs() for atom in mol.GetAtoms()):
            raise EncodingError(f"{missing} hydrogens without coordinates (add_hydrogens places them)")
    elif any(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms()):
        mol = Chem.RemoveAllHs(mol)
    if mol.GetNumAtoms() == 0:
        raise EncodingError("no atoms")
    if "aromatic" not in vocabulary.bonds:
        mol = _kekulised(mol)
    pos = mol.GetConformer().GetPositions().astype(np.float32)
    atom_type, charge = _atom_classes(mol, vocabulary)
    return MolArrays(pos, atom_type, charge, _bond_rows(mol, vocabulary))


def _kekulised(mol: Chem.Mol) -> Chem.Mol:
    copy = Chem.Mol(mol)
    try:
        with rdBase.BlockLogs():
            Chem.Kekulize(copy, clearAromaticFlags=True)
    except Chem.KekulizeException as error:
        raise EncodingError("no Kekule form") from error
    return copy


def _atom_classes(mol: Chem.Mol, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Return element class and charge class, both (n,) int64."""
    elements = {symbol: index for index, symbol in enumerate(vocabulary.elements)}
    charges = {charge: index for index, charge in enumerate(vocabulary.charges)}
    atom_type, charge = np.empty(mol.GetNumAtoms(), np.int64), np.empty(mol.GetNumAtoms(), np.int64)
    for index, atom in enumerate(mol.GetAtoms()):
        symbol, formal = atom.GetSymbol(), atom.GetFormalCharge()
        if symbol not in elements:
            if reason := placeholder_problem(mol):
                raise EncodingError(reason)
            raise EncodingError(f"element {symbol} is outside the vocabulary")
        if formal not in charges:
            raise EncodingError(f"charge {formal:+d} is outside the vocabulary")
        atom_type[index], charge[index] = elements[symbol], charges[formal]
    return atom_type, charge


def _bond_rows(mol: Chem.Mol, vocabulary: Vocabulary, *, kekulised: bool = False) -> np.ndarray:
    """Return (m, 3) int64 rows (i, j, class) with i < j, sorted; ``kekulised``: aromatic ones are going to be."""
    classes = {name: index for index, name in enumerate(vocabulary.bonds)} | ({"aromatic": 0} if kekulised else {})
    rows = []
    for bond in mol.GetBonds():
        name = BOND_NAMES.get(bond.GetBondType(), str(bond.GetBondType()))
        if name not in classes:
            raise EncodingError(f"{name} bond is outside the vocabulary")
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        rows.append((min(i, j), max(i, j), classes[name]))
    return np.array(sorted(rows), dtype=np.int64).reshape(-1, 3)


def decode(arrays: MolArrays, vocabulary: Vocabulary) -> Conversion:
    """Build the molecule that the arrays spell, or say why there is none. Never raises for bad chemistry.

    With explicit hydrogens nothing is added, repaired or left out: an open valence stays and becomes a radical.
    Without, RDKit places the hydrogens (for an aromatic ring also on ring nitrogens, as few as give a Kekule form).

    Raises:
        ValueError: the arrays are not what `MolArrays` says (shapes, class out of range, a bond twice): a bug, not
        chemistry.
    """
    _check_arrays(arrays, vocabulary)
    if reason := _refusal(arrays, vocabulary):
        return Conversion(None, None, reason)
    raw = _raw(arrays, vocabulary)
    try:
        with rdBase.BlockLogs():
            mol = _sanitised(arrays, vocabulary)
            Chem.AssignStereochemistryFrom3D(mol)
    except Exception as error:  # noqa: BLE001 - RDKit has many
        return Conversion(None, raw, sanitize_reason(error, raw))
    reason = hydrogen_refusal(mol)
    return Conversion(None if reason else mol, raw, reason)


def _check_arrays(arrays: MolArrays, vocabulary: Vocabulary) -> None:
    n, bonds = len(arrays.atom_type), arrays.bonds
    if arrays.pos.shape != (n, 3) or arrays.charge.shape != (n,) or bonds.ndim != 2 or bonds.shape[1] != 3:
        shapes = f"pos {arrays.pos.shape}, charge {arrays.charge.shape}, bonds {bonds.shape}"
        raise ValueError(f"arrays of {n} atoms do not fit together: {shapes}")
    for values, size in ((arrays.atom_type, len(vocabulary.elements)), (arrays.charge, len(vocabulary.charges))):
        if n and not 0 <= values.min() <= values.max() < size:
            raise ValueError(f"an atom's class is outside 0..{size - 1}")
    if len(bonds):
        ordered = (bonds[:, 0] >= 0).all() and (bonds[:, 0] < bonds[:, 1]).all() and (bonds[:, 1] < n).all()
        if not ordered or not ((bonds[:, 2] > 0) & (bonds[:, 2] < len(vocabulary.bonds))).all():
            raise ValueError("bonds must be rows (i, j, class) with i < j < n and a class above 0")
        if len(np.unique(bonds[:, 0] * n + bonds[:, 1])) != len(bonds):
            raise ValueError("a pair of atoms has two bonds")


def _refusal(arrays: MolArrays, vocabulary: Vocabulary) -> str:
    """Return why RDKit should not see these arrays, or an empty string."""
    if reason := size_refusal(len(arrays.atom_type), arrays.bonds[:, :2]) or coordinate_refusal(arrays.pos):
        return reason
    table = Chem.GetPeriodicTable()
    for element, charge in sorted(set(zip(arrays.atom_type.tolist(), arrays.charge.tolist(), strict=True))):
        symbol = vocabulary.elements[element]
        if reason := charge_refusal(vocabulary.charges[charge], table.GetAtomicNumber(symbol), symbol):
            return reason
    return ""


def _build(arrays: MolArrays, vocabulary: Vocabulary) -> Chem.RWMol:
    """Return the unsanitised molecule."""
    mol = Chem.RWMol()
    for element, charge in zip(arrays.atom_type.tolist(), arrays.charge.tolist(), strict=True):
        atom = Chem.Atom(vocabulary.elements[element])
        atom.SetFormalCharge(vocabulary.charges[charge])
        atom.SetNoImplicit(vocabulary.explicit_hydrogens)
        mol.AddAtom(atom)
    for i, j, bond_class in arrays.bonds.tolist():
        order = _ORDERS[vocabulary.bonds[bond_class]]
        mol.AddBond(i, j, order)
        if order == Chem.BondType.AROMATIC:
            mol.GetBondBetweenAtoms(i, j).SetIsAromatic(True)
            mol.GetAtomWithIdx(i).SetIsAromatic(True)
            mol.GetAtomWithIdx(j).SetIsAromatic(True)
    add_conformer(mol, arrays.pos)
    return mol


def _raw(arrays: MolArrays, vocabulary: Vocabulary) -> Chem.Mol:
    """Return the unsanitised molecule, Kekulised if it has a Kekule form, whatever else is wrong with it."""
    mol = _build(arrays, vocabulary)
    mol.UpdatePropertyCache(strict=False)
    try:
        with rdBase.BlockLogs():
            Chem.Kekulize(mol, clearAromaticFlags=True)
    except (ValueError, RuntimeError):
        mol = _build(arrays, vocabulary)
        mol.UpdatePropertyCache(strict=False)
    return mol.GetMol()


def _sanitised(arrays: MolArrays, vocabulary: Vocabulary) -> Chem.Mol:
    mol = _build(arrays, vocabulary)
    if vocabulary.explicit_hydrogens:
        Chem.SanitizeMol(mol, SANITIZE_WITHOUT_REPAIR)
        return mol.GetMol()
    full = Chem.AddHs(_with_ring_hydrogens(mol).GetMol(), addCoords=True)
    for atom in full.GetAtoms():
        atom.SetNoImplicit(True)
    return full


def _with_ring_hydrogens(mol: Chem.RWMol) -> Chem.RWMol:
    """Return a sanitised copy with hydrogens on two-connected aromatic nitrogens, as few as a Kekule form needs.

    Heavy atoms with aromatic bonds do not say which ring nitrogen carries a hydrogen (pyrrole, imidazole, indole), so
    placing it belongs to placing hydrogens. Nitrogens with a wide ring angle come first: a hydrogen opens it by about 5
    degrees. A placement that leaves every aromatic bond aromatic is preferred. Raises RDKit's KekulizeException when
    none within `HYDROGEN_TRIALS` works.
    """
    candidates = [
        atom.GetIdx()
        for atom in mol.GetAtoms()
        if atom.GetSymbol() == "N" and atom.GetIsAromatic() and atom.GetDegree() == 2 and atom.GetFormalCharge() == 0
    ]
    Chem.FastFindRings(mol)
    candidates.sort(key=lambda index: _angle_excess(mol, index), reverse=True)
    aromatic = sum(bond.GetIsAromatic() for bond in mol.GetBonds())
    second_best: Chem.RWMol | None = None
    failure: Chem.KekulizeException | None = None
    placements = (chosen for size in range(len(candidates) + 1) for chosen in combinations(candidates, size))
    for chosen in islice(placements, HYDROGEN_TRIALS):
        trial = Chem.RWMol(mol)
        for index in chosen:
            trial.GetAtomWithIdx(index).SetNumExplicitHs(1)
        try:
            Chem.SanitizeMol(trial, SANITIZE_WITHOUT_REPAIR)
        except Chem.KekulizeException as error:
            failure = error
            continue
        if sum(bond.GetIsAromatic() for bond in trial.GetBonds()) >= aromatic:
            return trial
        second_best = second_best or trial
    if second_best is None and failure is not None:
        raise failure
    return second_best or mol


def _angle_excess(mol: Chem.Mol, index: int) -> float:
    """Return the angle in degrees at a two-connected ring atom, less that of a regular ring of its size."""
    pos = mol.GetConformer().GetPositions()
    first, second = (pos[neighbour.GetIdx()] - pos[index] for neighbour in mol.GetAtomWithIdx(index).GetNeighbors())
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    cosine = float(first @ second) / lengths if lengths > 0 else 1.0
    size = next((size for size in range(3, 9) if mol.GetRingInfo().IsAtomInRingOfSize(index, size)), 9)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))) - 180.0 * (size - 2) / size


_EXACT = int(Chem.PropertyPickleOptions.CoordsAsDouble)


def to_bytes(mol: Chem.Mol) -> bytes:
    """Return atoms, bonds, stereo and coordinates (exactly) of a molecule; its name and other properties are left out.

    The bytes take a twentieth of the memory of a molecule. They are for this process: other RDKit versions may not read
    them, and they are no file format.
    """
    return bytes(mol.ToBinary(_EXACT))


def from_bytes(data: bytes) -> Chem.Mol:
    """Return the molecule that `to_bytes` wrote."""
    return Chem.Mol(data)
