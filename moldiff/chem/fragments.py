"""A part of a molecule that is to be kept: which atoms stay, and where new ones may attach.

An atom is an attachment point if it has an open valence: a hydrogen that the file does not list, a radical electron, a
bond to an atom that is not kept, or a hydrogen that was taken away on request. Everything else keeps exactly the bonds
it has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from rdkit import Chem

from moldiff.arrays import MolArrays
from moldiff.chem.convert import EncodingError, classes_of, placeholder_problem
from moldiff.chem.coordinates import coordinates_problem
from moldiff.chem.fragment_stereo import AskedStereo, StereoMarks, asked_stereo
from moldiff.chem.io.records import completed, parse
from moldiff.chem.io.text_records import TextRecord
from moldiff.chem.smarts import places_of, smarts_problem, smarts_query
from moldiff.errors import MoldiffError, first_line
from moldiff.vocabulary import Vocabulary

_CLOSEST = 0.5  # angstrom between two atoms, below which they lie on top of each other


@dataclass(frozen=True)
class MolFragment:
    """Atoms that are kept, in the order of the input; for a model of heavy atoms, of these alone.

    Attributes:
        mol: the kept atoms, sanitised as part of their molecule, with their conformer.
        arrays: the same in a model's classes; coordinates in the frame of the input, angstrom.
        open_valences: (n,) int64 sum of the orders of the bonds that each atom lacks.
        atoms: (n,) int64 index of each in the input.
        with_hydrogens: hydrogens are atoms of the model; where not, they fill what new bonds leave of an open valence.
        stereo: of its centres and double bonds, as far as it is stated.
        ways: (3,) unit vector to the place of the new neighbour, of each atom whose stereo hangs on where that lies.
        has_isotopes: the input names isotopes of what is kept, hydrogens too, which no model knows.
        named: (n,) int64 how often the user named each as a place to grow at.
    """

    mol: Chem.Mol
    arrays: MolArrays
    open_valences: np.ndarray
    atoms: np.ndarray
    with_hydrogens: bool = True
    stereo: AskedStereo = field(default_factory=AskedStereo)
    ways: Mapping[int, np.ndarray] = field(default_factory=dict)
    has_isotopes: bool = False
    named: np.ndarray | None = None

    @property
    def least_bonds(self) -> np.ndarray:
        """(n,) int64 the least that the orders of an atom's bonds to new ones may add up to: where hydrogens are placed
        afterwards, 1 at an open valence, or as often as it was named."""
        named = 1 if self.named is None else np.maximum(self.named, 1)
        return self.open_valences if self.with_hydrogens else np.minimum(self.open_valences, named)

    def __len__(self) -> int:
        return len(self.open_valences)

    def change(self, mol: Chem.Mol) -> str:
        """Return how the first atoms of a sanitised molecule differ from these; empty if they do not.

        Elements, charges and bond orders are compared, aromatic as an order of its own; every atom's bonds to others
        (hydrogens only where they are kept too) must fill its open valence; and in the molecule's conformer the stated
        stereo must hold, with the new atoms where bonds are lacking.
        """
        n = len(self)
        if mol.GetNumAtoms() < n:
            return f"has {mol.GetNumAtoms()} of {n} atoms"
        for old in self.mol.GetAtoms():
            new = mol.GetAtomWithIdx(old.GetIdx())
            if (new.GetSymbol(), new.GetFormalCharge()) != (old.GetSymbol(), old.GetFormalCharge()):
                return f"atom {old.GetIdx()} is {_label(new)}, not {_label(old)}"
        wanted, found = _bonds(self.mol, n), _bonds(mol, n)
        for i, j in sorted(wanted.keys() | found.keys()):
            if wanted.get((i, j)) != found.get((i, j)):
                names = (str(bonds.get((i, j), "none")).lower() for bonds in (found, wanted))
                return f"bond {i}-{j} is {' instead of '.join(names)}"
        for index, (lacking, least) in enumerate(zip(self.open_valences, self.least_bonds, strict=True)):
            total = sum(self._new_orders(mol.GetAtomWithIdx(index)))
            if not least <= total <= lacking:
                asked = f"{lacking}" if least == lacking else f"{least} to {lacking}"
                return f"atom {index} has new bonds of {total:g} in all, not {asked}"
        return self.stereo.change(mol, n, self.with_hydrogens)

    def _new_orders(self, atom: Chem.Atom) -> list[float]:
        """Return the orders of the bonds to atoms that are not kept; where hydrogens are placed afterwards, without
        theirs."""
        others = [(bond, bond.GetOtherAtom(atom)) for bond in atom.GetBonds()]
        return [
            bond.GetBondTypeAsDouble()
            for bond, other in others
            if other.GetIdx() >= len(self) and (self.with_hydrogens or other.GetAtomicNum() != 1)
        ]


def cut_fragment(
    blocks: Sequence[str],
    source: str,
    vocabulary: Vocabulary,
    fixed_atoms: Sequence[int] | None,
    smarts: str | None,
    attach_at: Sequence[int],
    leaving: Sequence[int] = (),
    marks: StereoMarks | None = None,
    points: Sequence[int] = (),
) -> MolFragment:
    """Return the part of the molecules that is kept.

    Hydrogens of kept atoms are kept with them; for a model of heavy atoms, which has no atoms for them, as valences
    that new bonds must not take. For such a model, a file without a single hydrogen has left them out on purpose.

    Args:
        blocks: mol blocks; several are taken together, atoms numbered on from one to the next, from 0.
        source: the file, for error messages.
        vocabulary: of the model.
        fixed_atoms: indices of the kept atoms; None = all.
        smarts: the kept atoms are those of its only match; None = all.
        attach_at: atoms that lose a hydrogen for each time that they are named, unless they are open already.
        leaving: hydrogens that are the first to be taken away.
        marks: the stereo that the input states; None = all that its coordinates show.
        points: the same as ``attach_at``, by a * in a SMILES.

    Raises:
        MoldiffError: the input cannot be read, has no 3D coordinates, or does not fit the model or the arguments.
    """
    mol = _read(blocks, source)
    if not vocabulary.explicit_hydrogens and not any(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms()):
        mol = Chem.AddHs(mol, addCoords=True)  # behind the others, whose numbers stay
    if fixed_atoms is not None and smarts is not None:
        raise MoldiffError(
            "fixed_atoms and keep_smarts both say what is kept: give one of them", argument="fixed_atoms"
        )
    if fixed_atoms is not None:
        kept = _with_hydrogens(mol, _checked(fixed_atoms, mol, "fixed_atoms", source))
    elif smarts is not None:
        kept = _with_hydrogens(mol, _match(mol, smarts, source))
    else:
        kept = set(range(mol.GetNumAtoms()))
    lacking = {index: _open_valence(mol, index, kept, source) for index in sorted(kept)}
    named = Counter([*_checked(attach_at, mol, "attach_at", source), *points])
    for index, times in named.items():
        if index not in kept and index in points:
            raise MoldiffError(f"{source}: the atom that its * stands at, {index}, is not kept", argument="fragment")
        if index not in kept:
            raise MoldiffError(f"attach_at {index}: that atom of {source} is not kept", argument="attach_at")
        while lacking[index] < times:
            _remove_hydrogen(mol, index, kept, source, leaving)
            lacking[index] += 1
    made = [index for index in sorted(kept) if vocabulary.explicit_hydrogens or _is_heavy(mol, index)]
    atoms = np.array(made, dtype=np.int64)
    if not len(atoms):
        raise MoldiffError(f"{source}: no atom is kept")
    part = _part(mol, atoms.tolist())
    try:
        arrays = classes_of(
            _part(_kekulised(mol), atoms.tolist()) if "aromatic" not in vocabulary.bonds else part, vocabulary
        )
    except EncodingError as error:
        known = " ".join((*vocabulary.elements, *(f"{charge:+d}" for charge in vocabulary.charges), *vocabulary.bonds))
        raise MoldiffError(f"{source}: {error} of the model ({known})") from error
    open_valences = np.array([lacking[index] for index in atoms.tolist()], dtype=np.int64)
    stereo = asked_stereo(mol, kept, atoms.tolist(), marks)
    ways = {index: _way(mol, int(atoms[index]), kept) for index in sorted(stereo.ways)}
    isotopes = any(mol.GetAtomWithIdx(index).GetIsotope() for index in kept)
    wished = np.array([named[index] for index in atoms.tolist()], dtype=np.int64)
    return MolFragment(
        part, arrays, open_valences, atoms, vocabulary.explicit_hydrogens, stereo, ways, isotopes, wished
    )


def block_of(mol: Chem.Mol) -> str:
    """Return a molecule as a mol block; MoldiffError if it is none, has no conformer or cannot be written."""
    if not isinstance(mol, Chem.Mol):
        raise MoldiffError(f"fragment must be a file, a SMILES or an RDKit molecule, not {type(mol).__name__}")
    if mol.GetNumConformers() == 0:
        raise MoldiffError("fragment: no 3D coordinates, which a fragment needs")
    untitled = Chem.Mol(mol)
    untitled.SetProp("_Name", "")  # a title of several lines would be taken for the block
    try:
        return str(Chem.MolToMolBlock(untitled))
    except (ValueError, RuntimeError) as error:
        raise MoldiffError(f"fragment: {first_line(error, 80)}") from error


def completed_block(block: str, source: str) -> str:
    """Return a mol block with every hydrogen as an atom; MoldiffError if it cannot be read."""
    record = completed(parse(TextRecord(0, "sdf", "", block)))
    if record.mol is None:
        raise MoldiffError(f"{source}: {record.reason}")
    return block_of(record.mol)


def parts_of(mol: Chem.Mol) -> list[list[int]]:
    """Return the atoms of each connected part."""
    return [list(part) for part in Chem.GetMolFrags(mol)]


def _read(blocks: Sequence[str], source: str) -> Chem.Mol:
    """Return all molecules as one, sanitised."""
    whole = Chem.Mol()
    for number, block in enumerate(blocks, start=1):
        record = parse(TextRecord(number - 1, "sdf", "", block))
        where = f"{source}, record {number}" if len(blocks) > 1 else source
        if record.mol is None:
            raise MoldiffError(f"{where}: {record.reason}")
        if reason := placeholder_problem(record.mol):
            told = "in a file, put a hydrogen there, and name the atom beside it with attach_at"
            raise MoldiffError(f"{where}: {reason}; {told}", argument="attach_at")
        if reason := coordinates_problem(record.mol):
            raise MoldiffError(f"{where}: {reason}; a fragment needs 3D coordinates in angstrom")
        whole = Chem.CombineMols(whole, record.mol) if whole.GetNumAtoms() else Chem.Mol(record.mol)
    whole.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(whole)
    pos = whole.GetConformer().GetPositions()
    distances = np.linalg.norm(pos[:, None] - pos[None], axis=-1) + np.triu(np.full((len(pos),) * 2, np.inf)).T
    if len(pos) > 1 and distances.min() < _CLOSEST:
        i, j = np.unravel_index(distances.argmin(), distances.shape)
        raise MoldiffError(f"{source}: atoms {i} and {j} lie on top of each other")
    return whole


def _is_heavy(mol: Chem.Mol, index: int) -> bool:
    return bool(mol.GetAtomWithIdx(index).GetAtomicNum() != 1)


def _checked(atoms: Sequence[int], mol: Chem.Mol, name: str, source: str) -> list[int]:
    for index in atoms:
        if not 0 <= index < mol.GetNumAtoms():
            raise MoldiffError(f"{name} {index}: {source} has atoms 0 to {mol.GetNumAtoms() - 1}", argument=name)
    return list(atoms)


def _match(mol: Chem.Mol, smarts: str, source: str) -> list[int]:
    pattern = smarts_query(smarts)
    if pattern is None:
        raise MoldiffError(f"keep_smarts: {smarts_problem(smarts)}", argument="keep_smarts")
    matches = places_of(mol, pattern)
    if not matches:
        raise MoldiffError(f"keep_smarts {smarts} matches nothing in {source}", argument="keep_smarts")
    if len(matches) > 1:
        places = "; ".join(",".join(map(str, sorted(match))) for match in matches[:4])
        raise MoldiffError(
            f"keep_smarts {smarts} matches {len(matches)} places in {source}: choose with fixed_atoms ({places})",
            argument="keep_smarts",
        )
    return list(matches[0])


def _with_hydrogens(mol: Chem.Mol, atoms: Sequence[int]) -> set[int]:
    neighbours = (other for index in atoms for other in mol.GetAtomWithIdx(index).GetNeighbors())
    return {*atoms, *(other.GetIdx() for other in neighbours if other.GetAtomicNum() == 1)}


def _open_valence(mol: Chem.Mol, index: int, kept: set[int], source: str) -> int:
    """Return the sum of the orders of the bonds that a kept atom lacks."""
    atom = mol.GetAtomWithIdx(index)
    cut = [bond for bond in atom.GetBonds() if bond.GetOtherAtomIdx(index) not in kept]
    if any(bond.GetBondType() == Chem.BondType.AROMATIC for bond in cut):
        raise MoldiffError(f"{source}: at atom {index} an aromatic bond would be cut; keep or leave whole rings")
    return int(atom.GetTotalNumHs() + atom.GetNumRadicalElectrons() + sum(bond.GetBondTypeAsDouble() for bond in cut))


def _remove_hydrogen(mol: Chem.Mol, index: int, kept: set[int], source: str, leaving: Sequence[int]) -> None:
    """Take one of an atom's hydrogens out of what is kept: one that is to leave, else the last."""
    atom = mol.GetAtomWithIdx(index)
    hydrogens = [
        other.GetIdx() for other in atom.GetNeighbors() if other.GetAtomicNum() == 1 and other.GetIdx() in kept
    ]
    if atom.GetAtomicNum() == 1 or not hydrogens:
        raise MoldiffError(
            f"attach_at {index}: atom {index} of {source} ({_label(atom)}) has no hydrogen to remove",
            argument="attach_at",
        )
    kept.remove(max(hydrogens, key=lambda hydrogen: (hydrogen in leaving, hydrogen)))


