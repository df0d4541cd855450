"""A whole model: its loss obeys the symmetries, its tables follow from the statistics, foreign weights are refused."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor

from moldiff.diffusion.joint import CATEGORIES, JointNoise
from moldiff.errors import MoldiffError
from moldiff.geometry import center, rotations_from_normals
from moldiff.models.folder import load_model_folder, save_model_folder
from moldiff.models.molecule_model import MoleculeModel, limit_distributions, position_std_table
from moldiff.molecules import FIELDS, MolBatch, empty_batch


def random_molecules(model: MoleculeModel) -> tuple[MolBatch, JointNoise]:
    """Return three clean molecules of 9 atoms and noise for them, float64."""
    generator = torch.Generator().manual_seed(0)
    rows, n, sizes = 3, 9, model.vocabulary.sizes
    batch = empty_batch(torch.full((rows,), n), torch.arange(rows), n, len(model.conditions))
    bonds, uniform = (
        torch.randint(sizes["bond_type"], (rows, n, n), generator=generator).triu(1),
        torch.rand(rows, n, n, generator=generator).triu(1),
    )
    normals = torch.randn(2, rows, n, 3, generator=generator, dtype=torch.float64)
    clean = batch.replace(
        pos=center(2 * normals[0], batch.mask),
        atom_type=torch.randint(sizes["atom_type"], (rows, n), generator=generator),
        charge=torch.randint(sizes["charge"], (rows, n), generator=generator),
        bond_type=bonds + bonds.transpose(1, 2),
    )
    atoms = torch.rand(2, rows, n, generator=generator)
    return clean, JointNoise(normals[1], atoms[0], atoms[1], uniform + uniform.transpose(1, 2))


def losses(model: MoleculeModel, clean: MolBatch, noise: JointNoise) -> dict[str, Tensor]:
    """Return the losses of one training step without self-conditioning."""
    levels = model.schedule.levels(torch.linspace(0.1, 0.9, len(clean), dtype=torch.float64))
    noisy = model.diffusion.noise(clean, levels, noise)
    return model.diffusion.loss(clean, levels, model.denoiser(noisy, levels, clean.properties, None))


def test_the_loss_of_moved_molecules_with_moved_noise_is_the_same(tiny_model: MoleculeModel) -> None:
    model = dataclasses.replace(tiny_model, denoiser=copy.deepcopy(tiny_model.denoiser).double())
    clean, noise = random_molecules(model)
    mirror = -rotations_from_normals(torch.tensor([[0.3, -1.0, 0.7, 0.2]], dtype=torch.float64))[0]
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    moved = clean.replace(
        pos=clean.pos[:, order] @ mirror.T,
        atom_type=clean.atom_type[:, order],
        charge=clean.charge[:, order],
        bond_type=clean.bond_type[:, order][:, :, order],
    )
    shifted = noise.pos[:, order] @ mirror.T + 3
    atoms = noise.atom_type[:, order], noise.charge[:, order]
    moved_noise = JointNoise(shifted, *atoms, noise.bond_type[:, order][:, :, order])
    expected, found = losses(model, clean, noise), losses(model, moved, moved_noise)
    for field in FIELDS:
        # losses are single-precision numbers
        torch.testing.assert_close(found[field], expected[field], rtol=1e-6, atol=1e-7, check_dtype=False)


def test_limits_are_marginals_with_every_class_possible() -> None:
    limits = limit_distributions({"atom_type": [3.0, 1.0], "charge": [0.0, 1.0], "bond_type": [0.9, 0.1]})
    assert set(limits) == set(CATEGORIES)
    for limit in limits.values():
        assert float(limit.sum()) == pytest.approx(1, abs=1e-12)
        assert bool((limit > 0).all())
    assert limits["atom_type"].tolist() == pytest.approx([0.75, 0.25], abs=1e-3)


def test_the_table_of_sigma_data_passes_through_the_sizes_seen_and_grows_beyond() -> None:
    table = position_std_table({10: 1.0, 20: 1.4})
    assert len(table) == 81
    assert table[[10, 15, 20]].tolist() == pytest.approx([1.0, 1.2, 1.4])
    assert float(table[40]) == pytest.approx(1.4 * 2**0.4)
    assert float(table[5]) == pytest.approx(0.5**0.4)
    assert bool((table.diff() >= 0).all())
    assert bool((table > 0).all())
    with pytest.raises(ValueError, match="no molecule of more than one atom"):
        position_std_table({})


def test_a_model_comes_back_from_its_folder(
    tiny_model: MoleculeModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("models") / "m"
    weights = tiny_model.denoiser.state_dict()
    save_model_folder(folder, weights=weights, config=tiny_model.config_json(), references={}, card="", half=False)
    again = MoleculeModel.from_folder(load_model_folder(folder))
    clean, noise = random_molecules(tiny_model)
    single = clean.replace(pos=clean.pos.float())
    for field, expected in losses(tiny_model, single, noise).items():
        assert torch.equal(losses(again, single, noise)[field], expected)
    assert again.config_json() == tiny_model.config_json()
    assert not again.denoiser.training


def test_a_configuration_that_is_none_is_one_line(
    tiny_model: MoleculeModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for number, changes in enumerate(
        [{"vocabulary": {}}, {"statistics": None}, {"conditions": ["none"]}, {"network": {"l": 1}}]
    ):
        folder = tmp_path_factory.mktemp("models") / str(number)
        weights, config = tiny_model.denoiser.state_dict(), {**tiny_model.config_json(), **changes}
        save_model_folder(folder, weights=weights, config=config, references={}, card="", half=False)
        with pytest.raises(MoldiffError, match=str(number)) as caught:
            MoleculeModel.from_folder(load_model_folder(folder))
        assert "\n" not in str(caught.value)
