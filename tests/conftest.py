"""Fixtures that several folders of tests use."""

import pytest
import torch
from torch import nn

from moldiff.config import CurveConfig, NetworkConfig
from moldiff.datasets.statistics import DatasetStatistics, PropertyStatistics
from moldiff.model import MoleculeModel
from moldiff.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def tiny_model() -> MoleculeModel:
    """A model of H, C, N, O with 5 to 15 atoms and random weights, none of them zero, that knows logp."""
    torch.manual_seed(0)
    model = MoleculeModel.build(
        NetworkConfig(layers=2, node_width=32, pair_width=16, pair_hidden=16, vectors=8, heads=4, global_width=16),
        CurveConfig(),
        Vocabulary(("H", "C", "N", "O"), (-1, 0, 1), ("none", "single", "double", "triple", "aromatic")),
        DatasetStatistics(
            size_counts={5: 10, 9: 20, 12: 20, 15: 10},
            marginals={
                "atom_type": [0.5, 0.3, 0.1, 0.1],
                "charge": [0.1, 0.8, 0.1],
                "bond_type": [0.8, 0.1, 0.05, 0.02, 0.03],
            },
            position_std={5: 1.0, 9: 1.2, 12: 1.3, 15: 1.4},
            properties={"logp": PropertyStatistics("", 0.5, 1.0, -3.0, 4.0, -2.25, 2.75, 60)},
        ),
        ["logp"],
    )
    for parameter in model.denoiser.parameters():
        if not parameter.any():  # layers that start at zero would hide what is behind them
            nn.init.normal_(parameter, std=0.1)
    model.denoiser.eval().requires_grad_(False)
    return model
