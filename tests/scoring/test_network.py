"""Property networks as scores: the network's own numbers, whatever the company, and clear refusals."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rdkit import Chem

from moldiff.chem.convert import encode
from moldiff.chem.io.embed import embed
from moldiff.errors import MoldiffError
from moldiff.models.folder import load_model_folder, save_model_folder
from moldiff.models.property_model import PropertyModel
from moldiff.molecules import SoftBatch, collate
from moldiff.scoring.named import named_score
from moldiff.scoring.network import MEASURED_AT, HeldOutError, PredictedNearness
from moldiff.scoring.targets import parse_target


def with_coordinates(smiles: str) -> Chem.Mol:
    mol, problem = embed(Chem.AddHs(Chem.MolFromSmiles(smiles)), seed=1, timeout_s=10)
    assert mol is not None, problem
    return mol


@pytest.fixture(scope="module")
def molecules() -> list[Chem.Mol]:
    return [with_coordinates(smiles) for smiles in ("CCO", "CN", "C")]


def test_the_score_is_the_distance_of_the_expected_value(
    tiny_property_model: PropertyModel, molecules: list[Chem.Mol]
) -> None:
    model = tiny_property_model
    arrays = encode(molecules[0], model.vocabulary)
    # another width, moved, turned: the same prediction
    turned = arrays.pos @ torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0].numpy() + 3
    batch = collate([arrays], torch.zeros(1, dtype=torch.int64), 24, torch.zeros(1, 0))
    batch = batch.replace(
        pos=torch.nn.functional.pad(torch.from_numpy(turned).float()[None], (0, 0, 0, 24 - len(turned)))
    )
    levels = model.schedule.levels(torch.tensor([MEASURED_AT], dtype=torch.float64))
    found = model.predictor(SoftBatch.of(batch, model.vocabulary.sizes), levels)
    for column, (name, row) in enumerate(model.statistics.properties.items()):
        value = row.mean + row.std * float(found.mean[0, column])
        nearness = PredictedNearness(model, parse_target(f"{name}={value + 3 * row.std}"))
        assert nearness([molecules[0]])[0] == pytest.approx(-3, abs=1e-3)
        assert nearness.predict(molecules[0]) == pytest.approx(value, rel=1e-4, abs=1e-3)


def test_a_score_does_not_depend_on_the_company(property_folder: Path, molecules: list[Chem.Mol]) -> None:
    score = named_score(f"network:{property_folder}:colour=380..420")
    together = score(molecules)
    assert [score([mol])[0] for mol in molecules] == together
    assert all(value is not None and value <= 0 for value in together)


def test_what_the_network_cannot_read_has_no_score(tiny_property_model: PropertyModel) -> None:
    nearness = PredictedNearness(tiny_property_model, parse_target("logp=1"))
    assert nearness([with_coordinates("CF")]) == [None]


def test_clear_refusals(property_folder: Path, model: Path) -> None:
    for text, words in (
        (
            f"network:{property_folder}:color=400",
            r"knows no 'color' \(did you mean 'colour'\?\); it knows logp, colour",
        ),
        (f"network:{property_folder}", "expected network:FOLDER:name=2.5|no model"),
        ("network:logp=1", "expected network:FOLDER:name=2.5"),
        (f"network:{model}:logp=1", "is no property network"),
        (f"network:{property_folder}:colour", "expected name=2.5"),
    ):
        with pytest.raises(MoldiffError, match=words):
            named_score(text)


def test_draws_towards_a_network_that_was_trained_anew_are_another_request(
    run: Callable[..., Any], property_folder: Path, tmp_path: Path
) -> None:
    asked = ["generate", "-n", "2", "--keep-invalid", "--model", "qm9_fast", "--particles", "2",
             "--score", f"network:{property_folder}:logp=1", "--score-weight", "1", "--resume",
             "-o", tmp_path / "m.sdf"]  # fmt: skip
    assert run(*asked).status == 0
    again = run(*asked)
    assert "nothing is left to do" in again.out + again.err
    asked[asked.index("--score") + 1] = f"network:{property_folder}:logp=4"
    run(*asked).assert_refused("m.sdf exists already")
    asked[asked.index("--score") + 1] = f"network:{property_folder}:logp=1"
    folder = load_model_folder(property_folder)
    save_model_folder(
        property_folder, weights={name: 1.5 * value for name, value in folder.weights.items()}, config=folder.config,
        references=folder.references, card="", half=True, overwrite=True,
    )  # fmt: skip
    run(*asked).assert_refused("m.sdf exists already")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (HeldOutError(0.2596, 12, 0.2592), "0.26 on average for 12 held-out molecules (0.259 by the mean alone)"),
        (HeldOutError(1.127, 1, 0.5), "1.13 on average for 1 held-out molecule (0.5 by the mean alone)"),
        (HeldOutError(0.0, 3, 0.0), "0 on average for 3 held-out molecules (0 by the mean alone)"),
        (HeldOutError(None, 0), "not known"),
    ],
)
def test_an_error_on_record_is_read_as_it_was_written(error: HeldOutError, words: str) -> None:
    assert HeldOutError.from_json(json.loads(json.dumps(error.to_json()))) == error
    assert str(error) == words
    assert error.is_of_use == (not error.molecules)


def test_an_error_of_an_early_version_is_the_figure_alone() -> None:
    found = HeldOutError.from_json(0.0197)
    assert found == HeldOutError(0.0197)
    assert str(found) == "0.0197 on average for held-out molecules"
    assert found.is_of_use
    assert HeldOutError(1.0, 2, 1.5).is_of_use


@pytest.mark.parametrize(
    "value",
    [
        None, True, "0.5", -1.0, math.nan, math.inf, [], {}, {"error": 1.0}, {"error": 1.0, "molecules": 2},
        {"error": 1.0, "of_mean": 1.0, "molecules": -2}, {"error": 1.0, "of_mean": 1.0, "molecules": 2.0},
        {"error": "1", "of_mean": 1.0, "molecules": 2}, {"error": 1.0, "of_mean": True, "molecules": 2},
        {"error": 1.0, "of_mean": 1.0, "molecules": True},
    ],
)  # fmt: skip
def test_what_is_no_error_is_not_on_record(value: object) -> None:
    assert HeldOutError.from_json(value) is None
