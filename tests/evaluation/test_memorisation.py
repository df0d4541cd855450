"""Memorisation: repeats of training molecules are told from molecules that are merely alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moldiff.chem.descriptors.fingerprints import nearest_similarity
from moldiff.chem.identity import text_key
from moldiff.datasets.prepare import prepare
from moldiff.evaluation.evaluate import evaluate
from moldiff.evaluation.load_reference import load_reference
from moldiff.evaluation.memorisation import memorisation
from moldiff.evaluation.plots import draw_similarity
from moldiff.evaluation.reference import Reference
from moldiff.models.references import TrainingKeys

TRAINING = ("CCO", "CCN", "c1ccccc1O")
HELD_OUT = ("CCCO", "CCCN", "CCO")


def reference(**changes: object) -> Reference:
    keys = TrainingKeys.of(np.array([[text_key(s), text_key(s)] for s in TRAINING], dtype=np.uint64))
    plain = Reference("test", 3, {}, {}, {}, {}, keys, HELD_OUT, TRAINING)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_similarity_is_that_of_the_nearest() -> None:
    found = nearest_similarity(["CCO", "CCCO", "not a molecule"], ["CCN", "CCO"])
    assert found[0] == 1
    assert 0 < found[1] < 1
    assert np.isnan(found[2])
    assert nearest_similarity(["CCO"], []).tolist() == [0.0]


def test_repeats_are_counted_beside_those_of_held_out_molecules() -> None:
    found = memorisation(["CCO", "CCO", "c1ccccc1O", "CCCC", "OCCO"], reference())
    assert found is not None
    assert (found.seen.count, found.seen.n) == (2, 4)  # distinct molecules
    assert (found.held_out_seen.count, found.held_out_seen.n) == (1, 3)
    value = found.to_json()
    assert value["training"] == 3
    assert value["sample"]["share_from"]["1.0"] == 0.5
    assert value["held_out"]["share_from"]["1.0"] == pytest.approx(1 / 3)
    assert value["sample"]["n"] == 4
    assert "50.0% of the distinct molecules are in the training set (held-out molecules: 33.3%)" in found.line()
    assert draw_similarity(found).startswith(b"\x89PNG")


@pytest.mark.parametrize("missing", [{"keys": None}, {"training_smiles": ()}, {"smiles": ()}])
def test_without_training_molecules_nothing_is_claimed(missing: dict[str, object]) -> None:
    assert memorisation(["CCO"], reference(**missing)) is None


def test_an_empty_sample_repeats_nothing() -> None:
    assert memorisation([], reference()) is None


def test_a_report_against_a_prepared_set_has_it(sample_path: Path, tmp_path: Path) -> None:
    prepare([sample_path], tmp_path / "set")
    known = load_reference(tmp_path / "set")
    report = evaluate(sample_path, known, tmp_path / "report", posebusters=0)
    found = report.memorisation
    assert found is not None
    # the file holds the training molecules and the held-out ones, and these are no training molecules
    held_out = len(set(known.smiles))
    assert found.held_out_seen.count == 0
    assert found.seen.n - found.seen.count == held_out
    assert (found.nearest == 1).sum() >= found.seen.count
    assert (tmp_path / "report" / "similarity.png").is_file()
    assert Reference.from_json(known.to_json()).training_smiles == ()
