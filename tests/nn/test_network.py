"""The denoising network: symmetries, independence of batch mates and padding, for random and for built-in weights.

Every check runs on a tiny random model with l_max 1 and 2, on one that went through a model folder, and on every model
that is built into the package.
"""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from moldiff.models.equivariance import TOLERANCE, equivariance_errors
from moldiff.models.folder import list_models, load_model_folder, save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch, MolPrediction
from moldiff.nn import linear

Make = Callable[[MoleculeModel, torch.dtype], Any]
DTYPES = [torch.float32, torch.float64]
every_precision = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@pytest.fixture(scope="module", params=["l_max 1", "l_max 2", "folder", *list_models()])
def model(
    request: pytest.FixtureRequest,
    build_tiny_model: Callable[[int], MoleculeModel],
    tmp_path_factory: pytest.TempPathFactory,
) -> MoleculeModel:
    """Return a model by name: a random one, one saved in half precision and loaded again, or a built-in one."""
    if request.param.startswith("l_max"):
        return build_tiny_model(int(request.param[-1]))
    name: str | Path = request.param
    if name == "folder":
        tiny = build_tiny_model(1)
        name = tmp_path_factory.mktemp("models") / "tiny"
        weights = tiny.denoiser.state_dict()
        save_model_folder(name, weights=weights, config=tiny.config_json(), references={}, card="", half=True)
    return MoleculeModel.from_folder(load_model_folder(name))


def denoise(model: MoleculeModel, inputs: Any, previous: bool = True) -> MolPrediction:
    """Denoise in the precision of the input."""
    denoiser = model.denoiser
    if inputs.batch.pos.dtype == torch.float64:
        denoiser = copy.deepcopy(denoiser).double()
    with torch.no_grad():
        return denoiser(inputs.batch, inputs.levels, inputs.condition, inputs.previous if previous else None)


def real(prediction: MolPrediction, batch: MolBatch) -> dict[str, Tensor]:
    """Return each field's values on real atoms and pairs."""
    masks = {field: batch.pair_mask if field == "bond_type" else batch.mask for field in FIELDS}
    return {field: getattr(prediction, field)[mask] for field, mask in masks.items()}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 0.0) -> float:
    """Assert that all fields agree, relative to their largest value; tolerance 0 means bit by bit. Return the largest
    difference."""
    worst = 0.0
    for field in FIELDS:
        if tolerance == 0:
            assert torch.equal(found[field], expected[field]), field
        else:
            error = (found[field] - expected[field]).abs().max() / expected[field].abs().max()
            assert float(error) < tolerance, field
            worst = max(worst, float(error))
    return worst


@every_precision
def test_rotations_reflections_translations_and_permutations(
    model: MoleculeModel, dtype: torch.dtype, record_property: Callable[[str, object], None]
) -> None:
    errors = equivariance_errors(model, dtype)
    record_property(f"largest error, {str(dtype)[6:]}", max(errors.values()))
    assert set(errors) == {"rotation", "reflection", "translation", "permutation"}
    assert max(errors.values()) < TOLERANCE[dtype], errors


@every_precision
@pytest.mark.parametrize("previous", [True, False])
def test_a_poisoned_mate_changes_no_bit(
    model: MoleculeModel, make_inputs: Make, dtype: torch.dtype, previous: bool
) -> None:
    inputs, mate = make_inputs(model, dtype), torch.tensor(0)
    together = denoise(model, inputs, previous)

    def poison(value: Tensor) -> Tensor:
        return value.index_fill(0, mate, torch.nan if value.is_floating_point() else 1)

    poisoned = dataclasses.replace(
        inputs,
        batch=inputs.batch.replace(**{field: poison(getattr(inputs.batch, field)) for field in FIELDS}),
        levels=inputs.levels.replace(**{field: poison(getattr(inputs.levels, field)) for field in FIELDS}),
        condition=poison(inputs.condition),
        previous=inputs.previous.replace(**{field: poison(getattr(inputs.previous, field)) for field in FIELDS}),
    )
    found = denoise(model, poisoned, previous)
    assert bool(torch.isnan(found.pos[0]).any())
    others, batch = slice(1, None), inputs.batch[1:]
    kept, expected = (MolPrediction(*(getattr(p, field)[others] for field in FIELDS)) for p in (found, together))
    assert_same(real(kept, batch), real(expected, batch))


def test_no_gradient_crosses_molecules(model: MoleculeModel, make_inputs: Make) -> None:
    inputs = make_inputs(model, torch.float32)
    pos = inputs.batch.pos.clone().requires_grad_()
    out = model.denoiser(inputs.batch.replace(pos=pos), inputs.levels, inputs.condition, inputs.previous)
    sum((getattr(out, field)[1] ** 2).sum() for field in FIELDS).backward()
    assert pos.grad is not None
    assert not pos.grad[[0, 2]].any()
    assert bool(pos.grad[1, :9].any(-1).all())
    assert not pos.grad[1, 9:].any()


@every_precision
def test_a_molecule_alone_is_the_same(
    model: MoleculeModel, make_inputs: Make, dtype: torch.dtype, record_property: Callable[[str, object], None]
) -> None:
    inputs = make_inputs(model, dtype)
    together, worst = denoise(model, inputs), 0.0
    for row in range(len(inputs.batch)):
        alone = inputs.rows(slice(row, row + 1))
        expected = MolPrediction(*(getattr(together, field)[row : row + 1] for field in FIELDS))
        # a molecule alone has other shapes, and so another order of sums; what doctor calls rounding is the bound
        tolerance = {torch.float32: TOLERANCE[torch.float32], torch.float64: 1e-12}[dtype]
        found = assert_same(real(denoise(model, alone), alone.batch), real(expected, alone.batch), tolerance)
        worst = max(worst, found)
    record_property(f"alone or in a batch, {str(dtype)[6:]}", worst)


