"""Molecules drawn one by one."""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moldiff.arrays import RawSample
from moldiff.chem.descriptors.rarity import COLUMNS as RARITY_COLUMNS
from moldiff.chem.descriptors.rdkit_descriptors import REPORTED
from moldiff.chem.filters.hazards import Gate
from moldiff.choices import TargetMethod, Until
from moldiff.errors import blaming
from moldiff.evaluation.rarity import tables_for
from moldiff.generation.decoding.decoders import DECODERS, Decoder, VerifiedDecoder
from moldiff.generation.decoding.hydrogens import hydrogen_columns, with_hydrogens
from moldiff.generation.mcmc import MOVED, TargetChains
from moldiff.generation.molecule_result import (
    COLUMNS,
    RESERVED,
    MoleculeResult,
    assess_all,
    chunk_of,
    with_measurements,
)
from moldiff.generation.options.generation_options import GenerationOptions
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.property_guide import PropertyGuide
from moldiff.generation.options.steering import steer, warn_about_sizes
from moldiff.generation.renoise import Renoiser, settled_by
from moldiff.generation.run import Progress, Run
from moldiff.generation.trajectory import trajectories
from moldiff.interruption import Interruption
from moldiff.models.folder import SUMS_FILE, find_model, is_model, list_models
from moldiff.processes import DEADLINE_S, Lost
from moldiff.reading import sha256_of
from moldiff.sampling.constraints import decoding_constraints
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.scoring.network import PredictedNearness
from moldiff.status import Status
from moldiff.threads import INLINE, Workers

logger = logging.getLogger(__name__)

CLOSE = 0.1  # standard deviations from a wanted value at which a draw moves no further; into a range it moves
LEAST_SHARE = 0.01  # of draws that are as wanted, for the size of the next batch
AT_A_TIME_S = 15.0  # of draws on a card
MOST_AT_A_TIME = 1 << 15  # draws; their results are some 10 to 35 kB each
GOALS = {
    Until.VALID: "valid molecules",
    Until.PASSED: "molecules that pass the filters",
    Until.MET: "molecules that meet the targets",
}


def filling_size(least: int, made: int, seconds: float) -> int:
    """Return how many draws a card takes at a time, by the pace so far: the more, the fewer of its micro-batches, which
    are of one width each, are filled up with draws in vain; but what is drawn counts only when its batch is there.

    Args:
        least: so many in any case.
        made: draws so far, in so many seconds.
    """
    return max(least, min(MOST_AT_A_TIME, int(AT_A_TIME_S * made / max(seconds, 1e-3))))


@dataclass(frozen=True)
class _Costs:
    """Network evaluations of a draw, of an attempt at re-noising it, and of a move."""

    draw: int
    attempt: int
    move: int

    def told(self, result: MoleculeResult) -> MoleculeResult:
        """Return a result with the evaluations behind it."""
        moves = int(str(result.facts.get(MOVED, 0)))
        return replace(result, evaluations=self.draw + result.renoised * self.attempt + moves * self.move)


