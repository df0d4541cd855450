"""Property networks through the whole of generation: who pursues what, sizes, errors, records, refusals."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generating import generate_files, wishes
from rdkit import Chem

import moldiff
from moldiff.errors import MoldiffError
from moldiff.generation.options.property_guide import PropertyGuide
from moldiff.generation.options.steering import Steering, steer
from moldiff.models.folder import load_model_folder, save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.property_model import PropertyModel
from moldiff.randomness import NoiseSource
from moldiff.sampling.guidance import Guidance
from moldiff.sampling.property_guidance import DEFAULT_PROPERTY_SCALE

CPU = torch.device("cpu")
ROWS = torch.tensor([[5.0, 0.7], [9.0, 0.9], [12.0, 2.0], [15.0, 2.5]])


@pytest.fixture
def packed(tmp_path: Path, tiny_model: MoleculeModel) -> Path:
    """A model folder that carries sizes and logp of training molecules."""
    folder, weights = tmp_path / "packed", tiny_model.denoiser.state_dict()
    config = tiny_model.config_json()
    save_model_folder(folder, weights=weights, config=config, references={"condition_rows": ROWS}, card="#", half=True)
    return folder


@pytest.fixture
def steering(property_folder: Path, tiny_model: MoleculeModel) -> Callable[..., Steering]:
    """Hold targets and guidance against the tiny model and the tiny property network."""

    def of(*targets: str, guidance: float | dict[str, float] | None = None, scale: float | None = None) -> Steering:
        guide = PropertyGuide.load(str(property_folder), scale, tiny_model, "tiny", CPU)
        return steer(wishes(*targets, guidance=guidance), tiny_model, {"condition_rows": ROWS}, "model", guide)

    return of


def goals(steering: Steering) -> list[tuple[int, float, float]]:
    assert steering.gradient is not None
    return [(goal.column, goal.low, goal.high) for goal in steering.gradient.goals]


def starts(steering: Steering) -> tuple[set[int], np.ndarray]:
    sizes, condition = steering.condition_sampler.draw(torch.arange(60), NoiseSource(0))
    return set(sizes.tolist()), condition


def test_what_both_know_is_pursued_by_the_gradient_alone(steering: Callable[..., Steering]) -> None:
    found = steering("logp=2")
    assert goals(found) == [(0, 1.5, 1.5)]
    assert found.guidance == Guidance.of([0.0])
    assert starts(steering("logp>1.5"))[0] == {12, 15}, "sizes still suit the target"


@pytest.mark.parametrize("guidance", [2.0, {"logp": 2.0}])
def test_guidance_adds_the_models_own_condition(
    steering: Callable[..., Steering], guidance: float | dict[str, float]
) -> None:
    found = steering("logp=2", guidance=guidance)
    assert goals(found) == [(0, 1.5, 1.5)]
    assert found.guidance == Guidance.of([2.0])


def test_a_property_that_the_model_was_never_trained_on(steering: Callable[..., Steering]) -> None:
    found = steering("colour=360")
    assert goals(found) == [(1, -0.8, -0.8)]
    sizes, condition = starts(steering("colour=340..370"))
    assert sizes == {9}, "of the property network's own data"
    assert np.isnan(condition).all()
    sizes, condition = starts(steering("colour=340..370", "logp=0.5", guidance={"logp": 1.0}))
    assert sizes == {9}
    assert (condition == 0.5).all()
    with pytest.raises(MoldiffError, match="the model knows no property 'colour'"):
        steering("colour=360", guidance={"colour": 2.0})


@pytest.mark.parametrize(
    ("on_record", "words"),
    [
        ({"colour": 0.0197}, {"colour": "0.0197 on average for held-out molecules"}),
        (
            {"colour": {"error": 0.26, "of_mean": 0.3, "molecules": 12}, "logp": {"molecules": 0}},
            {"colour": "0.26 on average for 12 held-out molecules (0.3 by the mean alone)", "logp": "not known"},
        ),
        ({"colour": "much", "logp": 1}, {"logp": "1 on average for held-out molecules"}),
        ({}, {}),
        ([0.5], {}),
        (None, {}),
    ],
)
def test_errors_on_record_are_read_of_folders_of_any_version(
    property_folder: Path, tmp_path: Path, tiny_model: MoleculeModel, on_record: object, words: dict[str, str]
) -> None:
    folder = load_model_folder(property_folder)
    config = {**folder.config, "training": {"held_out_errors": on_record}}
    made = tmp_path / "made"
    save_model_folder(
        made, weights=folder.weights, config=config, references=folder.references, card=folder.card, half=False
    )
    guide = PropertyGuide.load(str(made), None, tiny_model, "tiny", CPU)
    assert guide is not None
    assert {name: str(error) for name, error in guide.errors.items()} == words


def test_ranges_and_bounds_become_intervals(steering: Callable[..., Steering]) -> None:
    assert goals(steering("logp=0.5..2.5", "colour<450")) == [(0, 0.0, 2.0), (1, -math.inf, 1.0)]


def test_an_error_from_a_range_is_the_distance_from_it(
    property_folder: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methane import METHANE, METHYL

    from moldiff.arrays import RawSample
    from moldiff.sampling.molecule_sampler import MoleculeSampler

    monkeypatch.setattr(
        MoleculeSampler,
        "draw",
        lambda self, first, count: (RawSample(n, [METHANE, METHYL][n % 2], -1) for n in range(first, first + count)),
    )
    for target, wanted, error in (
        ("logp>1", "1", "-0.3639"),
        ("logp=0..1", "0.6361", "0"),
        ("logp=0.5", "0.5", "0.1361"),
    ):
        out = tmp_path / "m.sdf"
        asked: dict[str, Any] = {"targets": [target, "colour=350"], "property_model": str(property_folder)}
        asked["target_moves"] = 2  # which lead nowhere, and many take long
        summary = generate_files(out, n=2, model=str(packed), **asked, overwrite=True)
        rows = list(csv.DictReader(out.with_suffix(".csv").open()))
        assert (rows[0]["target_logp"], rows[0]["error_logp"]) == (wanted, error)
        assert rows[1]["error_logp"] == ""
        assert rows[1]["target_logp"] == (wanted if target == "logp=0.5" else "")
        assert rows[0]["target_colour"] == "350"
        aim = summary.extra["targets"][0]
        found = aim["mean_absolute_error" if target == "logp=0.5" else "mean_distance_from_range"]
        assert found == pytest.approx(abs(float(error)), abs=1e-4)
        assert "values as the property network estimates them" in summary.details[1]
    record = json.loads((tmp_path / "m.run.json").read_text())
    assert record["property_model"] == {
        "sha256": load_model_folder(property_folder).sha256,
        "scale": DEFAULT_PROPERTY_SCALE,
    }
    assert record["options"]["property_model"] == str(property_folder)
    assert next(Chem.SDMolSupplier(str(out), removeHs=False)).GetPropsAsDict()["target_logp"] == 0.5


def test_the_gradient_reaches_the_molecules(packed: Path, property_folder: Path) -> None:
    given: dict[str, Any] = {"n": 2, "model": packed, "evaluations": 3, "n_atoms": 9, "keep_invalid": True}
    free, none, pulled, both = (
        [mol.GetConformer().GetPositions() for mol in moldiff.generate(**given, **more)]
        for more in (
            {},
            {"targets": ["logp=2"], "property_model": property_folder, "property_scale": 0},
            {"targets": ["logp=2"], "property_model": property_folder, "property_scale": 30},
            {"targets": ["logp=2"], "property_model": property_folder, "property_scale": 30, "guidance": 2.0},
        )
    )
    assert np.array_equal(free, none)
    assert not np.array_equal(free, pulled)
    assert not np.array_equal(pulled, both)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--property-scale", "2"], ["--property-scale", "--property-model"]),
        (["--property-model", "PROPERTY"], ["needs a target to pull towards", "logp, colour"]),
        (
            ["--property-model", "PROPERTY", "--target", "color=1"],
            ["no property 'color' (did you mean 'colour'?)", "colour (310 to 490 nm)"],
        ),
        (["--property-model", "PROPERTY", "--target", "logp=1", "--property-scale", "-1"], ["from 0 up"]),
        (["--property-model", "MODEL", "--target", "logp=1"], ["no property network", "moldiff train"]),
        (["--property-model", "nowhere", "--target", "logp=1"], ["no model 'nowhere'"]),
        (
            ["--property-model", "PROPERTY", "--target", "logp=1", "--score", "qed", "--score-weight", "1"],
            ["--score", "--property-model"],
        ),
    ],
)  # fmt: skip
def test_wishes_that_make_no_sense(
    run: Callable[..., Any], packed: Path, property_folder: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    names = {"PROPERTY": str(property_folder), "MODEL": str(packed)}
    given = [names.get(word, word) for word in arguments]
    run("generate", "-n", "1", "--model", packed, "-o", tmp_path / "m.sdf", *given).assert_refused(*words)
    assert not (tmp_path / "m.sdf").exists()


def test_a_property_network_generates_nothing(run: Callable[..., Any], property_folder: Path, tmp_path: Path) -> None:
    refused = run("generate", "-n", "1", "--model", property_folder, "-o", tmp_path / "m.sdf")
    refused.assert_refused("generates no molecules", f"--property-model {property_folder}")


def test_other_noise_or_other_classes_are_refused(
    property_folder: Path, tiny_model: MoleculeModel, tiny_property_model: PropertyModel
) -> None:
    curve = tiny_model.curve_config.model_copy(update={"sigma_max": 9.0})
    elements = replace(tiny_model.vocabulary, elements=("H", "C", "N", "F"))
    for other, words in (
        (
            replace(tiny_model, curve_config=curve),
            r"cannot guide tiny: its noise curve differs \(sigma_max 25.0, not 9.0\)",
        ),
        (replace(tiny_model, vocabulary=elements), r"its vocabulary differs .*guided_model: tiny"),
    ):
        with pytest.raises(MoldiffError, match=words):
            PropertyGuide.load(str(property_folder), None, other, "tiny", CPU)


def test_a_folder_says_what_it_is(run: Callable[..., Any], property_folder: Path) -> None:
    shown = run("models", "info", property_folder)
    assert shown.status == 0
    assert "property network" in shown.out
    assert "colour" in shown.out


def test_a_damaged_description_is_one_line(property_folder: Path, tmp_path: Path) -> None:
    folder = load_model_folder(property_folder)
    config = {key: value for key, value in folder.config.items() if key != "properties"}
    save_model_folder(tmp_path / "x", weights=folder.weights, config=config, references={}, card="", half=True)
    with pytest.raises(MoldiffError, match="does not describe a moldiff model"):
        PropertyModel.from_folder(load_model_folder(tmp_path / "x"))
