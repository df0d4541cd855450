"""Bonds from geometry, for formats that hold only atoms and coordinates (.xyz, the original QM9 archive)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem, rdDetermineBonds
from rdkit.Geometry import Point3D

from moldiff.chem.sanitize import MAX_ATOMS, coordinate_refusal, sanitize_reason, short_message

MAX_ITERATIONS = 20_000  # of RDKit's search over bond orders, which is exponential in the worst case


@dataclass(frozen=True)
class Geometry:
    """Atoms of an .xyz file.

    Attributes:
        symbols: n element symbols.
        pos: (n, 3) float64, angstrom.
        smiles: the SMILES of the relaxed molecule that a QM9 file ends with, "" if there is none.
    """

    symbols: tuple[str, ...]
    pos: np.ndarray
    smiles: str


def parse_xyz(text: str) -> Geometry | str:
    """Parse .xyz text, also QM9's extended form (numbers like 1.2*^-6, SMILES at the end); a reason if it is none."""
    lines = text.splitlines()
    try:
        n = int(lines[0])
        rows = [line.split() for line in lines[2 : 2 + n]]
        symbols = tuple(row[0] for row in rows)
        pos = np.array([[float(value.replace("*^", "e")) for value in row[1:4]] for row in rows], dtype=np.float64)
    except (ValueError, IndexError):
        return "xyz: not an atom count followed by that many atoms"
    if n <= 0 or pos.shape != (n, 3):
        return "xyz: not an atom count followed by that many atoms"
    is_qm9 = len(lines) > n + 3 and lines[1].startswith("gdb")
    smiles = lines[n + 3].split() if is_qm9 else []
    return Geometry(symbols, pos, smiles[-1] if smiles else "")


def perceive(
    symbols: tuple[str, ...], pos: np.ndarray, *, template: str = "", charge: int = 0
) -> tuple[Chem.Mol | None, str]:
    """Return a sanitised molecule with bonds, formal charges and stereo perceived from the geometry, or None and a
    reason.

    Args:
        symbols: n element symbols, hydrogens included.
        pos: (n, 3) angstrom.
        template: SMILES of the molecule, tried where perception fails; "" for none.
        charge: total charge.
    """
    if len(symbols) > MAX_ATOMS:
        return None, f"too large: {len(symbols)} atoms"
    if reason := coordinate_refusal(pos):
        return None, reason
    try:
        with rdBase.BlockLogs():
            connected = _connected(symbols, pos)
            if len(Chem.GetMolFrags(connected)) > 1:
                return None, "perception: more than one fragment"
            mol, reason = _bond_orders(connected, charge)
            if mol is None and template:
                mol, reason = _from_template(connected, template)
            if mol is not None:
                Chem.AssignStereochemistryFrom3D(mol)
    except (ValueError, RuntimeError) as error:
        return None, f"perception: {short_message(error)}"
    return mol, reason


def _connected(symbols: tuple[str, ...], pos: np.ndarray) -> Chem.Mol:
    mol = Chem.RWMol()
    conformer = Chem.Conformer(len(symbols))
    conformer.Set3D(True)
    for index, (symbol, point) in enumerate(zip(symbols, pos.tolist(), strict=True)):
        atom = Chem.Atom(symbol)
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
        conformer.SetAtomPosition(index, Point3D(*point))
    mol.AddConformer(conformer, assignId=True)
    rdDetermineBonds.DetermineConnectivity(mol)
    return mol.GetMol()


def _bond_orders(connected: Chem.Mol, charge: int) -> tuple[Chem.Mol | None, str]:
    mol = Chem.RWMol(connected)
    try:
        rdDetermineBonds.DetermineBondOrders(mol, charge=charge, maxIterations=MAX_ITERATIONS)
        Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError) as error:
        return None, f"perception: {sanitize_reason(error, mol)}"
    return mol.GetMol(), ""


def _from_template(connected: Chem.Mol, smiles: str) -> tuple[Chem.Mol | None, str]:
    template = Chem.MolFromSmiles(smiles)
    if template is None:
        return None, "perception: no bond orders fit, and the SMILES in the file cannot be read"
    try:
        mol = AllChem.AssignBondOrdersFromTemplate(Chem.AddHs(template), connected)
        Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError):
        return None, "perception: no bond orders fit, nor does the SMILES in the file"
    return mol, ""
