"""The feedback of a denoiser: what it adds, to whom, of which wish, and that it starts as nothing."""

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from moldiff.config import FeedbackConfig
from moldiff.datasets.statistics import PropertyStatistics
from moldiff.models.equivariance import equivariance_errors
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.property_model import PropertyModel
from moldiff.molecules import FIELDS, FeatureShifts, MolPrediction, PropertyPrediction
from moldiff.nn.feedback import PropertyFeedback

Make = Callable[[MoleculeModel, torch.dtype], Any]
CONDITIONS = ["size", "logp", "colour"]
COLOUR, LOGP, SIZE = 2, 1, 0


@pytest.fixture(scope="module")
def fresh(tiny_model: MoleculeModel, tiny_property_model: PropertyModel) -> MoleculeModel:
    """A model of three conditions with feedback of two of them, in another order, and a fresh adapter."""
    torch.manual_seed(3)
    feedback = FeedbackConfig(properties=("colour", "logp"), estimator=tiny_property_model.network_config, width=12)
    known = tiny_property_model.statistics.properties | {"size": PropertyStatistics("", 9, 2, 5, 15, 5, 15, 60)}
    model = MoleculeModel.build(
        tiny_model.network_config.model_copy(update={"feedback": feedback}),
        tiny_model.curve_config,
        tiny_model.vocabulary,
        dataclasses.replace(tiny_model.statistics, properties=known),
        CONDITIONS,
    )
    for name, parameter in model.denoiser.named_parameters():
        if not parameter.any() and ".adapter." not in name:
            nn.init.normal_(parameter, std=0.5)
    model.denoiser.eval().requires_grad_(False)
    return model


@pytest.fixture(scope="module")
def model(fresh: MoleculeModel) -> MoleculeModel:
    """The same with an adapter none of whose weights is zero."""
    torch.manual_seed(4)
    weights = {
        name: value if value.any() or ".adapter." not in name else torch.empty_like(value).normal_(std=0.2)
        for name, value in fresh.denoiser.state_dict().items()
    }
    built = MoleculeModel.build(
        fresh.network_config, fresh.curve_config, fresh.vocabulary, fresh.statistics, fresh.conditions
    )
    built.denoiser.load_state_dict(weights)
    built.denoiser.eval().requires_grad_(False)
    return built


def wishes(*rows: tuple[float, float, float]) -> Tensor:
    return torch.tensor(rows)


WANTED = wishes((math.nan, 1.0, 430.0), (math.nan, math.nan, math.nan), (11.0, math.nan, math.nan))


def denoise(denoiser: nn.Module, inputs: Any, condition: Tensor) -> MolPrediction:
    prediction: MolPrediction = denoiser(inputs.batch, inputs.levels, condition, inputs.previous)
    return prediction


def difference(one: MolPrediction, other: MolPrediction, row: int) -> float:
    """Return the largest difference of one molecule's outputs."""
    return max(float((getattr(one, field)[row] - getattr(other, field)[row]).abs().max()) for field in FIELDS)


def test_a_fresh_adapter_adds_nothing(fresh: MoleculeModel, make_inputs: Make) -> None:
    inputs = make_inputs(fresh, torch.float32)
    plain = denoise(fresh.denoiser.without_feedback(), inputs, WANTED)
    assert [difference(denoise(fresh.denoiser, inputs, WANTED), plain, row) for row in range(3)] == [0, 0, 0]


def test_feedback_is_for_molecules_of_which_something_is_wanted_that_it_tells(
    model: MoleculeModel, make_inputs: Make
) -> None:
    inputs = make_inputs(model, torch.float32)
    told, plain = (denoise(one, inputs, WANTED) for one in (model.denoiser, model.denoiser.without_feedback()))
    assert difference(told, plain, 0) > 1e-3
    assert difference(told, plain, 1) == 0, "nothing is wanted"
    assert difference(told, plain, 2) == 0, "the estimator does not tell the size"


@pytest.mark.parametrize("place", ["first layer", "last layer", "nodes"])
def test_each_shift_is_added_where_it_belongs(model: MoleculeModel, make_inputs: Make, place: str) -> None:
    inputs, network = make_inputs(model, torch.float32), model.denoiser.network
    pos = inputs.batch.pos
    arguments = inputs.batch, pos, torch.ones(3), pos, inputs.levels.stacked(), WANTED, inputs.previous
    context, nodes = torch.zeros(3, 2, 16), torch.zeros(3, pos.shape[1], 32)
    plain = network(*arguments)
    assert difference(network(*arguments, FeatureShifts(context, nodes)), plain, 2) == 0
    target = {"first layer": context[:, 0], "last layer": context[:, 1], "nodes": nodes}[place]
    target[2] = 1.0
    shifted = network(*arguments, FeatureShifts(context, nodes))
    assert difference(shifted, plain, 2) > 1e-3 and difference(shifted, plain, 0) == 0


