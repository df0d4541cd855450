"""Options of a generation, in one object: built once where the user's words come in, checked as far as that can be done
without the model."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

from moldiff.arguments import WHOLE, Part, check_flag, count, path_text, refusal, whole_number
from moldiff.chem.filters.criteria import Criteria
from moldiff.choices import Decoding, Sampler, TargetMethod, Until, listed
from moldiff.conditions import TAG
from moldiff.errors import MoldiffError
from moldiff.generation.options.run_options import RunOptions
from moldiff.generation.options.sampler_options import ResolvedSampler
from moldiff.generation.options.score import ScoreOptions
from moldiff.generation.options.steering_options import SteeringOptions
from moldiff.generation.renoise import MAX_ATTEMPTS
from moldiff.sampling.solvers import SOLVERS
from moldiff.scoring.named import OF_TARGETS
from moldiff.scoring.rarity import BY_TABLES

DRAWS_PER_MOLECULE = 10  # that is asked for, where draws go on until there are enough
MOST_FIRST = 1 << 31

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GenerationOptions(RunOptions):
    """Options of a generation; see `moldiff.generation.generate.generate` for the meaning of each field.

    Attributes:
        until: what n counts; None = draws.
        until_valid: the same as ``until`` valid.
        max_draws: end after so many draws even if n is not reached; None = `DRAWS_PER_MOLECULE` n.
        criteria: filters; what fails one is filtered.
        first: number of the first draw; a draw is the same in whatever range it stands.
        decode, renoise: what becomes of a molecule that is not valid.
        rarity: tell the rarest ring system and the weakest bond of each molecule.
        ring_table: by another model's tables, or by the molecules of a file; None = the model's own.
        steering, score: what molecules should be like, and by which weight they are drawn.
    """

    until: Until | None = None
    until_valid: bool = False
    max_draws: int | None = None
    criteria: Criteria = field(default_factory=Criteria)
    first: int = 0
    decode: Decoding = Decoding.ARGMAX
    renoise: int = 0
    rarity: bool = False
    ring_table: str | Path | None = None
    steering: SteeringOptions = field(default_factory=SteeringOptions)
    score: ScoreOptions | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag(self.until_valid, "until_valid")
        if self.until_valid and self.until not in (None, Until.VALID):
            raise MoldiffError(f"until_valid and until '{self.until}' contradict each other", argument="until_valid")
        if self.goal is Until.MET and not self.steering.targets:
            raise MoldiffError("until 'met' needs targets, for example logp=2.5", argument="until")
        if self.max_draws is not None:
            if self.goal is None:
                raise MoldiffError("max_draws needs until: what to draw on for", argument="max_draws")
            count(self.max_draws, "max_draws", least=self.n)
        if not 0 <= whole_number(self.renoise, "renoise") <= MAX_ATTEMPTS:
            raise refusal("renoise", f"in 0 .. {MAX_ATTEMPTS}", self.renoise)
        if not 0 <= whole_number(self.first, "first") < MOST_FIRST:
            raise refusal("first", f"in 0 .. {MOST_FIRST - 1}", self.first)
        for condition in self.criteria.where:
            if condition.name.startswith(TAG):
                raise MoldiffError(f"where '{condition}': what is drawn has no data fields", argument="where")
        check_flag(self.rarity, "rarity")
        if self.target_method is TargetMethod.MCMC or self.steering.target_moves is not None:
            self._check_moves()
        if self.score is not None:
            self._check_score()
        if self.ring_table is not None:
            path_text(self.ring_table, "ring_table")
        if self.ring_table is not None and not self.asks_tables:
            raise MoldiffError(
                "ring_table needs what asks it: rarity, familiar, or known_rings or weakest_bond as a target or score",
                argument="ring_table",
            )

    def part(self, part: Part) -> GenerationOptions:
        """Return the options of one of several ranges of the draws.

        Raises:
            MoldiffError: draws go on until there are enough, compete in groups, or are too few.
        """
        if part == WHOLE:
            return self
        if self.goal is not None:
            raise MoldiffError(
                "shard and until do not go together: where the next range begins would depend on this one",
                argument="shard",
            )
        if self.score is not None:
            raise MoldiffError(
                f"shard and {self._groups} do not go together: draws compete in groups", argument="shard"
            )
        numbers = part.span(self.n, self.first)
        if not numbers:
            raise MoldiffError(f"shard: there are only {self.n} draws to share out", argument="shard")
        return replace(self, n=len(numbers), first=numbers.start)

    @property
    def target_method(self) -> TargetMethod | None:
        """The way in which targets are met; None = there are none. What asks for something else than moved draws leaves
        the condition alone: guidance, a score, a trajectory, which shows one walk."""
        wanted = self.steering
        if not wanted.targets or wanted.target_method is not None:
            return wanted.target_method
        if self.score is not None:
            return TargetMethod.SMC if self.score.score is OF_TARGETS else TargetMethod.CONDITION
        plain = wanted.guidance is None and not self._shows_walks
        return TargetMethod.MCMC if plain or wanted.target_moves is not None else TargetMethod.CONDITION

    def walked_by(self, sampler: Sampler) -> GenerationOptions:
        """Return the options as a sampler can follow them. Moves by one without noise would not leave the law that they
        draw from as it is (Hastings 1970): instead of them, the model is told the targets, and no more.

        Raises:
            MoldiffError: moves are asked for by name.
        """
        if self.target_method is not TargetMethod.MCMC or SOLVERS[sampler].is_stochastic:
            return self
        if self.steering.target_method is not None or self.steering.target_moves is not None:
            raise MoldiffError(
                f"sampler {sampler} adds no noise, which moves (target_method mcmc) need; they go with "
                f"{_stochastic_samplers()}",
                argument="sampler",
            )
        logger.info(
            "sampler %s adds no noise, which moves (target_method mcmc) need: the model is told the targets, and no "
            "more; %s meet them more closely",
            sampler,
            _stochastic_samplers(),
        )
        return replace(self, steering=replace(self.steering, target_method=TargetMethod.CONDITION))

    @property
    def _shows_walks(self) -> bool:
        return self.output is not None and bool(self.output.trajectories)

    @property
    def asks_tables(self) -> str:
        """The argument by which rings and bonds are held against tables; "" = they are not."""
        if self.rarity:
            return "rarity"
        if any(target.name in BY_TABLES for target in self.steering.targets):
            return "familiar" if self.steering.familiar else "targets"
        return "score" if self.score is not None and self.score.score in BY_TABLES.values() else ""

    @property
    def goal(self) -> Until | None:
        """The kind of molecule that n counts; None = draws."""
        return Until.VALID if self.until_valid else self.until

    @property
    def most_draws(self) -> int:
        """The most draws that are made."""
        if self.goal is None:
            return self.n
        return self.n * DRAWS_PER_MOLECULE if self.max_draws is None else self.max_draws

    def _check_moves(self) -> None:
        given = "target_method" if self.steering.target_moves is None else "target_moves"
        for name, is_asked in (("score", self.score is not None), ("trajectory", self._shows_walks)):
            if is_asked:
                raise MoldiffError(
                    f"{name} and {given} do not go together: a molecule that was moved does not come from one walk",
                    argument=name,
                )

    @property
    def _groups(self) -> str:
        """The user's words for draws that compete in groups."""
        return "target_method smc" if self.steering.target_method is TargetMethod.SMC else "score"

    def _check_score(self) -> None:
        asked, argument = self._groups, self._groups.partition(" ")[0]
        if self.sampler.sampler is not None:
            check_stochastic(self.sampler.sampler, asked)
        if self.steering.property_model is not None:
            raise MoldiffError(
                f"{asked} and the gradient of a property network (property_model) do not go together; "
                "network:FOLDER:name=2.5 as a score goes by such a network",
                argument=argument,
            )
        if self.first:
            raise MoldiffError(
                f"{asked} and first do not go together: draws compete in groups, which begin at 0", argument="first"
            )
        if self.renoise:
            raise MoldiffError(
                f"{asked} and renoise do not go together: what fails has weight zero as it is", argument=argument
            )
        if self.output is not None and self.output.trajectories:
            raise MoldiffError(
                f"{asked} and trajectory do not go together: a molecule's way leads through several draws",
                argument=argument,
            )

    def record(self, sampler: ResolvedSampler) -> dict[str, object]:
        goal = None if self.goal is None else str(self.goal)
        own: dict[str, object] = {
            "until": goal,
            "max_draws": self.max_draws,
            "first": self.first,
            "decode": str(self.decode),
            "renoise": self.renoise,
            "rarity": self.rarity,
            "ring_table": None if self.ring_table is None else str(self.ring_table),
        }
        score = {} if self.score is None else self.score.record()
        method: dict[str, object] = {}
        if self.target_method is not None:
            method["target_method"] = str(self.target_method)
        if self.target_method is TargetMethod.MCMC:
            method["target_moves"] = self.steering.most_moves
        return {**super().record(sampler), **own, **self.criteria.record(), **self.steering.record(), **method, **score}


def check_stochastic(sampler: Sampler, asked: str = "score") -> None:
    """Raise MoldiffError for a sampler that does not go with a score, or whatever makes draws compete."""
    if not SOLVERS[sampler].is_stochastic:
        raise MoldiffError(
            f"sampler {sampler} is deterministic: copies of a molecule would stay alike; {asked} works with "
            f"{_stochastic_samplers()}",
            argument="sampler",
        )


def _stochastic_samplers() -> str:
    return listed(name for name, solver in SOLVERS.items() if solver.is_stochastic)
