"""Distance of conformers after alignment: RDKit's where that tries every way, and beyond."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdMolAlign

from moldiff.chem.rmsd import symmetric_rmsd

MANY = [  # 10,368 ways or more to lay each on itself
    "FC(F)(F)c1cc(C(F)(F)F)cc(-c2cc(C(F)(F)F)cc(C(F)(F)F)c2)c1",
    "CC(C)(C)c1cc(Cc2cc(C(C)(C)C)c(O)c(C(C)(C)C)c2)cc(C(C)(C)C)c1O",
    "FC(F)(Cl)c1cc(C(F)(F)Cl)c(C(F)(F)Cl)c(C(F)(F)F)c1C(F)(F)C(C)(C)C",
]


def conformers(smiles: str, count: int = 4) -> list[Chem.Mol]:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    return [Chem.RemoveHs(Chem.Mol(mol, confId=k)) for k in rdDistGeom.EmbedMultipleConfs(mol, count, randomSeed=5)]


def renumbered(mol: Chem.Mol, seed: int) -> Chem.Mol:
    """The same conformer, its atoms by another of the molecule's symmetries."""
    ways = mol.GetSubstructMatches(mol, uniquify=False, maxMatches=100_000)
    way = ways[np.random.default_rng(seed).integers(len(ways))]
    result, here = Chem.Mol(mol), mol.GetConformer().GetPositions()
    result.GetConformer().SetPositions(here[list(way)])
    return result


@pytest.mark.parametrize("smiles", MANY)
def test_what_differs_by_numbering_alone_has_no_distance(smiles: str) -> None:
    (mol,) = conformers(smiles, 1)
    before = mol.GetConformer().GetPositions()
    for seed in range(4):
        assert symmetric_rmsd(mol, renumbered(mol, seed)) == pytest.approx(0, abs=1e-3)
    assert np.array_equal(mol.GetConformer().GetPositions(), before)


@pytest.mark.parametrize("smiles", [*MANY, "CC(C)(C)c1cc(C(F)(F)F)cc([N+](=O)[O-])c1C(=O)O", "FS(F)(F)(F)(F)F", "CC"])
def test_it_is_that_of_every_way(smiles: str) -> None:
    found = conformers(smiles)
    for one, other in pairwise(found):
        every = rdMolAlign.GetBestRMS(Chem.Mol(one), other, maxMatches=1_000_000)
        assert symmetric_rmsd(one, other) == pytest.approx(every, abs=1e-3)


def test_oxygens_of_a_carboxylate_are_alike_among_many_ends() -> None:
    """They differ as RDKit writes them, by charge and bond."""
    (mol,) = conformers("FC(F)(F)c1cc(C(F)(F)F)c(C(F)(F)F)c(C(F)(F)F)c1C(=O)[O-]", 1)
    _, double, single = mol.GetSubstructMatch(Chem.MolFromSmarts("C(=O)[O-]"))
    swapped, here = Chem.Mol(mol), mol.GetConformer().GetPositions()
    here[[double, single]] = here[[single, double]]
    swapped.GetConformer().SetPositions(here)
    assert symmetric_rmsd(mol, swapped) == pytest.approx(0, abs=1e-3)


def test_isotopes_are_told_apart_among_many_ends() -> None:
    (mol,) = conformers("CC(C)(C)c1cc(C(C)(C)C)cc(-c2cc(C(C)(C)[14CH3])cc(C(C)(C)C)c2)c1", 1)
    marked = next(atom.GetIdx() for atom in mol.GetAtoms() if atom.GetIsotope())
    (quaternary,) = (atom.GetIdx() for atom in mol.GetAtomWithIdx(marked).GetNeighbors())
    plain = next(
        atom.GetIdx() for atom in mol.GetAtomWithIdx(quaternary).GetNeighbors()
        if atom.GetDegree() == 1 and not atom.GetIsotope()
    )  # fmt: skip
    swapped, here = Chem.Mol(mol), mol.GetConformer().GetPositions()
    here[[marked, plain]] = here[[plain, marked]]
    swapped.GetConformer().SetPositions(here)
    assert symmetric_rmsd(mol, swapped) > 0.3


def test_a_single_atom() -> None:
    (mol,) = conformers("C", 1)
    assert symmetric_rmsd(mol, mol) == 0
