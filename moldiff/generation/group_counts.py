"""Groups of particles that were drawn by a score: facts of each, and their sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from moldiff.generation.molecule_result import MoleculeResult
from moldiff.generation.options.score import ScoreOptions
from moldiff.status import Status


@dataclass(frozen=True)
class ScoreResult:
    """Summary of the groups that were drawn.

    Attributes:
        groups: that were made.
        dead: groups without a single scored molecule; their draws stand as they are.
        mean, best: score of the valid molecules, None if there are none. Best is the largest, with W < 0 the smallest.
        score_evaluations: molecules that the score was asked for.
        times: of the stages; 0 = the final molecules.
        effective: mean effective sample size at each, out of K.
        resampled: mean number of times that a group's particles were drawn anew.
        ancestors: mean number of particles at the start that a group's final ones descend from.
    """

    groups: int
    dead: int
    mean: float | None
    best: float | None
    score_evaluations: int
    times: tuple[float, ...]
    effective: tuple[float, ...]
    resampled: float
    ancestors: float

    def line(self, asked: ScoreOptions) -> str:
        """Return the line for the terminal."""
        found = "no scored molecule" if self.mean is None else f"mean {self.mean:.4g}, best {self.best:.4g}"
        dead = f"; {self.dead} of {self.groups} groups without any score" if self.dead else ""
        return (
            f"score {asked.score.name}, weight {asked.weight:g}: {found}; groups of {asked.particles} descend from "
            f"{self.ancestors:.1f} starts on average{dead}; {self.score_evaluations} scores computed"
        )


@dataclass(frozen=True)
class GroupFacts:
    """Facts of one group of particles.

    Attributes:
        effective: effective sample size at each stage.
        resampled: times that particles were drawn anew.
        ancestors: particles at the start that the final ones descend from.
        is_dead: no particle has a score.
        asked: molecules that the score was asked for.
    """

    effective: Sequence[float]
    resampled: int
    ancestors: int
    is_dead: bool
    asked: int


@dataclass
class GroupCounts:
    """Counts groups and scores as results come.

    Attributes:
        asked: what is asked for.
        times: of the stages; 0 = the final molecules.
        groups: so far.
        scores: of the valid molecules.
    """

    asked: ScoreOptions
    times: tuple[float, ...]
    groups: list[GroupFacts] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def note(self, result: MoleculeResult) -> None:
        """Count a result."""
        if result.group:
            self.groups.append(GroupFacts(**result.group))
        if result.status == Status.VALID and result.score is not None:
            self.scores.append(result.score)

    def problem(self) -> str:
        """Return that no group has a single scored molecule, if so; else an empty string."""
        if not self.groups or not all(group.is_dead for group in self.groups):
            return ""
        asked = self.asked
        return f"no molecule of {len(self.groups)} groups of {asked.particles} has a score by {asked.score.name}"

    def result(self) -> ScoreResult:
        """Return what came of it so far."""
        groups, scores, best = self.groups, self.scores, min if self.asked.weight < 0 else max
        return ScoreResult(
            len(groups),
            sum(group.is_dead for group in groups),
            float(np.mean(scores)) if scores else None,
            best(scores) if scores else None,
            sum(group.asked for group in groups),
            self.times,
            tuple(np.mean([group.effective for group in groups], axis=0).round(3).tolist()) if groups else (),
            float(np.mean([group.resampled for group in groups])) if groups else 0.0,
            float(np.mean([group.ancestors for group in groups])) if groups else 0.0,
        )
