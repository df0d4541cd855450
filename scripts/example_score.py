"""Scores of your own, to draw molecules by.

    moldiff generate -n 32 --score scripts/example_score.py:small_and_polar --score-weight 3

A score is a function of a list of RDKit molecules. It returns a number for each, the larger the better, or None for a
molecule that must not be drawn. The molecules are sanitised, every hydrogen is an atom, and there is one 3D conformer.
They are copies: do with them what you like. Molecules are drawn with the weight exp(W x score).
"""

from __future__ import annotations

from rdkit import Chem
from rdkit.Chem import Crippen, rdMolDescriptors

BARRED = Chem.MolFromSmarts("[OX2][OX2]")  # no peroxides
WANTED = Chem.MolFromSmarts("[NX3;H2]")


def small_and_polar(molecules: list[Chem.Mol]) -> list[float | None]:
    """A sum of terms, and a class of molecules that is ruled out."""
    scores: list[float | None] = []
    for mol in molecules:
        if mol.HasSubstructMatch(BARRED):
            scores.append(None)
            continue
        bare = Chem.RemoveHs(mol)
        scores.append(rdMolDescriptors.CalcTPSA(bare) / 20 - Crippen.MolLogP(bare))
    return scores


def primary_amine(molecules: list[Chem.Mol]) -> list[float]:
    """A match of a pattern; 'smarts:[NX3;H2]' says the same."""
    return [float(mol.HasSubstructMatch(WANTED)) for mol in molecules]


def flat(molecules: list[Chem.Mol]) -> list[float]:
    """A score of the 3D shape: 0 for a molecule in a plane, less for any other."""
    return [-float(rdMolDescriptors.CalcPBF(mol)) for mol in molecules]


# A docking program or a calculation of your own goes here likewise: write the molecules to a file with
# Chem.SDWriter, run the program, read the energies, and return minus each of them, or None where it failed.
