"""Coordinates for molecules whose stereo may be open in places: their stereoisomers, the lowest in energy of them."""

from __future__ import annotations

import math

from rdkit import Chem, rdBase
from rdkit.Chem import EnumerateStereoisomers

from moldiff.chem.force_field import mmff94s_energy
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.embed import embed
from moldiff.chem.sanitize import short_message

MOST = 4
"""Stereoisomers that are looked at for each molecule."""
_ATTEMPTS = 10  # for each of several: one that can be takes few, and a cage has many that cannot, some seconds each


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
    first without that force field. Where none of them is easily found (those of a cage that are looked at may all be
    impossible), what is open is as the embedding leaves it.

    Args:
        mol: sanitised; coordinates that it has are ignored.
        seed, timeout_s: see `moldiff.chem.io.embed.embed`; the time is for each stereoisomer.
        most: stereoisomers that are looked at.

    Returns:
        (molecule, ""), or (None, the reason).
    """
    try:
        choices = isomers(mol, most)
    except Exception as error:  # noqa: BLE001 - RDKit has many
        return None, f"stereoisomers: {short_message(error)}"
    if len(choices) == 1:
        return embed(choices[0], seed, timeout_s)
    results = [embed(one, seed, timeout_s, _ATTEMPTS) for one in choices]
    made = [one for one, _ in results if one is not None]
    return (min(made, key=_energy), "") if made else embed(mol, seed, timeout_s)


def _energy(mol: Chem.Mol) -> float:
    """Return the MMFF94s energy in kcal/mol; infinity where the force field does not know the molecule."""
    energy = mmff94s_energy(mol)
    return math.inf if math.isnan(energy) else energy
