"""What the options of every run have."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.sampler_options import ResolvedSampler, SamplerOptions
from moldiff.models.loaded import LoadedModel


class RunOptions(Protocol):
    """Which model, how to sample, and whereto."""

    @property
    def model(self) -> str | Path | LoadedModel: ...

    @property
    def sampler(self) -> SamplerOptions: ...

    @property
    def output(self) -> OutputOptions | None: ...

    def record(self, sampler: ResolvedSampler) -> dict[str, object]:
        """Return the options by their public names, the sampler's with nothing left open."""
        ...