def test_what_stands_in_the_padding_changes_no_bit(model: MoleculeModel, make_inputs: Make) -> None:
    inputs = make_inputs(model, torch.float32)
    batch, empty = inputs.batch, ~inputs.batch.pair_mask
    diagonal = torch.eye(batch.mask.shape[1], dtype=torch.bool)
    garbage = dataclasses.replace(
        inputs,
        batch=batch.replace(
            pos=batch.pos.masked_fill(~batch.mask[..., None], 7.0),
            atom_type=batch.atom_type.masked_fill(~batch.mask, 1),
            charge=batch.charge.masked_fill(~batch.mask, 1),
            bond_type=batch.bond_type.masked_fill(empty & ~diagonal, 1),
        ),
        previous=MolPrediction(
            *(getattr(inputs.previous, name).masked_fill(~batch.mask[..., None], 7.0) for name in FIELDS[:3]),
            inputs.previous.bond_type.masked_fill((empty & ~diagonal)[..., None], 7.0),
        ),
    )
    assert_same(real(denoise(model, garbage), batch), real(denoise(model, inputs), batch))


def test_what_computes_linear_maps_is_only_rounding(
    model: MoleculeModel, make_inputs: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = make_inputs(model, torch.float32)
    found = denoise(model, inputs)
    monkeypatch.setattr(linear, "_ONEDNN", None)
    assert_same(real(denoise(model, inputs), inputs.batch), real(found, inputs.batch), 3e-5)


@every_precision
def test_more_padding_is_only_rounding(model: MoleculeModel, make_inputs: Make, dtype: torch.dtype) -> None:
    inputs = make_inputs(model, dtype)
    wide = inputs.widened(4)
    expected, found = denoise(model, inputs), denoise(model, wide)
    tolerance = {torch.float32: 3e-5, torch.float64: 1e-12}[dtype]  # a larger network makes more of rounding
    assert_same(real(found, wide.batch), real(expected, inputs.batch), tolerance)
    assert not found.pos[~wide.batch.mask].any()


def test_bonds_are_symmetric_to_the_last_bit_and_coordinates_centred(model: MoleculeModel, make_inputs: Make) -> None:
    for dtype in DTYPES:
        out = denoise(model, make_inputs(model, dtype))
        assert torch.equal(out.bond_type, out.bond_type.transpose(1, 2))
        assert float(out.pos.sum(1).abs().max()) < 1e-4
    inputs = make_inputs(model, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        low = denoise(model, inputs)
    assert torch.equal(low.bond_type, low.bond_type.transpose(1, 2))


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("previous", [True, False])
def test_a_single_atom_is_finite_and_ignores_the_padding(
    model: MoleculeModel, make_inputs: Make, width: int, previous: bool
) -> None:
    one = MolBatch(
        pos=torch.tensor([[[3.0, -1.0, 2.0]]], dtype=torch.float64),
        atom_type=torch.ones(1, 1, dtype=torch.int64),
        charge=torch.ones(1, 1, dtype=torch.int64),
        bond_type=torch.zeros(1, 1, 1, dtype=torch.int64),
        mask=torch.ones(1, 1, dtype=torch.bool),
        properties=torch.zeros(1, len(model.conditions)),
        ids=torch.zeros(1, dtype=torch.int64),
    )
    sizes = model.vocabulary.sizes
    guess = MolPrediction(
        torch.zeros(1, 1, 3).double(), *(torch.zeros(1, 1, sizes[field]).double() for field in FIELDS[1:3]),
        torch.zeros(1, 1, 1, sizes["bond_type"]).double(),
    )  # fmt: skip
    alone = dataclasses.replace(make_inputs(model, torch.float64).rows(slice(0, 1)), batch=one, previous=guess)
    expected = denoise(model, alone, previous)
    found = denoise(model, alone.widened(width - 1), previous)
    assert not found.pos.any()  # its centre of mass is all the position it has
    for field in ("atom_type", "charge"):
        assert bool(torch.isfinite(getattr(found, field)[:, :1]).all())
        torch.testing.assert_close(getattr(found, field)[:, :1], getattr(expected, field), rtol=1e-12, atol=1e-12)


def test_two_atoms_in_one_place_are_finite(model: MoleculeModel, make_inputs: Make) -> None:
    inputs = make_inputs(model, torch.float32)
    nowhere = inputs.batch.replace(pos=inputs.batch.pos * 0)
    with torch.no_grad():
        out = model.denoiser(nowhere, inputs.levels, inputs.condition, None)
    assert all(bool(torch.isfinite(getattr(out, field)).all()) for field in FIELDS)
    pos = inputs.batch.pos.clone()
    pos[:, 1] = pos[:, 0]
    pos.requires_grad_()
    out = model.denoiser(inputs.batch.replace(pos=pos), inputs.levels, inputs.condition, None)
    sum(getattr(out, field).sum() for field in FIELDS).backward()
    assert all(bool(torch.isfinite(getattr(out, field)).all()) for field in FIELDS)
    assert pos.grad is not None
    assert bool(torch.isfinite(pos.grad).all())
