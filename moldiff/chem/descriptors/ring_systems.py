"""Ring systems: rings that share atoms, with the double bonds that leave them, as chemists count what is usual."""

from __future__ import annotations

from rdkit import Chem


def ring_systems(mol: Chem.Mol) -> list[str]:
    """Return the SMILES (no stereo, no explicit hydrogens) of every ring system of a sanitised molecule.

    Fused, bridged and spiro rings are one system. Atoms that a double bond ties to it belong to it: they decide what
    the ring is (a lactam, a quinone). A molecule without rings has none.
    """
    merged: list[set[int]] = []
    for ring in map(set, mol.GetRingInfo().AtomRings()):
        for other in [one for one in merged if one & ring]:
            merged.remove(other)
            ring |= other
        merged.append(ring)
    return [
        str(Chem.MolFragmentToSmiles(mol, sorted(_with_leaving(mol, atoms)), isomericSmiles=False)) for atoms in merged
    ]


def _with_leaving(mol: Chem.Mol, atoms: set[int]) -> set[int]:
    """Return the atoms of a system and those that a double bond ties to it."""
    leaving = {
        bond.GetOtherAtomIdx(atom)
        for atom in atoms
        for bond in mol.GetAtomWithIdx(atom).GetBonds()
        if bond.GetBondType() == Chem.BondType.DOUBLE
    }
    return atoms | leaving
