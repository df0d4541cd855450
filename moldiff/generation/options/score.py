"""A score by which molecules are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from moldiff.arguments import number, refusal, whole_number
from moldiff.chem.descriptors.score_functions import Score, ScoreFunction
from moldiff.choices import TargetMethod
from moldiff.errors import MoldiffError, blaming
from moldiff.scoring.named import OF_TARGETS, named_score

DEFAULT_PARTICLES = 16
MOST_PARTICLES = 4096
TARGETS_WEIGHT = 4.0  # of the score "targets", by default


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Molecules are drawn with the weight exp(W score). Build it with `of`.

    Attributes:
        score: of the molecules.
        weight: W; a negative one looks for low scores.
        particles: K, in a group.
    """

    score: Score
    weight: float
    particles: int = DEFAULT_PARTICLES

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise MoldiffError(f"score_weight must be a finite number, not {self.weight}", argument="score_weight")
        if not 2 <= self.particles <= MOST_PARTICLES:
            raise refusal("particles", f"in 2 .. {MOST_PARTICLES}", self.particles)

    @classmethod
    def of(
        cls,
        score: str | ScoreFunction | None,
        weight: float | None,
        particles: int | None = None,
        method: TargetMethod | None = None,
    ) -> ScoreOptions | None:
        """Return what a user's words mean; None if no score is asked for. To meet targets by `TargetMethod.SMC` is the
        score ``targets``.

        Raises:
            MoldiffError: no such score, a number out of range, or one of score and weight without the other.
        """
        if score is not None and not isinstance(score, str) and not callable(score):
            raise refusal("score", "a function or a name", score)
        if method is TargetMethod.SMC:
            if score not in (None, OF_TARGETS.name):
                raise MoldiffError(f"score and target_method {method} do not go together", argument="score")
            score = OF_TARGETS.name
        if score == OF_TARGETS.name and weight is None:
            weight = TARGETS_WEIGHT
        if score is None:
            if weight is None and particles is None:
                return None
            name = "particles" if weight is None else "score_weight"
            raise MoldiffError(f"{name} needs a score, for example qed with a weight of 15", argument=name)
        if weight is None:
            raise MoldiffError(
                "score needs a weight W (score_weight): molecules are drawn with the weight exp(W x score). Start with "
                "about 1 divided by the spread of the score, for example 15 for qed",
                argument="score",
            )
        return cls(
            score=blaming("score")(named_score)(score) if isinstance(score, str) else Score(_name_of(score), score),
            weight=number(weight, "score_weight"),
            particles=DEFAULT_PARTICLES if particles is None else whole_number(particles, "particles"),
        )

    def record(self) -> dict[str, object]:
        """Return the options by their public names."""
        return {"score": self.score.name, "score_weight": self.weight, "particles": self.particles}


def _name_of(function: ScoreFunction) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))
