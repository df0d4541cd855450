"""A molecule with coordinates as a SMILES and one row of numbers: the SMILES tells the order of the atoms.

Atoms stand in the order of the text; hydrogens that the text leaves to the reader follow, in the order in which
``Chem.AddHs`` adds them. Coordinates are whole numbers of 0.001 angstrom.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rdkit import Chem, rdBase

from moldiff.chem.coordinates import add_conformer
from moldiff.chem.sanitize import coordinate_refusal

UNIT = 0.001  # angstrom
_NUMBER = "_moldiff_number"


def to_ordered_smiles(mol: Chem.Mol) -> tuple[str, list[int]]:
    """Return the SMILES with stereo, and 3n coordinates, of a molecule with a conformer and every hydrogen an atom.

    Raises:
        ValueError: the text does not give the same molecule back, or coordinates cannot be those of one.
    """
    if reason := coordinate_refusal(mol.GetConformer().GetPositions()):
        raise ValueError(reason)
    numbered = Chem.Mol(mol)
    for atom in numbered.GetAtoms():
        atom.SetIntProp(_NUMBER, atom.GetIdx())
    with rdBase.BlockLogs():
        heavy = Chem.RemoveHs(numbered, sanitize=False)
        smiles = str(Chem.MolToSmiles(heavy))
        written = [heavy.GetAtomWithIdx(index) for index in heavy.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"]]
        read = _parsed(smiles)
    order = [atom.GetIntProp(_NUMBER) for atom in written]
    left_out: dict[int, list[int]] = {}  # hydrogens by the atom that carries them
    for index in sorted({*range(mol.GetNumAtoms())} - {*order}):
        left_out.setdefault(mol.GetAtomWithIdx(index).GetNeighbors()[0].GetIdx(), []).append(index)
    for atom in list(read.GetAtoms())[len(order) :]:
        hydrogens = left_out.get(order[atom.GetNeighbors()[0].GetIdx()], [])
        if not hydrogens:
            raise ValueError("no SMILES with the same hydrogens")
        order.append(hydrogens.pop(0))
    if len(order) != mol.GetNumAtoms():
        raise ValueError("no SMILES with the same hydrogens")
    positions = mol.GetConformer().GetPositions()[order]
    return smiles, np.rint((positions - positions.mean(0)) / UNIT).astype(int).ravel().tolist()


def from_ordered_smiles(smiles: str, coordinates: Sequence[int]) -> Chem.Mol:
    """Return the molecule, every hydrogen an atom, stereo as in the text.

    Raises:
        ValueError: the text is no SMILES, or there are not three coordinates for each atom.
    """
    with rdBase.BlockLogs():
        mol = _parsed(smiles)
    if len(coordinates) != 3 * mol.GetNumAtoms():
        raise ValueError(f"coordinates: {len(coordinates)} numbers for {mol.GetNumAtoms()} atoms")
    add_conformer(mol, (UNIT * np.array(coordinates, dtype=np.float64)).reshape(-1, 3))
    return mol


def _parsed(smiles: str) -> Chem.Mol:
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False
    mol = Chem.MolFromSmiles(smiles, parameters)
    if mol is None:
        raise ValueError("smiles: RDKit cannot read it")
    return Chem.AddHs(mol)