class GenerateRun(Run):
    """Draws molecules one by one.

    Args:
        options: of the request.
        gate: see `Run`.

    Attributes:
        steering: what is asked of the molecules, held against the model.
        decoder: of the final predictions.
        tables: by which rings and bonds are told or scored; None = nobody asks.
    """

    task = "generate"

    def __init__(self, options: GenerationOptions, gate: Gate | None = None) -> None:
        fragment = options.steering.fragment
        self.inputs = () if fragment is None else (Path(fragment.source),)
        super().__init__(options, gate, pictured=bool(options.steering.targets), first=options.first)
        options = options.walked_by(self.sampler.sampler)
        self.options, wanted = options, options.steering
        source, references = str(self.folder.path), self.folder.references
        self.guide = PropertyGuide.load(
            wanted.property_model, wanted.property_scale, self.model, self.folder.name, self.device
        )
        with blaming(options.asks_tables, "ring_table"):
            self.tables = tables_for(options.ring_table, references, source) if options.asks_tables else None
            self._table_sha256 = _hash_of(options.ring_table)
        self.steering = steer(
            wanted, self.model, references, source, self.guide, options.criteria.where, options.target_method,
            self.tables,
        )  # fmt: skip
        self.sampler = self.steering.at_cost(self.sampler)
        warn_about_sizes(self.steering.sizes, self.model)
        constraints = self.steering.constraints
        with blaming("decode"):
            make, allowed = DECODERS[options.decode], decoding_constraints(constraints)
            decoder = make(self.model.vocabulary, references, source, allowed)
        rules = tuple(constraint.rule for constraint in constraints)
        decoder = VerifiedDecoder(decoder, rules) if rules else decoder
        self.decoder: Decoder = with_hydrogens(decoder, self.model.vocabulary)
        self.checks = options.criteria.checks()
        self._wanted = tuple(target.name for target in self.steering.tracker.targets)
        self.judge = partial(
            assess_all, decoder=self.decoder, gate=self.gate, checks=self.checks, pool=self.pool, wanted=self._wanted,
            chunk=chunk_of(min(options.n, self.sampler.batch_size)),
        )  # fmt: skip
        self.target_method = self._target_method()
        own = (*hydrogen_columns(self.model.vocabulary), *(RARITY_COLUMNS if options.rarity else ()))
        own = (*own, MOVED) if self.target_method is TargetMethod.MCMC else own
        tracker = self.steering.tracker
        tracker.taken = RESERVED | set(own)
        self.columns = (*COLUMNS, *own, *tracker.columns)
        self.measured_columns = frozenset(tracker.measured.values()) - frozenset(REPORTED)
        for name, column in tracker.measured.items():
            if name != column:
                logger.info("what is measured of '%s' stands in the column %s", name, column)
        self.tells_results = options.goal is not None
        self.unit = "molecules" if options.goal is None else GOALS[options.goal]

    def told(self, result: MoleculeResult) -> MoleculeResult:
        """Return a result with how rare its molecule's rings and bonds are, where its chemistry is sound."""
        if not self.options.rarity or self.tables is None or result.mol is None or not result.smiles:
            return result
        return replace(result, facts={**result.facts, **self.tables.facts(result.mol)})

    def molecule_sampler(self, keep_predictions: bool, workers: Workers = INLINE) -> MoleculeSampler:
        """Return what makes the draws."""
        return self.steering.molecule_sampler(self.model, self.sampler, keep_predictions, workers)

    @property
    def requested(self) -> int:
        return self.options.n

    @property
    def done(self) -> int:
        if self.options.goal is None:
            return self.counts.drawn
        # with a score, what a filter leaves out is not drawn
        all_sound = self.options.goal is Until.VALID and self.options.score is None
        return self.counts.valid + (self.counts.by_status[Status.FILTERED] if all_sound else 0)

    @property
    def has_enough(self) -> bool:
        return self.done == self.requested

    def _made(
        self, workers: Workers, progress: Progress | None, interruption: Interruption
    ) -> Iterator[MoleculeResult]:
        sampler = self.molecule_sampler(True, workers)
        renoiser, chains = Renoiser(sampler, self.judge), self._chains(sampler)
        batches, begun = self._batches(sampler.rows), deque[tuple[int, int, Iterator[RawSample]]]()
        # the next batch is begun before the last one is converted and written, unless its size follows from that one
        ahead = 1 if self.options.goal is not None else 2
        costs = _Costs(sampler.evaluations, renoiser.evaluations, 0 if chains is None else chains.evaluations)
        if progress is not None:
            progress(self.counts.drawn)
        while True:
            begun.extend((*batch, sampler.draw(*batch)) for batch in itertools.islice(batches, ahead - len(begun)))
            if not begun:
                return
            first, count, draws = begun.popleft()
            tell = partial(self._tell, progress, costs, first, count)
            drawn: list[RawSample] = []
            # draws are judged as they come: the chemistry of some is done while others are being drawn
            judged = list(interruption.until(settled_by(self.judge, _noted(draws, drawn, tell))))
            wanted = sampler.condition(torch.arange(first, first + count))
            made = renoiser.settle(judged, self.options.renoise)
            made, settled = made if chains is None else chains.run(made, partial(tell, count)), 0
            for one in interruption.until(made):
                yield self.measured(costs.told(one.result), wanted[one.draw.number - first])
                settled += 1
            if interruption.number is not None:
                # a draw is a molecule of the run as it is; one that is still moving is not
                judged += settled_by(self.judge, drawn[len(judged) :])
                left = list(renoiser.settle(judged, 0))[settled:] if chains is None else chains.finished.values()
                for one in sorted(left, key=lambda one: one.draw.number):
                    yield self.measured(costs.told(one.result), wanted[one.draw.number - first])
                return

    def _tell(self, progress: Progress | None, costs: _Costs, first: int, count: int, drawn: int, moves: int) -> None:
        """Tell how many molecules are there: those of a batch count in proportion to the evaluations behind them."""
        if progress is not None:
            all_moves = count * self.options.steering.most_moves if costs.move else 0
            done = drawn * costs.draw + moves * costs.move
            progress(first - self.options.first + count * done // (count * costs.draw + all_moves * costs.move))

    def _target_method(self) -> TargetMethod | None:
        """Return how targets are met: as the options say, if anything can tell how far a molecule is from one."""
        method, tracker = self.options.target_method, self.steering.tracker
        if method is TargetMethod.CONDITION and self.options.steering.target_method is None:
            logger.info("the model is told the targets, and no more; target_method mcmc meets them more closely")
        if method is not TargetMethod.MCMC or tracker.known:
            return method
        names = ", ".join(target.name for target in tracker.targets)
        logger.warning(
            "nothing can tell %s of a molecule: the model is told what is wanted, and how nearly that is met is not "
            "known; a property network (property_model) that knows it lets draws move towards it",
            names,
        )
        return TargetMethod.CONDITION

    def _chains(self, sampler: MoleculeSampler) -> TargetChains | None:
        if self.target_method is not TargetMethod.MCMC:
            return None
        tracker = self.steering.tracker
        close = [CLOSE if target.is_value else 0.0 for target in tracker.known]
        return TargetChains(sampler, self.judge, tracker.distances, close, self.options.steering.most_moves)

    def note(self, result: MoleculeResult) -> None:
        tracker = self.steering.tracker
        missed = self.options.goal is Until.MET and result.reason == tracker.missed(result)
        tracker.note(result, result.status == Status.VALID or (result.status == Status.FILTERED and missed))

    def identity(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if any(re.match("[<>](?!=)", target.text) for target in self.options.steering.targets):
            found["ends"] = "excluded"  # until version 0.2 the same words included them, and meant other molecules
        if (fragment := self.options.steering.fragment) is not None:
            found["fragment"] = list(fragment.blocks)
        if self._table_sha256 is not None:
            found["ring_table"] = self._table_sha256
        if self.options.score is not None and isinstance(
            network := self.options.score.score.function, PredictedNearness
        ):
            found["score_network"] = network.sha256  # a folder of that name may hold another one tomorrow
        return found

    def problem(self) -> str:
        if self.options.goal is None:
            return super().problem()
        found = f"only {self.done} of {self.requested} {self.unit} in {self.counts.drawn} draws"
        return found if self.done < self.requested else ""

    def measured(self, result: MoleculeResult, condition: np.ndarray) -> MoleculeResult:
        """Return a result with what its condition (P,) asked and what was measured; where draws go on until targets are
        met, a molecule that misses one is filtered."""
        if self._wanted and result.smiles and result.measured is None:  # sound, but not valid: the judge did not
            work = partial(with_measurements, wanted=self._wanted)
            (found,) = self.pool.map_items(work, [result], timeout_s=DEADLINE_S)
            result = replace(result, measured=result.properties) if isinstance(found, Lost) else found
        result = self.steering.tracker.measure(result, condition)
        if self.options.goal is not Until.MET or result.status != Status.VALID:
            return result
        missed = self.steering.tracker.missed(result)
        return replace(result, status=Status.FILTERED, reason=missed) if missed else result

    def details(self) -> list[str]:
        lines = [target.line() for target in self.steering.tracker.results()]
        return [*lines, self._cost_line()] if lines else []

    def _cost_line(self) -> str:
        """Return how many draws met every target, how many different molecules these are, and at what cost."""
        drawn, tracker = self.counts.drawn, self.steering.tracker
        met, different = tracker.met, tracker.met_different
        line = f"{met} of {drawn} draws "
        if different < met:
            line += f"({different} different molecule{'' if different == 1 else 's'}) "
        line += f"met {'every target' if len(tracker.targets) > 1 else 'the target'} by {self.target_method}: "
        line += f"{self.evaluations / max(drawn, 1):.1f} network evaluations per draw"
        return line + (f", {self.evaluations / different:.1f} per different molecule that did" if different else "")

    def extra_results(self) -> dict[str, Any]:
        targets = [asdict(target) for target in self.steering.tracker.results()]
        method = {} if self.target_method is None else {"target_method": str(self.target_method)}
        return super().extra_results() | {"targets": targets, **method}

    def extra_files(self, output: OutputOptions, interrupted: bool) -> dict[Path, str | bytes]:
        picture = self.steering.tracker.picture()
        files: dict[Path, str | bytes] = {} if picture is None else {output.picture: picture}
        if output.trajectories and not interrupted:
            if self.counts.to_show is None:
                logger.warning("no draw came to a molecule that a trajectory could show")
            else:
                files |= trajectories(output.trajectories, self.molecule_sampler(False), self.counts.to_show)
        return files

    def _batches(self, rows: int) -> Iterator[tuple[int, int]]:
        """Yield the number of a batch's first draw, and how many they are.

        Args:
            rows: draws that cost as much as one.
        """
        n, least = self.options.n, self.sampler.batch_size
        grows = self.options.sampler.batch_size is None and self.device.type != "cpu"
        limit = self.options.first + self.options.most_draws
        first = self.options.first + self.counts.drawn
        before, began = self.counts.drawn, time.monotonic()
        while first < limit:
            seconds = time.monotonic() - began
            size = filling_size(least, self.counts.drawn - before, seconds) if grows else least
            # a few more than are missing, by the share that was as wanted so far: a surplus is thrown away
            share = max(self.done / self.counts.drawn, LEAST_SHARE) if self.counts.drawn else 1.0
            wanted = n if self.options.goal is None else max(rows, int(1.25 * (n - self.done) / share))
            count = min(wanted, size, limit - first)
            yield first, count
            first += count


def _hash_of(ring_table: str | Path | None) -> str | None:
    """Return what tells a table of rings from others of its name; None of a built-in model's, and if there is none."""
    if ring_table is None or str(ring_table) in list_models():
        return None
    return sha256_of(find_model(ring_table) / SUMS_FILE if is_model(ring_table) else Path(ring_table))


def _noted(draws: Iterable[RawSample], drawn: list[RawSample], tell: Callable[[int, int], None]) -> Iterator[RawSample]:
    """Yield draws as they come, put down in a list and told of."""
    for draw in draws:
        drawn.append(draw)
        tell(len(drawn), 0)
        yield draw
