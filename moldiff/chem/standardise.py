"""Standard forms of molecules as ChEMBL has them (Bento et al. 2020, `chembl_structure_pipeline`): charges and groups
written one way, salts, solvents and isotopes left out."""

from __future__ import annotations

from functools import cache

from rdkit import Chem, rdBase

_PLAIN = frozenset({1, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53})  # atomic numbers of what the pipeline has no rule about
_SULFUR = 16
_TARTARIC = 10  # heavy atoms; the pipeline forgets the stereo of tartaric acid


def standardised(mol: Chem.Mol) -> tuple[Chem.Mol | None, str]:
    """Return the standard form of a sanitised molecule, or None and the reason.

    A molecule that `is_standard` comes back as it is, with its hydrogens and coordinates. Another loses both. What the
    pipeline excludes (most metals, boron cages) is left alone, as ChEMBL does.
    """
    if is_standard(mol):
        return mol, ""
    from chembl_structure_pipeline import standardizer

    flat = Chem.Mol(mol)
    flat.RemoveAllConformers()  # in space, it refuses to tidy up a drawing
    with rdBase.BlockLogs():
        try:
            parent, excluded = standardizer.get_parent_mol(standardizer.standardize_mol(flat))
            if excluded:
                return mol, ""
            Chem.SanitizeMol(parent)
            Chem.AssignStereochemistry(parent, cleanIt=True, force=True)
        except Exception as error:  # noqa: BLE001 - RDKit has many
            return None, f"standardise: {type(error).__name__}"
    return (parent, "") if parent.GetNumAtoms() else (None, "standardise: nothing is left")


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
