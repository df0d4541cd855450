"""A network from a checked model folder: its configuration is read, its shapes compared before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from moldiff.config import DEFAULT_SAMPLING, CurveConfig, LayersConfig, NetworkConfig, SamplingConfig
from moldiff.datasets.statistics import DatasetStatistics
from moldiff.errors import MoldiffError
from moldiff.models.folder import ModelFolder
from moldiff.sections import validate
from moldiff.vocabulary import Vocabulary

N = TypeVar("N", bound=LayersConfig)
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Description(Generic[N]):
    """Parts that a network is built from.

    Attributes:
        network, curve, sampling: sections of the configuration.
        vocabulary, statistics: classes and statistics of the training data.
        names: of the properties that it knows, in the order of its input or output.
    """

    network: N
    curve: CurveConfig
    vocabulary: Vocabulary
    statistics: DatasetStatistics
    names: tuple[str, ...]
    sampling: SamplingConfig = DEFAULT_SAMPLING

    @classmethod
    def read(cls, config: Mapping[str, Any], network: type[N], names: str, source: str) -> Description[N]:
        """Read the configuration of a model folder; keys that it lacks have the values of the first models.

        Args:
            config: plain JSON types.
            network: what its section ``network`` is.
            names: key of the properties' names.
            source: for error messages.

        Raises:
            MoldiffError: in one line, whatever is wrong.
        """
        try:
            found = cls(
                network=validate(network, config["network"], f"{source}: network"),
                curve=validate(CurveConfig, config["curve"], f"{source}: curve"),
                vocabulary=Vocabulary.from_json(config["vocabulary"]),
                statistics=DatasetStatistics.from_json(config["statistics"]),
                names=tuple(config[names]),
                sampling=validate(SamplingConfig, config.get("sampling", {}), f"{source}: sampling"),
            )
            found.check()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MoldiffError(f"{source}: config.json does not describe a moldiff model ({error!r:.200})") from error
        return found

    def check(self) -> None:
        """Raise ValueError or KeyError where the parts do not fit together."""
        for field, size in self.vocabulary.sizes.items():
            if len(self.statistics.marginals[field]) != size:
                raise ValueError(f"{len(self.statistics.marginals[field])} frequencies for {size} classes of {field}")
        if not self.statistics.position_std or min(self.statistics.position_std.values()) <= 0:
            raise ValueError("position_std needs sizes of more than one atom, each with a spread above 0")
        for name in self.names:
            if name not in self.statistics.properties:
                raise KeyError(f"no statistics of '{name}'")
        feedback = self.network.feedback if isinstance(self.network, NetworkConfig) else None
        for name in () if feedback is None else feedback.properties:
            if name not in self.names:
                raise KeyError(f"feedback of '{name}', which is no condition")


def described(folder: ModelFolder, network: type[N], names: str) -> Description[N]:
    """Return what a model folder's configuration says; see `Description.read`."""
    return Description.read(folder.config, network, names, str(folder.path))


class _NothingDrawn(TorchFunctionMode):
    """Leaves tensors as they are that would be filled with random numbers.

    On the meta device there is nothing to fill, but PyTorch does it in Python there, with its compiler and sympy: a
    third of the time in which a command starts.
    """

    _DRAWS = frozenset({Tensor.normal_, Tensor.uniform_})

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return args[0] if func in self._DRAWS else func(*args, **(kwargs or {}))


def with_weights(make: Callable[[], M], folder: ModelFolder, device: torch.device | str) -> M:
    """Return a network with the weights of a folder, for evaluation.

    It is built on the meta device, where it takes neither memory nor random numbers, and compared with the weights
    before these take their places. So a configuration that asks for a giant is refused at once.

    Args:
        make: builds the network.
        folder: whose weights belong to it; they are copied.
        device: to put it on.

    Raises:
        MoldiffError: weights are missing, unknown or of another shape.
    """
    with torch.device("meta"), _NothingDrawn():
        module = make()
    load_weights(module, folder.weights, str(folder.path), assign=True)
    module.to(device).eval().requires_grad_(False)
    return module


def load_weights(module: nn.Module, weights: dict[str, Tensor], source: str, *, assign: bool = False) -> None:
    """Load weights by name; MoldiffError names the first tensor that is missing, unknown or of another shape.

    Args:
        module: that they belong to.
        weights: name -> tensor.
        source: for error messages.
        assign: let copies of the weights take the place of the module's own tensors.
    """
    own = module.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        if name not in weights:
            raise MoldiffError(f"{source}: weight '{name}' is missing; the weights belong to another network")
        if name not in own:
            raise MoldiffError(f"{source}: unknown weight '{name:.80}'; the weights belong to another network")
        if own[name].shape != weights[name].shape:
            raise MoldiffError(
                f"{source}: weight '{name}' has shape {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
            )
    if assign:
        weights = {name: value.clone() for name, value in weights.items()}
    module.load_state_dict(weights, assign=assign)
