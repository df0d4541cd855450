"""One layer of the network: pair messages, attention and plain sums into the nodes, equivariant updates.

Shapes: B molecules, N padded atoms, D node width, E pair width, P pair hidden width, V equivariant channels, M =
components of one equivariant channel (3 for l = 1, 3 + 5 with l = 2), H heads. Matrix products may run in bfloat16
under autocast; the residual streams and the geometry stay in their own precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from moldiff.config import LayersConfig
from moldiff.nn.embedding import RadialBasis
from moldiff.nn.linear import Linear, linear, plus
from moldiff.nn.products import MatrixProducts, PairProducts


class PairGeometry(NamedTuple):
    """Coordinates as a layer sees them: radial features (B, N, N, R), spherical harmonics (B, N, N, M)."""

    radial: Tensor
    directions: Tensor


class GeometryFeatures(nn.Module):
    """Distances and directions of all ordered pairs.

    Forward: pos (B, N, 3) angstrom -> PairGeometry.
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.radial = RadialBasis()
        self._second = _second_harmonics() if l_max > 1 else None

    def forward(self, pos: Tensor) -> PairGeometry:
        difference = pos[:, None, :, :] - pos[:, :, None, :]
        # the softening keeps the gradient finite for coincident atoms and on the diagonal
        distance = torch.sqrt((difference**2).sum(-1) + 1e-6)
        unit = difference / (distance[..., None] + 0.1)
        # those of l = 1 are the direction itself, e3nn's code for any degree is slow and no compiler looks into it
        directions = math.sqrt(3.0) * unit
        if self._second is not None:
            directions = torch.cat([directions, self._second(unit)], dim=-1)
        return PairGeometry(self.radial(distance), directions)


def _second_harmonics() -> Callable[[Tensor], Tensor]:
    """Return the spherical harmonics of l = 2, from vectors (..., 3) to (..., 5).

    Imported when a network needs it: e3nn brings PyTorch's compiler along, a third of the time in which a command
    starts.
    """
    from e3nn import o3

    return partial(o3.spherical_harmonics, 2, normalize=False, normalization="component")


class ChannelMatrices(nn.Module):
    """Weights of an equivariant linear map, by the names and in the layout of e3nn's ``o3.Linear``: a matrix between
    channels for each degree, one after the other.

    Args:
        channels_in, channels_out: V and W.
        widths: components of each degree.
    """

    def __init__(self, channels_in: int, channels_out: int, widths: list[int]) -> None:
        super().__init__()
        self.shape = (len(widths), channels_in, channels_out)
        self.weight = nn.Parameter(torch.empty(math.prod(self.shape)).normal_())
        # e3nn has them, and so have model folders: no bias, and no output that is always zero
        self.register_buffer("bias", torch.zeros(0))
        self.register_buffer("output_mask", torch.ones(channels_out * sum(widths)))

    def forward(self) -> Tensor:
        """Return (degrees, V, W), normalised so that outputs have the variance of inputs."""
        return self.weight.view(self.shape) * self.shape[1] ** -0.5


class EquivariantLinear(nn.Module):
    """e3nn's equivariant linear map between channels, on the layout (B, N, 3, V) for l = 1, (..., 5, V) for l = 2.

    Equivariant features are kept as one tensor (..., M, V) whose last axis but one concatenates the degrees; e3nn's own
    layout flattens each degree separately. The map is a matrix between channels for each degree, without generated
    code.
    """

    def __init__(self, channels_in: int, channels_out: int, l_max: int) -> None:
        super().__init__()
        self.widths = [2 * l + 1 for l in range(1, l_max + 1)]
        self.linear = ChannelMatrices(channels_in, channels_out, self.widths)

    def scale_weights(self, factor: float) -> None:
        """Multiply the initial weights."""
        with torch.no_grad():
            self.linear.weight.mul_(factor)

    def forward(self, features: Tensor) -> Tensor:
        mapped, first = [], 0
        for width, matrix in zip(self.widths, self.linear().unbind(), strict=True):
            mapped.append(linear(features[..., first : first + width, :], matrix.t()))
            first += width
        return mapped[0] if len(mapped) == 1 else torch.cat(mapped, dim=-2)


class EquivariantNorm(nn.Module):
    """Divide by the root mean square over channels and components, per atom: (B, N, M, V) -> same."""

    def forward(self, features: Tensor) -> Tensor:
        return features * torch.rsqrt((features**2).mean((-2, -1), keepdim=True) + 1e-4)


class NarrowNorm(nn.LayerNorm):
    """Layer normalisation of very many rows of few features: (..., F) -> same.

    PyTorch's kernel for CUDA has a block of threads for every row: a million rows of 32 took a fifth of the time in
    which an H200 drew molecules. There, without gradients, whole tensors are gone through instead.
    """

    def forward(self, features: Tensor) -> Tensor:
        if features.is_cuda and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return self.by_operations(features)
        return super().forward(features)

    def by_operations(self, features: Tensor) -> Tensor:
        """Return the same to rounding, by operations on whole tensors."""
        centred = features - features.mean(-1, keepdim=True)
        length = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
        scale = torch.rsqrt(length.square() / features.shape[-1] + self.eps)
        return torch.addcmul(self.bias, centred * scale, self.weight)


