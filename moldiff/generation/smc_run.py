"""Draws from a law that a score reweights: groups of particles as numbered draws, and what came of them."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from moldiff.arrays import MolArrays, RawSample
from moldiff.chem.convert import decode, from_bytes, to_bytes
from moldiff.chem.descriptors.score_functions import Score
from moldiff.chem.filters.hazards import STANDARD_GATE, Gate
from moldiff.chem.filters.validity import is_valid_and_connected
from moldiff.chem.topology import heavy_atom_skeleton
from moldiff.datasets.batching import bucket_width
from moldiff.diffusion.schedule import NoiseSchedule
from moldiff.generation.generate_run import GenerateRun
from moldiff.generation.group_counts import GroupCounts, GroupFacts
from moldiff.generation.molecule_result import CHUNK, SCORE_COLUMN, MoleculeResult
from moldiff.generation.options.generation_options import GenerationOptions, check_stochastic
from moldiff.generation.options.score import ScoreOptions
from moldiff.generation.renoise import Judge
from moldiff.generation.run import Progress
from moldiff.interruption import Interruption
from moldiff.molecules import MolBatch, empty_batch, unbatch
from moldiff.processes import DEADLINE_S, THIS_PROCESS, Pool
from moldiff.sampling.molecule_sampler import MoleculeSampler, draws_of
from moldiff.sampling.particles import ParticleSampler
from moldiff.sampling.sampler import Sample
from moldiff.sampling.smc import ResamplingStep, ScoredParticle, SequentialMonteCarlo
from moldiff.scoring.named import OF_TARGETS, targets_score
from moldiff.scoring.rarity import BY_TABLES, rarity_score
from moldiff.status import Status
from moldiff.threads import Workers
from moldiff.vocabulary import Vocabulary

if TYPE_CHECKING:
    from rdkit.Chem import Mol

logger = logging.getLogger(__name__)

STAGE_TIMES = (0.38, 0.34, 0.30, 0.26, 0.22, 0.16, 0.08)
TRUST_FROM, TRUST_FULLY = 0.42, 0.2  # times between which a guess comes to be trusted


def stages(grid: Tensor, schedule: NoiseSchedule) -> tuple[ResamplingStep, ...]:
    """Return the stages of a grid (M + 1,), for each of `STAGE_TIMES` the first whose estimate was made then or later.

    Times are those of a cosine schedule of the atom types, abar = cos^2(pi t / 2), whatever the schedule is.

    How far a guess is trusted grows linearly from `TRUST_FROM` to `TRUST_FULLY`. Measured with the built-in model, the
    skeleton's logp correlates with that of the final molecule by 0.2 at t = 0.46, 0.4 at 0.40, 0.7 at 0.34, 0.9 at 0.28
    and 0.97 at 0.24. Trust comes a little later: what is left uncertain flattens a steep weight, and particles lost to
    a bad guess do not come back.
    """
    # the estimate after step k was made at grid[k - 1]; the last step is the final stage
    made_at = (2 / math.pi * torch.acos(schedule.levels(grid[:-2]).abar("atom_type").sqrt())).tolist()
    found = {}
    for time in STAGE_TIMES:
        step = next((k for k, t in enumerate(made_at, start=1) if t <= time + 0.005), None)
        if step is not None:
            found[step] = ResamplingStep(step, min(1.0, (TRUST_FROM - made_at[step - 1]) / (TRUST_FROM - TRUST_FULLY)))
    return tuple(found.values())


class MoleculePotential:
    """Scores particles by the molecules they are or are becoming.

    The last stage scores what would be written as valid. Before, an estimate that is not a sound molecule yet is
    scored by its skeleton (`moldiff.chem.topology.heavy_atom_skeleton`).

    Args:
        sampler: makes the draws.
        judge: says what became of draws; what fails a check has no score.
        score: of the user.
        gate: what it refuses is not scored on its way either.
        pool: does the chemistry of guesses, and scores that are chemistry; a user's function runs in this process.
    """

    def __init__(
        self,
        sampler: MoleculeSampler,
        judge: Judge,
        score: Score,
        gate: Gate = STANDARD_GATE,
        pool: Pool = THIS_PROCESS,
    ) -> None:
        self._sampler, self._judge, self._score, self._gate, self._pool = sampler, judge, score, gate, pool

    def __call__(self, samples: Sequence[Sample], final: bool) -> list[ScoredParticle]:
        results: list[MoleculeResult | None] = [None] * len(samples)
        if final:
            results = list(self._judge([self._draw(sample) for sample in samples]))
            molecules = [result.mol if result and result.status == Status.VALID else None for result in results]
        else:
            molecules = self._guesses(samples)
        asked = [mol for mol in molecules if mol is not None]
        scores = iter(self._score.of(asked, self._pool))
        return [
            ScoredParticle(None if mol is None else next(scores), result, mol is not None)
            for mol, result in zip(molecules, results, strict=True)
        ]

    def _draw(self, sample: Sample) -> RawSample:
        number = int(sample.molecules.ids[0])
        return draws_of(self._sampler.decided(sample), [number], True)[0]

    def _guesses(self, samples: Sequence[Sample]) -> list[Mol | None]:
        """Return the molecule that each state is taken for; None if there is none, or if it cost its worker."""
        arrays = [None if int(sample.failed_at[0]) >= 0 else unbatch(sample.molecules)[0] for sample in samples]
        work = partial(guessed, vocabulary=self._sampler.model.vocabulary, gate=self._gate)
        found = self._pool.map_items(work, arrays, chunk=CHUNK, timeout_s=DEADLINE_S)
        return [from_bytes(one) if isinstance(one, bytes) else None for one in found]


def guessed(arrays: MolArrays | None, vocabulary: Vocabulary, gate: Gate) -> bytes | None:
    """Return the molecule that an estimate is taken for, or its skeleton, as bytes; None if it would be withheld."""
    if arrays is None:
        return None
    try:
        for conversion in (decode(arrays, vocabulary), heavy_atom_skeleton(arrays, vocabulary)):
            if conversion.mol is not None and is_valid_and_connected(conversion)[0]:
                return None if gate(conversion.mol) else to_bytes(conversion.mol)
    except Exception:  # a guess that breaks something is none
        logger.debug("a particle on its way", exc_info=True)
    return None


@dataclass
class ReweightedSampler:
    """Makes draws in groups: group g has the draws K g .. K g + K - 1, each with the size, condition and noise that the
    plain draw of that number has, as long as no other takes its place.

    Attributes:
        sampler: makes plain draws.
        judge, gate, pool: see `MoleculePotential`.
        asked: what is asked for.
    """

    sampler: MoleculeSampler
    judge: Judge
    asked: ScoreOptions
    gate: Gate = STANDARD_GATE
    pool: Pool = THIS_PROCESS

    def __post_init__(self) -> None:
        sampler, model = self.sampler, self.sampler.model
        walker = ParticleSampler(
            sampler.denoiser, model.diffusion, model.schedule, sampler.solver, sampler.source, sampler.grid,
            sampler.micro_batches,
        )  # fmt: skip
        potential = MoleculePotential(sampler, self.judge, self.asked.score, self.gate, self.pool)
        self._reweighter = SequentialMonteCarlo(
            walker, potential, self.asked.weight, stages(sampler.grid, model.schedule)
        )

    def results(self, groups: range) -> Iterator[tuple[MoleculeResult, np.ndarray]]:
        """Yield the result of each draw of some groups, in order, and what it was conditioned on, (P,). The first of a
        group carries what there is to tell of it.

        Raises:
            ScoreError: after the groups before the one that the score failed for.
        """
        count = self.asked.particles
        numbers = torch.arange(groups.start * count, groups.stop * count)
        for group in self._reweighter.run(groups, self._templates(numbers)):
            ancestors = len(set(group.roots.tolist()))
            told: Mapping[str, Any] = asdict(
                GroupFacts(tuple(group.effective), group.resampled, ancestors, group.is_dead, group.asked)
            )
            for place, (scored, particle) in enumerate(zip(group.scored, group.particles, strict=True)):
                result = self._placed(scored.outcome, scored.score, int(group.ids[place]))
                result = replace(result, group={} if place else told)
                yield result, particle.state.molecules.properties[0].cpu().numpy()

    def _placed(self, result: MoleculeResult | None, score: float | None, number: int) -> MoleculeResult:
        """Return the result as that of a draw. A valid molecule without a score is not what was asked for; that happens
        only in a group without any score."""
        assert result is not None
        mol = copy(result.mol)  # or copies of a particle would share their tags
        result = replace(result, number=number, mol=mol, score=score, evaluations=self.sampler.evaluations)
        if result.status == Status.VALID and score is None and self.asked.weight:
            return replace(result, status=Status.FILTERED, reason="score: none")
        return result

    def _templates(self, numbers: Tensor) -> list[MolBatch]:
        """Return a row for each draw: size, condition and number."""
        sizes, conditions = self.sampler.size(numbers), torch.from_numpy(self.sampler.condition(numbers))
        rows = []
        for place, n in enumerate(sizes.tolist()):
            here = slice(place, place + 1)
            row = empty_batch(torch.tensor([n]), numbers[here], bucket_width(n), conditions.shape[1])
            rows.append(row.replace(properties=conditions[here]).to(self.sampler.device))
        return rows


class GroupRun(GenerateRun):
    """Draws molecules by a score, in groups.

    Args:
        options: of the request, with a score.
        gate: see `Run`.
    """

    def __init__(self, options: GenerationOptions, gate: Gate | None = None) -> None:
        super().__init__(options, gate)
        assert options.score is not None
        check_stochastic(self.sampler.sampler)
        self.score = options.score
        tracker = self.steering.tracker
        if self.score.score is OF_TARGETS:
            self.score = replace(
                self.score, score=targets_score(tracker.targets, tracker.statistics, tracker.calculators)
            )
        elif self.score.score in BY_TABLES.values():
            assert self.tables is not None
            self.score = replace(self.score, score=rarity_score(self.score.score.name, self.tables))
        self.columns = (*self.columns, SCORE_COLUMN)
        self.tells_results = True
        sampler = self.molecule_sampler(True)
        times = [round(float(sampler.grid[stage.step]), 6) for stage in stages(sampler.grid, self.model.schedule)]
        self._groups = GroupCounts(self.score, (*times, 0.0))
        self._per_draw = sampler.evaluations

    def _made(
        self, workers: Workers, progress: Progress | None, interruption: Interruption
    ) -> Iterator[MoleculeResult]:
        draws = ReweightedSampler(self.molecule_sampler(True, workers), self.judge, self.score, self.gate, self.pool)
        size = self.score.particles
        first = self.counts.drawn // size
        limit = self.options.most_draws
        while first * size < limit and interruption.number is None:
            missing = math.ceil((self.requested - self.done) / size)
            groups = range(first, first + min(missing, max(1, self.sampler.batch_size // size)))
            made = (self.measured(result, wanted) for result, wanted in draws.results(groups))
            for result in interruption.until(itertools.islice(made, 1)):  # the work is done before the first
                yield result
                yield from made
            first = groups.stop

    def whole(self, count: int) -> int:
        return count - count % self.score.particles

    def note(self, result: MoleculeResult) -> None:
        super().note(result)
        self._groups.note(result)

    @property
    def evaluations(self) -> int:
        return len(self._groups.groups) * self.score.particles * self._per_draw  # the last group is made in full

    def problem(self) -> str:
        return self._groups.problem() or super().problem()

    def details(self) -> list[str]:
        return [*super().details(), self._groups.result().line(self.score)]

    def extra_results(self) -> dict[str, Any]:
        return super().extra_results() | {"score": asdict(self._groups.result())}
