"""A model at hand: its folder, the network on its device, its references, how it is sampled, and its scales."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

import torch

from moldiff.arguments import path_text
from moldiff.config import SamplingConfig
from moldiff.devices import (
    DEFAULT_PRECISION,
    device_name,
    is_on,
    name_of,
    precision_name,
    resolve_device,
    resolve_precision,
    whatever_the_default,
)
from moldiff.errors import MoldiffError, blaming
from moldiff.models.folder import ModelFolder, load_model_folder, pretrained_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.property_model import PropertyModel
from moldiff.models.references import References
from moldiff.threads import SINGLE

M = TypeVar("M", MoleculeModel, PropertyModel)


@dataclass(frozen=True)
class Scales:
    """Scales of the data that a network was trained on; see `CurveConfig` and `LayersConfig`."""

    sigma_reference: float
    typical_atoms: float
    size_unit: float


@dataclass(frozen=True)
class Loaded(Generic[M]):
    """A network from a model folder.

    Attributes:
        folder: the checked folder.
        model: the network on its device, in evaluation mode, with its noise, classes and statistics.
    """

    folder: ModelFolder
    model: M

    @property
    def name(self) -> str:
        """The folder's own name; of a built-in model, the name it is asked for by."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    @property
    def source(self) -> str:
        """The text that loads it again: the name of a built-in model, else the folder."""
        return self.name if self.path.parent == pretrained_folder() else str(self.path)

    @property
    def sha256(self) -> str:
        """Names the whole folder."""
        return self.folder.sha256

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self.model.device

    @cached_property
    def references(self) -> References:
        """Reference tensors beside the weights; each part is read when it is first asked for."""
        return References(self.folder.references, str(self.path))

    @property
    def scales(self) -> Scales:
        """Scales of the data."""
        network, curve = self.model.network_config, self.model.curve_config
        return Scales(curve.sigma_reference, network.typical_atoms, network.size_unit)


@dataclass(frozen=True)
class LoadedModel(Loaded[MoleculeModel]):
    """A model that generates molecules, at hand."""

    @property
    def precision(self) -> torch.dtype:
        """Number type of the network's matrix products."""
        return self.model.denoiser.precision

    def in_precision(self, precision: torch.dtype) -> LoadedModel:
        """Return this model, or the same from the same checked folder in another number type."""
        if precision == self.precision:
            return self
        return LoadedModel(self.folder, MoleculeModel.from_folder(self.folder, self.device, precision))

    @property
    def sampling(self) -> SamplingConfig:
        """Method of sampling where a user does not say."""
        return self.model.sampling


@dataclass(frozen=True)
class LoadedPropertyModel(Loaded[PropertyModel]):
    """A property network, at hand."""


@whatever_the_default
@blaming("model", "device", "precision")
def load_model(
    name_or_folder: str | Path, *, device: str | torch.device = "auto", precision: str | torch.dtype = DEFAULT_PRECISION
) -> LoadedModel:
    """Load a model that generates molecules.

    Args:
        name_or_folder: name of a built-in model, or a model folder.
        device: auto, cpu, cuda or cuda:<number>, or PyTorch's own.
        precision: number type of the network's matrix products, see `moldiff.devices.resolve_precision`.

    Raises:
        MoldiffError: no such model, a damaged one, a property network, or no such device.
    """
    place = resolve_device(device)
    number_type = resolve_precision(precision, place)
    path_text(name_or_folder, "model")
    folder = load_model_folder(name_or_folder)
    with SINGLE:  # as where the weights are read
        return LoadedModel(folder, MoleculeModel.from_folder(folder, place, number_type))


def at_hand(
    model: str | Path | LoadedModel,
    *,
    device: str | torch.device = "auto",
    precision: str | torch.dtype = DEFAULT_PRECISION,
) -> LoadedModel:
    """Return a model that may be loaded already; arguments and errors as for `load_model`.

    Raises:
        MoldiffError: also for a loaded one that is asked for on another device or in another precision than it has.
    """
    if not isinstance(model, LoadedModel):
        return load_model(model, device=device, precision=precision)
    if device_name(device) != "auto" and not is_on(model.device, resolve_device(device)):
        raise MoldiffError(f"device {device}: the model is on {model.device}; load it there", argument="device")
    wanted = precision_name(precision)
    if wanted != DEFAULT_PRECISION and resolve_precision(wanted, model.device) != model.precision:
        raise MoldiffError(
            f"precision {wanted}: the model is loaded in {name_of(model.precision)}; load it in the other one",
            argument="precision",
        )
    return model


def source_of(model: str | Path | LoadedModel) -> str:
    """Return the name or folder of a model that may be loaded already."""
    return model.source if isinstance(model, LoadedModel) else str(model)


@whatever_the_default
def load_property_model(name_or_folder: str | Path, *, device: str | torch.device = "auto") -> LoadedPropertyModel:
    """Load a property network; arguments and errors as for `load_model`."""
    place = resolve_device(device)
    path_text(name_or_folder, "property_model")
    folder = load_model_folder(name_or_folder)
    return LoadedPropertyModel(folder, PropertyModel.from_folder(folder, place))
