"""Foreign configurations: absurd sizes and values are one line each, before anything is built."""

import copy
import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from moldiff.errors import MoldiffError
from moldiff.models.building import load_weights
from moldiff.models.folder import load_model_folder, save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.property_model import PropertyModel


def changed(config: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Return a copy of a configuration with another value at a dotted path."""
    new = copy.deepcopy(config)
    *parents, last = path.split(".")
    place = new
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = value
    return new


@pytest.fixture
def refusal(tmp_path: Path, tiny_model: MoleculeModel) -> Callable[[str, object], str]:
    """Return the line that refuses `tiny_model` with another value at a dotted path of its configuration."""

    def refuse(path: str, value: object) -> str:
        config = changed(tiny_model.config_json(), path, value)
        weights = tiny_model.denoiser.state_dict()
        save_model_folder(tmp_path / "m", weights=weights, config=config, references={}, card="", half=False)
        with pytest.raises(MoldiffError) as caught:
            MoleculeModel.from_folder(load_model_folder(tmp_path / "m"))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return refuse


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("network.layers", 10_000_000, "network: layers"),
        ("network.layers", 3, "weight 'network.layers.2"),
        ("network.pair_width", 10_000_000, "pair_width"),
        ("network.node_width", 4096, "has shape"),
        ("network.vectors", 0, "vectors"),
        ("network.typical_atoms", 0, "typical_atoms"),
        ("network.size_unit", -1, "size_unit"),
        ("curve.sigma_reference", 0, "sigma_reference"),
        ("curve.sigma_min", 30.0, "sigma_min 30 must be below sigma_max 25"),
        ("curve.exponent_pos", 1e9, "exponent_pos"),
        ("sampling.evaluations", 0, "evaluations"),
        ("sampling.rows", 100_000, "rows"),
        ("sampling.steps", 3, "unknown key 'steps'"),
        ("statistics.position_std", {"1000000000": 1.0}, "1000000000"),
        ("statistics.position_std", {"1000": 1.0}, "from 1 to 999"),
        ("statistics.size_counts", {"9999": 1}, "from 1 to 999"),
        ("statistics.size_counts", {"5": 2**62 - 1, "6": 2**62 - 1}, "count"),
        ("statistics.position_std", {}, "position_std needs sizes"),
        ("statistics.position_std", {"5": 0, "9": 1, "12": 1, "15": 1}, "position_std needs sizes"),
        ("statistics.properties.logp.unit", {"a": 1}, "a unit must be a text"),
        ("statistics.properties.logp.minimum", 5, "above the largest"),
        ("statistics.properties.logp.q01", 1e9, "above the largest"),
        ("vocabulary.explicit_hydrogens", "no", "must be true or false"),
        ("statistics.position_std", {"20": 1.0}, "position_std"),
        ("statistics.position_std", {"9": -1.0}, "negative"),
        ("statistics.size_counts", {"9": -1}, "count"),
        ("statistics.size_counts", {"9": 0}, "no molecule"),
        ("statistics.size_counts", {"0": 3}, "number of atoms"),
        ("statistics.marginals.charge", [1.0], "1 frequencies for 3 classes of charge"),
        ("statistics.marginals.charge", [0.5, -0.5, 1.0], "charge"),
        ("statistics.marginals.charge", [0, 0, 0], "charge"),
        ("statistics.properties.logp.std", 0, "standard deviation"),
        ("statistics.properties.logp.std", 1e300, "out of range"),
        ("statistics.properties.logp.known", -1, "count"),
        ("statistics.properties.logp.known", 1.5, "count"),
        ("vocabulary.elements", ["H", "C", "N", 1], "unknown elements"),
        ("vocabulary.elements", ["H", "C", "N", "Xx"], "unknown elements"),
        ("vocabulary.elements", ["H", "C", "N", "N"], "twice"),
        ("vocabulary.charges", ["x", 0, 1], "whole numbers"),
        ("vocabulary.charges", [0.5, 0, 1], "whole numbers"),
        ("vocabulary.bonds", ["none", ["single"]], "bond orders"),
        ("conditions", ["gap"], "gap"),
        ("conditions", 7, "not describe"),
        ("network.feedback", {}, "network"),
        ("network.feedback", {"properties": [], "estimator": {}}, "network"),
        ("network.feedback", {"properties": ["gap"], "estimator": {}}, "feedback of 'gap', which is no condition"),
        ("network.feedback", {"properties": ["logp"], "estimator": {}}, "weight 'feedback."),
        (
            "network.feedback",
            {"properties": ["logp"], "estimator": {"layers": 1e9}},
            "feedback.estimator.layers must be",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(
    refusal: Callable[[str, object], str], path: str, value: object, words: str
) -> None:
    began = time.thread_time()
    assert words in refusal(path, value)
    assert time.thread_time() - began < 20, "nothing is built"


def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path, tiny_model: MoleculeModel) -> None:
    folder = tmp_path / "m"
    weights, config = tiny_model.denoiser.state_dict(), tiny_model.config_json()
    config = changed(config, "statistics.properties.logp.mean", 123456789.0)
    save_model_folder(folder, weights=weights, config=config, references={}, card="", half=False)
    text = (folder / "config.json").read_text().replace("123456789.0", "NaN")
    (folder / "config.json").write_text(text)
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    new = hashlib.sha256(text.encode()).hexdigest()
    sums = [f"{new}  config.json" if line.endswith("config.json") else line for line in sums]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    with pytest.raises(MoldiffError, match="not valid JSON"):
        load_model_folder(folder)


def test_a_giant_costs_no_memory_before_its_weights_are_seen(tmp_path: Path, tiny_model: MoleculeModel) -> None:
    config = tiny_model.config_json()
    config["network"] |= {"node_width": 4096, "pair_width": 4096, "pair_hidden": 4096, "global_width": 4096}
    weights = tiny_model.denoiser.state_dict()
    save_model_folder(tmp_path / "m", weights=weights, config=config, references={}, card="", half=False)
    folder = load_model_folder(tmp_path / "m")
    state = torch.random.get_rng_state()
    with pytest.raises(MoldiffError, match="has shape"):
        MoleculeModel.from_folder(folder)
    assert torch.equal(torch.random.get_rng_state(), state), "no random numbers are drawn for weights that are given"


def test_nothing_of_a_loaded_model_is_left_on_the_meta_device(model: Path, property_folder: Path) -> None:
    for module in (
        MoleculeModel.from_folder(load_model_folder(model)).denoiser,
        PropertyModel.from_folder(load_model_folder(property_folder)).predictor,
    ):
        tensors = [*module.parameters(), *module.buffers()]
        assert {tensor.device.type for tensor in tensors} == {"cpu"}
        assert not any(tensor.requires_grad for tensor in tensors)


def test_a_loaded_network_shares_no_memory_with_its_folder(model: Path) -> None:
    folder = load_model_folder(model)
    first = next(iter(folder.weights))
    denoiser = MoleculeModel.from_folder(folder).denoiser
    with torch.no_grad():
        denoiser.state_dict()[first].fill_(math.pi)
    assert not (folder.weights[first] == math.pi).any()


def test_weights_of_another_network_are_named(tiny_model: MoleculeModel) -> None:
    denoiser, own = tiny_model.denoiser, tiny_model.denoiser.state_dict()
    first = min(own)
    with pytest.raises(MoldiffError, match=f"weight '{first}' is missing"):
        load_weights(denoiser, {name: value for name, value in own.items() if name != first}, "here")
    with pytest.raises(MoldiffError, match="here: unknown weight 'x'"):
        load_weights(denoiser, {**own, "x": torch.zeros(1)}, "here")
    with pytest.raises(MoldiffError, match=rf"'{first}' has shape \(7,\)"):
        load_weights(denoiser, {**own, first: torch.zeros(7)}, "here")
