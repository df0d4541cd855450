"""A model that is loaded once and asked often."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

import moldiff
from moldiff.errors import MoldiffError
from moldiff.models import loaded as loaded_models
from moldiff.models.loaded import LoadedModel, at_hand, load_model

SETTINGS = {"evaluations": 2, "keep_invalid": True}


def coordinates(molecules: object) -> list[np.ndarray]:
    return [mol.GetConformer().GetPositions() for mol in molecules]  # type: ignore[attr-defined]


def test_a_loaded_model_gives_the_molecules_of_its_name_and_is_read_once(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = coordinates(moldiff.generate(3, model=packed, **SETTINGS))
    reads = []
    original = loaded_models.load_model_folder
    monkeypatch.setattr(loaded_models, "load_model_folder", lambda name: reads.append(name) or original(name))
    model = moldiff.load(packed)
    for made in (model.generate(3, **SETTINGS), moldiff.generate(3, model=model, **SETTINGS)):
        for one, other in zip(coordinates(made), expected, strict=True):
            assert np.array_equal(one, other)
    assert reads == [packed]


def test_the_methods_are_the_functions_without_their_model(packed: Path) -> None:
    model = moldiff.load(packed)
    for name in ("generate", "vary", "conformers"):
        function, method = getattr(moldiff, name), getattr(model, name)
        known = [parameter for parameter in inspect.signature(function).parameters if parameter != "model"]
        assert list(inspect.signature(method).parameters) == known
        assert method.__doc__ == function.__doc__
    with pytest.raises(MoldiffError, match="model is the one"):
        model.generate(1, model="qm9")
    with pytest.raises(TypeError, match="step"):
        model.generate(1, step=3)


def test_all_jobs_of_one_model(packed: Path) -> None:
    model = moldiff.load(packed, device="cpu", precision="float32")
    ethanol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    made = model.conformers([ethanol], 2, **SETTINGS)
    assert len(made.table) == 2
    assert AllChem.EmbedMolecule(ethanol, randomSeed=1) == 0
    assert len(model.vary(ethanol, 2, **SETTINGS).table) == 2


def test_another_device_or_precision_than_it_has_is_refused(packed: Path) -> None:
    model = moldiff.load(packed, device="cpu", precision="float32")
    assert at_hand(model, device="cpu", precision="float32") is model
    with pytest.raises(MoldiffError, match="precision bfloat16: the model is loaded in float32") as caught:
        model.generate(1, precision="bfloat16")
    assert caught.value.argument == "precision"
    with pytest.raises(MoldiffError, match="cuda"):
        model.generate(1, device="cuda")


def test_the_record_says_what_a_loaded_model_ran_on(packed: Path, tmp_path: Path) -> None:
    model = moldiff.load(packed, device="cpu", precision="bfloat16")
    run = model.generate(1, **SETTINGS)._run
    options = run.request.record(run.sampler)
    assert (options["model"], options["device"], options["precision"]) == (str(packed), "cpu", "bfloat16")


def test_it_says_what_it_is(packed: Path) -> None:
    model = moldiff.load(packed, device="cpu", precision="float32")
    assert isinstance(model, LoadedModel)
    assert model.info["elements"] == ["H", "C", "N", "O"]
    assert model.info["n_atoms"] == [5, 15]
    assert model.info["targets"] == {"logp": {"unit": "", "range": [-2.25, 2.75]}}
    assert repr(model).startswith("<moldiff.Model packed: H C N O, 5 to 15 atoms; targets logp; ")
    assert model.source == str(packed)
    assert moldiff.load("qm9_fast", device="cpu").source == "qm9_fast"
    assert load_model("qm9_fast", device="cpu").sha256 != model.sha256
