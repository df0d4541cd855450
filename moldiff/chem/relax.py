"""Local minima of a molecule's energy: GFN2-xTB (extra ``xtb``) or the force field MMFF94s."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from moldiff.chem.descriptors.xtb import MAX_EVALUATIONS, minimise
from moldiff.chem.force_field import mmff94s
from moldiff.chem.graph import graph
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.perceive import COVALENT_FACTORS
from moldiff.chem.sanitize import short_message
from moldiff.choices import EnergyMethod

KCAL_PER_MOL = 627.5094740631  # in a hartree
MMFF_ITERATIONS = 5000


@dataclass(frozen=True)
class Relaxed:
    """A molecule at a local minimum, or why there is none.

    Attributes:
        mol: the molecule with relaxed coordinates; None if it was not relaxed, or is no longer the same molecule.
        reason: a code word, a colon and detail; empty if all is well.
        values: energies and properties at the minimum, by name with the unit at its end.
    """

    mol: Chem.Mol | None
    reason: str = ""
    values: dict[str, float] = field(default_factory=dict)


def relax(mol: Chem.Mol, method: EnergyMethod) -> Relaxed:
    """Relax a sanitised molecule with a conformer and every hydrogen an atom; its own coordinates stay as they are.

    The result has the bonds that it had: a molecule that reacted or changed its stereo on the way is refused.
    """
    if radicals := sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        return Relaxed(None, f"radical: {radicals} unpaired electrons")
    try:
        with rdBase.BlockLogs():
            found = _gfn2(mol) if method is EnergyMethod.GFN2 else _mmff94s(mol)
            if found.mol is not None and (reason := _changed(mol, found.mol)):
                return Relaxed(None, reason)
    except Exception as error:  # noqa: BLE001 - RDKit has many
        return Relaxed(None, f"relaxation: {short_message(error)}")
    return found


def _gfn2(mol: Chem.Mol) -> Relaxed:
    atoms = graph(mol)
    found = minimise(atoms.numbers, atoms.positions, int(atoms.charges.sum()))
    if found is None:
        return Relaxed(None, "gfn2: no self-consistent field, or an element unknown to it")
    if not found.converged:
        return Relaxed(None, f"not converged: after {MAX_EVALUATIONS} evaluations")
    values = {
        "gfn2_energy_Eh": found.energy,
        "gfn2_gap_eV": found.gap,
        "gfn2_dipole_D": found.dipole,
        "relaxed_by_kcal_mol": KCAL_PER_MOL * (found.energy_before - found.energy),
    }
    return Relaxed(_moved(mol, found.positions), "", values)


def _mmff94s(mol: Chem.Mol) -> Relaxed:
    found = mmff94s(mol)
    if found is None:
        return Relaxed(None, "mmff94s: no parameters for this molecule")
    before = found.field.CalcEnergy()
    if found.field.Minimize(maxIts=MMFF_ITERATIONS):
        return Relaxed(None, f"not converged: after {MMFF_ITERATIONS} steps")
    energy = found.field.CalcEnergy()
    values = {"mmff94s_energy_kcal_mol": energy, "relaxed_by_kcal_mol": before - energy}
    return Relaxed(_moved(mol, found.positions()), "", values)


def _moved(mol: Chem.Mol, positions: np.ndarray) -> Chem.Mol:
    moved = Chem.Mol(mol)
    moved.GetConformer().SetPositions(positions)
    return moved


def _changed(before: Chem.Mol, after: Chem.Mol) -> str:
    """Return why the geometry is no longer that of the same molecule, or an empty string."""
    bonds = {(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in before.GetBonds()}
    bonds = {(min(pair), max(pair)) for pair in bonds}
    if not any(bonds == _connected(after, factor) for factor in COVALENT_FACTORS):
        odd = sorted(bonds ^ _connected(after, COVALENT_FACTORS[-1]))
        pairs = ", ".join("-".join(f"{after.GetAtomWithIdx(i).GetSymbol()}{i}" for i in pair) for pair in odd[:3])
        return f"bonds changed: {pairs or 'by distance'}"
    Chem.AssignStereochemistryFrom3D(after)
    stereo = Chem.Mol(before)
    Chem.AssignStereochemistryFrom3D(stereo)
    if canonical_smiles(stereo, stereo=True) != canonical_smiles(after, stereo=True):
        return "stereo changed: another stereoisomer after relaxation"
    return ""


def _connected(mol: Chem.Mol, factor: float) -> set[tuple[int, int]]:
    """Return the pairs of atoms that stand as close as bonded ones, by RDKit's rule."""
    bare = Chem.RWMol(mol)
    for bond in mol.GetBonds():
        bare.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    for atom in bare.GetAtoms():
        atom.SetNoImplicit(True)
    rdDetermineBonds.DetermineConnectivity(bare, useVdw=True, covFactor=factor)
    # an ion that is an atom alone stands as close to its counter-ion as if it were bonded
    ions = {atom.GetIdx() for atom in mol.GetAtoms() if atom.GetFormalCharge() and not atom.GetDegree()}
    pairs = ((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in bare.GetBonds())
    return {(min(pair), max(pair)) for pair in pairs if ions.isdisjoint(pair)}
