"""Training files (YAML) as pydantic models: an unknown key is an error that names the nearest known one.

Also the safe YAML reader, which files of options (`moldiff.cli.option_files`) use too.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from moldiff.errors import MoldiffError, nearest_name

_MAX_BYTES = 1 << 20

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values are not edited after loading, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=Section)


class LayersConfig(Section):
    """Sizes of a stack of equivariant layers (`moldiff.nn.layers`)."""

    layers: Count = 6
    node_width: Count = 192
    pair_width: Count = 64
    pair_hidden: Count = 96
    vectors: Count = 32
    heads: Count = 8
    l_max: Annotated[int, Field(ge=1, le=2)] = 1
    global_width: Count = 128

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> LayersConfig:
        if self.node_width % self.heads:
            raise ValueError(f"heads {self.heads} must divide node_width {self.node_width}")
        return self


class NetworkConfig(LayersConfig):
    """Sizes of the denoising network (`moldiff.nn.network`)."""

    geometry_every: Count = 1


class PropertyNetworkConfig(LayersConfig):
    """Sizes of a property network (`moldiff.nn.property`), which is far smaller than what it guides."""

    layers: Count = 4
    node_width: Count = 96
    pair_width: Count = 32
    pair_hidden: Count = 48
    vectors: Count = 16
    heads: Count = 4
    global_width: Count = 64


class CurveConfig(Section):
    """Noise levels along t (`moldiff.diffusion.schedule.NoiseCurve`)."""

    sigma_min: Positive = 0.01
    sigma_max: Positive = 25.0
    abar_end: Annotated[float, Field(gt=0, lt=0.5)] = 1e-4
    exponent_pos: Positive = 1.65
    exponent_atom_type: Positive = 1.0
    exponent_charge: Positive = 1.0
    exponent_bond_type: Positive = 1.3


class DensityConfig(Section):
    """Where training falls on the curve (`moldiff.diffusion.schedule.TrainingDensity`)."""

    lognormal_share: Share = 0.65
    sigma_median: Positive = 0.3
    sigma_spread: Positive = 1.2
    independent_share: Share = 0.22
    clean_graph_share: Share = 0.33


class LossConfig(Section):
    """Weights of the four fields' losses."""

    pos: Positive = 1.0
    atom_type: Positive = 0.5
    charge: Positive = 0.5
    bond_type: Positive = 2.0


class OptimizerConfig(Section):
    """Optimiser, learning rate (warm-up, stable, decay), EMA and guards."""

    learning_rate: Positive = 1.2e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 500
    decay_steps: Annotated[int, Field(ge=0)] = 0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    gradient_clip: Positive = 1.0
    ema: Annotated[float, Field(gt=0, lt=1)] = 0.999
    muon_learning_rate: Annotated[float, Field(ge=0)] = 0.0


class PaceConfig(Section):
    """Length and pace of a training run."""

    steps: Count = 100_000
    batch_size: Count = 48
    seed: Annotated[int, Field(ge=0)] = 0
    bf16: bool = True
    log_every: Count = 50
    validate_every: Count = 2000
    validation_molecules: Count = 1024
    checkpoint_every: Count = 1000
    device: str = "auto"
    devices: Count = 1
    threads: Annotated[int, Field(ge=0)] = 0


class TrainingConfig(PaceConfig):
    """The same of a denoiser, and what it is shown."""

    self_conditioning: Share = 0.5
    self_conditioning_gap: Share = 0.1
    property_dropout: Share = 0.5
    unconditional_share: Share = 0.5


class OwnDrawsConfig(Section):
    """Training on what the model itself draws (`moldiff.training.on_policy.states`)."""

    share: Share = 0.0
    draws: Count = 6000
    evaluations: Annotated[tuple[Annotated[int, Field(ge=3)], ...], Field(min_length=1)] = (20,)
    states: Count = 8
    calibrate: Annotated[float, Field(ge=0)] = 1.0
    teacher: str | None = None
    teacher_start: Annotated[float, Field(gt=0, le=1)] = 0.2
    teacher_evaluations: Annotated[int, Field(ge=3)] = 20


class RunConfig(Section):
    """What every training file holds: data folder, output folder and the sections that all share."""

    data: Path
    output: Path
    density: DensityConfig = DensityConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: PaceConfig = PaceConfig()


