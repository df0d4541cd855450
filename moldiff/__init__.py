"""moldiff: 3D molecules from an E(3)-equivariant diffusion model over coordinates, atom types, charges and bonds."""

from __future__ import annotations

from moldiff.version import VERSION as __version__

__all__ = ["__version__"]
