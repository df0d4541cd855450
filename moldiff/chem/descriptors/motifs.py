"""Counts of a molecule's motifs: atoms with their neighbourhood, bonds, rings, and angles with their ring."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from rdkit import Chem

_LARGEST_RING = 8  # larger rings count as this size


def motifs(mol: Chem.Mol) -> Counter[str]:
    """Count the motifs of a sanitised molecule; coordinates play no part.

    Motifs are its atoms (element, charge, hydrogens, degree, aromatic or not), its bonds (elements
    and order), its rings (size, aromatic or not), and its angles between three heavy atoms with the smallest ring that
    holds them: strain lies there.
    """
    rings = sorted((frozenset(ring) for ring in mol.GetRingInfo().AtomRings()), key=len)
    found = Counter(_atom(atom) for atom in mol.GetAtoms())
    found.update(_bond(bond) for bond in mol.GetBonds())
    for ring in rings:
        aromatic = all(mol.GetAtomWithIdx(atom).GetIsAromatic() for atom in ring)
        found[f"ring {min(len(ring), _LARGEST_RING)}{' aromatic' if aromatic else ''}"] += 1
    for centre in mol.GetAtoms():
        heavy = [bond for bond in centre.GetBonds() if bond.GetOtherAtom(centre).GetAtomicNum() > 1]
        for first, second in combinations(heavy, 2):
            atoms = {centre.GetIdx(), first.GetOtherAtomIdx(centre.GetIdx()), second.GetOtherAtomIdx(centre.GetIdx())}
            size = next((min(len(ring), _LARGEST_RING) for ring in rings if atoms <= ring), 0)
            left, right = sorted(_arm(bond, centre) for bond in (first, second))
            found[f"angle {left[1:]}{left[0]}{centre.GetSymbol()}{right} in ring {size}"] += 1
    return found


def _atom(atom: Chem.Atom) -> str:
    hydrogens, charge = atom.GetTotalNumHs(includeNeighbors=True), atom.GetFormalCharge()
    aromatic = " aromatic" if atom.GetIsAromatic() else ""
    return f"atom {atom.GetSymbol()} charge {charge} hydrogens {hydrogens} degree {atom.GetTotalDegree()}{aromatic}"


def _bond(bond: Chem.Bond) -> str:
    ends = sorted((bond.GetBeginAtom().GetSymbol(), bond.GetEndAtom().GetSymbol()))
    return f"bond {ends[0]}{_order(bond)}{ends[1]}"


def _arm(bond: Chem.Bond, centre: Chem.Atom) -> str:
    return f"{_order(bond)}{bond.GetOtherAtom(centre).GetSymbol()}"


def _order(bond: Chem.Bond) -> str:
    return {1.0: "-", 1.5: ":", 2.0: "=", 3.0: "#"}.get(bond.GetBondTypeAsDouble(), "~")
