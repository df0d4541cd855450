"""moldiff: 3D molecules from an E(3)-equivariant diffusion model over coordinates, atom types, charges and bonds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moldiff.version import VERSION as __version__

if TYPE_CHECKING:
    from moldiff.sampling.generate import generate

__all__ = ["__version__", "generate"]


def __getattr__(name: str) -> Any:
    """Import `generate` when it is first asked for: ``import moldiff`` stays fast."""
    if name == "generate":
        from moldiff.sampling.generate import generate

        return generate
    raise AttributeError(f"module 'moldiff' has no attribute '{name}'")
