"""Unique and novel: counted over the right total, with and without stereo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rdkit.Chem import AddHs, MolFromSmiles, rdDistGeom

from moldiff.chem.identity import text_key
from moldiff.chem.io.records import mol_to_sdf_record
from moldiff.evaluation.assess import Assessment, assess_file, unreadable
from moldiff.evaluation.metrics import diversity, failures, known, stability, validity
from moldiff.evaluation.rates import distinct_share
from moldiff.models.references import TrainingKeys


def embedded(smiles: str) -> str:
    mol = AddHs(MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=7)
    return mol_to_sdf_record(mol, smiles, {})


def keys(*smiles: str, stereo: tuple[str, ...] | None = None) -> TrainingKeys:
    graph = np.array(sorted(text_key(text) for text in smiles), dtype=np.uint64)
    return TrainingKeys(graph, np.array(sorted(text_key(text) for text in stereo or smiles), dtype=np.uint64))


@pytest.fixture
def rows(write: Callable[..., Path]) -> list[Assessment]:
    """Two mirror images of CHFClBr, ethane twice, methanol, and one record that is no molecule."""
    molecules = ["[C@H](F)(Cl)Br", "[C@@H](F)(Cl)Br", "CC", "CC", "CO"]
    return [*assess_file(write(*map(embedded, molecules)))[0], unreadable(5, "", "mol block: RDKit cannot read it")]


def test_mirror_images_differ_only_with_stereo(rows: list[Assessment]) -> None:
    rates = diversity(rows, None)
    assert (rates["unique"].count, rates["unique"].n) == (3, 5)
    assert (rates["unique_stereo"].count, rates["unique_stereo"].n) == (4, 5)
    assert set(rates) == {"unique", "unique_stereo"}


def test_novelty_is_over_unique_and_over_all(rows: list[Assessment]) -> None:
    rates = diversity(rows, keys("CC", "c1ccccc1"))
    assert (rates["novel"].count, rates["novel"].n) == (2, 3)
    assert (rates["valid_unique_novel"].count, rates["valid_unique_novel"].n) == (2, 6)
    assert (rates["novel_stereo"].count, rates["novel_stereo"].n) == (3, 4)


def test_repeats_of_new_molecules_alone_are_in_the_error_of_their_share(rows: list[Assessment]) -> None:
    valid = [row for row in rows if row.valid]
    for repeated in valid:
        several = [*rows, *[row for row in valid if row.smiles == repeated.smiles] * 20]
        times = Counter(row.smiles for row in several if row.valid)
        rates = diversity(several, keys("CC", "c1ccccc1"))
        new = [count for text, count in times.items() if text not in ("CC", "c1ccccc1")]
        assert rates["valid_unique_novel"] == distinct_share(new, len(several))
        assert rates["unique"] == distinct_share(times.values(), sum(times.values()))


def test_a_known_graph_can_be_new_with_stereo(rows: list[Assessment]) -> None:
    graph, stereo = rows[0].smiles, rows[0].smiles_stereo
    assert graph == rows[1].smiles
    assert stereo != rows[1].smiles_stereo
    rates = diversity(rows, keys(graph, stereo=(stereo,)))
    assert rates["novel"].count == 2
    assert rates["novel_stereo"].count == 3


def test_keys_are_found_at_both_ends_and_not_beyond() -> None:
    texts = [f"C{k}" for k in range(50)]
    some = keys(*texts[:25])
    assert known(texts, some.graph).tolist() == [True] * 25 + [False] * 25
    assert known(texts, np.zeros(0, dtype=np.uint64)).tolist() == [False] * 50
    assert known([], some.graph).tolist() == []


def test_without_a_valid_molecule_nothing_is_unique() -> None:
    rows = [unreadable(k, "", "mol block: RDKit cannot read it") for k in range(3)]
    rates = diversity(rows, keys("CC"))
    assert rates["unique"].value is None
    assert rates["novel"].value is None
    assert rates["valid_unique_novel"].value == 0.0


def test_totals_are_all_records_never_the_valid_ones(rows: list[Assessment]) -> None:
    rates = validity(rows) | stability(rows)
    assert (rates["valid_connected"].count, rates["valid_connected"].n) == (5, 6)
    assert (rates["sanitised"].count, rates["sanitised"].n) == (5, 6)
    assert (rates["molecule_stability"].count, rates["molecule_stability"].n) == (5, 6)
    assert rates["edm_molecule_stability"].n == 6
    assert rates["atom_stability"].n == 5 + 5 + 8 + 8 + 6


def test_failures_add_up_to_the_invalid_records() -> None:
    reasons = ["valence: C with 5 bonds", "valence: N with 4 bonds", "valence: C with 5 bonds", "kekulize: no"]
    rows = [unreadable(k, "", reason) for k, reason in enumerate(reasons)]
    found = failures(rows)
    assert found == {
        "valence": {"valence: C with 5 bonds": 2, "valence: N with 4 bonds": 1},
        "kekulize": {"kekulize: no": 1},
    }
    assert list(found) == ["valence", "kekulize"]
