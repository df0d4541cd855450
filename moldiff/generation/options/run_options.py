"""Options of every run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from moldiff.arguments import check_flag, count
from moldiff.chem.filters.hazards import STANDARD_GATE, HazardGate
from moldiff.errors import MoldiffError
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.sampler_options import ResolvedSampler, SamplerOptions
from moldiff.models.folder import DEFAULT_MODEL
from moldiff.models.loaded import LoadedModel, source_of


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of every run.

    Attributes:
        n: how many molecules; of a run from records, for each.
        model: name, folder, or a loaded model.
        sampler, output: how, and whereto; no output = no files.
        heavy_only: of a model of heavy atoms, what the network made, without hydrogens.
        hazards: what is withheld; of what a model makes, nothing is released.
        workers: processes for chemistry, which one molecule may crash or hold up without harm to others; 0 = none, it
            is done in this process. Results do not depend on it.

    Raises:
        MoldiffError: out of range, of a wrong type, or options that contradict each other.
    """

    n: int
    model: str | Path | LoadedModel = DEFAULT_MODEL
    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    output: OutputOptions | None = None
    heavy_only: bool = False
    hazards: HazardGate = STANDARD_GATE
    workers: int = 0

    def __post_init__(self) -> None:
        count(self.n, "n")
        count(self.workers, "workers", least=0)
        check_flag(self.heavy_only, "heavy_only")
        if self.hazards.released:
            raise MoldiffError("what a model makes cannot be released", argument="release_hazards")

    def record(self, sampler: ResolvedSampler) -> dict[str, object]:
        """Return the options by their public names, the sampler's with nothing left open."""
        output = {} if self.output is None else self.output.record()
        own = {"n": self.n, "model": source_of(self.model), "heavy_only": self.heavy_only}
        return {**own, **sampler.record(), **output, **self.hazards.record()}
