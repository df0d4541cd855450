"""Coordinates for molecules whose stereo may be open in places: their stereoisomers, the lowest in energy of them."""

from __future__ import annotations

import math

from rdkit import Chem, rdBase
from rdkit.Chem import EnumerateStereoisomers, rdForceFieldHelpers

from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.embed import embed
from moldiff.chem.sanitize import short_message

MOST = 4
"""Stereoisomers that are looked at for each molecule."""


def isomers(mol: Chem.Mol, most: int = MOST) -> list[Chem.Mol]:
    """Return the stereoisomers of a sanitised molecule that what it leaves open allows, without coordinates, at most so
    many, in the order of their SMILES; the molecule itself where nothing is open."""
    options = EnumerateStereoisomers.StereoEnumerationOptions(onlyUnassigned=True, unique=True, maxIsomers=most, rand=0)
    flat = Chem.Mol(mol)
    flat.RemoveAllConformers()
    with rdBase.BlockLogs():
        found = list(EnumerateStereoisomers.EnumerateStereoisomers(flat, options=options))
    return sorted(found, key=lambda one: canonical_smiles(one, stereo=True)) or [flat]


def placed(mol: Chem.Mol, seed: int, timeout_s: int, most: int = MOST) -> tuple[Chem.Mol | None, str]:
    """Return a copy with explicit hydrogens and one conformer: of the stereoisomer of the lowest MMFF94s energy, the
    first without that force field.

    Args:
        mol: sanitised; coordinates that it has are ignored.
        seed, timeout_s: see `moldiff.chem.io.embed.embed`; the time is for each stereoisomer.
        most: stereoisomers that are looked at.

    Returns:
        (molecule, ""), or (None, the reason of the first).
    """
    try:
        choices = isomers(mol, most)
    except Exception as error:  # noqa: BLE001 - RDKit has many
        return None, f"stereoisomers: {short_message(error)}"
    if len(choices) == 1:
        return embed(choices[0], seed, timeout_s)
    results = [embed(one, seed, timeout_s) for one in choices]
    made = [one for one, _ in results if one is not None]
    if not made:
        return None, results[0][1]
    return min(made, key=_energy), ""


def _energy(mol: Chem.Mol) -> float:
    """Return the MMFF94s energy in kcal/mol; infinity where the force field does not know the molecule."""
    if not rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        return math.inf
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol, mmffVariant="MMFF94s")
    return float(rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties).CalcEnergy())
