"""Motif counts against molecules counted by hand."""

from __future__ import annotations

import random

import pytest
from rdkit import Chem

from moldiff.chem.descriptors.motifs import motifs


def of(smiles: str) -> dict[str, int]:
    return dict(motifs(Chem.AddHs(Chem.MolFromSmiles(smiles))))


def test_oxirane_by_hand() -> None:
    assert of("C1CO1") == {
        "atom C charge 0 hydrogens 2 degree 4": 2,
        "atom O charge 0 hydrogens 0 degree 2": 1,
        "atom H charge 0 hydrogens 0 degree 1": 4,
        "bond C-C": 1,
        "bond C-O": 2,
        "bond C-H": 4,
        "ring 3": 1,
        "angle C-C-O in ring 3": 2,
        "angle C-O-C in ring 3": 1,
    }


def test_aromatic_pyridine_by_hand() -> None:
    found = of("c1ccncc1")
    assert found["atom N charge 0 hydrogens 0 degree 2 aromatic"] == 1
    assert found["atom C charge 0 hydrogens 1 degree 3 aromatic"] == 5
    assert (found["bond C:C"], found["bond C:N"], found["ring 6 aromatic"]) == (4, 2, 1)
    angles = {name: count for name, count in found.items() if name.startswith("angle")}
    assert angles == {"angle C:C:C in ring 6": 3, "angle C:C:N in ring 6": 2, "angle C:N:C in ring 6": 1}


def test_an_angle_counts_for_the_smallest_ring_that_holds_all_of_it() -> None:
    found = of("C1CC12CCC2")  # spiro: a ring of 3 and a ring of 4 share one atom
    assert (found["ring 3"], found["ring 4"]) == (1, 1)
    assert found["angle C-C-C in ring 3"] == 3
    assert found["angle C-C-C in ring 4"] == 4
    assert found["angle C-C-C in ring 0"] == 4, "between the rings, at the shared atom"
    assert of("C1CC2CC1C2")["angle C-C-C in ring 4"] == 4, "two of them lie in a ring of 5 too"


def test_charges_and_multiple_bonds_are_told_apart() -> None:
    found = of("[NH3+]CC#N")
    assert found["atom N charge 1 hydrogens 3 degree 4"] == 1
    assert found["bond C#N"] == 1
    assert found["angle N#C-C in ring 0"] == 1
    assert found["angle C-C-N in ring 0"] == 1
    assert of("C=CC")["angle C-C=C in ring 0"] == of("CC=C")["angle C-C=C in ring 0"] == 1


@pytest.mark.parametrize(("size", "named"), [(7, 7), (8, 8), (9, 8), (12, 8)])
def test_large_rings_count_as_one_size(size: int, named: int) -> None:
    found = of(f"C1{'C' * (size - 1)}1")
    assert found[f"ring {named}"] == 1
    assert found[f"angle C-C-C in ring {named}"] == size


def test_the_order_of_atoms_plays_no_part() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("O=C1C2CC(N)=C2OC1C#N"))
    order = list(range(mol.GetNumAtoms()))
    random.Random(0).shuffle(order)
    assert motifs(Chem.RenumberAtoms(mol, order)) == motifs(mol)
