"""Layers of the network in a form that a compiler can fuse; the same numbers up to rounding.

Its many tiny matrix products (over the three components of a vector, over neighbours) become products and sums, and
e3nn's maps of l = 1 one product; both are e3nn's and `EquivariantLayer`'s definitions written out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from moldiff.nn import layers as L


def equivariant_linear(self: L.EquivariantLinear, features: Tensor) -> Tensor:
    """Return `EquivariantLinear` of (..., V, 3), l = 1 alone."""
    channels = features.shape[-2]
    weight = self.linear.weight.view(channels, -1).to(features.dtype) / math.sqrt(channels)
    return torch.einsum("...vm,vw->...wm", features, weight)


def geometry(pos: Tensor, centers: Tensor, inverse_widths: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `GeometryFeatures` gives for l = 1: radial features and directions."""
    difference = pos[:, None, :, :] - pos[:, :, None, :]
    distance = torch.sqrt((difference**2).sum(-1) + 1e-6)
    place = (distance[..., None] - centers) * inverse_widths
    return torch.exp(-0.5 * place * place), math.sqrt(3.0) * difference / (distance[..., None] + 0.1)


def layer(
    layer: Any, nodes: Tensor, vectors: Tensor, pairs: Tensor, radial: Tensor, directions: Tensor, context: Tensor,
    pair_mask: Tensor,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Return what `EquivariantLayer.forward` gives, with sums for tiny matrix products."""
    scale1, shift1, scale2, shift2 = layer.modulate(context)[:, None].chunk(4, dim=-1)
    normed = layer.norm_nodes(nodes) * (1 + scale1) + shift1
    directed, messages = layer.norm_vectors(vectors), layer.messages
    sender, receiver = messages.from_nodes(normed).chunk(2, dim=-1)
    near, far = equivariant_linear(messages.project, directed).chunk(2, dim=-2)
    here = (near[:, :, None] * directions[:, :, :, None]).sum(-1)
    there = (far[:, None] * directions[:, :, :, None]).sum(-1)
    kind = sender.dtype
    joined = torch.cat([messages.norm(pairs).to(kind), radial.to(kind), here.to(kind), there.to(kind)], dim=-1)
    message = messages.from_pair(joined) + receiver[:, :, None] + sender[:, None]
    message = nn.functional.silu(messages.hidden(nn.functional.silu(message)))
    message = message * pair_mask[..., None].to(message.dtype)
    update, attention, to_direction, to_vectors = messages.output(message).split(messages.sizes, dim=-1)
    pairs = pairs + update
    weights = torch.softmax(attention.float().masked_fill(~pair_mask[..., None], -1e9), dim=2)
    values = layer.value(normed).unflatten(-1, (layer.heads, -1))
    attended = torch.einsum("bijh,bjhc->bihc", weights.to(values.dtype), values).flatten(-2)
    attended = attended * pair_mask.any(2)[..., None].to(attended.dtype)
    summed = message.float().sum(2) / layer.sum_scale
    nodes = nodes + layer.gather(torch.cat([attended, summed.to(attended.dtype)], dim=-1))
    toward = (to_direction[..., None].float() * directions[:, :, :, None]).sum(2)
    mixed = (to_vectors[..., None].float() * directed[:, None]).sum(2)
    vectors = vectors + equivariant_linear(layer.gather_vectors, (toward + mixed).to(vectors.dtype)) / layer.sum_scale
    nodes, vectors = layer._update_nodes(nodes, vectors, scale2, shift2)
    return nodes, vectors, pairs


@contextmanager
def fast_layers(compiled: bool) -> Iterator[None]:
    """Let every network of l_max 1 in this process compute so, on demand through torch.compile with dynamic shapes.

    Batches of other sizes than the first would make it compile anew: see `plain_layers`.
    """
    core: Callable[..., Any] = torch.compile(layer, dynamic=True) if compiled else layer
    measure: Callable[..., Any] = torch.compile(geometry, dynamic=True) if compiled else geometry

    def forward(
        self: Any, nodes: Tensor, vectors: Tensor, pairs: Tensor, seen: L.PairGeometry, context: Tensor, mask: Tensor
    ) -> Any:
        return core(self, nodes, vectors, pairs, seen.radial, seen.directions, context, mask)

    def features(self: Any, pos: Tensor) -> L.PairGeometry:
        if torch.is_grad_enabled() and not pos.requires_grad:
            pos = pos.detach().requires_grad_()  # one compiled layer for the first geometry and the later ones
        return L.PairGeometry(*measure(pos, self.radial.centers, self.radial.inverse_widths))

    with _methods(forward, features, equivariant_linear):
        yield


@contextmanager
def plain_layers() -> Iterator[None]:
    """Within `fast_layers`: let the package's own layers compute."""
    with _methods(*_OWN):
        yield


_OWN = (L.EquivariantLayer.forward, L.GeometryFeatures.forward, L.EquivariantLinear.forward)


@contextmanager
def _methods(*methods: Callable[..., Any]) -> Iterator[None]:
    classes: tuple[Any, ...] = (L.EquivariantLayer, L.GeometryFeatures, L.EquivariantLinear)
    before = [one.forward for one in classes]
    for one, method in zip(classes, methods, strict=True):
        one.forward = method
    try:
        yield
    finally:
        for one, method in zip(classes, before, strict=True):
            one.forward = method
