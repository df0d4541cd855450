"""Sections of a configuration: checked values, one line for whatever is wrong, and the YAML files that hold them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from moldiff.errors import MoldiffError, nearest_name

_IN_THE_WHEEL = Path(__file__).with_name("configs")
CONFIGS = _IN_THE_WHEEL if _IN_THE_WHEEL.is_dir() else Path(__file__).parents[1] / "configs"
"""Folder of the files that come with the package: a copy in the wheel, or that of the source tree."""
_MAX_BYTES = 1 << 20


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values are not edited after loading, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=Section)


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


def packaged(path: Path) -> Path:
    """Return a path, or where the package has a file of that name, if there is none under the path."""
    ours = CONFIGS / (path.name if path.suffix else f"{path.name}.yaml")
    elsewhere = path.parent not in (Path(), Path(CONFIGS.name))
    return path if elsewhere or path.exists() or not ours.is_file() else ours


def read_mapping(path: Path) -> dict[Any, Any]:
    """Return the keys and values of a YAML file; MoldiffError if it cannot be read, is unsafe, or holds none.

    A file that is not there, but comes with the package, is read from there: "configs/qm9.yaml" or "qm9".
    """
    path = packaged(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise MoldiffError(f"config {path} cannot be read: {error.strerror or error}") from error
    if len(raw) > _MAX_BYTES:
        raise MoldiffError(f"config {path} is larger than 1 MiB; that is not a config file")
    values = parse_yaml(raw.decode("utf-8", errors="replace"), str(path))
    if not isinstance(values, dict):
        found = "it is empty" if values is None else f"not {type(values).__name__}"
        raise MoldiffError(f"config {path} must hold keys and values, {found}")
    return values


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


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML safely; MoldiffError in one line."""
    try:
        value = _Loader(text).get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MoldiffError(f"{source} is not valid YAML: {reason[:200]}") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise MoldiffError(f"{source}: numbers must be finite")
    return value
