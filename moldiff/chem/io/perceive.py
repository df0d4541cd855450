"""Bonds from geometry, for formats that hold only atoms and coordinates (.xyz, the original QM9 archive)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem, rdDetermineBonds

from moldiff.arrays import MOST_ATOMS
from moldiff.chem.coordinates import add_conformer, unit_problem
from moldiff.chem.io.xyz_text import has_qm9_rest
from moldiff.chem.sanitize import coordinate_refusal, sanitize_reason, short_message, symbol_problem
from moldiff.foreign_text import number_in

# A bond is a pair closer than this multiple of the sum of covalent radii. Tight first: in QM9's strained cages atoms
# two bonds apart come to 1.2 (1.3, RDKit's default, joins 5 % of its molecules wrongly); its longest bond has 1.15.
COVALENT_FACTORS = (1.15, 1.2, 1.25, 1.3)
_LABEL = re.compile(r"([A-Z][A-Za-z]?)\d*", flags=re.ASCII)
_HEAVIEST = 118
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
    lines = text.split("\n")  # a comment may hold what Python also takes for an end of line, such as a form feed
    try:
        n = int(lines[0])
        rows = [line.split() for line in lines[2 : 2 + n]]
        symbols = tuple(_symbol(row[0]) for row in rows)
        pos = np.array([[number_in(value.replace("*^", "e")) for value in row[1:4]] for row in rows], dtype=np.float64)
    except (ValueError, IndexError):
        return "xyz: not an atom count followed by that many atoms"
    if reason := symbol_problem(row[0] for row in rows):
        return reason
    if n <= 0 or pos.shape != (n, 3):
        return "xyz: not an atom count followed by that many atoms"
    rest = lines[n + 2 :] if has_qm9_rest(lines[1]) else []
    smiles = rest[1].split() if len(rest) > 1 and not rest[0].strip().isdigit() else []  # a count: the next frame
    return Geometry(symbols, pos, smiles[-1] if smiles else "")


def _symbol(label: str) -> str:
    """Return the element of a label in an .xyz file: a symbol, one with a number behind it (C1), an atomic number."""
    if label.isascii() and label.isdigit():
        number = int(label)
        return Chem.GetPeriodicTable().GetElementSymbol(number) if 0 < number <= _HEAVIEST else label
    found = _LABEL.fullmatch(label)
    return label if found is None else found[1] if len(found[1]) == 1 else found[1][0] + found[1][1:].lower()


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
    if len(symbols) > MOST_ATOMS:
        return None, f"too large: {len(symbols)} atoms"
    if reason := coordinate_refusal(pos):
        return None, reason
    try:
        with rdBase.BlockLogs():
            mol, reason = _perceived(symbols, pos, template, charge)
            if mol is not None:
                Chem.AssignStereochemistryFrom3D(mol)
    except Exception as error:  # noqa: BLE001 - RDKit has many
        return None, f"perception: {short_message(error)}"
    return mol, reason


def _perceived(symbols: tuple[str, ...], pos: np.ndarray, template: str, charge: int) -> tuple[Chem.Mol | None, str]:
    """Return the first perception without formal charges, else the first that sanitises, else the template's."""
    unconnected = _atoms(symbols, pos)
    graphs: dict[frozenset[tuple[int, int]], Chem.Mol] = {}
    for factor in COVALENT_FACTORS:
        mol = Chem.RWMol(unconnected)
        rdDetermineBonds.DetermineConnectivity(mol, useVdw=True, covFactor=factor)
        if len(Chem.GetMolFrags(mol)) == 1:
            graphs.setdefault(frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()), mol.GetMol())
    if not graphs:
        return None, _unit_of_neighbours(symbols, pos) or "perception: more than one fragment"
    charged: Chem.Mol | None = None
    reasons: list[str] = []
    for graph in graphs.values():
        mol, reason = _bond_orders(graph, charge)
        if mol is None:
            reasons.append(reason)
        elif charge or not any(atom.GetFormalCharge() for atom in mol.GetAtoms()):
            return mol, ""
        else:
            charged = charged or mol
    if charged is not None:
        return charged, ""
    if template:
        for graph in graphs.values():
            mol, reason = _from_template(graph, template)
            if mol is not None:
                return mol, ""
            reasons.append(reason)
    return None, reasons[-1]


def _unit_of_neighbours(symbols: tuple[str, ...], pos: np.ndarray) -> str:
    """Return what the distances to nearest neighbours say of the unit; "" if it is angstrom."""
    if len(symbols) < 2:
        return ""
    table = Chem.GetPeriodicTable()
    radii = np.array([table.GetRcovalent(name) for name in symbols])
    distances = np.linalg.norm(pos[:, None] - pos[None], axis=-1) / (radii[:, None] + radii[None])
    np.fill_diagonal(distances, np.inf)
    problem = unit_problem(float(np.median(distances.min(1))))
    return problem if "looks like" in problem else ""


def _atoms(symbols: tuple[str, ...], pos: np.ndarray) -> Chem.Mol:
    mol = Chem.RWMol()
    for symbol in symbols:
        atom = Chem.Atom(symbol)
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    add_conformer(mol, pos)
    return mol.GetMol()


def _bond_orders(connected: Chem.Mol, charge: int) -> tuple[Chem.Mol | None, str]:
    mol = Chem.RWMol(connected)
    try:
        rdDetermineBonds.DetermineBondOrders(mol, charge=charge, maxIterations=MAX_ITERATIONS)
        Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError) as error:
        # RDKit's texts name atom numbers; a reason has to be the same for many molecules
        cause = sanitize_reason(error, mol) if isinstance(error, Chem.MolSanitizeException) else "no bond orders fit"
        return None, f"perception: {cause}"
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
