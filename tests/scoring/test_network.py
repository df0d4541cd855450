"""Property networks as scores: the network's own numbers, whatever the company, and clear refusals."""

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
from moldiff.scoring.network import MEASURED_AT, PredictedNearness
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