class TrainConfig(RunConfig):
    """A training file of a model that generates molecules."""

    kind: Literal["denoiser"] = "denoiser"
    conditions: tuple[str, ...] = ()
    init_from: str | None = None
    network: NetworkConfig = NetworkConfig()
    curve: CurveConfig = CurveConfig()
    loss: LossConfig = LossConfig()
    own_draws: OwnDrawsConfig = OwnDrawsConfig()
    training: TrainingConfig = TrainingConfig()


class PropertyTrainConfig(RunConfig):
    """A training file of a property network, which guides the model ``for_model``."""

    kind: Literal["property"]
    for_model: str
    properties: Annotated[tuple[str, ...], Field(min_length=1)]
    network: PropertyNetworkConfig = PropertyNetworkConfig()


_KINDS: dict[str, type[TrainConfig] | type[PropertyTrainConfig]] = {
    "denoiser": TrainConfig,
    "property": PropertyTrainConfig,
}


def load_config(path: Path, overrides: list[str]) -> TrainConfig:
    """Read the training file of a model that generates molecules; see `load_training`."""
    config = load_training(path, overrides)
    if not isinstance(config, TrainConfig):
        raise MoldiffError(f"config {path} trains no model that generates molecules (kind: {config.kind})")
    return config


def load_training(path: Path, overrides: list[str]) -> TrainConfig | PropertyTrainConfig:
    """Read a training file of the kind that its key ``kind`` names, and apply ``key=value`` overrides (dotted keys,
    YAML values).

    Raises:
        MoldiffError: unreadable or unsafe YAML, unknown key (names the nearest), value of a wrong type or range.
    """
    values = read_mapping(path)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise MoldiffError(f"--set {override!r} must look like key=value, for example training.steps=1000")
        _set(values, key.strip(), _parse_yaml(text, f"--set {key}"), override)
    kind = str(values.get("kind", "denoiser"))
    if kind not in _KINDS:
        raise MoldiffError(f"{path}: unknown kind '{kind}'{nearest_name(kind, _KINDS)}; known are {', '.join(_KINDS)}")
    return validate(_KINDS[kind], values, str(path))


def read_mapping(path: Path) -> dict[Any, Any]:
    """Return the keys and values of a YAML file; MoldiffError if it cannot be read, is unsafe, or holds none."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise MoldiffError(f"config {path} cannot be read: {error.strerror or error}") from error
    if len(raw) > _MAX_BYTES:
        raise MoldiffError(f"config {path} is larger than 1 MiB; that is not a config file")
    values = _parse_yaml(raw.decode("utf-8", errors="replace"), str(path))
    if not isinstance(values, dict):
        found = "it is empty" if values is None else f"not {type(values).__name__}"
        raise MoldiffError(f"config {path} must hold keys and values, {found}")
    return values


def validate(model: type[S], values: dict[str, Any], source: str) -> S:
    """Build a section from plain values; every problem becomes one MoldiffError line that names the key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        location = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known_keys(model)
            raise MoldiffError(f"{source}: unknown key '{location}'{nearest_name(location, known)}") from error
        if problem["type"] == "value_error":  # raised by a section about several of its keys
            raise MoldiffError(f"{source}: {location}: {problem['ctx']['error']}") from error
        raise MoldiffError(f"{source}: {location}: {problem['msg'].lower()} (got {problem['input']!r})") from error


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return every dotted key of a config model."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _known_keys(field.annotation, f"{prefix}{name}.")
    return keys


def _set(values: dict[str, Any], dotted: str, value: object, override: str) -> None:
    """Set a dotted key in nested dictionaries."""
    *parents, last = dotted.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise MoldiffError(f"--set {override!r}: '{parent}' is a value, not a section")
    values[last] = value


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number, NO is text, duplicate keys and aliases are errors."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"key '{key}' stands twice")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:float", "tag:yaml.org,2002:bool")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$"),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false|True|False)$"), list("tTfF"))


def _parse_yaml(text: str, source: str) -> Any:
    """Parse YAML safely; MoldiffError in one line."""
    try:
        value = _Loader(text).get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MoldiffError(f"{source} is not valid YAML: {reason[:200]}") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise MoldiffError(f"{source}: numbers must be finite")
    return value
