"""moldiff: 3D molecules from an E(3)-equivariant diffusion model over coordinates, atom types, charges and bonds."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from moldiff.version import VERSION as __version__

if TYPE_CHECKING:
    from moldiff.generation.conformers import conformers
    from moldiff.generation.generate import generate
    from moldiff.generation.vary import vary

__all__ = ["__version__", "conformers", "generate", "vary"]

_MODULES = {
    "conformers": "moldiff.generation.conformers",
    "generate": "moldiff.generation.generate",
    "vary": "moldiff.generation.vary",
}


def __getattr__(name: str) -> Any:
    """Import a job when it is first asked for: ``import moldiff`` stays fast."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'moldiff' has no attribute '{name}'")
