"""A loaded model: one object with its folder, network, references, defaults and scales; old folders have today's."""

import dataclasses
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import moldiff.models
from moldiff.config import DEFAULT_SAMPLING, CurveConfig, MethodConfig, SamplingConfig
from moldiff.errors import MoldiffError
from moldiff.generation.options.sampler_options import ResolvedSampler, SamplerOptions
from moldiff.models.folder import load_model_folder, save_model_folder
from moldiff.models.loaded import LoadedModel, Scales, at_hand, load_model, load_property_model
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import empty_batch
from moldiff.sampling.microbatches import ROWS, MicroBatches
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS

CPU = torch.device("cpu")


def saved(path: Path, model: MoleculeModel, drop: tuple[str, ...] = ()) -> Path:
    """Write a model without some sections of its configuration."""
    config = {key: value for key, value in model.config_json().items() if key not in drop}
    save_model_folder(path, weights=model.denoiser.state_dict(), config=config, references={}, card="#", half=False)
    return path


def method(found: MethodConfig | ResolvedSampler) -> tuple[int, str, str]:
    return found.evaluations, found.sampler, found.grid


def test_a_loaded_model_knows_where_it_comes_from(packed: Path) -> None:
    model, folder = moldiff.models.load_model(packed, device="cpu", precision="float32"), load_model_folder(packed)
    assert (model.path, model.name, model.sha256) == (packed, "packed", folder.sha256)
    assert (model.device, model.precision) == (torch.device("cpu"), torch.float32)
    assert model.model.conditions == ("logp",)
    assert model.references.condition_rows(["logp"]).table.shape == (6, 2)


def test_precision_and_device_may_be_those_of_pytorch(packed: Path) -> None:
    model = load_model(packed, device=torch.device("cpu"), precision=torch.bfloat16)
    assert (model.device.type, model.precision) == ("cpu", torch.bfloat16)


