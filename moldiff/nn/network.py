"""The whole raw network: noisy molecule in, unit-scale coordinates F and logits out. E(3)-equivariant and padded."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moldiff.config import NetworkConfig
from moldiff.molecules import FeatureShifts, MolBatch, MolPrediction
from moldiff.nn.embedding import GlobalEmbedding
from moldiff.nn.layers import EquivariantLayer, EquivariantLinear, GeometryFeatures, NarrowNorm
from moldiff.nn.linear import Linear


class EquivariantNetwork(nn.Module):
    """Denoising network on the complete graph of a molecule.

    Coordinates come out as vectors (they turn, reflect and permute with the input), logits as scalars. Mirror images
    are equally likely by construction. See `moldiff.diffusion.preconditioning.RawNetwork` for the arguments of
    `forward`.

    Args:
        config: sizes.
        classes: number of classes of "atom_type", "charge", "bond_type".
        property_mean, property_std: (P,) statistics of the conditioning properties, natural units.
    """

    def __init__(
        self, config: NetworkConfig, classes: dict[str, int], property_mean: Tensor, property_std: Tensor
    ) -> None:
        super().__init__()
        self.classes, self.l_max, self.geometry_every = classes, config.l_max, config.geometry_every
        width, pair = config.node_width, config.pair_width
        atoms = classes["atom_type"] + classes["charge"]
        self.context = GlobalEmbedding(config.global_width, property_mean, property_std, config.size_unit)
        self.embed_nodes = Linear(2 * atoms + config.global_width, width)
        self.geometry = GeometryFeatures(config.l_max)
        self.embed_pairs = Linear(2 * classes["bond_type"] + self.geometry.radial.size, pair)
        self.embed_vectors = EquivariantLinear(2, config.vectors, 1)
        self.layers = nn.ModuleList(EquivariantLayer(config, self.geometry.radial.size) for _ in range(config.layers))
        coordinates = [EquivariantLinear(config.vectors, 1, 1) for _ in range(config.layers)]
        for linear in coordinates:
            linear.scale_weights(0.1)  # the first estimate is the preconditioner's, c_skip x
        self.to_coordinates = nn.ModuleList(coordinates)
        self.read_nodes = nn.Sequential(nn.LayerNorm(width), Linear(width, width), nn.SiLU(), Linear(width, atoms))
        self.pair_from_nodes = Linear(width, pair)
        self.read_pairs = nn.Sequential(
            NarrowNorm(pair), Linear(pair, pair), nn.SiLU(), Linear(pair, classes["bond_type"])
        )

    def forward(
        self,
        batch: MolBatch,
        anchor: Tensor,
        scale: Tensor,
        scaled: Tensor,
        levels: Tensor,
        condition: Tensor,
        previous: MolPrediction | None,
        shifts: FeatureShifts | None = None,
    ) -> MolPrediction:
        atom_mask, pair_mask = batch.mask[..., None], batch.pair_mask
        scale = scale[:, None, None]
        context = self.context(levels, batch.n_atoms, condition, previous is not None)
        nodes, vectors, pairs = self._embed(batch, anchor, scale, scaled, context, previous)
        contexts = [context] * len(self.layers)
        if shifts is not None:
            nodes = nodes + shifts.nodes.to(nodes.dtype)
            contexts = [context + shift.to(context.dtype) for shift in shifts.context.unbind(1)]
        raw = torch.zeros_like(anchor)
        for number, (layer, to_coordinates) in enumerate(zip(self.layers, self.to_coordinates, strict=True)):
            if number % self.geometry_every == 0:
                # distances are measured on the current estimate of the clean molecule, in angstrom
                geometry = self.geometry(anchor + scale * raw)
            nodes, vectors, pairs = layer(nodes, vectors, pairs, geometry, contexts[number], pair_mask)
            vectors = vectors * atom_mask[..., None]
            raw = raw + to_coordinates(vectors[..., :3, :])[..., 0].to(raw.dtype) * atom_mask
        return self._read_out(raw, nodes, pairs)

    def _embed(
        self,
        batch: MolBatch,
        anchor: Tensor,
        scale: Tensor,
        scaled: Tensor,
        context: Tensor,
        previous: MolPrediction | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the initial nodes (B, N, D), vectors (B, N, M, V) and pairs (B, N, N, E)."""
        dtype, n = anchor.dtype, anchor.shape[1]
        one_hot = {
            field: nn.functional.one_hot(getattr(batch, field), count).to(dtype)
            for field, count in self.classes.items()
        }
        if previous is None:
            believed = {field: torch.zeros_like(value) for field, value in one_hot.items()}
            step, radial = (
                torch.zeros_like(anchor),
                self.geometry.radial(torch.zeros_like(one_hot["bond_type"][..., 0])) * 0,
            )
        else:
            believed = {field: torch.softmax(getattr(previous, field).to(dtype), dim=-1) for field in self.classes}
            step = (previous.pos - anchor) / scale
            difference = previous.pos[:, None] - previous.pos[:, :, None]
            radial = self.geometry.radial(torch.sqrt((difference**2).sum(-1) + 1e-6))
        atoms = [one_hot["atom_type"], one_hot["charge"], believed["atom_type"], believed["charge"]]
        nodes = self.embed_nodes(torch.cat([*atoms, context[:, None].expand(-1, n, -1)], dim=-1))
        pairs = self.embed_pairs(torch.cat([one_hot["bond_type"], believed["bond_type"], radial], dim=-1))
        vectors = self.embed_vectors(torch.stack([scaled, step], dim=-1) * batch.mask[..., None, None])
        if self.l_max > 1:
            vectors = nn.functional.pad(vectors, (0, 0, 0, 5))
        # contiguous, as between layers: a compiler takes a view for another kind of input
        return nodes.to(dtype), vectors.to(dtype).contiguous(), pairs.to(dtype)

    def _read_out(self, raw: Tensor, nodes: Tensor, pairs: Tensor) -> MolPrediction:
        """Return F and the logits; bonds are symmetric by construction."""
        atom_type, charge = self.read_nodes(nodes).split([self.classes["atom_type"], self.classes["charge"]], dim=-1)
        ends = self.pair_from_nodes(nodes)
        symmetric = pairs + pairs.transpose(1, 2) + ends[:, :, None] + ends[:, None]
        bond_type = self.read_pairs(symmetric)
        # sums in another order round differently: the mean of both directions is symmetric to the last bit
        bond_type = 0.5 * (bond_type + bond_type.transpose(1, 2))
        return MolPrediction(raw, atom_type.to(raw.dtype), charge.to(raw.dtype), bond_type.to(raw.dtype))