def _part(mol: Chem.Mol, atoms: Sequence[int]) -> Chem.Mol:
    """Return some atoms of a molecule, without implicit hydrogens, with the flags and orders they have in it."""
    part, chosen = Chem.RWMol(mol), set(atoms)
    for atom in part.GetAtoms():
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(0)
    part.BeginBatchEdit()
    for index in range(mol.GetNumAtoms()):
        if index not in chosen:
            part.RemoveAtom(index)
    part.CommitBatchEdit()
    part.UpdatePropertyCache(strict=False)
    return part.GetMol()


def _way(mol: Chem.Mol, index: int, kept: set[int]) -> np.ndarray:
    """Return the unit vector (3,) from an atom to the neighbour that it loses."""
    lost = [other.GetIdx() for other in mol.GetAtomWithIdx(index).GetNeighbors() if other.GetIdx() not in kept]
    pos = mol.GetConformer().GetPositions()
    way: np.ndarray = pos[lost[0]] - pos[index]
    return way / np.linalg.norm(way)


def _kekulised(mol: Chem.Mol) -> Chem.Mol:
    copy = Chem.Mol(mol)
    Chem.Kekulize(copy, clearAromaticFlags=True)
    return copy


def _bonds(mol: Chem.Mol, n: int) -> dict[tuple[int, int], Chem.BondType]:
    """Return the orders of the bonds among the first n atoms."""
    ends = {(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()): bond.GetBondType() for bond in mol.GetBonds()}
    return {(min(pair), max(pair)): order for pair, order in ends.items() if max(pair) < n}


def _label(atom: Chem.Atom) -> str:
    charge = atom.GetFormalCharge()
    return atom.GetSymbol() + (f"{charge:+d}" if charge else "")
