"""Layers through PyTorch's compiler."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from moldiff.nn.layers import EquivariantLayer, GeometryFeatures
from moldiff.nn.network import EquivariantNetwork
from moldiff.nn.products import SummedProducts
from moldiff.nn.property import PropertyNetwork


def compile_layers(model: nn.Module) -> None:
    """Let the layers and the geometry of a model's network run through PyTorch's compiler from now on.

    One compilation, at the first call, serves all layers and widths (in float32 the first layer has its own); one more
    serves calls without gradients. Names and values of the weights stay as they are. Copies of the model are not
    compiled.
    """
    for module in model.modules():
        if isinstance(module, EquivariantLayer):
            module.products = SummedProducts()
            module.compile(dynamic=True)
        elif isinstance(module, GeometryFeatures):
            module.compile(dynamic=True)
        elif isinstance(module, EquivariantNetwork | PropertyNetwork):
            module.register_forward_pre_hook(_with_gradient)


def _with_gradient(network: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Let the first geometry have a gradient as the later ones have, or both would be compiled."""
    batch, anchor, *rest = arguments
    if torch.is_grad_enabled() and not anchor.requires_grad:
        anchor = anchor.detach().requires_grad_()
    return batch, anchor, *rest
