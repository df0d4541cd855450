"""The split of a data set by the chemistry of its molecules: one molecule, one side, always."""

from __future__ import annotations

from rdkit import Chem

from moldiff.chem.identity import canonical_smiles, inchikey_block, text_key

VALIDATION_FRACTION = 0.05
TEST_FRACTION = 0.05


def split_of(block: str) -> str:
    """Return "train", "validation" or "test" (90/5/5 %) for an InChIKey block: one molecule, one side, always."""
    fraction = text_key(block) / 2**64
    if fraction < TEST_FRACTION:
        return "test"
    return "validation" if fraction < TEST_FRACTION + VALIDATION_FRACTION else "train"


def block_of(mol: Chem.Mol) -> str:
    """Return the text by which a sanitised molecule falls on a side: its InChIKey block, which charges and mobile
    hydrogens leave alone; of several fragments that of the one with the most heavy atoms, so that a salt falls on the
    side of its parent."""
    parts = Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False)
    if len(parts) < 2:
        return _block(mol)
    most = max(part.GetNumHeavyAtoms() for part in parts)
    return min(_block(part) for part in parts if part.GetNumHeavyAtoms() == most)


def _block(mol: Chem.Mol) -> str:
    try:
        return inchikey_block(mol)
    except ValueError:
        return canonical_smiles(mol, stereo=False)  # as good a key; only InChI's view of tautomers is lost