def test_a_model_on_a_card_is_on_cuda(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyTorch moves it to "cuda", it lies on "cuda:0", and may be asked for by either."""
    model = load_model(packed, device="cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(LoadedModel, "device", property(lambda self: torch.device("cuda", 0)))
    for device in ("cuda", "cuda:0", torch.device("cuda"), torch.device("cuda", 0), "auto"):
        assert at_hand(model, device=device) is model
    for device in ("cuda:1", "cpu", torch.device("cuda", 1)):
        with pytest.raises(MoldiffError, match=f"device {device}: the model is on cuda:0"):
            at_hand(model, device=device)


def test_a_property_network_is_loaded_alike(property_folder: Path, packed: Path) -> None:
    network = load_property_model(property_folder, device="cpu")
    assert (network.path, network.model.properties) == (property_folder, ("logp", "colour"))
    assert network.references.condition_rows(["logp", "colour"]).names == ("logp", "colour")
    with pytest.raises(MoldiffError, match="generates no molecules"):
        load_model(property_folder)
    with pytest.raises(MoldiffError, match="no property network"):
        load_property_model(packed)


def test_a_folder_without_the_keys_has_the_numbers_of_the_first_models(
    tmp_path: Path, tiny_model: MoleculeModel
) -> None:
    config = tiny_model.config_json()
    for section, keys in (("network", ("typical_atoms", "size_unit")), ("curve", ("sigma_reference",))):
        config[section] = {key: value for key, value in config[section].items() if key not in keys}
    del config["sampling"]
    weights = tiny_model.denoiser.state_dict()
    save_model_folder(tmp_path / "old", weights=weights, config=config, references={}, card="#", half=False)
    old = load_model(tmp_path / "old", device="cpu")
    assert old.scales == Scales(1.3, 18, 20)
    assert method(old.sampling) == (20, "dpmpp_sde", "window")
    assert method(old.sampling.conformers) == (25, "ddpm", "uniform")
    assert (old.sampling.rows, old.sampling.window_start, old.sampling.fragment_redraw) == (32, 1.35, 15)
    assert old.sampling.temperature == old.model.diffusion.temperature == 1


def test_the_built_in_models_have_the_numbers_that_they_were_trained_with() -> None:
    for name, evaluations in (("qm9", 20), ("qm9_fast", 8)):
        model = load_model(name, device="cpu")
        assert model.scales == Scales(1.3, 18, 20)
        assert model.sampling == DEFAULT_SAMPLING.model_copy(update={"evaluations": evaluations})


def test_what_is_asked_for_wins(tmp_path: Path, tiny_model: MoleculeModel) -> None:
    sampling = SamplingConfig.model_validate({"evaluations": 8, "conformers": {"sampler": "ode"}})
    folder = saved(tmp_path / "m", dataclasses.replace(tiny_model, sampling=sampling))
    model = load_model(folder, device="cpu")
    assert model.sampling == sampling
    assert method(SamplerOptions().resolved(model.sampling, CPU)) == (8, "dpmpp_sde", "window")
    asked = SamplerOptions.of(evaluations=4, sampler="ddim", grid="karras")
    assert method(asked.resolved(model.sampling, CPU)) == (4, "ddim", "karras")
    assert method(SamplerOptions().resolved(model.sampling.conformers, CPU)) == (25, "ode", "uniform")
    assert method(SamplerOptions.of(grid="karras").resolved(model.sampling.conformers, CPU)) == (25, "ode", "karras")


def test_a_temperature_is_the_models_unless_one_is_asked_for(tmp_path: Path, tiny_model: MoleculeModel) -> None:
    sampling = SamplingConfig.model_validate({"temperature": 0.5})
    model = load_model(saved(tmp_path / "m", dataclasses.replace(tiny_model, sampling=sampling)), device="cpu")
    assert model.model.diffusion.temperature == 0.5
    for asked, expected in ((None, 0.5), (2, 2.0)):
        resolved = SamplerOptions.of(temperature=asked).resolved(model.sampling, CPU)
        assert resolved.temperature == resolved.record()["temperature"] == expected
        assert model.model.at_temperature(expected).diffusion.temperature == expected
    assert model.model.at_temperature(0.5) is model.model
    for wrong in (0, -1, 0.04, 11, float("nan"), "hot", True):
        with pytest.raises(MoldiffError, match="temperature") as caught:
            SamplerOptions.of(temperature=wrong)  # type: ignore[arg-type]
        assert caught.value.argument == "temperature"
    for wrong in (0, 11):
        with pytest.raises(ValidationError, match="temperature"):
            SamplingConfig.model_validate({"temperature": wrong})


def test_draws_at_a_time_suit_the_device_where_nobody_says() -> None:
    assert SamplerOptions().resolved(DEFAULT_SAMPLING, torch.device("cuda")).batch_size == 8192
    assert SamplerOptions().resolved(DEFAULT_SAMPLING, CPU).batch_size == 512
    assert SamplerOptions(batch_size=7).resolved(DEFAULT_SAMPLING, torch.device("cuda")).batch_size == 7


def test_defaults_stand_in_the_tables() -> None:
    assert DEFAULT_SAMPLING.sampler in SOLVERS
    assert DEFAULT_SAMPLING.grid in GRIDS
    assert DEFAULT_SAMPLING.conformers.sampler in SOLVERS
    assert DEFAULT_SAMPLING.conformers.grid in GRIDS
    assert DEFAULT_SAMPLING.rows == ROWS[torch.float32]


@pytest.mark.parametrize(("rows", "expected"), [(32, ROWS), (8, {key: rows // 4 for key, rows in ROWS.items()})])
def test_rows_follow_the_model_on_a_cpu(rows: int, expected: dict[torch.dtype, int]) -> None:
    for precision, wanted in expected.items():
        assert MicroBatches(CPU, precision=precision, cpu_rows=rows).rows_of(12) == wanted
    assert MicroBatches(CPU, rows=3, cpu_rows=rows).rows == 3
    assert MicroBatches(torch.device("cuda"), rows=3, cpu_rows=rows).rows == 3


def test_a_drawer_reads_rows_and_the_start_of_its_window_from_the_model(tiny_model: MoleculeModel) -> None:
    def molecule_sampler(**changes: float) -> MoleculeSampler:
        sampling = SamplingConfig.model_validate(changes)
        return MoleculeSampler(
            dataclasses.replace(tiny_model, sampling=sampling), SOLVERS["ddpm"], 5, 0, grid=GRIDS["window"]
        )

    assert molecule_sampler(rows=4).rows == 4 < molecule_sampler(rows=64).rows
    sigma = [float(tiny_model.schedule.levels(molecule_sampler(window_start=x).grid[:1]).sigma) for x in (1.35, 2.7)]
    assert sigma == pytest.approx([1.35 * 1.4, 2.7 * 1.4], rel=1e-5)


def test_the_scales_reach_noise_and_network(tiny_model: MoleculeModel) -> None:
    def built(curve: CurveConfig, **scales: float) -> MoleculeModel:
        network = tiny_model.network_config.model_copy(update=scales)
        model = MoleculeModel.build(network, curve, tiny_model.vocabulary, tiny_model.statistics, ["logp"])
        model.denoiser.load_state_dict(tiny_model.denoiser.state_dict())
        return model

    wide = built(CurveConfig(sigma_reference=2.6)).schedule
    half = torch.full((1,), 0.5, dtype=torch.float64)
    assert float(wide.levels(half).sigma) > float(tiny_model.schedule.levels(half).sigma)
    assert wide.time_of_sigma(wide.levels(half).sigma.double()).item() == pytest.approx(0.5, abs=1e-6)
    assert [float(wide.levels(end).sigma) for end in (half * 0, half * 2)] == pytest.approx([0.01, 25.0], rel=1e-5)

    batch = empty_batch(torch.tensor([9]), torch.arange(1), 9, 1).replace(pos=torch.linspace(-2, 2, 27).view(1, 9, 3))
    levels = tiny_model.schedule.levels(half)
    with torch.no_grad():
        plain = tiny_model.denoiser(batch, levels, batch.properties, None).atom_type
        for scales in ({"typical_atoms": 40.0}, {"size_unit": 40.0}):
            other = built(tiny_model.curve_config, **scales).denoiser(batch, levels, batch.properties, None).atom_type
            assert not torch.allclose(plain, other, atol=1e-4), scales
        same = built(tiny_model.curve_config).denoiser(batch, levels, batch.properties, None).atom_type
    assert torch.equal(plain, same)
