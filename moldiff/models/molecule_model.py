"""A whole generative model: denoiser, noise, vocabulary and statistics, built from a configuration or a folder."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moldiff.config import DEFAULT_SAMPLING, CurveConfig, NetworkConfig, SamplingConfig
from moldiff.datasets.statistics import DatasetStatistics
from moldiff.diffusion.joint import CATEGORIES, JointDiffusion
from moldiff.diffusion.preconditioning import PreconditionedDenoiser
from moldiff.diffusion.schedule import NoiseSchedule
from moldiff.errors import MoldiffError
from moldiff.models.building import Description, described, with_weights
from moldiff.models.folder import DENOISER, ModelFolder
from moldiff.nn.feedback import PropertyFeedback
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
        schedule: noise levels along t.
        vocabulary: class labels.
        statistics: sizes, marginals and properties of the training split.
        conditions: names of the properties that the denoiser's condition holds, in order.
        network_config, curve_config: what the first three were built from.
        sampling: defaults of sampling with it.
    """

    denoiser: PreconditionedDenoiser
    diffusion: JointDiffusion
    schedule: NoiseSchedule
    vocabulary: Vocabulary
    statistics: DatasetStatistics
    conditions: tuple[str, ...]
    network_config: NetworkConfig
    curve_config: CurveConfig
    sampling: SamplingConfig = DEFAULT_SAMPLING

    @classmethod
    def build(
        cls,
        network_config: NetworkConfig,
        curve_config: CurveConfig,
        vocabulary: Vocabulary,
        statistics: DatasetStatistics,
        conditions: Sequence[str],
        sampling: SamplingConfig = DEFAULT_SAMPLING,
    ) -> MoleculeModel:
        """Build a model with fresh weights (drawn from torch's global generator); KeyError for an unknown condition."""
        said = Description(network_config, curve_config, vocabulary, statistics, tuple(conditions), sampling)
        return cls._of(said, _denoiser(said))

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
        if folder.kind != DENOISER:
            raise MoldiffError(
                f"{folder.path} is a {folder.kind} network, which generates no molecules; it guides a model that does: "
                f"property_model {shlex.quote(str(folder.path))}",
                argument="property_model",
            )
        said = described(folder, NetworkConfig, "conditions")
        model = cls._of(said, with_weights(lambda: _denoiser(said), folder, device))
        model.denoiser.precision = precision
        return model

    @classmethod
    def _of(cls, said: Description[NetworkConfig], denoiser: PreconditionedDenoiser) -> MoleculeModel:
        return cls(
            denoiser=denoiser,
            # its tables too: what is copied from main memory within a step cannot be captured as a CUDA graph
            diffusion=diffusion_of(said.statistics, said.sampling.temperature).to(next(denoiser.parameters()).device),
            schedule=schedule_from_config(said.curve),
            vocabulary=said.vocabulary,
            statistics=said.statistics,
            conditions=said.names,
            network_config=said.network,
            curve_config=said.curve,
            sampling=said.sampling,
        )

    def at_temperature(self, temperature: float) -> MoleculeModel:
        """Return the model with categories drawn at another temperature, see `JointDiffusion`."""
        if temperature == self.diffusion.temperature:
            return self
        return replace(self, diffusion=self.diffusion.at_temperature(temperature))

    @property
    def device(self) -> torch.device:
        """Device of the denoiser."""
        return next(self.denoiser.parameters()).device

    def config_json(self) -> dict[str, Any]:
        """Return the plain configuration that `from_folder` reads."""
        return {
            "network": self.network_config.model_dump(),
            "curve": self.curve_config.model_dump(),
            "vocabulary": self.vocabulary.to_json(),
            "statistics": self.statistics.to_json(),
            "conditions": list(self.conditions),
            "sampling": self.sampling.model_dump(),
        }


def _denoiser(said: Description[NetworkConfig]) -> PreconditionedDenoiser:
    """Return a denoiser with fresh weights."""
    classes, position_std = said.vocabulary.sizes, position_std_table(said.statistics.position_std)
    network = EquivariantNetwork(said.network, classes, *property_scales(said.statistics, said.names))
    config = said.network.feedback
    if config is None:
        return PreconditionedDenoiser(network, position_std)
    columns = [said.names.index(name) for name in config.properties]
    scales = property_scales(said.statistics, config.properties)
    feedback = PropertyFeedback(said.network, config, classes, columns, *scales)
    return PreconditionedDenoiser(network, position_std, feedback)


def property_scales(statistics: DatasetStatistics, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return means and standard deviations of properties, natural units."""
    known = [statistics.properties[name] for name in names]
    mean, std = torch.tensor([[row.mean for row in known], [row.std for row in known]], dtype=torch.float32)
    return mean, std


def diffusion_of(statistics: DatasetStatistics, temperature: float = 1.0) -> JointDiffusion:
    """Return the noise process of data with these statistics; ``temperature``: see `JointDiffusion`."""
    limits = limit_distributions(statistics.marginals)
    return JointDiffusion(limits, position_std_table(statistics.position_std), temperature)


def schedule_from_config(config: CurveConfig) -> NoiseSchedule:
    """Return the noise schedule that a configuration describes."""
    exponents = {field: getattr(config, f"exponent_{field}") for field in ("pos", *CATEGORIES)}
    return NoiseSchedule(config.sigma_min, config.sigma_max, config.abar_end, exponents, config.sigma_reference)


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
