"""Networks with all that they need to be used: the folder on disk, the denoiser, the property network."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moldiff.models.loaded import LoadedModel, LoadedPropertyModel, load_model, load_property_model

__all__ = ["LoadedModel", "LoadedPropertyModel", "load_model", "load_property_model"]


def __getattr__(name: str) -> Any:
    """Import PyTorch only when a model is asked for."""
    if name in __all__:
        return getattr(import_module("moldiff.models.loaded"), name)
    raise AttributeError(f"module 'moldiff.models' has no attribute '{name}'")
