"""The property network: invariances, independence of batch mates and padding, gradients to every field."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from moldiff.config import PropertyNetworkConfig
from moldiff.geometry import rotations_from_normals
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.property_model import PropertyModel
from moldiff.molecules import FIELDS, MolBatch, PropertyPrediction, SoftBatch

Make = Callable[[MoleculeModel, torch.dtype], Any]
DTYPES = [torch.float32, torch.float64]
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}
every_precision = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@pytest.fixture(scope="module", params=[1, 2], ids=lambda l_max: f"l_max {l_max}")
def model(request: pytest.FixtureRequest, tiny_property_model: PropertyModel) -> PropertyModel:
    """A random property network."""
    if request.param == 1:
        return tiny_property_model
    torch.manual_seed(2)
    config = PropertyNetworkConfig(**{**tiny_property_model.network_config.model_dump(), "l_max": 2})
    built = PropertyModel.build(
        config, tiny_property_model.curve_config, tiny_property_model.vocabulary, tiny_property_model.statistics,
        tiny_property_model.properties,
    )  # fmt: skip
    for parameter in built.predictor.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=2.0)
    built.predictor.eval().requires_grad_(False)
    return built


@pytest.fixture
def inputs(make_inputs: Make, tiny_model: MoleculeModel) -> Callable[[torch.dtype], Any]:
    return lambda dtype: make_inputs(tiny_model, dtype)


def predict(model: PropertyModel, batch: MolBatch, levels: Any) -> PropertyPrediction:
    predictor = model.predictor
    if batch.pos.dtype == torch.float64:
        predictor = copy.deepcopy(predictor).double()
    return predictor(SoftBatch.of(batch, model.vocabulary.sizes), levels)


def both(prediction: PropertyPrediction) -> Tensor:
    return torch.stack([prediction.mean, prediction.log_variance])


def assert_near(found: PropertyPrediction, expected: PropertyPrediction, dtype: torch.dtype) -> None:
    torch.testing.assert_close(both(found), both(expected), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@every_precision
@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_no_motion_changes_a_prediction(model: PropertyModel, inputs: Any, dtype: torch.dtype, sign: int) -> None:
    given = inputs(dtype)
    generator = torch.Generator().manual_seed(0)
    turn = sign * rotations_from_normals(torch.randn(3, 4, generator=generator, dtype=torch.float64)).to(dtype)
    moved = given.batch.replace(pos=(given.batch.pos @ turn + 2.5) * given.batch.mask[..., None])
    expected = predict(model, given.batch, given.levels)
    assert_near(predict(model, moved, given.levels), expected, dtype)
    assert float(both(expected).std(1).min()) > 1e-2, "predictions differ from molecule to molecule"


@every_precision
def test_the_order_of_atoms_does_not_matter(model: PropertyModel, inputs: Any, dtype: torch.dtype) -> None:
    given = inputs(dtype)
    batch, order = given.batch, torch.tensor([4, 2, 0, 1, 3, *range(5, 12)])  # the smallest molecule has five atoms
    moved = batch.replace(
        **{name: getattr(batch, name)[:, order] for name in FIELDS[:3]},
        bond_type=batch.bond_type[:, order][:, :, order],
        mask=batch.mask[:, order],
    )
    assert_near(predict(model, moved, given.levels), predict(model, batch, given.levels), dtype)


@every_precision
def test_padding_and_batch_mates_do_not_matter(model: PropertyModel, inputs: Any, dtype: torch.dtype) -> None:
    given = inputs(dtype)
    expected, wide = predict(model, given.batch, given.levels), given.widened(4)
    assert_near(predict(model, wide.batch, wide.levels), expected, dtype)
    for row in range(len(given.batch)):
        alone = given.rows(slice(row, row + 1))
        found = predict(model, alone.batch, alone.levels)
        torch.testing.assert_close(
            both(found)[:, 0], both(expected)[:, row], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
        )


def test_what_stands_in_the_padding_and_a_poisoned_mate_change_no_bit(model: PropertyModel, inputs: Any) -> None:
    given = inputs(torch.float32)
    batch, expected = given.batch, both(predict(model, given.batch, given.levels))
    garbage = batch.replace(
        pos=batch.pos.masked_fill(~batch.mask[..., None], 7.0),
        **{name: getattr(batch, name).masked_fill(~batch.mask, 1) for name in ("atom_type", "charge")},
    )
    assert torch.equal(both(predict(model, garbage, given.levels)), expected)
    poisoned = batch.replace(pos=batch.pos.index_fill(0, torch.tensor(0), torch.nan))
    found = both(predict(model, poisoned, given.levels))
    assert torch.equal(found[:, 1:], expected[:, 1:])
    assert bool(found[:, 0].isnan().any())


def test_every_input_and_every_weight_has_a_gradient(model: PropertyModel, inputs: Any) -> None:
    """Weights without one would stop training on several processes."""
    given = inputs(torch.float32)
    predictor = copy.deepcopy(model.predictor).requires_grad_(True)
    soft = SoftBatch.of(given.batch, model.vocabulary.sizes)
    fields = {field: getattr(soft, field).requires_grad_() for field in FIELDS}
    both(predictor(dataclasses.replace(soft, **fields), given.levels)).pow(2).sum().backward()
    for name, parameter in predictor.named_parameters():
        assert parameter.grad is not None, name
    for field, value in fields.items():
        mask = given.batch.pair_mask if field == "bond_type" else given.batch.mask
        assert value.grad is not None
        assert bool(value.grad[mask].any(-1).all()), field
        assert not value.grad[~mask].any(), field


def test_a_fresh_network_predicts_the_mean_and_the_spread_of_the_data(
    tiny_property_model: PropertyModel, inputs: Any
) -> None:
    fresh = PropertyModel.build(
        tiny_property_model.network_config, tiny_property_model.curve_config, tiny_property_model.vocabulary,
        tiny_property_model.statistics, tiny_property_model.properties,
    )  # fmt: skip
    given = inputs(torch.float32)
    assert not both(predict(fresh, given.batch, given.levels)).any()
    assert fresh.predictor.standardised(torch.tensor([[1.5, 350.0]])).tolist() == [[1.0, -1.0]]


def test_variances_are_bounded(tiny_property_model: PropertyModel, inputs: Any) -> None:
    wild = copy.deepcopy(tiny_property_model.predictor)
    wild.network.read.weight.data.mul_(1e6)  # type: ignore[union-attr,operator]
    given = inputs(torch.float32)
    prediction = wild(SoftBatch.of(given.batch, tiny_property_model.vocabulary.sizes), given.levels)
    assert float(prediction.log_variance.abs().max()) <= 8
