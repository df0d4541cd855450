"""Feedback of a denoiser: how far the molecule that it sees is from what is wanted, told to every layer.

A network that is told a wish alone must find out by itself what of it is met already, and hardly learns to: what a
condition saves of its loss is little, at the noise where properties are decided. Here a small property network, which
does not know the wish, estimates them from the noisy molecule. What is missing goes to an adapter, whose output is
added to the features of a trained denoiser, as in adapters of language and image models (Houlsby et al. 2019,
"Parameter-efficient transfer learning for NLP"; Zhang et al. 2023, "Adding conditional control to text-to-image
diffusion models").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moldiff.config import FeedbackConfig, LayersConfig
from moldiff.molecules import FeatureShifts, MolBatch, PropertyPrediction, SoftBatch
from moldiff.nn.embedding import tempered
from moldiff.nn.linear import Linear
from moldiff.nn.property import PropertyNetwork

_FACTS = 6  # of each property
_LOG_VARIANCES = (-9.0, 4.5)  # an estimate that is surer is not told to be


class PropertyFeedback(nn.Module):
    """An estimator of properties and an adapter, for the network of a denoiser.

    Args:
        network: sizes of the denoiser's network.
        config: sizes of the feedback, and its P properties.
        classes: number of classes of "atom_type", "charge", "bond_type".
        columns: place of each property in the denoiser's condition.
        property_mean, property_std: (P,) statistics that the estimator's properties are standardised by, natural units.
    """

    property_mean: Tensor
    property_std: Tensor

    def __init__(
        self,
        network: LayersConfig,
        config: FeedbackConfig,
        classes: dict[str, int],
        columns: Sequence[int],
        property_mean: Tensor,
        property_std: Tensor,
    ) -> None:
        super().__init__()
        self.classes, self.columns = classes, list(columns)
        self.register_buffer("property_mean", property_mean.float())
        self.register_buffer("property_std", property_std.float())
        self.estimator = PropertyNetwork(config.estimator, classes, len(config.properties))
        self.adapter = Adapter(network, config)

    def forward(
        self, batch: MolBatch, anchor: Tensor, scaled: Tensor, levels: Tensor, condition: Tensor
    ) -> FeatureShifts:
        """Return what to add; zero in molecules of which none of the properties is wanted.

        Args:
            batch, anchor, scaled, levels: as for `moldiff.diffusion.preconditioning.RawNetwork`.
            condition: (B, C) natural units, NaN = not wanted.
        """
        with torch.no_grad():  # the likelihood of the properties alone teaches the estimator
            soft = SoftBatch.of(batch, self.classes)
            features = self.estimator.features(soft, anchor, scaled, levels)
            estimate = self.estimator.read_out(features, soft)
        facts, wanted = self._facts(condition, estimate)
        shifts = self.adapter(facts, features.context, features.nodes)
        any_wanted = wanted.any(1)
        return FeatureShifts(
            torch.where(any_wanted[:, None, None], shifts.context, 0.0),
            torch.where((any_wanted[:, None] & batch.mask)[..., None], shifts.nodes, 0.0),
        )

    def _facts(self, condition: Tensor, estimate: PropertyPrediction) -> tuple[Tensor, Tensor]:
        """Return (B, 6 P) what is known of a wish and its fulfilment, zero where nothing is wanted, and (B, P) whether
        something is."""
        wish = torch.stack([condition[:, column] for column in self.columns], dim=1)
        wanted = torch.isfinite(wish)
        dtype = estimate.mean.dtype
        standard = (wish.to(dtype) - self.property_mean.to(dtype)) / self.property_std.to(dtype)
        # the wish is masked before it meets any weight, so NaN never spreads
        standard = torch.where(wanted, tempered(standard), torch.zeros_like(standard))
        log_spread = 0.5 * estimate.log_variance.clamp(*_LOG_VARIANCES)
        missing = standard - estimate.mean
        told = [
            torch.ones_like(standard), standard, estimate.mean, log_spread,
            tempered(missing), tempered(missing * torch.exp(-log_spread)),
        ]  # fmt: skip
        return torch.cat([torch.where(wanted, fact, torch.zeros_like(fact)) for fact in told], dim=-1), wanted


class Adapter(nn.Module):
    """From what is missing to what is added: at first nothing, so that the denoiser is as it was.

    Args:
        network: sizes of the denoiser's network.
        config: sizes of the feedback, and its P properties.
    """

    def __init__(self, network: LayersConfig, config: FeedbackConfig) -> None:
        super().__init__()
        width, estimator = config.width, config.estimator
        self.layers = network.layers
        self.facts = nn.Sequential(
            Linear(_FACTS * len(config.properties) + estimator.global_width, width),
            nn.SiLU(),
            Linear(width, width),
            nn.SiLU(),
        )
        self.context = Linear(width, network.layers * network.global_width)
        self.atoms = nn.Sequential(nn.LayerNorm(estimator.node_width), Linear(estimator.node_width, width))
        self.missing = Linear(width, width)
        self.nodes = Linear(width, network.node_width)
        for linear in (self.context, self.nodes):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, facts: Tensor, context: Tensor, nodes: Tensor) -> FeatureShifts:
        """Return what to add, from facts (B, 6 P) and the estimator's context (B, G') and nodes (B, N, D')."""
        hidden = self.facts(torch.cat([facts, context.to(facts.dtype)], dim=-1))
        atoms = nn.functional.silu(self.atoms(nodes) + self.missing(hidden)[:, None])
        shifts = self.context(hidden).unflatten(-1, (self.layers, -1)).to(facts.dtype)
        return FeatureShifts(shifts, self.nodes(atoms).to(facts.dtype))
