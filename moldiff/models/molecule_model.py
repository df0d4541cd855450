"""A whole generative model: denoiser, noise, vocabulary and statistics, built from a configuration or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from moldiff.config import CurveConfig, NetworkConfig, validate
from moldiff.datasets.statistics import DatasetStatistics
from moldiff.diffusion.joint import CATEGORIES, JointDiffusion
from moldiff.diffusion.preconditioning import PreconditionedDenoiser
from moldiff.diffusion.schedule import NoiseCurve
from moldiff.errors import MoldiffError
from moldiff.models.folder import DENOISER, ModelFolder
from moldiff.nn.network import EquivariantNetwork
from moldiff.vocabulary import Vocabulary

_LIMIT_FLOOR = 1e-3  # share of the uniform distribution in the limit, so that no class has probability zero
_SIZE_EXPONENT = 0.4  # growth of sigma_data with n outside the sizes seen


@dataclass(frozen=True)
class MoleculeModel:
    """Everything that sampling and scoring need.

    Attributes:
        denoiser: `PreconditionedDenoiser` in evaluation mode on its device.
        diffusion: the joint noise process.
        curve: noise levels along t.
        vocabulary: class labels.
        statistics: sizes, marginals and properties of the training split.
        conditions: names of the properties that the denoiser's condition holds, in order.
        network_config, curve_config: what the first three were built from.
    """

    denoiser: PreconditionedDenoiser
    diffusion: JointDiffusion
    curve: NoiseCurve
    vocabulary: Vocabulary
    statistics: DatasetStatistics
    conditions: tuple[str, ...]
    network_config: NetworkConfig
    curve_config: CurveConfig

    @classmethod
    def build(
        cls,
        network_config: NetworkConfig,
        curve_config: CurveConfig,
        vocabulary: Vocabulary,
        statistics: DatasetStatistics,
        conditions: Sequence[str],
    ) -> MoleculeModel:
        """Build a model with fresh weights (drawn from torch's global generator); KeyError for an unknown condition."""
        known = [statistics.properties[name] for name in conditions]
        network = EquivariantNetwork(
            network_config,
            vocabulary.sizes,
            torch.tensor([row.mean for row in known], dtype=torch.float32),
            torch.tensor([row.std for row in known], dtype=torch.float32),
        )
        position_std = position_std_table(statistics.position_std)
        return cls(
            denoiser=PreconditionedDenoiser(network, position_std),
            diffusion=JointDiffusion(limit_distributions(statistics.marginals), position_std),
            curve=curve_from_config(curve_config),
            vocabulary=vocabulary,
            statistics=statistics,
            conditions=tuple(conditions),
            network_config=network_config,
            curve_config=curve_config,
        )

    @classmethod
    def from_folder(
        cls, folder: ModelFolder, device: torch.device | str = "cpu", precision: torch.dtype = torch.float32
    ) -> MoleculeModel:
        """Build the model that a checked model folder describes; MoldiffError if its configuration does not fit.

        Args:
            folder: the model folder.
            device: to put it on.
            precision: number type of the network's matrix products, see `moldiff.devices.resolve_precision`.
        """
        config = folder.config
        if folder.kind != DENOISER:
            raise MoldiffError(
                f"{folder.path} is a {folder.kind} network, which generates no molecules; it guides a model that does: "
                f"--property-model {folder.path}"
            )
        try:
            model = cls.build(
                validate(NetworkConfig, config["network"], str(folder.path)),
                validate(CurveConfig, config["curve"], str(folder.path)),
                Vocabulary.from_json(config["vocabulary"]),
                DatasetStatistics.from_json(config["statistics"]),
                config["conditions"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MoldiffError(f"{folder.path}: config.json does not describe a moldiff model ({error})") from error
        load_weights(model.denoiser, folder.weights, str(folder.path))
        model.denoiser.to(device).eval().requires_grad_(False)
        model.denoiser.precision = precision
        return model

    def config_json(self) -> dict[str, Any]:
        """Return the plain configuration that `from_folder` reads."""
        return {
            "network": self.network_config.model_dump(),
            "curve": self.curve_config.model_dump(),
            "vocabulary": self.vocabulary.to_json(),
            "statistics": self.statistics.to_json(),
            "conditions": list(self.conditions),
        }


def load_weights(module: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load weights by name; MoldiffError names the first tensor that is missing, unknown or of another shape."""
    own = module.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        if name not in weights:
            raise MoldiffError(f"{source}: weight '{name}' is missing; the weights belong to another network")
        if name not in own:
            raise MoldiffError(f"{source}: unknown weight '{name}'; the weights belong to another network")
        if own[name].shape != weights[name].shape:
            raise MoldiffError(
                f"{source}: weight '{name}' has shape {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
            )
    module.load_state_dict(weights)


def curve_from_config(config: CurveConfig) -> NoiseCurve:
    """Return the noise curve that a configuration describes."""
    exponents = {field: getattr(config, f"exponent_{field}") for field in ("pos", *CATEGORIES)}
    return NoiseCurve(config.sigma_min, config.sigma_max, config.abar_end, exponents)


def limit_distributions(marginals: dict[str, list[float]]) -> dict[str, Tensor]:
    """Return the limit distribution of each categorical field: its marginal, mixed with a little of the uniform one."""
    limits = {}
    for field in CATEGORIES:
        marginal = torch.tensor(marginals[field], dtype=torch.float64)
        limits[field] = (1 - _LIMIT_FLOOR) * marginal / marginal.sum() + _LIMIT_FLOOR / len(marginal)
    return limits


def position_std_table(position_std: dict[int, float]) -> Tensor:
    """Return sigma_data for n = 0 .. 4 n_max (angstrom): interpolated between sizes seen, n^0.4 beyond them."""
    if not position_std:
        raise ValueError("the statistics hold no molecule of more than one atom")
    sizes = np.array(sorted(position_std))
    n = np.arange(4 * int(sizes[-1]) + 1)
    inside = np.interp(n, sizes, [position_std[size] for size in sizes])
    return torch.from_numpy(inside * (np.maximum(n, 1) / np.clip(n, sizes[0], sizes[-1])) ** _SIZE_EXPONENT).float()
