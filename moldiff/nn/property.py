"""A small network that tells the properties of a molecule from its noisy self: its gradient guides generation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from moldiff.config import LayersConfig
from moldiff.molecules import PropertyPrediction, SoftBatch, pair_mask
from moldiff.nn.embedding import GlobalEmbedding
from moldiff.nn.layers import EquivariantLayer, EquivariantLinear, GeometryFeatures
from moldiff.nn.linear import Linear

_WIDEST = 8.0  # the logarithm of a variance lies within +- this, so that no likelihood explodes


class PropertyFeatures(NamedTuple):
    """Features after the layers: nodes (B, N, D), vectors (B, N, M, V), and of whole molecules, context (B, G)."""

    nodes: Tensor
    vectors: Tensor
    context: Tensor


class PropertyNetwork(nn.Module):
    """The raw network: a normal law for each property, invariant to rotation, reflection and the order of atoms.

    Heteroscedastic: where noise hides a property, its variance says so (Nix and Weigend 1994, "Estimating the mean and
    variance of the target probability distribution").

    Args:
        config: sizes.
        classes: number of classes of "atom_type", "charge", "bond_type".
        properties: their number P.
    """

    def __init__(self, config: LayersConfig, classes: dict[str, int], properties: int) -> None:
        super().__init__()
        self.typical_atoms, self.l_max = config.typical_atoms, config.l_max
        width, context = config.node_width, config.global_width
        self.context = GlobalEmbedding(context, torch.zeros(0), torch.ones(0), config.size_unit)
        self.embed_nodes = Linear(classes["atom_type"] + classes["charge"] + context, width)
        self.geometry = GeometryFeatures(config.l_max)
        self.embed_pairs = Linear(classes["bond_type"], config.pair_width)
        self.embed_vectors = EquivariantLinear(1, config.vectors, 1)
        self.layers = nn.ModuleList(EquivariantLayer(config, self.geometry.radial.size) for _ in range(config.layers))
        self.atoms = nn.Sequential(nn.LayerNorm(width), Linear(width, width), nn.SiLU())
        self.moments = EquivariantLinear(config.vectors, config.vectors, config.l_max)
        self.pooled = nn.Sequential(Linear(2 * width + config.vectors + context, width), nn.SiLU())
        self.read = Linear(width, 2 * properties)
        nn.init.zeros_(self.read.weight)  # at first, every molecule is the mean of the data, give or take their spread
        nn.init.zeros_(self.read.bias)

    def forward(self, batch: SoftBatch, anchor: Tensor, scaled: Tensor, levels: Tensor) -> PropertyPrediction:
        """Return the law of the properties; arguments as for `moldiff.diffusion.preconditioning.RawNetwork`."""
        return self.read_out(self.features(batch, anchor, scaled, levels), batch)

    def features(self, batch: SoftBatch, anchor: Tensor, scaled: Tensor, levels: Tensor) -> PropertyFeatures:
        """Return what the layers make of noisy molecules."""
        dtype, n = anchor.dtype, anchor.shape[1]
        atom_mask, pairs_mask = batch.mask[..., None], pair_mask(batch.mask)
        context = self.context(levels, batch.n_atoms, anchor.new_zeros(len(anchor), 0), False)
        classes = [batch.atom_type, batch.charge, context[:, None].expand(-1, n, -1)]
        nodes = self.embed_nodes(torch.cat(classes, dim=-1)).to(dtype)
        pairs = self.embed_pairs(batch.bond_type).to(dtype)
        vectors = self.embed_vectors(scaled[..., None] * atom_mask[..., None])
        if self.l_max > 1:
            vectors = nn.functional.pad(vectors, (0, 0, 0, 5))
        vectors, geometry = vectors.to(dtype).contiguous(), self.geometry(anchor)
        for layer in self.layers:
            nodes, vectors, pairs = layer(nodes, vectors, pairs, geometry, context, pairs_mask)
            vectors = vectors * atom_mask[..., None]
        return PropertyFeatures(nodes, vectors, context)

    def read_out(self, features: PropertyFeatures, batch: SoftBatch) -> PropertyPrediction:
        """Pool over atoms: a mean, a sum, as properties may grow with the molecule, and lengths of summed vectors."""
        nodes, vectors, context = features
        atoms = self.atoms(nodes) * batch.mask[..., None]
        total = atoms.sum(1)
        moments = self.moments(vectors).sum(1) / self.typical_atoms
        # the softening keeps the gradient finite where vectors cancel
        lengths = torch.sqrt((moments**2).sum(-2) + 1e-4)
        mean = total / batch.n_atoms[:, None].to(total.dtype)
        pooled = torch.cat([mean, total / self.typical_atoms, lengths.to(total.dtype), context.to(total.dtype)], dim=-1)
        expected, spread = self.read(self.pooled(pooled)).to(nodes.dtype).chunk(2, dim=-1)
        return PropertyPrediction(expected, _WIDEST * torch.tanh(spread / _WIDEST))
