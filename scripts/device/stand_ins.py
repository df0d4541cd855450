"""Stand-ins for packages that a machine with a card may lack: pydantic, PyYAML and PyTorch Lightning.

What `scripts.device_check` measures needs nothing of them but names: sections of a configuration are plain objects
whose values nobody checks, YAML is not read, and a Lightning module is a module of PyTorch. For that script alone, and
only where a package is missing.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from collections.abc import Callable
from types import ModuleType
from typing import Any


class PlainSection:
    """A section of a configuration, its values taken as they are.

    Args:
        values: those that differ from the class's own; a dictionary where a section stands becomes one like it.
    """

    def __init__(self, **values: Any) -> None:
        if unknown := values.keys() - self._names():
            raise TypeError(f"unknown keys: {', '.join(sorted(unknown))}")
        self.model_fields_set = set(values)
        for name in self._names():
            default = getattr(type(self), name, None)
            value = values.get(name, default)
            if isinstance(default, PlainSection) and isinstance(value, dict):
                value = type(default)(**value)
            setattr(self, name, value)

    @classmethod
    def _names(cls) -> list[str]:
        """Return the keys, those of base classes first."""
        return [name for base in reversed(cls.__mro__) for name in vars(base).get("__annotations__", {})]

    @classmethod
    def model_validate(cls, values: dict[str, Any]) -> PlainSection:
        """Return a section of plain values."""
        return cls(**values)

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """Return plain values."""
        found = {name: getattr(self, name) for name in self._names()}
        return {k: value.model_dump() if isinstance(value, PlainSection) else value for k, value in found.items()}

    def model_copy(self, *, update: dict[str, Any]) -> PlainSection:
        """Return the section with other values."""
        return type(self)(**{**{name: getattr(self, name) for name in self._names()}, **update})


def _nothing(*_: Any, **__: Any) -> None:
    """Return nothing, whatever is asked."""


def _as_it_is(*_: Any, **__: Any) -> Callable[[Any], Any]:
    """Return a decorator that leaves a function out."""
    return _nothing


def _pydantic() -> dict[str, Any]:
    return {
        "BaseModel": PlainSection,
        "BeforeValidator": _nothing,
        "ConfigDict": dict,
        "Field": _nothing,
        "ValidationError": type("ValidationError", (ValueError,), {}),
        "field_validator": _as_it_is,
        "model_validator": _as_it_is,
    }


def _yaml() -> dict[str, Any]:
    loader = {
        "yaml_constructors": defaultdict(object),
        "yaml_implicit_resolvers": {},
        "add_constructor": staticmethod(_nothing),
        "add_implicit_resolver": staticmethod(_nothing),
    }
    return {"SafeLoader": type("SafeLoader", (), loader), "YAMLError": type("YAMLError", (ValueError,), {})}


def _lightning() -> dict[str, Any]:
    from torch import nn

    return {"LightningModule": nn.Module}


_NAMES: dict[str, Callable[[], dict[str, Any]]] = {
    "pydantic": _pydantic,
    "yaml": _yaml,
    "pytorch_lightning": _lightning,
}


def missing(names: tuple[str, ...]) -> list[str]:
    """Return which packages this Python lacks."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def stand_in() -> list[str]:
    """Put stand-ins where packages are missing; return the packages. Before anything of moldiff is imported."""
    absent = missing(tuple(_NAMES))
    for name in absent:
        module = ModuleType(name)
        vars(module).update(_NAMES[name]())
        sys.modules[name] = module
    return absent