class PairMessages(nn.Module):
    """Messages of all ordered pairs from node, pair and geometric features; updates the pair stream."""

    def __init__(self, config: LayersConfig, radial_size: int) -> None:
        super().__init__()
        hidden, self.angular = config.pair_hidden, config.vectors // 2
        self.from_nodes = Linear(config.node_width, 2 * hidden)
        self.norm = NarrowNorm(config.pair_width)
        self.from_pair = Linear(config.pair_width + radial_size + 2 * self.angular, hidden, bias=False)
        self.project = EquivariantLinear(config.vectors, 2 * self.angular, config.l_max)
        self.hidden = Linear(hidden, hidden)
        self.sizes = [config.pair_width, config.heads, config.vectors, config.vectors]
        # without a bias, a masked message reads out as zero
        self.output = Linear(hidden, sum(self.sizes), bias=False)

    def forward(
        self,
        nodes: Tensor,
        vectors: Tensor,
        pairs: Tensor,
        geometry: PairGeometry,
        pair_mask: Tensor,
        products: PairProducts,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return messages (B, N, N, P) and their read-outs: pair update, attention logits, two sets of vector weights.

        All of them are zero where there is no pair of two different real atoms.
        """
        sender, receiver = self.from_nodes(nodes).chunk(2, dim=-1)
        near, far = self.project(vectors).chunk(2, dim=-1)
        # projections of both atoms' vectors on the direction between them: what a distance cannot say about angles
        here, there = products.angles(near, far, geometry.directions)
        # joined in the precision of the matrix products, half the memory traffic under autocast; and all at once: what
        # is joined out of a transposed tensor is in an order of memory that is slow to join again
        joined = torch.cat([self.norm(pairs).to(here.dtype), geometry.radial.to(here.dtype), here, there], dim=-1)
        message = plus(plus(self.from_pair(joined), receiver[:, :, None]), sender[:, None])
        message = self.hidden.activated(nn.functional.silu(message, inplace=not torch.is_grad_enabled()))
        mask = pair_mask[..., None].to(message.dtype)
        message = message * mask if torch.is_grad_enabled() else message.mul_(mask)
        update, attention, directions, vectors_weight = self.output(message).split(self.sizes, dim=-1)
        return message, update, attention, directions, vectors_weight


class EquivariantLayer(nn.Module):
    """Pair messages -> nodes (attention and plain sum), vectors, pairs; then scalars and vectors atom by atom."""

    def __init__(self, config: LayersConfig, radial_size: int) -> None:
        super().__init__()
        width, vectors = config.node_width, config.vectors
        self.heads = config.heads
        self.products: PairProducts = MatrixProducts()
        # sums over atoms are divided by a constant of this order: a count must stay a count
        self.sum_scale = math.sqrt(config.typical_atoms)
        self.modulate = Linear(config.global_width, 4 * width)
        self.norm_nodes, self.norm_mixed = (nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.norm_vectors = EquivariantNorm()
        self.messages = PairMessages(config, radial_size)
        self.value = Linear(width, width)
        self.gather = Linear(width + config.pair_hidden, width)
        self.gather_vectors = EquivariantLinear(vectors, vectors, config.l_max)
        self.mix_vectors = EquivariantLinear(vectors, 2 * vectors, config.l_max)
        self.expand = Linear(width + vectors, 2 * width)
        self.contract = Linear(2 * width, width + vectors)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(
        self, nodes: Tensor, vectors: Tensor, pairs: Tensor, geometry: PairGeometry, context: Tensor, pair_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return new nodes (B, N, D), vectors (B, N, M, V), pairs (B, N, N, E); context (B, G) modulates the norms."""
        scale1, shift1, scale2, shift2 = self.modulate(context)[:, None].chunk(4, dim=-1)
        normed = self.norm_nodes(nodes) * (1 + scale1) + shift1
        directed = self.norm_vectors(vectors)
        message, update, attention, to_direction, to_vectors = self.messages(
            normed, directed, pairs, geometry, pair_mask, self.products
        )

        pairs = pairs + update
        attention = attention.permute(0, 3, 1, 2).contiguous()
        attention = attention.to(torch.promote_types(attention.dtype, torch.float32))
        weights = torch.softmax(attention.masked_fill(~pair_mask[:, None], -1e9), dim=-1)
        values = self.value(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        attended = (weights.to(values.dtype) @ values).transpose(1, 2).flatten(-2)
        # an atom alone in its molecule has nothing to attend to; its softmax would average the padding
        attended = attended * pair_mask.any(2)[..., None].to(attended.dtype)
        # a softmax average cannot count bonds, a plain sum can
        summed = message.sum(2) / self.sum_scale
        nodes = nodes + self.gather(torch.cat([attended, summed.to(attended.dtype)], dim=-1))

        gathered = self.products.gathered(to_direction, to_vectors, geometry.directions, directed)
        vectors = vectors + self.gather_vectors(gathered.to(vectors.dtype)) / self.sum_scale
        return *self._update_nodes(nodes, vectors, scale2, shift2), pairs

    def _update_nodes(self, nodes: Tensor, vectors: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Mix scalars with the inner products of vectors, gate the vectors by scalars; atom by atom."""
        left, right = self.mix_vectors(self.norm_vectors(vectors)).chunk(2, dim=-1)
        invariants = (left * right).sum(-2)
        normed = self.norm_mixed(nodes) * (1 + scale) + shift
        hidden = self.expand.activated(torch.cat([normed, invariants.to(normed.dtype)], dim=-1))
        change, gate = self.contract(hidden).split([nodes.shape[-1], vectors.shape[-1]], dim=-1)
        return nodes + change, vectors + gate[..., None, :] * left
