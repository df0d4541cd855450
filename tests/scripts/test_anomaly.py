"""The benchmark of anomalies: what a relaxed molecule is, and what a cell is held against."""

import numpy as np
from rdkit import Chem
from script import load_script

from moldiff.chem.convert import decode, encode
from moldiff.datasets.rows import wide_vocabulary

anomaly = load_script("benchmarks/anomaly")


def test_relaxed_by_a_force_field_a_molecule_stays_what_it_is(sample_texts: list[str]) -> None:
    mol = Chem.MolFromMolBlock(sample_texts[20], removeHs=False)
    vocabulary = wide_vocabulary(True, True)
    before = encode(mol, vocabulary)
    after = anomaly.relaxed(before, vocabulary, np.random.default_rng(0))
    assert (after.atom_type == before.atom_type).all() and (after.bonds == before.bonds).all()
    assert after.pos.shape == before.pos.shape
    assert 0.005 < np.abs(after.pos - before.pos).max() < 2
    again = anomaly.relaxed(after, vocabulary, np.random.default_rng(0))
    assert np.abs(again.pos - after.pos).max() < 0.02, "it was at its minimum"
    assert decode(after, vocabulary).mol is not None


def test_both_sides_relaxed_are_held_against_the_relaxed() -> None:
    real, relaxed = ({"total": np.zeros(3)}, {"total": np.ones(3)})
    cells = {anomaly.RELAXED: relaxed}
    assert anomaly.beside("same sizes from x.sdf", real, cells) is real
    assert anomaly.beside(anomaly.RELAXED, real, cells) is real
    assert anomaly.beside(f"same sizes from x.sdf, {anomaly.BOTH}", real, cells) is relaxed
