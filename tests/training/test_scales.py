"""Scales of a new model are those of its data, said in its configuration; QM9's data has QM9's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from moldiff.config import CurveConfig, NetworkConfig, OnPolicyConfig, SamplingConfig, TrainConfig
from moldiff.datasets.statistics import DatasetStatistics
from moldiff.errors import MoldiffError
from moldiff.models.contents import statistics_of_model
from moldiff.models.folder import load_model_folder
from moldiff.models.loaded import Scales, load_model
from moldiff.reading import read_json
from moldiff.training.denoiser_run import adapted_sampling
from moldiff.training.scales import scales_of, with_scales
from moldiff.training.train import train

Write = Callable[..., Path]
SHORT = ["training.steps=1", "training.validate_every=1"]


def test_the_data_of_the_built_in_model_has_its_scales() -> None:
    statistics = statistics_of_model(load_model_folder("qm9"))
    assert scales_of(statistics) == {"typical_atoms": 18, "size_unit": 20, "sigma_reference": 1.3}


def test_larger_molecules_have_larger_scales() -> None:
    marginals = {"atom_type": [1.0], "charge": [1.0], "bond_type": [1.0]}
    wide = DatasetStatistics({20: 1, 30: 3}, marginals, {20: 2.0, 30: 4.0}, {})
    assert scales_of(wide) == {"typical_atoms": 28, "size_unit": 30, "sigma_reference": 3.28}
    lone = DatasetStatistics({1: 5}, marginals, {}, {})
    assert scales_of(lone) == {"typical_atoms": 1, "size_unit": 1, "sigma_reference": 0.1}


def test_what_the_file_states_stands_and_what_ran_before_goes_on() -> None:
    statistics = statistics_of_model(load_model_folder("qm9"))
    stated = NetworkConfig(typical_atoms=7)
    assert with_scales(stated, statistics, None).typical_atoms == 7
    assert with_scales(stated, statistics, {"typical_atoms": 9, "size_unit": 5}).size_unit == 5
    assert with_scales(stated, statistics, {"typical_atoms": 9, "size_unit": 5}).typical_atoms == 7
    assert with_scales(CurveConfig(), statistics, {}).sigma_reference == 1.3, "a checkpoint from before the key"
    assert with_scales(CurveConfig(), statistics, {"sigma_reference": 2.0}).sigma_reference == 2.0


def test_a_training_states_its_scales(training_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"typical_atoms": 5, "size_unit": 6, "sigma_reference": 1.7}
    monkeypatch.setattr("moldiff.training.scales.scales_of", lambda _: expected)
    folder = train(training_file(curve={"exponent_pos": 1.5}, sampling={"evaluations": 9}), SHORT)
    model = load_model(folder, device="cpu")
    assert model.scales == Scales(**expected)
    assert (model.sampling.evaluations, model.sampling.conformers.evaluations) == (9, 25)
    stated = load_model_folder(folder).config
    assert stated["network"]["typical_atoms"] == expected["typical_atoms"]
    assert stated["curve"]["sigma_reference"] == expected["sigma_reference"]
    assert stated["training"]["config"]["curve"]["sigma_reference"] == expected["sigma_reference"]
    assert read_json(folder.parent / "config.json")["network"]["size_unit"] == expected["size_unit"]


def test_a_resumed_run_keeps_the_scales_that_it_had(training_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = training_file()
    before = load_model(train(path, SHORT), device="cpu").scales
    monkeypatch.setattr(
        "moldiff.training.scales.scales_of", lambda _: {"typical_atoms": 1, "size_unit": 1, "sigma_reference": 9.0}
    )
    after = load_model(
        train(path, ["training.steps=2", "training.validate_every=1"], resume="auto"), device="cpu"
    ).scales
    assert after == before


def test_a_model_that_is_trained_on_keeps_its_scales_and_its_sampling(training_file: Write) -> None:
    first = train(
        training_file(
            "first", network={"layers": 1, "node_width": 8, "heads": 2, "typical_atoms": 3}, sampling={"evaluations": 9}
        ),
        SHORT,
    )
    tuned = train(training_file("tuned", init_from=str(first), sampling={"grid": "karras"}), SHORT)
    before, after = (load_model(path, device="cpu") for path in (first, tuned))
    assert after.scales == before.scales
    assert after.scales.typical_atoms == 3
    assert (after.sampling.evaluations, after.sampling.sampler, after.sampling.grid) == (9, "dpmpp_sde", "karras")


def test_a_student_is_sampled_in_as_many_evaluations_as_it_learned_to_draw_in() -> None:
    own = SamplingConfig.model_validate({"evaluations": 30, "conformers": {"evaluations": 40}})

    def after(sampling: dict[str, object], **draws: object) -> SamplingConfig:
        config = TrainConfig(
            data=Path("d"), output=Path("o"), sampling=SamplingConfig.model_validate(sampling),
            on_policy=OnPolicyConfig.model_validate(draws),
        )  # fmt: skip
        return adapted_sampling(own, config)

    assert after({}) == own
    assert after({}, share=0.5, sampler_evaluations=(20,)) == own, "refined, not distilled"
    assert after({}, share=0.5, sampler_evaluations=(4, 8), teacher="qm9").evaluations == 8
    assert after({"evaluations": 6}, share=0.5, sampler_evaluations=(8,), teacher="qm9").evaluations == 6
    changed = after({"conformers": {"sampler": "ode"}}).conformers
    assert (changed.evaluations, changed.sampler) == (40, "ode")


def test_an_unknown_sampler_is_refused_before_the_training(training_file: Write) -> None:
    with pytest.raises(MoldiffError, match=r"sampling.sampler must be 'ddpm', .*'ddpn'"):
        train(training_file(sampling={"sampler": "ddpn"}), SHORT)
    with pytest.raises(MoldiffError, match=r"sampling.conformers.grid must be 'uniform', .*'even'"):
        train(training_file(sampling={"conformers": {"grid": "even"}}), SHORT)
