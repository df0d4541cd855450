"""What is asked of a generation, in one object: built once where the user's words come in, checked as far as that can
be done without the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from moldiff.arguments import check_flag, whole_number
from moldiff.choices import Decoding, Sampler, listed
from moldiff.errors import MoldiffError
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.sampler_options import ResolvedSampler, SamplerOptions
from moldiff.generation.options.score import ScoreOptions
from moldiff.generation.options.steering_options import SteeringOptions
from moldiff.generation.renoise import MAX_ATTEMPTS
from moldiff.models.folder import DEFAULT_MODEL
from moldiff.models.loaded import LoadedModel, source_of
from moldiff.sampling.solvers import SOLVERS


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """What is asked for; see `moldiff.generation.generate.generate` for the meaning of each field.

    Attributes:
        n: draws, or with ``until_valid`` valid molecules.
        model: name, folder, or a loaded model.
        decode, renoise: what becomes of a molecule that is not valid.
        sampler, steering, score, output: how, what, by which weight and whereto; no output = no files.

    Raises:
        MoldiffError: out of range, of a wrong type, or options that contradict each other.
    """

    n: int
    until_valid: bool = False
    model: str | Path | LoadedModel = DEFAULT_MODEL
    decode: Decoding = Decoding.ARGMAX
    renoise: int = 0
    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    steering: SteeringOptions = field(default_factory=SteeringOptions)
    score: ScoreOptions | None = None
    output: OutputOptions | None = None

    def __post_init__(self) -> None:
        check_number(self.n)
        check_flag(self.until_valid, "until_valid")
        if not 0 <= whole_number(self.renoise, "renoise") <= MAX_ATTEMPTS:
            raise MoldiffError(f"renoise must be in 0 .. {MAX_ATTEMPTS}, not {self.renoise}", argument="renoise")
        if self.score is not None:
            self._check_score()

    def _check_score(self) -> None:
        if self.sampler.sampler is not None:
            check_stochastic(self.sampler.sampler)
        if self.steering.property_model is not None:
            raise MoldiffError(
                "score and the gradient of a property network (property_model) do not go together; "
                "network:FOLDER:name=2.5 as a score goes by such a network",
                argument="score",
            )
        if self.renoise:
            raise MoldiffError(
                "score and renoise do not go together: what fails has weight zero as it is", argument="score"
            )
        if self.output is not None and self.output.trajectories:
            raise MoldiffError(
                "score and trajectory do not go together: a molecule's way leads through several draws",
                argument="score",
            )

    def record(self, sampler: ResolvedSampler) -> dict[str, object]:
        """Return the options by their public names, the sampler's with nothing left open."""
        own = {
            "n": self.n,
            "until_valid": self.until_valid,
            "model": source_of(self.model),
            "decode": str(self.decode),
            "renoise": self.renoise,
        }
        groups = (sampler, self.steering, self.score, self.output)
        return own | {name: value for group in groups if group is not None for name, value in group.record().items()}


def check_number(n: int) -> None:
    """Raise MoldiffError unless a number of molecules is one."""
    if whole_number(n, "n") < 1:
        raise MoldiffError(f"n must be at least 1, not {n}", argument="n")


def check_stochastic(sampler: Sampler) -> None:
    """Raise MoldiffError for a sampler that does not go with a score."""
    if not SOLVERS[sampler].is_stochastic:
        able = listed(name for name, solver in SOLVERS.items() if solver.is_stochastic)
        raise MoldiffError(
            f"sampler {sampler} is deterministic: copies of a molecule would stay alike; a score works with {able}",
            argument="sampler",
        )
