"""Self-conditioning and wanted properties, through the whole denoiser."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolPrediction

Make = Callable[[MoleculeModel, torch.dtype], Any]


def denoise(model: MoleculeModel, inputs: Any) -> MolPrediction:
    return model.denoiser(inputs.batch, inputs.levels, inputs.condition, inputs.previous)


def difference(one: MolPrediction, other: MolPrediction, row: int) -> float:
    """Return the largest difference of one molecule's outputs."""
    return max(float((getattr(one, field)[row] - getattr(other, field)[row]).abs().max()) for field in FIELDS)


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_of_the_previous_prediction_is_used(
    tiny_model: MoleculeModel, make_inputs: Make, field: str
) -> None:
    inputs = make_inputs(tiny_model, torch.float32)
    changed = getattr(inputs.previous, field).clone()
    changed[0, 0, ..., 0] += 0.5
    other = dataclasses.replace(inputs, previous=inputs.previous.replace(**{field: changed}))
    assert difference(denoise(tiny_model, inputs), denoise(tiny_model, other), 0) > 1e-5
    assert difference(denoise(tiny_model, inputs), denoise(tiny_model, other), 1) == 0


def test_no_previous_prediction_is_not_an_empty_one(tiny_model: MoleculeModel, make_inputs: Make) -> None:
    inputs = make_inputs(tiny_model, torch.float32)
    zeros = MolPrediction(*(torch.zeros_like(getattr(inputs.previous, field)) for field in FIELDS))
    without = denoise(tiny_model, dataclasses.replace(inputs, previous=None))
    assert difference(without, denoise(tiny_model, dataclasses.replace(inputs, previous=zeros)), 0) > 1e-4


def test_a_previous_prediction_counts_by_its_probabilities(tiny_model: MoleculeModel, make_inputs: Make) -> None:
    inputs = make_inputs(tiny_model, torch.float32)
    shifted = inputs.previous.replace(**{name: getattr(inputs.previous, name) + 3 for name in FIELDS[1:]})
    other = dataclasses.replace(inputs, previous=shifted)
    assert difference(denoise(tiny_model, inputs), denoise(tiny_model, other), 0) < 1e-4


def test_a_wanted_property_moves_its_own_molecule_alone(tiny_model: MoleculeModel, make_inputs: Make) -> None:
    inputs = make_inputs(tiny_model, torch.float32)
    plain = denoise(tiny_model, inputs)
    wanted = inputs.condition.clone()
    wanted[1] = 2.0
    moved = denoise(tiny_model, dataclasses.replace(inputs, condition=wanted))
    assert difference(moved, plain, 1) > 1e-4
    assert difference(moved, plain, 0) == difference(moved, plain, 2) == 0
    wanted[1] = torch.nan
    assert difference(denoise(tiny_model, dataclasses.replace(inputs, condition=wanted)), plain, 1) == 0


def test_properties_that_stand_in_the_batch_are_not_read(tiny_model: MoleculeModel, make_inputs: Make) -> None:
    inputs = make_inputs(tiny_model, torch.float32)
    told = dataclasses.replace(inputs, batch=inputs.batch.replace(properties=inputs.batch.properties.nan_to_num(5.0)))
    assert difference(denoise(tiny_model, told), denoise(tiny_model, inputs), 0) == 0


def test_arguments_are_left_as_they_were(tiny_model: MoleculeModel, make_inputs: Make) -> None:
    inputs, untouched = make_inputs(tiny_model, torch.float32), make_inputs(tiny_model, torch.float32)
    denoise(tiny_model, inputs)
    for name in FIELDS:
        for argument in ("batch", "levels", "previous"):
            assert torch.equal(getattr(getattr(inputs, argument), name), getattr(getattr(untouched, argument), name))
    torch.testing.assert_close(inputs.condition, untouched.condition, rtol=0, atol=0, equal_nan=True)


def test_previous_coordinates_count_by_their_orientation_too(tiny_model: MoleculeModel, make_inputs: Make) -> None:
    inputs = make_inputs(tiny_model, torch.float32)
    mirrored = inputs.previous.replace(pos=-inputs.previous.pos)  # all distances stay
    other = dataclasses.replace(inputs, previous=mirrored)
    assert difference(denoise(tiny_model, inputs), denoise(tiny_model, other), 0) > 1e-5
