"""Standard forms of molecules as ChEMBL has them (Bento et al. 2020, `chembl_structure_pipeline`): charges and groups
written one way, salts, solvents and isotopes left out."""

from __future__ import annotations

from functools import cache

from rdkit import Chem, rdBase

from moldiff.chem.coordinates import add_conformer, has_conformer
from moldiff.chem.hydrogens import relax_hydrogens
from moldiff.chem.identity import canonical_smiles, without_hydrogens

_PLAIN = frozenset({1, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53})  # atomic numbers of what the pipeline has no rule about
_SULFUR = 16
_ORIGIN = "_moldiff_origin"  # number of an atom before the pipeline
_TARTARIC = 10  # heavy atoms; the pipeline forgets the stereo of tartaric acid


def standardised(mol: Chem.Mol) -> tuple[Chem.Mol | None, str]:
    """Return the standard form of a sanitised molecule, or None and the reason.

    What the pipeline changes nothing of comes back as it is, the same object, with its hydrogens and coordinates. Of
    what it changes, the atoms that stay keep their 3D coordinates (angstrom); a hydrogen is placed anew only on an atom
    that gets more of them. What the pipeline excludes (most metals, boron cages) is left alone, as ChEMBL does.
    """
    if is_standard(mol):
        return mol, ""
    from chembl_structure_pipeline import standardizer

    marked = Chem.Mol(mol)
    marked.RemoveAllConformers()  # in space, it refuses to tidy up a drawing
    for atom in marked.GetAtoms():
        atom.SetIntProp(_ORIGIN, atom.GetIdx())
    with rdBase.BlockLogs():
        try:
            flat = without_hydrogens(marked)  # atoms of hydrogen would hide a tartaric acid from it
            parent, excluded = standardizer.get_parent_mol(standardizer.standardize_mol(flat))
            if excluded:
                return mol, ""
            Chem.SanitizeMol(parent)
            Chem.AssignStereochemistry(parent, cleanIt=True, force=True)
        except Exception as error:  # noqa: BLE001 - RDKit has many
            return None, f"standardise: {type(error).__name__}"
        if not parent.GetNumAtoms():
            return None, "standardise: nothing is left"
        if canonical_smiles(parent, stereo=True) == canonical_smiles(mol, stereo=True):
            return mol, ""
        if not has_conformer(mol):
            return parent, ""
        placed = _placed(parent, mol, flat)
    return (placed, "") if placed is not None else (None, "standardise: coordinates of the record fit no atoms of it")


def _placed(parent: Chem.Mol, mol: Chem.Mol, flat: Chem.Mol) -> Chem.Mol | None:
    """Return a standard form with the coordinates of the molecule that it was made of; None where atoms of the one are
    none of the other. It has hydrogens as atoms where the molecule has."""
    bare = without_hydrogens(parent)
    origins = _origins(bare, flat)
    if origins is None:
        return None
    positions = mol.GetConformer().GetPositions()
    bare.RemoveAllConformers()
    add_conformer(bare, positions[list(origins)])
    if mol.GetNumAtoms() == mol.GetNumHeavyAtoms():
        return bare
    full = Chem.AddHs(bare, addCoords=True)
    places, left = full.GetConformer(), list[int]()
    for index, origin in enumerate(origins):
        new, old = _hydrogens_of(full.GetAtomWithIdx(index)), _hydrogens_of(mol.GetAtomWithIdx(origin))
        if len(new) > len(old):
            left += new
            continue
        for one, other in zip(new, old, strict=False):
            places.SetAtomPosition(one, positions[other].tolist())
    return relax_hydrogens(full, left)[0]


def _origins(bare: Chem.Mol, flat: Chem.Mol) -> tuple[int, ...] | None:
    """Return the atom of the input that each atom of a standard form was.

    The pipeline hands most of the marks on. The atoms of a group that it writes another way lose theirs, and are found
    by their bonds to the others, whatever the orders of these.
    """
    known = {atom.GetIntProp(_ORIGIN) for atom in bare.GetAtoms() if atom.HasProp(_ORIGIN)}
    query, target = _skeleton(bare, known), _skeleton(flat, known)
    return tuple(flat.GetAtomWithIdx(index).GetIntProp(_ORIGIN) for index in target.GetSubstructMatch(query)) or None


def _skeleton(mol: Chem.Mol, known: set[int]) -> Chem.Mol:
    """Return elements and single bonds of a molecule, with known origins as isotopes."""
    skeleton = Chem.RWMol()
    for atom in mol.GetAtoms():
        plain = Chem.Atom(atom.GetAtomicNum())
        if atom.HasProp(_ORIGIN) and atom.GetIntProp(_ORIGIN) in known:
            plain.SetIsotope(atom.GetIntProp(_ORIGIN) + 1)
        plain.SetNoImplicit(True)
        skeleton.AddAtom(plain)
    for bond in mol.GetBonds():
        skeleton.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), Chem.BondType.SINGLE)
    return skeleton.GetMol()


def _hydrogens_of(atom: Chem.Atom) -> list[int]:
    return [other.GetIdx() for other in atom.GetNeighbors() if other.GetAtomicNum() == 1]


def is_standard(mol: Chem.Mol) -> bool:
    """Return whether a cheap look shows that the pipeline would change nothing: one fragment, no charge, isotope or
    metal, none of the groups that it rewrites. False says nothing."""
    for atom in mol.GetAtoms():
        if atom.GetFormalCharge() or atom.GetIsotope() or atom.GetAtomicNum() not in _PLAIN:
            return False
        # sulfoxides are written with charges; sulfones are not
        if atom.GetAtomicNum() == _SULFUR and atom.GetTotalValence() > 2 and atom.GetDegree() < 4:
            return False
    heavy = mol.GetNumHeavyAtoms()
    if heavy < 2 or heavy == _TARTARIC or len(Chem.GetMolFrags(mol)) > 1:
        return False
    return not mol.HasSubstructMatch(_iminol())


@cache
def _iminol() -> Chem.Mol:
    return Chem.MolFromSmarts("[OX2;H1][#6]=;!@[#7]")
