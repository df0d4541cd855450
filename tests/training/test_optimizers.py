"""The learning rate along a run, and which parameters go to which optimiser."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from moldiff.config import OptimizerConfig
from moldiff.models.molecule_model import MoleculeModel
from moldiff.training.optimizers import build_optimizers, learning_rate_factor


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
    model = nn.ModuleDict({"denoiser": build_tiny_model(1).denoiser})
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
