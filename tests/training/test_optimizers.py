"""The learning rate along a run, and which parameters go to which optimiser."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from moldiff.config import OptimizerConfig
from moldiff.models.molecule_model import MoleculeModel
from moldiff.training.checkpoint import flatten_optimizer, restore_optimizer
from moldiff.training.optimizers import (
    Muon,
    build_optimizers,
    learning_rate_factor,
    orthogonalised,
    set_learning_rates,
)


def factors(total: int, config: OptimizerConfig) -> list[float]:
    return [learning_rate_factor(step, total, config) for step in range(total)]


def test_warm_up_is_linear_and_ends_at_one() -> None:
    found = factors(10, OptimizerConfig(warmup_steps=4, decay_steps=0))
    assert found == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]


def test_decay_falls_as_one_minus_the_root() -> None:
    found = factors(20, OptimizerConfig(warmup_steps=0, decay_steps=4))
    assert found[:17] == [1.0] * 17
    assert found[17:] == pytest.approx([0.5, 1 - 0.5**0.5, 1 - 0.75**0.5])
    assert learning_rate_factor(20, 20, OptimizerConfig(warmup_steps=0, decay_steps=4)) == 0


def test_the_stable_part_does_not_know_the_end() -> None:
    config = OptimizerConfig(warmup_steps=3, decay_steps=0)
    assert factors(10, config) == factors(1000, config)[:10]


def test_muon_takes_the_hidden_matrices_and_adamw_all_else(build_tiny_model: Callable[[int], MoleculeModel]) -> None:
    model = nn.ModuleDict({"denoiser": build_tiny_model(1).denoiser.requires_grad_(True)})
    adam, muon = build_optimizers(model, OptimizerConfig(muon_learning_rate=0.01, learning_rate=0.002))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    hidden = {names[id(parameter)] for group in muon.param_groups for parameter in group["params"]}
    others = {names[id(parameter)] for group in adam.param_groups for parameter in group["params"]}
    assert hidden | others == set(names.values())
    assert not hidden & others
    assert "denoiser.network.layers.0.messages.hidden.weight" in hidden
    assert all(".layers." in name and name.endswith("weight") and ".modulate." not in name for name in hidden)
    assert "denoiser.network.embed_nodes.weight" in others
    assert [group["initial_lr"] for group in (*adam.param_groups, *muon.param_groups)] == [0.002, 0.01]
    (only,) = build_optimizers(model, OptimizerConfig(muon_learning_rate=0))
    assert isinstance(only, torch.optim.AdamW)
    assert sum(len(group["params"]) for group in only.param_groups) == len(names)
    model["denoiser"].network.layers.requires_grad_(False)  # what is not trained has no state
    adam, *no_muon = build_optimizers(model, OptimizerConfig(muon_learning_rate=0.01))
    left = {names[id(parameter)] for group in adam.param_groups for parameter in group["params"]}
    assert left == {name for name in names.values() if ".layers." not in name} and not no_muon


SHAPES = [(6, 10), (10, 6), (6, 10), (4, 4), (10, 6), (6, 10)]


def matrices(dtype: torch.dtype) -> list[nn.Parameter]:
    """Make matrices of three shapes, in no order, with a gradient for some steps to come."""
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)) for shape in SHAPES]


def steps(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, count: int, first: int = 0) -> None:
    """Take steps with gradients that depend on the step alone."""
    for number in range(first, first + count):
        generator = torch.Generator().manual_seed(number)
        for parameter in parameters:
            gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.grad = gradient.to(parameter.dtype)
        optimizer.step()


def theirs(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Muon(parameters, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")


def in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PyTorch's Muon, which turns every matrix into bfloat16, work in float64."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.double().clone())


@pytest.mark.parametrize("rate", [0.02, torch.tensor(0.02, dtype=torch.float64)], ids=["number", "tensor"])
def test_muon_in_batches_is_that_of_pytorch(monkeypatch: pytest.MonkeyPatch, rate: float | torch.Tensor) -> None:
    ours, expected = matrices(torch.float64), matrices(torch.float64)
    steps(ours, Muon(ours, rate, weight_decay=0.1, precision=torch.float64), 4)
    in_float64(monkeypatch)
    steps(expected, theirs(expected), 4)
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_in_bfloat16_muon_is_that_of_pytorch_up_to_its_rounding() -> None:
    ours, expected, start = (matrices(torch.float32) for _ in range(3))
    steps(ours, Muon(ours, 0.02, weight_decay=0.1), 1)
    steps(expected, theirs(expected), 1)
    for one, other, before in zip(ours, expected, start, strict=True):
        change = (other - before).norm()
        assert float((one - other).detach().norm() / change) < 0.01


def test_muon_goes_on_from_a_checkpoint_of_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, first = matrices(torch.float64), matrices(torch.float64)
    in_float64(monkeypatch)
    steps(whole, theirs(whole), 4)
    before = theirs(first)
    steps(first, before, 2)
    after = Muon(first, 0.02, weight_decay=0.1, precision=torch.float64)
    restore_optimizer(after, flatten_optimizer(before))
    steps(first, after, 2, first=2)
    for one, other in zip(first, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    assert flatten_optimizer(after).keys() == flatten_optimizer(before).keys()


def test_muon_leaves_a_matrix_without_a_gradient_and_refuses_what_is_none() -> None:
    parameters = matrices(torch.float32)
    optimizer = Muon(parameters, 0.02, weight_decay=0.1)
    steps(parameters[1:], optimizer, 1)
    assert torch.equal(parameters[0], matrices(torch.float32)[0])
    assert not torch.equal(parameters[2], matrices(torch.float32)[2])
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        Muon([nn.Parameter(torch.zeros(3))], 0.02)


def test_singular_values_end_around_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 8, 20), (3, 20, 8)):
        many = (
            torch.randn(shape, generator=generator, dtype=torch.float64) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
        )
        found = torch.linalg.svdvals(orthogonalised(many))
        assert float(found.min()) > 0.6
        assert float(found.max()) < 1.25


def test_a_rate_that_is_a_tensor_stays_that_tensor() -> None:
    (parameter, *_), rate = matrices(torch.float32), torch.tensor(0.02)
    number, tensor = Muon([parameter], 0.02), Muon([parameter], rate)
    for optimizer in (number, tensor):
        optimizer.param_groups[0]["initial_lr"] = 0.02
    set_learning_rates([number, tensor], 0.5)
    assert number.param_groups[0]["lr"] == 0.01
    assert tensor.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(0.01)
