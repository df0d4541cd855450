"""The force fields MMFF94s (Halgren 1999) and UFF (Rappe et al. 1992) of RDKit, for a copy of a molecule.

RDKit sets the aromaticity of a molecule as its force field sees it: of a pyridone, a ring that is aromatic by RDKit's
own rules, six single and double bonds are left. A molecule that has met one so has another SMILES than before.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers
from rdkit.ForceField import rdForceField


class ForceField(NamedTuple):
    """A force field and the copy of the molecule that it moves; the copy must live as long."""

    mol: Chem.Mol
    field: rdForceField.ForceField

    def positions(self) -> np.ndarray:
        """Return the coordinates of the copy, (atoms, 3) in angstrom."""
        return np.asarray(self.mol.GetConformer().GetPositions())


def mmff94s(mol: Chem.Mol) -> ForceField | None:
    """Return MMFF94s for a sanitised molecule with a conformer and every hydrogen an atom; None without parameters."""
    copy = Chem.Mol(mol)
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(copy, mmffVariant="MMFF94s")
    return None if properties is None else _ready(copy, rdForceFieldHelpers.MMFFGetMoleculeForceField(copy, properties))


def uff(mol: Chem.Mol) -> ForceField | None:
    """Return UFF, as `mmff94s`."""
    copy = Chem.Mol(mol)
    known = rdForceFieldHelpers.UFFHasAllMoleculeParams(copy)
    return _ready(copy, rdForceFieldHelpers.UFFGetMoleculeForceField(copy)) if known else None


def mmff94s_energy(mol: Chem.Mol) -> float:
    """Return the energy in kcal/mol; NaN where `mmff94s` has no parameters."""
    found = mmff94s(mol)
    return math.nan if found is None else float(found.field.CalcEnergy())


def _ready(copy: Chem.Mol, field: rdForceField.ForceField | None) -> ForceField | None:
    if field is None:
        return None
    field.Initialize()
    return ForceField(copy, field)