@pytest.mark.parametrize(("column", "value"), [(LOGP, -1.0), (COLOUR, 390.0)])
def test_each_wish_moves_its_own_molecule_alone(
    model: MoleculeModel, make_inputs: Make, column: int, value: float
) -> None:
    inputs, feedback = make_inputs(model, torch.float32), model.denoiser.feedback
    shifts = []
    for wish in (math.nan, value):
        condition = wishes(*[(math.nan,) * 3] * 3)
        condition[0], condition[1, SIZE], condition[2, column] = WANTED[0], 7.0, wish
        zeros = torch.zeros_like(inputs.batch.pos)
        shifts.append(feedback(inputs.batch, zeros, zeros, inputs.levels.stacked(), condition))
    for one, other in zip(*(dataclasses.astuple(pair) for pair in shifts), strict=True):
        assert torch.equal(one[0], other[0]) and not one[1].any() and not other[1].any()
        assert not one[2].any() and other[2].abs().max() > 1e-3
    padding = ~inputs.batch.mask[0]
    assert padding.any() and not shifts[1].nodes[0, padding].any() and shifts[1].nodes[0].any()


def test_predictions_keep_their_symmetries(model: MoleculeModel) -> None:
    for name, error in equivariance_errors(model, torch.float64).items():
        assert error < 1e-9, name


def test_neighbours_and_padding_do_not_matter(model: MoleculeModel, make_inputs: Make) -> None:
    inputs = make_inputs(model, torch.float64)
    double = copy.deepcopy(model.denoiser).double()
    condition = wishes((8.0, 1.0, 430.0), (math.nan, -1.0, math.nan), (11.0, math.nan, 380.0)).double()
    whole, wide = denoise(double, inputs, condition), denoise(double, inputs.widened(3), condition)
    alone = denoise(double, inputs.rows(slice(1, 2)), condition[1:2])
    for field in FIELDS:
        atoms: Any = slice(int(inputs.batch.mask[1].sum()))
        atoms = (atoms, atoms) if field == "bond_type" else atoms
        reference = getattr(whole, field)[1][atoms]
        for other in (getattr(wide, field)[1], getattr(alone, field)[0]):
            torch.testing.assert_close(other[atoms], reference, rtol=1e-9, atol=1e-9)


def test_facts_are_the_wish_the_estimate_and_what_is_missing(model: MoleculeModel) -> None:
    feedback = model.denoiser.feedback
    assert isinstance(feedback, PropertyFeedback)
    estimate = PropertyPrediction(
        mean=torch.tensor([[0.25, -1.5], [0.5, 0.5], [3.0, -0.5]]),
        log_variance=torch.tensor([[0.0, math.log(4.0)], [0.0, 0.0], [math.log(0.25), -50.0]]),
    )
    condition = wishes((8.0, 1.0, 430.0), (math.nan, -1.0, math.nan), (math.nan, 20.5, 380.0))
    facts, wanted = feedback._facts(condition, estimate)
    assert wanted.tolist() == [[True, True], [False, True], [True, True]]
    told, standard, mean, log_spread, missing, in_spreads = facts.unflatten(-1, (6, 2)).unbind(1)
    # colour has mean 400 and spread 50, logp 0.5 and 1; 20.5 is 20 spreads away, which are told as 4 + ln 17
    far = 4 + math.log(17.0)
    expected = torch.tensor([[0.6, 0.5], [0.0, -1.5], [-0.4, far]])
    torch.testing.assert_close(standard, expected)
    assert told.tolist() == [[1, 1], [0, 1], [1, 1]]
    torch.testing.assert_close(mean, torch.tensor([[0.25, -1.5], [0.0, 0.5], [3.0, -0.5]]))
    torch.testing.assert_close(log_spread, torch.tensor([[0.0, math.log(2.0)], [0.0, 0.0], [math.log(0.5), -4.5]]))
    torch.testing.assert_close(missing[0], torch.tensor([0.35, 2.0]))
    torch.testing.assert_close(missing[1], torch.tensor([0.0, -2.0]))
    torch.testing.assert_close(missing[2], torch.tensor([-3.4, 4 + math.log(1 + far + 0.5 - 4)]))
    torch.testing.assert_close(in_spreads[0], torch.tensor([0.35, 1.0]))
    torch.testing.assert_close(in_spreads[1], torch.tensor([0.0, -2.0]))
    torch.testing.assert_close(in_spreads[2, 0], torch.tensor(-4 - math.log(1 + 2.8)))


def test_the_adapter_alone_learns_from_the_loss(model: MoleculeModel, make_inputs: Make) -> None:
    inputs, denoiser = make_inputs(model, torch.float32), model.denoiser
    denoiser.requires_grad_(True)
    try:
        feedback = denoiser.feedback
        zeros = torch.zeros_like(inputs.batch.pos)
        shifts = feedback(inputs.batch, zeros, zeros, inputs.levels.stacked(), WANTED)
        (shifts.context.square().sum() + shifts.nodes.square().sum()).backward()
        learned = {name.split(".")[0] for name, one in feedback.named_parameters() if one.grad is not None}
        assert learned == {"adapter"}
        assert all(one.grad is not None and one.grad.any() for one in feedback.adapter.parameters())
    finally:
        denoiser.zero_grad(set_to_none=True)
        denoiser.requires_grad_(False)


def test_the_plain_denoiser_has_the_same_weights_and_precision(model: MoleculeModel) -> None:
    plain = model.denoiser.without_feedback()
    assert plain.network is model.denoiser.network and plain.feedback is None and not plain.training
    assert plain.precision == model.denoiser.precision and plain.without_feedback() is plain
    assert torch.equal(plain.position_std, model.denoiser.position_std)
